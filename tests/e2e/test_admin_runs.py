"""`/admin/v1/runs` and `/admin/v1/refusals`: every order is explained, whatever became of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import stores
from house import FAST, OTHER_KEY, TEAM_KEY, House, digest, house, opened
from two_routes import two_routes

from gateway.sandbox import running_sandbox

ONE_PICTURE = {"blue": {"budgets": [{"usd": 0.05, "per": "day"}]}}
BEARER = {"Authorization": f"Bearer {TEAM_KEY}"}


async def explained(one: House, asked: str) -> Any:
    """The explanation of a run, a task, or the request with this id."""
    answer = await one.admin("GET", f"runs/{asked}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refusal_of(one: House, answer: httpx.Response) -> Any:
    assert answer.status_code >= 400, answer.text
    story = await explained(one, answer.headers["x-request-id"])
    assert story["kind"] == "refusal"
    return story


async def listed(one: House, path: str) -> Any:
    answer = await one.admin("GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


# --- orders that got a task ----------------------------------------------------------------------


@stores.both
async def test_started_joined_and_hit_are_one_run_with_three_tasks(a_house: House) -> None:
    prompt = "a fox [sandbox:delay=0.4]"
    started = (await a_house.post(prompt, n=2)).json()["id"]
    joined = (await a_house.post(prompt, n=2)).json()["id"]
    await a_house.ended(started)
    hit = (await a_house.post(prompt, n=2)).json()["id"]

    story = await explained(a_house, started)
    assert story["kind"] == "run" and story["refusal"] is None
    run = story["run"]
    assert [(task["id"], task["verdict"]) for task in story["tasks"]] == [
        (started, "started"),
        (joined, "joined"),
        (hit, "hit"),
    ]
    assert story["tasks_total"] == 3
    assert [(one["event"], one["before"], one["after"]) for one in story["steps"]] == [
        ("Started", "", "submitting"),
        ("Accepted", "submitting", "running"),
        ("Finished", "running", "keeping"),
        ("PicturesKept", "keeping", "done"),
    ]
    assert (run["state"], run["joins"], run["spent_usd"], run["held_usd"]) == ("done", 1, 0.1, 0)
    assert run["request"]["n"] == 2 and run["prompt"] == prompt
    took = story["timings"]
    parts = took["waiting_seconds"] + took["upstream_seconds"] + took["keeping_seconds"]
    assert parts == pytest.approx(took["total_seconds"], abs=0.01)
    assert took["upstream_seconds"] > 0.3
    assert story["summary"].startswith("Team blue asked for 2 pictures by gpt-image-1.5 at ")
    assert "A new run was started for at most $0.10." in story["summary"]
    assert "2 pictures were kept" in story["summary"]
    assert "1 other order joined it and saved $0.10." in story["summary"]
    assert "1 other order was answered from it and saved $0.10." in story["summary"]

    of_hit = await explained(a_house, hit)
    assert of_hit["run"]["id"] == run["id"]
    assert f"answered from run {run['id']}" in of_hit["summary"]
    assert "for nothing and saved $0.10" in of_hit["summary"]
    assert f"joined run {run['id']}" in (await explained(a_house, joined))["summary"]
    assert (await explained(a_house, run["id"]))["run"] == run


async def test_the_pictures_of_a_run_are_told_and_answer(a_house: House) -> None:
    task = await a_house.made("a lake", n=2)
    story = await explained(a_house, task["id"])
    assert sorted(one["url"] for one in story["pictures"]) == sorted(task["results"])
    assert {one["prompt"] for one in story["pictures"]} == {"a lake"}
    assert (await a_house.client.get(story["pictures"][0]["url"])).status_code == 200


async def test_a_live_run_says_what_it_holds(a_house: House) -> None:
    task = (await a_house.post("slow [sandbox:delay=30]")).json()["id"]
    story = await explained(a_house, task)
    assert story["run"]["state"] == "running" and story["run"]["held_usd"] == 0.05
    assert "Upstream is at work on it; $0.05 is held for it" in story["summary"]
    assert story["timings"]["total_seconds"] is None


async def test_a_task_that_fails_says_why_and_that_nothing_was_charged(a_house: House) -> None:
    answer = await a_house.post("no [sandbox:fail=content_policy_violation]")
    task = await a_house.ended(answer.json()["id"])
    story = await explained(a_house, task["id"])
    assert story["run"]["failure"]["code"] == "content_policy_violation"
    assert story["steps"][-1]["event"] == "TaskFailed"
    assert "with content_policy_violation" in story["summary"]
    assert story["summary"].endswith("Nothing was charged.")


async def test_failover_is_told_step_by_step(tmp_path: Path) -> None:
    async with two_routes(tmp_path, cheap=replace(FAST, rates={"http": 1.0})) as both:
        one = both.house
        task = await one.made("a hill")
        story = await explained(one, task["id"])
        assert [(step["event"], step["route"]) for step in story["steps"][:3]] == [
            ("Started", "evolink/gpt-image-1.5"),
            ("NotNow", "spare/gpt-image-1.5"),
            ("Accepted", "spare/gpt-image-1.5"),
        ]
        assert story["steps"][1]["detail"].startswith("HTTP 5")
        assert (story["run"]["attempts"], story["run"]["spent_usd"]) == (2, 0.08)
        assert "evolink/gpt-image-1.5 did not take it (HTTP 5" in story["summary"]
        assert "so it was submitted to spare/gpt-image-1.5" in story["summary"]
        rows = await listed(one, "runs?route=spare/gpt-image-1.5")
        assert [row["id"] for row in rows] == [story["run"]["id"]]
        assert await listed(one, "runs?route=evolink/gpt-image-1.5") == []


async def test_an_upstream_that_stays_away_leaves_few_steps_without_a_gap(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "worker": {"retry": {"first": "5ms", "max": "10ms"}},
        "models": {"gpt-image-1.5": {"deadline": "3s"}},
    }
    async with house(tmp_path, **changes) as one:
        task = (await one.post("never [sandbox:http=500:overloaded]")).json()["id"]
        await one.ended(task)
        story = await explained(one, task)
        assert story["run"]["attempts"] > 20
        assert len(story["steps"]) <= 50
        assert story["steps"][-1]["event"] == "DeadlinePassed"
        assert f"{story['run']['attempts']} submits in all" in story["summary"]
        steps = await one.gateway.ledger.steps(story["run"]["id"])
        assert [step.number for step in steps] == list(range(1, len(steps) + 1))
        assert await one.violations() == []


# --- orders that were refused --------------------------------------------------------------------


async def test_a_denied_order_is_explained_at_once_and_after_a_restart(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, teams=ONE_PICTURE)
        try:
            await one.made("the first")
            answer = await one.post("the second", headers={"X-Request-Id": "mine-1"})
            assert answer.status_code == 402
            story = await refusal_of(one, answer)
            assert one.gateway.services.refusals.find("mine-1")  # not even written yet
        finally:
            await one.stop()
        refusal = story["refusal"]
        assert (refusal["request_id"], refusal["team"], refusal["model"]) == (
            "mine-1",
            "blue",
            "gpt-image-1.5",
        )
        assert (refusal["verdict"], refusal["mode"]) == ("denied", "enforce")
        assert (refusal["reason"], refusal["rule"]) == ("budget", "usd_per_day")
        assert (
            "by the rule usd_per_day (budget): The team's limit of $0.05 per day would"
            in (story["summary"])
        )
        assert "It renews at " in story["summary"]
        assert story["run"] is None and story["steps"] == story["tasks"] == []

        again = await opened(sandbox, tmp_path, teams=ONE_PICTURE)
        try:
            assert await explained(again, "mine-1") == story
            runs = await listed(again, "runs")
            assert [step["event"] for step in (await explained(again, runs[0]["id"]))["steps"]] == [
                "Started",
                "Accepted",
                "Finished",
                "PicturesKept",
            ]
            assert await again.violations() == []
        finally:
            await again.stop()


INVALID: list[tuple[str, dict[str, Any], str | None]] = [
    ("/v1/images/generations", {"json": {"model": "gpt-image-1.5", "prompt": "x", "n": 99}}, "n"),
    ("/v1/images/generations", {"json": {"model": "nobody", "prompt": "x"}}, "model"),
    ("/v1/images/generations", {"content": b"{"}, None),
    ("/openai/v1/images/generations", {"json": {"prompt": "x"}}, "model"),
    ("/openai/v1/images/generations", {"content": b"no JSON"}, None),
    ("/openai/v1/images/edits", {"files": {"image": ("a.png", b"no picture")}}, None),
]


@pytest.mark.parametrize(("path", "body", "param"), INVALID)
async def test_an_invalid_order_is_explained(
    a_house: House, path: str, body: dict[str, Any], param: str | None
) -> None:
    answer = await a_house.client.post(path, headers=BEARER, **body)
    assert answer.status_code == 400, answer.text
    story = await refusal_of(a_house, answer)
    refusal = story["refusal"]
    assert (refusal["verdict"], refusal["team"], refusal["task"]) == ("invalid", "blue", None)
    assert refusal["message"] in story["summary"]
    if param is not None:
        assert refusal["param"] == param
    counted = {k: v for k, v in (await a_house.metrics()).items() if "gateway_orders_total" in k}
    assert sum(value for name, value in counted.items() if 'verdict="invalid"' in name) == 1


async def test_a_key_that_comes_with_another_order_is_an_invalid_order(a_house: House) -> None:
    headers = {"Idempotency-Key": "once"}
    await a_house.post("one", headers=headers)
    story = await refusal_of(a_house, await a_house.post("two", headers=headers))
    assert story["refusal"]["reason"] == "idempotency_conflict"


async def test_an_order_beside_a_lost_answer_is_denied_for_that(a_house: House) -> None:
    prompt = "gone [sandbox:drop]"
    assert (await a_house.post(prompt)).status_code == 504
    story = await refusal_of(a_house, await a_house.post(prompt))
    assert story["refusal"]["reason"] == "outcome_unknown"
    (run,) = await listed(a_house, "runs?state=unsure")
    assert (
        "Nobody knows yet whether upstream took it"
        in ((await explained(a_house, run["id"]))["summary"])
    )


async def test_what_upstream_did_not_take_is_found_by_its_request(a_house: House) -> None:
    """Its client was told no task, and knows the request alone."""
    refused = await a_house.post("no [sandbox:http=422]")
    assert refused.status_code == 422
    lost = await a_house.post("gone [sandbox:drop]")
    assert lost.status_code == 504
    story = await refusal_of(a_house, refused)
    assert (story["refusal"]["verdict"], story["refusal"]["reason"]) == ("failed", "refused")
    assert story["refusal"]["task"] == story["tasks"][0]["id"]
    assert story["run"]["failure"]["status"] == 422
    assert "It was admitted, and answered with an error (refused)" in story["summary"]
    story = await refusal_of(a_house, lost)
    assert story["refusal"]["reason"] == "outcome_unknown"
    assert story["run"]["state"] == "unsure"
    assert len(await listed(a_house, "refusals?verdict=failed")) == 2


async def test_openai_orders_are_denied_with_a_reason_too(tmp_path: Path) -> None:
    async with house(tmp_path, teams={"blue": {"allow": {"sizes": ["1:1"]}}}) as one:
        body = {"model": "gpt-image-1.5", "prompt": "x", "size": "1024x1024"}
        answer = await one.client.post("/openai/v1/images/generations", headers=BEARER, json=body)
        refusal = (await refusal_of(one, answer))["refusal"]
        assert (refusal["reason"], refusal["rule"]) == ("size_not_allowed", "allow.size")
        assert (refusal["param"], refusal["verdict"]) == ("size", "denied")


async def test_a_shadow_refusal_shows_what_it_went_on_as(tmp_path: Path) -> None:
    shadow = {"blue": {"budgets": [{"usd": 0.01, "per": "day"}], "mode": "shadow"}}
    async with house(tmp_path, teams=shadow) as one:
        answer = await one.post("through")
        task = await one.ended(answer.json()["id"])
        story = await explained(one, answer.headers["x-request-id"])
        refusal = story["refusal"]
        assert (refusal["mode"], refusal["rule"]) == ("shadow", "usd_per_day")
        assert refusal["task"] == task["id"]
        assert story["run"]["state"] == "done"
        assert "The team is in shadow mode, so that it went on as task " in story["summary"]
        of_task = await explained(one, task["id"])
        assert of_task["kind"] == "run"
        assert "The rule usd_per_day would have denied it, but" in of_task["summary"]


ODD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"n": "x"}, {"n": "x"}),
    (
        {"n": True, "size": {}, "quality": [1]},
        {"n": True, "size": "an object", "quality": "a list"},
    ),
    ({"n": 2**60}, {"n": "a number out of range"}),
    ({"n": 0.5, "size": "s" * 300}, {"n": 0.5, "size": "s" * 100}),
    ({"size": "9:9", "quality": None}, {"size": "9:9"}),
    ({"prompt": ["x"], "n": 2}, {"n": 2}),
]


async def test_a_refusal_shows_what_was_ordered(tmp_path: Path) -> None:
    """As it was sent, whatever that is; with the key, and never with the prompt by default."""
    teams = {"blue": {"budgets": [{"usd": 0.01, "per": "day"}]}}
    async with house(tmp_path, teams=teams) as one:
        known = {"key": digest(TEAM_KEY).removeprefix("sha256:")[:12], "key_label": ""}
        for sent, shown in ODD:
            story = await refusal_of(one, await one.post(**{"prompt": "secret words", **sent}))
            assert story["refusal"]["asked"] == {**shown, **known}
        answer = await one.post("secret words", size="1:1", quality="low", n=3)
        asked = (await refusal_of(one, answer))["refusal"]["asked"]
        assert asked == {"size": "1:1", "quality": "low", "n": 3, "price_usd": 0.15, **known}
        answer = await one.post(model="dall-e-9")
        asked = (await refusal_of(one, answer))["refusal"]["asked"]
        assert asked == {"model": "dall-e-9", **known}
        await one.gateway.services.refusals.flush()
        assert "secret words" not in str(await listed(one, "refusals"))


async def test_the_prompt_of_a_refusal_is_kept_where_the_log_has_prompts(tmp_path: Path) -> None:
    changes = {"log": {"prompts": True}}
    teams = {"blue": {"budgets": [{"usd": 0.01, "per": "day"}]}}
    async with house(tmp_path, server=changes, teams=teams) as one:
        made = await one.admin("POST", "teams", json={"name": "art", "budgets": []})
        assert made.status_code == 200, made.text
        label = 'Anna\'s "laptop" \u2603'
        issued = (await one.admin("POST", "teams/art/keys", json={"label": label})).json()
        answer = await one.post("a fox", n=99, key=issued["key"])
        asked = (await refusal_of(one, answer))["refusal"]["asked"]
        assert asked == {"n": 99, "prompt": "a fox", "key": issued["id"], "key_label": label}
        asked = (await refusal_of(one, await one.post("w" * 3000)))["refusal"]["asked"]
        assert asked["prompt"] == "w" * 1000


async def test_asking_what_it_would_cost_is_no_refusal(tmp_path: Path) -> None:
    async with house(tmp_path, teams={"blue": {"budgets": [{"usd": 0.01, "per": "day"}]}}) as one:
        for body in ({"model": "gpt-image-1.5", "prompt": "x"}, {"model": "gpt-image-1.5"}):
            await one.client.post("/v1/images/estimate", headers=BEARER, json=body)
        assert await listed(one, "refusals") == []


# --- lists ---------------------------------------------------------------------------------------


async def test_runs_are_filtered_and_paged_newest_first(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        for number in range(5):
            await one.made(f"picture {number}")
        await one.made("green's", key=OTHER_KEY)
        await one.post("picture 4")  # a hit
        failed = (await one.post("bad [sandbox:fail=invalid_parameters]")).json()["id"]
        await one.ended(failed)
        rows = await listed(one, "runs")
        assert [row["prompt"] for row in rows][1:] == [
            "green's",
            *(f"picture {number}" for number in reversed(range(5))),
        ]
        assert rows[0]["state"] == "failed" and rows[0]["failure"] == "invalid_parameters"
        assert [row["team"] for row in await listed(one, "runs?team=green")] == ["green"]
        assert len(await listed(one, "runs?team=blue&state=done")) == 5
        assert len(await listed(one, "runs?state=done,failed")) == 7
        hits = await listed(one, "runs?verdict=hit")
        assert [row["prompt"] for row in hits] == ["picture 4"]
        assert await listed(one, "runs?to=2001-01-01") == []
        assert len(await listed(one, "runs?from=2001-01-01&to=2100-01-01")) == 7
        assert await listed(one, "runs?model=other") == []
        seen, cursor = [], ""
        while True:
            page = (await one.admin("GET", f"runs?limit=3{cursor}")).json()
            seen += page["data"]
            if page["next"] is None:
                break
            assert len(page["data"]) == 3
            cursor = f"&cursor={page['next']}"
        assert seen == rows


async def test_refusals_are_filtered_and_paged_newest_first(tmp_path: Path) -> None:
    async with house(tmp_path, teams=ONE_PICTURE) as one:
        await one.made("the only one")
        for number in range(3):
            await one.post(f"more {number}")
        await one.post("too many", n=99)
        await one.post("too many", n=99, key=OTHER_KEY)
        rows = await listed(one, "refusals")
        assert [(row["team"], row["verdict"]) for row in rows] == [
            ("green", "invalid"),
            ("blue", "invalid"),
            *[("blue", "denied")] * 3,
        ]
        assert len(await listed(one, "refusals?team=blue")) == 4
        assert len(await listed(one, "refusals?verdict=invalid")) == 2
        assert len(await listed(one, "refusals?reason=budget")) == 3
        assert await listed(one, "refusals?to=2001-01-01") == []
        first = (await one.admin("GET", "refusals?limit=2")).json()
        rest = await listed(one, f"refusals?limit=500&cursor={first['next']}")
        assert [*first["data"], *rest] == rows


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("runs?state=lost", "state"),
        ("runs?verdict=denied", "verdict"),
        ("runs?route=evolink", "route"),
        ("runs?limit=0", "limit"),
        ("runs?limit=501", "limit"),
        ("runs?cursor=x", "cursor"),
        ("runs?from=some-day", "from"),
        ("runs?colour=red", "colour"),
        ("refusals?verdict=hit", "verdict"),
        ("refusals?state=done", "state"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_wrong_filter_is_named(shared_house: House, path: str, param: str) -> None:
    answer = await shared_house.admin("GET", path)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


async def test_an_unknown_id_is_404(a_house: House) -> None:
    answer = await a_house.admin("GET", "runs/req_none")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("path", ["runs", "runs/run_1", "refusals", "usage"])
@pytest.mark.asyncio(loop_scope="module")
async def test_a_team_is_no_operator(shared_house: House, path: str) -> None:
    assert (await shared_house.admin("GET", path, key=TEAM_KEY)).status_code == 401
    assert (await shared_house.client.get(f"/admin/v1/{path}")).status_code == 401


async def test_a_flood_of_refusals_does_not_slow_orders_down(tmp_path: Path) -> None:
    async with house(tmp_path, teams=ONE_PICTURE) as one:
        await one.made("the only one")
        answers = await asyncio.gather(*(one.post(f"more {number}") for number in range(300)))
        assert {answer.status_code for answer in answers} == {402}
        stories = await asyncio.gather(*(refusal_of(one, answer) for answer in answers[::30]))
        assert {story["refusal"]["reason"] for story in stories} == {"budget"}
        assert len(await listed(one, "refusals?limit=500")) == 300
