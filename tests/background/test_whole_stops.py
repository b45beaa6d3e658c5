"""A stop waits for what is paid already; it begins nothing that would last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from whole_upstream import BILL, POLICY, PRICE, WHOLE, House

from gateway.background.runs import CallBounds, asking
from gateway.core.catalog import Catalog, ImageModel, PriceRule, Route
from gateway.core.model import Run, RunState
from gateway.core.runs.events import NotNow, SubmitEvent, Why


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(asking, "BEGUN_SECONDS", 0.1)
    house = House(tmp_path)
    await house.open()
    yield house
    await house.close()


async def test_an_open_call_is_waited_for_and_its_pictures_are_kept(house: House) -> None:
    worker = house.worker()
    run = await house.ordered(worker)
    await house.until(run, lambda one: one.accepted_at is not None)
    stopping = asyncio.create_task(worker.stop(0.5))
    await asyncio.sleep(1.0)
    assert not stopping.done()
    house.whole.made.set()
    await asyncio.wait_for(stopping, 5)
    done = await house.now_is(run)
    assert (done.state, done.spent.usd_micros) == (RunState.DONE, BILL)
    assert house.whole.lying == {}


async def test_it_is_not_waited_for_longer_than_it_may_take(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "END_SECONDS", 0.1)
    house.bounds["whole"] = CallBounds(4, 0.4)
    worker = house.worker()
    run = await house.ordered(worker)
    await house.until(run, lambda one: one.accepted_at is not None)
    await asyncio.wait_for(worker.stop(0.2), 3)
    left = await house.now_is(run)
    assert (left.state, left.lease_owner) == (RunState.SUBMITTING, None)


async def test_one_more_signal_cuts_it(house: House) -> None:
    worker = house.worker()
    run = await house.ordered(worker)
    await house.until(run, lambda one: one.accepted_at is not None)
    stopping = asyncio.create_task(worker.stop(30))
    await asyncio.sleep(0.1)
    worker.stop_at_once()
    await asyncio.wait_for(stopping, 3)
    assert (await house.now_is(run)).state is RunState.SUBMITTING


async def test_runs_of_the_other_kind_end_as_before(house: House) -> None:
    worker = house.worker()
    run = await house.ordered(worker, upstream="tasks")
    await house.state(run, RunState.RUNNING)
    await asyncio.wait_for(worker.stop(5), 3)
    assert (await house.now_is(run)).state is RunState.RUNNING


async def test_pictures_that_wait_for_the_store_are_tried_once_more(house: House) -> None:
    house.whole.stop_at = "delivered"
    house.whole.made.set()
    worker = house.worker()
    run = await house.ordered(worker)
    await asyncio.wait_for(house.whole.reached.wait(), 5)
    for drive in worker._driving.values():
        drive.cancel()
    house.whole.stop_at = ""
    await asyncio.sleep(0)
    waits = await house.now_is(run)
    later = replace(waits, due_at=waits.due_at + 600, lease_owner=None, lease_until=0.0)
    await house.put(later)
    await worker.stop(5)
    assert (await house.now_is(run)).state is RunState.DONE


async def test_nothing_that_would_last_is_begun_by_a_stop(house: House) -> None:
    """A run that its cheaper route does not take waits for the next start instead."""
    routes = (
        Route("tasks", "pictures", (PriceRule(PRICE // 2),)),
        Route("whole", "pictures", (PriceRule(PRICE),), kind=WHOLE),
    )
    catalog = Catalog({"m": ImageModel("m", routes, deadline_seconds=900.0)})
    house.current.policy = replace(POLICY, catalog=catalog)

    async def decline(_: Run) -> SubmitEvent:
        await house.tasks.made.wait()
        return NotNow("HTTP 503", why=Why.PASSING)

    house.tasks.answer = decline
    worker = house.worker()
    run = await house.ordered(worker, upstream="tasks")
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(worker.stop(5))
    await asyncio.sleep(0.05)
    house.tasks.made.set()
    await asyncio.wait_for(stopping, 5)
    assert (await house.now_is(run)).state is RunState.QUEUED
    assert house.whole.sent == []
    house.whole.made.set()
    house.worker()
    assert (await house.final(run)).upstream == "whole"
