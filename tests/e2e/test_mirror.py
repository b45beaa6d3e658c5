"""An existing client, with nothing but its base URL and key changed, gets its pictures."""

from __future__ import annotations

import re

from house import FAST, ORGANISATION_KEY, OTHER_KEY, TEAM_KEY, House, house


async def test_an_order_is_taken_made_and_kept(a_house: House) -> None:
    answer = await a_house.post("a red bicycle", size="3:2", quality="low")
    assert answer.status_code == 200
    task = answer.json()
    assert re.fullmatch(r"task-unified-\d{10}-[a-z0-9]{8}", task["id"])
    assert task["object"] == "image.generation.task"
    assert task["status"] in ("pending", "processing")
    assert answer.headers["cache-status"] == "image-gateway; fwd=miss; stored"
    assert " " not in answer.text.split('"prompt"')[0].replace("image gateway", "")
    done = await a_house.ended(task["id"])
    assert done["status"] == "completed" and done["progress"] == 100
    (link,) = done["results"]
    assert link.startswith(f"{a_house.http.base_url}/pictures/") and link.endswith(".png")
    assert [one["url"] for one in done["result_data"]] == [link]
    picture = await a_house.client.get(link)
    assert picture.status_code == 200 and picture.content.startswith(b"\x89PNG")


async def test_upstream_never_sees_the_team_key(a_house: House) -> None:
    await a_house.made("a green door")
    keys = set(a_house.sandbox.state.keys_seen)
    assert keys == {f"Bearer {ORGANISATION_KEY}"}


async def test_bodies_are_compact_and_sorted(a_house: House) -> None:
    answer = await a_house.post("a compact body")
    names = list(answer.json())
    assert names == sorted(names)
    assert '": ' not in answer.text and ', "' not in answer.text


async def test_a_doubled_v1_is_tolerated_and_nothing_redirects(a_house: House) -> None:
    auth = {"Authorization": f"Bearer {TEAM_KEY}"}
    body = {"model": "gpt-image-1.5", "prompt": "doubled"}
    posted = await a_house.client.post("/v1/v1/images/generations", json=body, headers=auth)
    assert posted.status_code == 200
    polled = await a_house.client.get(f"/v1/v1/tasks/{posted.json()['id']}", headers=auth)
    assert polled.status_code == 200
    slashed = await a_house.client.post("/v1/images/generations/", json=body, headers=auth)
    assert slashed.status_code == 200 and not slashed.history
    lost = await a_house.client.post("/v1/nothing/", json=body, headers=auth)
    assert lost.status_code == 404
    assert lost.json()["error"]["message"] == "Invalid URL (POST /v1/nothing)"


async def test_unknown_fields_are_forwarded_and_count(a_house: House) -> None:
    first = await a_house.post("fields", resolution="2K", new_thing={"a": [1]})
    second = await a_house.post("fields", resolution="4K", new_thing={"a": [1]})
    assert first.status_code == second.status_code == 200
    assert a_house.sandbox.state.submits_by_prompt["fields"] == 2


async def test_foreign_and_unknown_tasks_are_one_404(a_house: House) -> None:
    task = (await a_house.post("mine")).json()
    foreign = await a_house.poll(task["id"], key=OTHER_KEY)
    unknown = await a_house.poll("task-unified-1700000000-zzzzzzzz", key=OTHER_KEY)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content
    assert foreign.json()["error"]["code"] == "task_not_found"
    malformed = await a_house.poll("nonsense")
    assert malformed.status_code == 400
    assert malformed.json()["error"]["code"] == "invalid_task_id"


async def test_no_key_and_a_wrong_key_are_401(a_house: House) -> None:
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": f"Basic {TEAM_KEY}"}):
        answer = await a_house.client.post("/v1/images/generations", json={}, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.headers["x-request-id"]


async def test_upstreams_refusal_is_relayed_unchanged(a_house: House) -> None:
    answer = await a_house.post("bad [sandbox:http=422]")
    assert answer.status_code == 422
    old = await a_house.post("bad [sandbox:http=400] [sandbox:integer-code]")
    assert old.status_code == 400 and old.json()["error"]["code"] == 400
    assert await a_house.violations() == []
    assert (await a_house.metrics())[
        'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
    ] == 0


async def test_key_and_balance_failures_are_not_relayed(a_house: House) -> None:
    for status in (401, 402, 403):
        answer = await a_house.post(f"ours [sandbox:http={status}]")
        assert answer.status_code == 502, status
        assert answer.json()["error"]["code"] == "upstream_error"
    assert await a_house.violations() == []


async def test_a_failed_task_is_http_200_with_an_error_object(a_house: House) -> None:
    task = await a_house.made("nasty [sandbox:fail=content_policy_violation]")
    assert task["status"] == "failed" and task["progress"] == 0
    assert task["error"]["code"] == "content_policy_violation"
    assert "results" not in task


async def test_several_pictures_are_several_links(a_house: House) -> None:
    task = await a_house.made("four of them", n=4)
    assert len(set(task["results"])) == 4
    spent = (await a_house.metrics())['gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}']
    assert round(spent, 6) == 0.2


async def test_every_answer_is_stamped(a_house: House) -> None:
    answer = await a_house.client.get("/nowhere", headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 404 and answer.headers["x-request-id"] == "mine-1"
    assert re.fullmatch(r"gateway;dur=[\d.]+, upstream;dur=[\d.]+", answer.headers["server-timing"])
    taken = await a_house.post("timed")
    assert float(taken.headers["server-timing"].rpartition("=")[2]) > 0


async def test_one_upstream_poll_per_interval_however_many_ask(tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    async with house(tmp_path, options=FAST) as one:
        task = (await one.post("watched [sandbox:delay=0.5]")).json()
        for _ in range(60):
            await one.poll(task["id"])
        await one.ended(task["id"])
        (polls,) = one.sandbox.state.polls_by_task.values()
        assert polls <= 14


async def test_a_callback_url_is_kept_from_upstream(a_house: House) -> None:
    plain = await a_house.made("called back")
    hit = await a_house.post("called back", callback_url="https://example.com/done")
    assert hit.json()["results"] == plain["results"]
    await a_house.made("another", callback_url="https://example.com/done")
    assert not a_house.sandbox.state.callbacks
