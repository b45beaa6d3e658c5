"""Submits and polls: the shapes, ids and refusals of the real API."""

import re
from typing import Any

import orjson
import pytest
from sandbox_bench import START, Bench, OpenBench

TASK_ID = re.compile(r"task-unified-\d{10}-[a-z0-9]{8}")


def assert_compact_and_sorted(body: bytes) -> None:
    assert body == orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)


async def test_submit_answers_a_pending_task_with_every_documented_field(bench: Bench) -> None:
    answer = await bench.submit()
    assert answer.status_code == 200
    assert_compact_and_sorted(answer.content)
    assert answer.headers["x-oneapi-request-id"]
    task = answer.json()
    assert TASK_ID.fullmatch(task.pop("id"))
    assert task == {
        "created": int(START),
        "model": "gpt-image-1.5",
        "object": "image.generation.task",
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": True, "estimated_time": 4},
        "type": "image",
        "usage": {
            "billing_rule": "per_token",
            "credits_reserved": 8.1479,
            "user_group": "default",
        },
    }


async def test_a_task_goes_from_pending_over_processing_to_completed(bench: Bench) -> None:
    task_id = await bench.task_id("a cat [sandbox:delay=10]", n=2)
    assert (await bench.poll(task_id)).json()["status"] == "pending"
    seen = []
    for _ in range(3):
        bench.clock.now += 2.5
        answer = await bench.poll(task_id)
        assert_compact_and_sorted(answer.content)
        seen.append(answer.json())
    assert [one["status"] for one in seen] == ["processing"] * 3
    progress = [one["progress"] for one in seen]
    assert progress == sorted(set(progress))
    assert progress[0] > 0 and progress[-1] < 100
    assert "usage" not in seen[0] and "results" not in seen[0]

    bench.clock.now += 2.5
    done = (await bench.poll(task_id)).json()
    assert (done["status"], done["progress"], done["duration"]) == ("completed", 100, 10)
    assert done["task_info"] == {"can_cancel": False}
    assert done["result_data"] == [{"url": url} for url in done["results"]]
    path = re.compile(
        re.escape(bench.sandbox.base_url)
        + r"/[A-Z0-9]{18}/images/2026/09/21/[0-9a-f]{32}_(\d)\.png"
    )
    assert [path.fullmatch(url)[1] for url in done["results"]] == ["0", "1"]  # type: ignore[index]
    usage = done["usage"]
    assert usage["image_output_tokens"] == 8320
    assert usage["total_tokens"] == 8320 + usage["text_input_tokens"]
    assert usage["credits_used"] == pytest.approx(16.296, abs=0.01)


async def test_a_failed_task_is_200_with_an_error_object_and_is_not_charged(bench: Bench) -> None:
    before = bench.state.credits_left
    task = await bench.finished("x [sandbox:fail=content_policy_violation]")
    assert (task["status"], task["progress"]) == ("failed", 0)
    assert task["error"] == {
        "code": "content_policy_violation",
        "message": "Content policy violation.\nYour request was blocked by safety filters.",
        "type": "task_error",
    }
    assert "results" not in task
    assert bench.state.credits_left == before


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": "x" * 8001}, "prompt"),
        ({"size": "2:1"}, "size"),
        ({"size": 1}, "size"),
        ({"quality": "auto"}, "quality"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.5}, "n"),
        ({"image_urls": []}, "image_urls"),
        ({"image_urls": ["https://a.example/x.png"] * 17}, "image_urls"),
        ({"image_urls": ["ftp://a.example/x.png"]}, "image_urls"),
        ({"image_urls": ["https://a.example/x.pdf"]}, "image_urls"),
        ({"output_format": "gif"}, "output_format"),
        ({"model": None}, "model"),
        ({"callback_url": "http://example.com/x"}, "callback_url"),
        ({"callback_url": "https://127.0.0.1/x"}, "callback_url"),
        ({"callback_url": "https://[::1]/x"}, "callback_url"),
        ({"callback_url": "https://10.1.2.3/x"}, "callback_url"),
        ({"callback_url": "https://localhost/x"}, "callback_url"),
        ({"callback_url": "https://e.example/" + "x" * 2048}, "callback_url"),
        ({"prompt": "[sandbox:explode]"}, "prompt"),
        ({"prompt": "[sandbox:delay]"}, "prompt"),
        ({"prompt": "[sandbox:http=200]"}, "prompt"),
    ],
)
async def test_wrong_parameters_are_400_and_named(
    bench: Bench, fields: dict[str, Any], param: str
) -> None:
    answer = await bench.submit(**({"prompt": "x"} | fields))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("invalid_request", "invalid_request_error")
    assert error["param"] == param
    assert not bench.state.tasks


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"\xff"])
async def test_a_body_that_is_no_json_object_is_400(bench: Bench, body: bytes) -> None:
    answer = await bench.client.post("/v1/images/generations", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"


async def test_a_huge_body_is_413(bench: Bench) -> None:
    answer = await bench.client.post("/v1/images/generations", content=b" " * (5 * 1024 * 1024))
    assert answer.status_code == 413


async def test_unknown_fields_are_tolerated(bench: Bench) -> None:
    assert (await bench.submit(resolution="1K", wonder={"a": 1})).status_code == 200


@pytest.mark.parametrize(
    ("model", "serves", "size", "rule"),
    [
        ("gpt-image-1.5", "gpt-image-1.5", "1536x1024", "per_token"),
        ("gpt-image-1.5-lite", "gpt-image-1.5-beta", "2:3", "per_call"),
        ("gpt-image-2", "gpt-image-2", "1280x720", "per_token"),
        ("gpt-image-2.5-flare", "gpt-image-2.5-flare", "21:9", "per_token"),
        ("gpt-4o-image", "gpt-4o-image", "1:1", "per_call"),
    ],
)
async def test_the_family_of_models(
    bench: Bench, model: str, serves: str, size: str, rule: str
) -> None:
    task = (await bench.submit(model=model, size=size)).json()
    assert (task["model"], task["usage"]["billing_rule"]) == (serves, rule)


@pytest.mark.parametrize("size", ["1281x720", "16x16", "3840x1024", "5000x16", "huge", "100:1"])
async def test_sizes_that_gpt_image_2_does_not_take(bench: Bench, size: str) -> None:
    assert (await bench.submit(model="gpt-image-2", size=size)).status_code == 400


async def test_the_key_is_checked(open_bench: OpenBench) -> None:
    async with open_bench(accepted_key="sk-right") as bench:
        for headers in ({}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": "sk-right"}):
            answer = await bench.anonymous.get("/v1/credits", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "unauthorized"
        right = {"Authorization": "Bearer sk-right"}
        assert (await bench.anonymous.get("/v1/credits", headers=right)).status_code == 200
        assert bench.state.keys_seen["Bearer sk-wrong"] == 1


async def test_models_unknown_and_denied(open_bench: OpenBench) -> None:
    async with open_bench(denied_models=frozenset({"gpt-image-2"})) as bench:
        unknown = await bench.submit(model="gpt-image-9")
        assert unknown.status_code == 404
        error = unknown.json()["error"]
        assert (error["code"], error["type"], error["param"]) == (404, "not_found_error", "model")
        denied = await bench.submit(model="gpt-image-2")
        assert denied.status_code == 403
        assert denied.json()["error"]["code"] == "model_access_denied"
        listed = (await bench.client.get("/v1/models")).json()["data"]
        assert "gpt-image-2" not in {model["id"] for model in listed}


async def test_polling_what_is_not_there(bench: Bench) -> None:
    wrong = await bench.poll("job-1")
    assert wrong.status_code == 400
    error = wrong.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_task_id", "task_id")
    missing = await bench.poll("task-unified-1790000000-aaaaaaaa")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "task_not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/v1/images/generations"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1/v1/tasks/x.y"),
        ("DELETE", "/v1/credits"),
        ("GET", "/v1/images/generations"),
        ("GET", "/v1/credits/"),
    ],
)
async def test_unknown_routes_answer_in_the_relays_words(
    bench: Bench, method: str, path: str
) -> None:
    answer = await bench.client.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"Invalid URL ({method} {path})"


async def test_credits_are_reserved_charged_and_run_out(open_bench: OpenBench) -> None:
    async with open_bench(account_credits=2.0) as bench:
        beta = {"model": "gpt-image-1.5-beta"}
        await bench.task_id(**beta)
        left = (await bench.client.get("/v1/credits")).json()["data"]["user"]
        assert left == {"remaining_credits": 1.1, "used_credits": 0}
        await bench.task_id(**beta)
        refused = await bench.submit(**beta)
        assert refused.status_code == 402
        assert refused.json()["error"]["code"] == "insufficient_quota"
        bench.clock.now += 100
        body = (await bench.client.get("/v1/credits")).json()
        assert body["success"] is True
        assert body["data"]["token"] == {
            "remaining_credits": 0.2,
            "unlimited_credits": False,
            "used_credits": 1.8,
        }


async def test_submits_per_minute(open_bench: OpenBench) -> None:
    async with open_bench(submits_per_minute=2) as bench:
        statuses = [(await bench.submit()).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        bench.clock.now += 61
        assert (await bench.submit()).status_code == 200


async def test_idempotency_key(bench: Bench) -> None:
    headers = {"Idempotency-Key": "run_" + "a" * 32}

    async def post(prompt: str) -> Any:
        body = {"model": "gpt-image-1.5", "prompt": prompt}
        return await bench.client.post("/v1/images/generations", json=body, headers=headers)

    first = await post("one")
    again = await post("one")
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    other = await post("two")
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "idempotency_conflict"
    assert len(bench.state.tasks) == 1


async def test_list_and_batch(bench: Bench) -> None:
    first = await bench.task_id()
    await bench.task_id("x [sandbox:fail]")
    bench.clock.now += 100
    last = await bench.task_id()
    everything = (await bench.client.get("/v1/tasks", params={"page_size": 2})).json()
    assert (everything["total"], everything["page"], everything["page_size"]) == (3, 1, 2)
    assert everything["data"][0]["id"] == last
    done = (await bench.client.get("/v1/tasks?status=completed")).json()["data"]
    assert [(row["id"], row["has_results"], row["has_error"]) for row in done] == [
        (first, True, False)
    ]
    ids = [first, "task-unified-0-unknown", last]
    batch = (await bench.client.post("/v1/tasks/batch", json={"task_ids": ids})).json()["data"]
    assert [(task["id"], task["status"]) for task in batch] == [
        (first, "completed"),
        (last, "pending"),
    ]
    too_many = await bench.client.post("/v1/tasks/batch", json={"task_ids": ids * 20})
    assert too_many.status_code == 400


async def test_the_state_tells_what_came(bench: Bench) -> None:
    task_id = await bench.task_id("once")
    await bench.submit("refused [sandbox:http=503]")
    await bench.poll(task_id)
    await bench.poll(task_id)
    state = bench.state
    assert state.submits_by_prompt == {"once": 1, "refused [sandbox:http=503]": 1}
    assert state.accepted_by_prompt == {"once": 1}
    assert state.polls_by_task == {task_id: 2}
    assert state.keys_seen == {"Bearer sk-test": 4}
    assert [request.path for request in state.requests][-1] == f"/v1/tasks/{task_id}"
    assert state.requests[-1].headers["authorization"] == "Bearer sk-test"


async def test_old_finished_tasks_are_forgotten(open_bench: OpenBench) -> None:
    async with open_bench(max_tasks=3) as bench:
        stuck = await bench.task_id("[sandbox:stuck] forever")
        ids = []
        for _ in range(5):
            ids.append(await bench.task_id())
            bench.clock.now += 100
        statuses = [(await bench.poll(one)).status_code for one in ids]
        assert statuses == [404, 404, 404, 200, 200]
        assert (await bench.poll(stuck)).json()["status"] == "processing"
        assert len(bench.state.tasks) == 3


async def test_a_sandbox_full_of_unfinished_tasks_takes_no_more(open_bench: OpenBench) -> None:
    async with open_bench(max_tasks=1) as bench:
        await bench.task_id("[sandbox:stuck] forever")
        assert (await bench.submit()).status_code == 503
