"""A paid run that failed is tried again for nothing, by an operator or after a long stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import stores
from house import PRICE_USD, House
from test_attack_upstream import HELD, SPEND, Liar, answer, believing, deceived, png


@pytest.fixture
async def lost(tmp_path: Path) -> AsyncIterator[tuple[House, Liar, Any]]:
    """A run that was paid and lost, its bytes set aside."""
    async with deceived(tmp_path, "20s") as (one, liar):
        liar.link = lambda _: answer(png(1)[:-20])
        task = await one.made("lost and found")
        assert task["error"]["code"] == "result_lost"
        yield one, liar, task


async def retry(one: House, task: Any) -> None:
    answered = await one.admin("POST", f"runs/{task['id']}/retry")
    assert (answered.status_code, answered.json()["state"]) == (200, "keeping"), answered.text
    await one.settled()


async def test_a_lost_run_is_tried_again_for_nothing(lost: tuple[House, Liar, Any]) -> None:
    one, liar, task = lost
    spend = (await one.metrics())[SPEND]
    liar.link = lambda _: answer(png(2))
    await retry(one, task)
    done = await one.ended(task["id"])
    assert done["status"] == "completed" and "error" not in done
    assert (await one.client.get(done["results"][0])).content == png(2)
    shown = await one.metrics()
    assert (shown[SPEND], shown[HELD]) == (spend, 0) and round(spend, 6) == PRICE_USD
    again = await one.post("lost and found")
    assert again.json()["status"] == "completed" and "hit" in again.headers["cache-status"]
    assert liar.asked["submit"] == 1
    assert (await one.admin("GET", "pictures/unproven")).json()["data"] == []
    changes = (await one.admin("GET", "audit", params={"action": "run.retry"})).json()["data"]
    assert changes[0]["before"] == {"state": "failed", "failure": "result_lost"}
    refused = await one.admin("POST", f"runs/{task['id']}/retry")
    assert refused.status_code == 409
    assert "All its pictures are kept" in refused.json()["error"]["message"]
    assert await one.violations() == []


async def test_a_run_that_is_lost_twice_is_paid_once(lost: tuple[House, Liar, Any]) -> None:
    one, liar, task = lost
    for _ in range(2):
        before = liar.asked["link"]
        await retry(one, task)
        assert liar.asked["link"] > before
    shown = await one.metrics()
    assert (round(shown[SPEND], 6), shown[HELD]) == (PRICE_USD, 0)
    assert (await one.poll(task["id"])).json()["error"]["code"] == "result_lost"
    assert await one.violations() == []


async def test_while_it_is_tried_again_the_books_are_right_and_others_join(
    lost: tuple[House, Liar, Any],
) -> None:
    one, liar, task = lost
    liar.link = lambda _: answer(b"", status=503)
    answered = await one.admin("POST", f"runs/{task['id']}/retry")
    assert answered.status_code == 200
    joined = await one.post("lost and found", headers={"Prefer": "respond-async"})
    assert joined.status_code == 200 and liar.asked["submit"] == 1
    assert await one.violations() == []
    liar.link = lambda _: answer(png(4))
    assert (await one.ended(joined.json()["id"]))["status"] == "completed"
    assert await one.violations() == []


async def test_an_order_that_was_made_anew_meanwhile_is_no_obstacle(
    lost: tuple[House, Liar, Any],
) -> None:
    one, liar, task = lost
    finished = liar.poll
    liar.poll = lambda _: answer(liar.task(status="processing"))
    liar.link = lambda _: answer(png(5))
    headers = {"Cache-Control": "no-cache"}
    anew = (await one.post("lost and found", headers=headers)).json()
    assert (await one.admin("POST", f"runs/{task['id']}/retry")).status_code == 200
    assert await one.violations() == []
    liar.poll = finished
    assert (await one.ended(anew["id"]))["status"] == "completed"
    await one.settled()
    assert await one.violations() == []


async def test_what_cannot_be_tried_again_says_why(lost: tuple[House, Liar, Any]) -> None:
    one, liar, _ = lost
    assert (await one.admin("POST", "runs/run_unknown/retry")).status_code == 404
    assert (await one.admin("POST", "runs/run_unknown/retry", key="wrong")).status_code == 401
    error = {"code": "content_policy_violation", "message": "no"}
    liar.poll = lambda _: answer(liar.task(status="failed", error=error))
    failed = await one.made("refused")
    refused = await one.admin("POST", f"runs/{failed['id']}/retry")
    assert refused.status_code == 409 and "Order it anew" in refused.json()["error"]["message"]
    assert refused.json()["error"]["code"] == "run_not_retriable"


async def test_what_was_erased_does_not_come_back(lost: tuple[House, Liar, Any]) -> None:
    one, liar, task = lost
    assert (await one.admin("DELETE", f"runs/{task['id']}")).status_code == 200
    liar.link = lambda _: answer(png(1))
    before = liar.asked["link"]
    refused = await one.admin("POST", f"runs/{task['id']}/retry")
    assert refused.status_code == 409 and "was erased" in refused.json()["error"]["message"]
    assert refused.json()["error"]["code"] == "run_not_retriable"
    assert (await one.poll(task["id"])).json()["status"] == "failed"
    assert liar.asked["link"] == before


async def test_a_run_closed_at_its_deadline_is_kept_after_all(tmp_path: Path) -> None:
    async with deceived(tmp_path, "1s") as (one, liar):
        finished = liar.poll
        liar.poll = lambda _: answer(liar.task(status="processing"))
        task = await one.made("late")
        assert task["error"]["code"] == "generation_timeout"
        liar.poll = finished
        await retry(one, task)
        assert (await one.poll(task["id"])).json()["status"] == "completed"
        assert round((await one.metrics())[SPEND], 6) == PRICE_USD
        assert await one.violations() == []


async def test_what_was_being_kept_is_tried_once_more_after_a_long_stop(tmp_path: Path) -> None:
    async with Liar().serving() as liar:
        liar.link = lambda _: answer(b"", status=503)
        async with believing(liar, tmp_path, "20s") as one:
            task = (await one.post("long ago")).json()
            while liar.asked["link"] < 2:
                await one.poll(task["id"])
        stores.change(
            tmp_path,
            "UPDATE runs SET created_at = created_at - 90000, due_at = 0,"
            " accepted_at = accepted_at - 90000, deadline_at = deadline_at - 90000,"
            " upstream_finished_at = upstream_finished_at - 90000",
        )
        liar.link = lambda _: answer(png(3))
        before = dict(liar.asked)
        async with believing(liar, tmp_path, "20s") as again:
            assert (await again.ended(task["id"]))["status"] == "completed"
            assert liar.asked["poll"] > before["poll"]
            assert liar.asked["link"] == before["link"] + 1
