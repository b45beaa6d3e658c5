"""A team's own tasks, many at a time."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest
from house import OTHER_KEY, TEAM_KEY, House

ROW = {
    "created_at",
    "credits_used",
    "has_error",
    "has_results",
    "id",
    "model",
    "progress",
    "status",
    "type",
}


def auth(key: str = TEAM_KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def listed(one: House, query: str = "", key: str = TEAM_KEY) -> Any:
    answer = await one.client.get(f"/v1/tasks{query}", headers=auth(key))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def batch(one: House, body: Any, key: str = TEAM_KEY) -> httpx.Response:
    return await one.client.post("/v1/tasks/batch", json=body, headers=auth(key))


async def test_the_newest_come_first_a_page_at_a_time(a_house: House) -> None:
    ids = [(await a_house.post(f"page {i}")).json()["id"] for i in range(7)]
    await a_house.settled()
    whole = await listed(a_house)
    assert set(whole) == {"data", "page", "page_size", "total"}
    assert (whole["total"], whole["page"], whole["page_size"]) == (7, 1, 20)
    assert [row["id"] for row in whole["data"]] == ids[::-1]
    for row in whole["data"]:
        assert set(row) == ROW
        assert row["status"] == "completed" and row["progress"] == 100
        assert row["has_results"] is True and row["has_error"] is False
        assert row["type"] == "image" and row["model"] == "gpt-image-1.5"
        assert row["credits_used"] > 0
        task = (await a_house.poll(row["id"])).json()
        assert row["created_at"] == task["created"]
    pages = [await listed(a_house, f"?page={n}&page_size=3") for n in (1, 2, 3, 4)]
    assert [row["id"] for page in pages for row in page["data"]] == ids[::-1]
    assert [len(page["data"]) for page in pages] == [3, 3, 1, 0]
    assert {page["total"] for page in pages} == {7}


async def test_by_status(a_house: House) -> None:
    done = await a_house.made("listed")
    hit = (await a_house.post("listed")).json()
    failed = await a_house.made("failed [sandbox:fail]")
    running = (await a_house.post("running [sandbox:stuck]")).json()
    joined = (await a_house.post("running [sandbox:stuck]")).json()
    while (await a_house.poll(running["id"])).json()["status"] != "processing":
        pass
    await a_house.sandbox.refuse_connections()
    queued = (await a_house.post("queued")).json()
    expected = {
        "pending": [queued],
        "processing": [joined, running],
        "completed": [hit, done],
        "failed": [failed],
        "cancelled": [],
    }
    for status, tasks in expected.items():
        found = await listed(a_house, f"?status={status}&type=image")
        assert [row["id"] for row in found["data"]] == [task["id"] for task in tasks], status
        assert found["total"] == len(tasks)
        for row in found["data"]:
            assert row["status"] == status
            task = (await a_house.poll(row["id"])).json()
            assert (row["status"], row["progress"]) == (task["status"], task["progress"])
            assert row["has_results"] is ("results" in task)
            assert row["has_error"] is ("error" in task)
    (row,) = [row for row in (await listed(a_house))["data"] if row["id"] == hit["id"]]
    assert row["credits_used"] == 0
    assert (await listed(a_house))["total"] == 6


async def test_by_model(a_house: House) -> None:
    await a_house.made("by model")
    for name in ("gpt-image-1.5", "gpt-image-1.5-lite"):
        assert (await listed(a_house, f"?model={name}"))["total"] == 1
    unknown = await a_house.client.get("/v1/tasks?model=gpt-image-9", headers=auth())
    assert unknown.status_code == 400 and unknown.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("status=done", "status"),
        ("status=COMPLETED", "status"),
        ("type=video", "type"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=one", "page"),
        ("page=1000001", "page"),
        ("page=%D9%A1", "page"),
        ("page_size=0", "page_size"),
        ("page_size=51", "page_size"),
        ("page_size=1.5", "page_size"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_bad_values_are_named(shared_house: House, query: str, param: str) -> None:
    answer = await shared_house.client.get(f"/v1/tasks?{query}", headers=auth())
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_empty_values_and_unknown_names_are_no_filters(a_house: House) -> None:
    await a_house.made("unfiltered")
    query = "?status=&type=&model=&page=&page_size=50&sort=up"
    assert (await listed(a_house, query))["total"] == 1


async def test_nobody_sees_another_teams_tasks(a_house: House) -> None:
    mine = await a_house.made("mine")
    assert (await listed(a_house, key=OTHER_KEY)) == {
        "data": [],
        "page": 1,
        "page_size": 20,
        "total": 0,
    }
    foreign = await batch(a_house, {"task_ids": [mine["id"]]}, OTHER_KEY)
    assert foreign.json() == {"data": []}
    assert (await a_house.client.get("/v1/tasks")).status_code == 401
    assert (await a_house.client.post("/v1/tasks/batch", json={})).status_code == 401


async def test_many_tasks_in_one_request(a_house: House) -> None:
    done = await a_house.made("batch")
    hit = (await a_house.post("batch")).json()
    theirs = await a_house.made("theirs", key=OTHER_KEY)
    running = (await a_house.post("still [sandbox:stuck]")).json()
    asked = [running["id"], theirs["id"], hit["id"], "task-unified-1-unknown1", "x", done["id"]]
    answer = await batch(a_house, {"task_ids": [*asked, hit["id"]]})
    assert answer.status_code == 200
    found = answer.json()["data"]
    assert [task["id"] for task in found] == [running["id"], hit["id"], done["id"]]
    assert found[1:] == [hit, done]
    assert found[0]["status"] in ("pending", "processing")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"task_ids": []},
        {"task_ids": "x"},
        {"task_ids": [1]},
        {"task_ids": ["x"] * 51},
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_no_batch_is_refused(shared_house: House, body: Any) -> None:
    answer = await batch(shared_house, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "task_ids"


async def test_lists_and_batches_never_reach_upstream(a_house: House) -> None:
    task = await a_house.made("quiet")
    before = len(a_house.sandbox.state.requests)
    await listed(a_house)
    await batch(a_house, {"task_ids": [task["id"]]})
    assert len(a_house.sandbox.state.requests) == before
