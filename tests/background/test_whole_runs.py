"""Submits that are the whole work: told of while they last, sent once, kept in their house."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from whole_upstream import BILL, PRICE, House, Whole

from gateway.background.runs import CallBounds, asking
from gateway.core.model import FailureKind, Run, RunState
from gateway.core.runs.answered import Reply, reply
from gateway.core.runs.events import (
    AnswerLost,
    CredentialsRefused,
    NotNow,
    Refused,
    SubmitEvent,
    TaskFailed,
    Why,
)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(asking, "BEGUN_SECONDS", 0.1)
    yield


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.open()
    yield house
    await house.close()


async def test_the_client_has_its_task_while_the_call_goes_on(house: House) -> None:
    run = await house.ordered(house.worker())
    begun = await house.until(run, lambda one: one.accepted_at is not None)
    assert (begun.state, reply(begun)) == (RunState.SUBMITTING, Reply.TASK)
    assert begun.hold.usd_micros == PRICE
    house.whole.made.set()
    done = await house.final(run)
    assert (done.state, done.spent.usd_micros) == (RunState.DONE, BILL)
    assert house.events(run) == ["Begun", "Delivered", "PicturesKept"]
    assert house.whole.sent == [run.id]
    await house.adds_up()


async def test_what_is_refused_at_sight_is_the_answer_itself(house: House) -> None:
    async def refuse(_: Run) -> SubmitEvent:
        return Refused(400, "{}", "moderation_blocked", "no")

    house.whole.answer = refuse
    run = await house.final(await house.ordered(house.worker()))
    assert reply(run) is Reply.FAILURE and run.spent.usd_micros == 0
    assert house.events(run) == ["Refused"]


async def test_what_comes_after_it_was_told_is_recorded_on_top(house: House) -> None:
    async def fail(_: Run) -> SubmitEvent:
        await house.whole.made.wait()
        return TaskFailed("{}", "server_error", "sorry", charged=True, is_providers=True)

    house.whole.answer = fail
    run = await house.ordered(house.worker())
    await house.until(run, lambda one: one.accepted_at is not None)
    house.whole.made.set()
    failed = await house.final(run)
    assert reply(failed) is Reply.TASK
    assert failed.spent.usd_micros == PRICE, "what may be charged is not made elsewhere as well"
    assert house.tasks.sent == []


async def test_a_lost_answer_ends_the_run_at_once(house: House) -> None:
    async def lose(_: Run) -> SubmitEvent:
        return AnswerLost("cut")

    house.whole.answer = lose
    run = await house.final(await house.ordered(house.worker()))
    assert run.failure is not None and run.failure.kind is FailureKind.OUTCOME_UNKNOWN
    assert run.spent.usd_micros == PRICE
    assert house.whole.sent == [run.id] and house.tasks.sent == []


async def test_its_answer_is_let_go_of_when_the_run_is_final_and_not_before(house: House) -> None:
    seen = []

    async def look(run: Run) -> None:
        seen.append((await house.now_is(run)).state)

    house.whole.before_forget = look
    house.whole.made.set()
    run = await house.ordered(house.worker())
    await house.final(run)
    await asyncio.sleep(0.05)
    assert seen == [RunState.DONE] and house.whole.lying == {}


async def test_a_full_house_is_waited_for_and_no_dearer_route_is_taken(house: House) -> None:
    house.bounds["whole"] = CallBounds(1, 60.0)

    async def make(run: Run) -> SubmitEvent:
        await asyncio.sleep(0.05)
        return house.whole.deliver(run)

    house.whole.answer = make
    worker = house.worker()
    runs = [await house.ordered(worker) for _ in range(8)]
    done = [await house.final(run) for run in runs]
    assert {run.state for run in done} == {RunState.DONE}
    assert sorted(house.whole.sent) == sorted(run.id for run in runs), "each once"
    assert house.whole.most == 1 and house.tasks.sent == []
    assert all(run.spent.usd_micros == BILL for run in done)
    await house.adds_up()


async def test_teams_have_the_places_of_a_house_in_turn(house: House) -> None:
    house.bounds["whole"] = CallBounds(1, 60.0)
    worker = house.worker()
    first = await house.ordered(worker)
    await house.until(first, lambda one: one.accepted_at is not None)
    blues = [await house.ordered(worker) for _ in range(5)]
    await asyncio.gather(*(house.state(run, RunState.QUEUED) for run in blues))
    await asyncio.sleep(0.3)  # by now they stand in line
    green = await house.ordered(worker, team="green")
    await house.state(green, RunState.QUEUED)
    await asyncio.sleep(0.3)
    house.whole.made.set()
    await asyncio.gather(*(house.final(run) for run in (first, *blues, green)))
    assert house.whole.sent.index(green.id) <= 2


async def test_a_full_house_leaves_nobody_in_doubt(house: House) -> None:
    """Who waits is queued: nothing of it was intended, and a stop loses nothing."""
    house.bounds["whole"] = CallBounds(1, 60.0)
    worker = house.worker()
    first = await house.ordered(worker)
    await house.until(first, lambda one: one.accepted_at is not None)
    second = await house.ordered(worker)
    waiting = await house.state(second, RunState.QUEUED)
    assert reply(waiting) is Reply.TASK and waiting.attempts == first.attempts
    await asyncio.sleep(0.3)
    house.whole.made.set()
    await worker.stop(5)
    assert (await house.now_is(first)).state is RunState.DONE
    assert (await house.now_is(second)).state is RunState.QUEUED
    house.worker()
    assert (await house.final(second)).state is RunState.DONE


async def test_one_that_waits_in_line_does_so_until_its_deadline(house: House) -> None:
    house.bounds["whole"] = CallBounds(1, 60.0)
    worker = house.worker()
    first = await house.ordered(worker)
    await house.until(first, lambda one: one.accepted_at is not None)
    late = await house.ordered(worker, deadline_at=first.created_at + 0.5)
    failed = await house.final(late)
    assert failed.failure is not None and failed.spent.usd_micros == 0
    assert house.whole.sent == [first.id]


async def test_a_route_that_is_too_busy_is_left_at_once_and_for_as_long_as_it_says(
    house: House,
) -> None:
    async def busy(_: Run) -> SubmitEvent:
        return NotNow("HTTP 429", 30.0, why=Why.DECLINED)

    house.whole.answer = busy
    worker = house.worker()
    first = await house.state(await house.ordered(worker), RunState.RUNNING)
    assert (first.upstream, first.hold.usd_micros) == ("tasks", 3 * PRICE)
    second = await house.state(await house.ordered(worker), RunState.RUNNING)
    assert second.upstream == "tasks"
    assert house.whole.sent == [first.id], "nobody asks it before its time"


async def test_a_refused_key_is_left_for_another_route(house: House) -> None:
    async def refuse(_: Run) -> SubmitEvent:
        return CredentialsRefused(401, "invalid_api_key")

    house.whole.answer = refuse
    run = await house.state(await house.ordered(house.worker()), RunState.RUNNING)
    assert run.upstream == "tasks"


async def test_a_living_call_is_not_taken_by_another_worker(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it lasts: leases and their renewals are short here."""
    for module in ("gateway.background.runs.leases", "gateway.core.runs.leases"):
        monkeypatch.setattr(f"{module}.RUN_LEASE_SECONDS", 1.0)
        monkeypatch.setattr(f"{module}.SURE_SECONDS", 0.2)
    monkeypatch.setattr("gateway.background.runs.loop.RENEW_SECONDS", 0.2)
    other = Whole()
    worker, _ = house.worker(), house.worker(whole=other)
    run = await house.ordered(worker)
    await asyncio.sleep(3)
    now_is = await house.now_is(run)
    assert (now_is.state, now_is.lease_owner) == (RunState.SUBMITTING, worker.owner)
    house.whole.made.set()
    assert (await house.final(run)).state is RunState.DONE
    assert other.sent == []
