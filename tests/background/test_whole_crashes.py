"""A process that dies at any moment of a long submit: what is paid is booked, once, and kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import whole_upstream
from whole_upstream import BILL, POLICY, PRICE, Answer, House, Whole, killed

from gateway.background.runs import asking
from gateway.core.model import FailureKind, Run, RunState
from gateway.core.policy import Policy
from gateway.core.runs import lifecycle, losses
from gateway.core.runs.events import AnswerLost, Freed, NotNow, SubmitEvent, TaskFailed
from gateway.core.teams.changes import Act


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(asking, "BEGUN_SECONDS", 0.1)
    house = House(tmp_path)
    await house.open()
    yield house
    await house.close()


async def restarted(house: House) -> None:
    """The ledger is opened by the next process, which has what lay in the spool."""
    await house.reopened()
    house.whole.stop_at = ""
    worker = house.worker()
    await worker.sweep()


@pytest.mark.parametrize(
    ("moment", "begun"),
    [("sent", False), ("sent", True), ("answered", True), ("delivered", True), ("final", True)],
)
async def test_whenever_it_dies_it_is_sent_once_and_booked_once(
    house: House, moment: str, *, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not begun:
        monkeypatch.setattr(asking, "BEGUN_SECONDS", 60.0)
    house.whole.stop_at = moment
    worker = house.worker()
    run = await house.ordered(worker)
    if begun:
        await house.until(run, lambda one: one.accepted_at is not None)
    house.whole.made.set()
    await asyncio.wait_for(house.whole.reached.wait(), 5)
    assert (await house.now_is(run)).state is {
        "delivered": RunState.KEEPING,
        "final": RunState.DONE,
    }.get(moment, RunState.SUBMITTING)
    await killed(worker)
    await restarted(house)
    ended = await house.final(run)
    assert house.whole.sent == [run.id] and house.tasks.sent == []
    if moment == "sent":
        assert ended.failure is not None
        assert ended.failure.kind is FailureKind.OUTCOME_UNKNOWN
        assert ended.spent.usd_micros == PRICE
    else:
        assert (ended.state, ended.spent.usd_micros) == (RunState.DONE, BILL)
    await asyncio.sleep(0.05)
    assert house.whole.lying == {}
    await house.adds_up()


async def test_an_answer_that_was_given_up_puts_the_bill_right_when_it_is_found(
    house: House,
) -> None:
    """As when another gateway took the run over, and the one that has the answer comes back."""
    house.whole.stop_at = "answered"
    worker, elsewhere = house.worker(), Whole()
    run = await house.ordered(worker)
    house.whole.made.set()
    await asyncio.wait_for(house.whole.reached.wait(), 5)
    await killed(worker)
    await house.reopened()
    other = house.worker(whole=elsewhere)
    lost = await house.final(run)
    assert lost.spent.usd_micros == PRICE
    await killed(other)
    house.whole.stop_at = ""
    twin = await house.ordered(house.worker(whole=elsewhere), fingerprint=run.fingerprint)
    await house.until(twin, lambda one: one.accepted_at is not None)
    await house.worker().sweep()
    found = await house.until(run, lambda one: one.state is RunState.DONE)
    assert (found.spent.usd_micros, found.failure) == (BILL, None)
    assert not found.shared, "others join the one that is under way"
    await house.adds_up()


@pytest.mark.parametrize("was_lost", [True, False])
async def test_an_answer_is_found_whether_its_upstream_is_named_or_not(
    house: House, *, was_lost: bool
) -> None:
    """All that is needed lies here, and is paid."""
    house.whole.stop_at = "answered"
    worker = house.worker()
    run = await house.ordered(worker)
    house.whole.made.set()
    await asyncio.wait_for(house.whole.reached.wait(), 5)
    await killed(worker)
    await house.reopened()
    house.whole.stop_at = ""
    if was_lost:
        other = house.worker(whole=Whole())
        await house.final(run)
        await killed(other)
    house.named = ("tasks",)
    house.current.policy = replace(POLICY, rules={"tasks": POLICY.rules["tasks"]})
    worker = house.worker()
    await worker.sweep()
    found = await house.until(run, lambda one: one.state is RunState.DONE)
    assert (found.spent.usd_micros, found.failure) == (BILL, None)
    await asyncio.sleep(0.05)
    assert not house.whole.lying
    await house.adds_up()


@pytest.mark.parametrize("why", ["the disk", "the adapter"])
async def test_an_answer_that_cannot_be_read_yet_is_not_swept_out(
    house: House, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the only copy of what was paid, and nothing has shown that it is of no use."""
    house.whole.stop_at = "answered"
    worker = house.worker()
    run = await house.ordered(worker)
    house.whole.made.set()
    await asyncio.wait_for(house.whole.reached.wait(), 5)
    await killed(worker)
    await house.reopened()
    other = house.worker(whole=Whole())
    await house.final(run)
    await killed(other)
    house.whole.stop_at = ""
    readable = house.whole.recovered

    async def broken(_: Run) -> SubmitEvent:
        raise ValueError

    match why:
        case "the disk":
            house.whole.is_unreadable = True
        case "the adapter":
            monkeypatch.setattr(house.whole, "recovered", broken)
    worker = house.worker()
    await worker.sweep()
    assert house.whole.lying
    await killed(worker)
    house.whole.is_unreadable = False
    monkeypatch.setattr(house.whole, "recovered", readable)
    await house.worker().sweep()
    found = await house.until(run, lambda one: one.state is RunState.DONE)
    assert (found.spent.usd_micros, found.failure) == (BILL, None)
    await house.adds_up()


async def given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that ends now as one whose pictures could not be kept. Its answer lies here."""
    monkeypatch.setattr(losses, "why_lost", lambda *_, **__: "too large, say")
    policy = _large(house)
    worker = house.worker()
    house.whole.made.set()
    run = await house.final(await house.ordered(worker))
    assert run.failure is not None and run.failure.kind is FailureKind.RESULT_LOST
    await asyncio.sleep(0.05)
    await worker.sweep()
    assert list(house.whole.lying) == [f"{run.id}-{run.attempts}"]
    house.current.policy = policy
    return run


def _large(house: House) -> Policy:
    policy = house.current.policy
    house.current.policy = replace(policy, picture_limit_bytes=10)
    return policy


ACT = Act("chg_1", 1.0, "0123456789ab")


async def test_pictures_that_were_given_up_can_be_tried_once_more(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await given_up(house, monkeypatch)
    taken = await house.workers[-1].try_again(run, replace(ACT, at=time.time()))
    assert taken is not None and taken.state is RunState.KEEPING
    found = await house.until(run, lambda one: one.state is RunState.DONE)
    assert (found.spent.usd_micros, found.failure) == (BILL, None)
    assert house.whole.sent == [run.id]
    await asyncio.sleep(0.05)
    assert house.whole.lying == {}
    await house.adds_up()


async def test_bytes_that_are_no_picture_are_set_aside_and_not_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "why_lost", lambda *_, **__: "no picture")
    monkeypatch.setattr(whole_upstream, "_picture", lambda: b"no picture")
    worker = house.worker()
    house.whole.made.set()
    run = await house.final(await house.ordered(worker))
    (aside,) = await house.pictures.set_aside(run.id)
    assert aside.size_bytes == len(b"no picture")
    await asyncio.sleep(0.05)
    assert house.whole.lying == {}
    assert await worker.try_again(run, replace(ACT, at=time.time())) is None


async def test_an_answer_that_was_given_up_goes_in_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await given_up(house, monkeypatch)
    worker, late = house.workers[-1], time.time() + 7.1 * 86_400
    assert await worker.try_again(run, replace(ACT, at=late)) is None
    house.current.policy = replace(house.current.policy, free_space_floor_bytes=10**12)
    await worker.sweep()
    assert house.whole.lying == {}, "orders want the room"


async def test_what_cannot_be_removed_keeps_no_other_answer_from_being_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.whole.answer = _lost
    worker = house.worker()
    stuck, lost = [await house.final(await house.ordered(worker)) for _ in range(2)]
    house.whole.lying[f"{stuck.id}-7"] = b"a folder, say"
    house.whole.deliver(lost)
    remove = house.whole.remove

    async def refused(run_id: str) -> None:
        if run_id == stuck.id:
            raise IsADirectoryError(21, "Is a directory")
        await remove(run_id)

    async def in_turn() -> list[str]:
        return [stuck.id, lost.id]

    monkeypatch.setattr(house.whole, "remove", refused)
    monkeypatch.setattr(house.whole, "run_ids", in_turn)
    await worker.sweep()
    found = await house.until(lost, lambda one: one.state is RunState.DONE)
    assert (found.spent.usd_micros, found.failure) == (BILL, None)
    await house.adds_up()


@pytest.mark.parametrize("is_billed", [True, False])
async def test_an_answer_is_worth_more_than_a_record_that_lacks_it(
    house: House, monkeypatch: pytest.MonkeyPatch, *, is_billed: bool
) -> None:
    """Its report came too late, and the run was freed. What was paid is here all the same."""
    house.whole.answer = _lost
    worker = house.worker()
    run = await house.final(await house.ordered(worker))
    rules = POLICY.rules["whole"]
    await house.put(lifecycle.advance(run, Freed("not on record"), time.time(), rules))
    assert (await house.now_is(run)).spent.usd_micros == 0
    found = house.whole.deliver(run)
    if not is_billed:
        monkeypatch.setattr(house.whole, "recovered", _giving(replace(found, cost_usd_micros=None)))
    await worker.sweep()
    done = await house.until(run, lambda one: one.state is RunState.DONE)
    assert (done.spent.usd_micros, done.spent.images) == (BILL if is_billed else PRICE, 1)
    assert done.failure is None
    await house.adds_up()


async def _lost(_: Run) -> SubmitEvent:
    return AnswerLost("cut off")


def _giving(event: SubmitEvent) -> Answer:
    async def recovered(_: Run) -> SubmitEvent:
        return event

    return recovered


async def test_what_the_ledger_does_not_know_is_not_swept_out(house: House) -> None:
    house.whole.lying["run_of_a_former_ledger-1"] = b"paid"
    await house.worker().sweep()
    assert house.whole.lying


async def test_what_is_left_of_a_final_run_is_swept_out_and_of_a_live_one_not(
    house: House,
) -> None:
    worker = house.worker()
    run = await house.ordered(worker)
    await house.until(run, lambda one: one.accepted_at is not None)
    house.whole.lying[f"{run.id}-1"] = b"half an answ"
    await worker.sweep()
    assert house.whole.lying
    house.whole.made.set()
    await house.final(run)
    await asyncio.sleep(0.05)
    house.whole.lying[f"{run.id}-1"] = b"left"
    await worker.sweep()
    assert not house.whole.lying


async def test_one_that_lost_the_run_tells_nothing_but_what_is_paid(house: House) -> None:
    """It stood still for long: another worker has found the run, and nothing in its spool."""
    worker = house.worker()
    run = await house.ordered(worker)
    begun = await house.until(run, lambda one: one.accepted_at is not None)
    await house.put(replace(begun, lease_owner="another", lease_until=begun.lease_until + 900))
    recorder = worker._recorder
    taken = replace(begun, lease_owner=worker.owner)
    for event in (
        AnswerLost("cut"),
        NotNow("HTTP 503"),
        TaskFailed("{}", "server_error", "sorry"),
    ):
        assert (await recorder.record(taken, event))[1] is False
    house.whole.made.set()
    kept = await house.state(run, RunState.KEEPING)
    assert kept.billed_usd_micros == BILL


async def test_an_answer_in_another_gateways_spool_is_not_dead(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.following.is_shared = True
    monkeypatch.setattr(house.following, "check", lambda _: None)
    house.whole.stop_at = "delivered"
    worker = house.worker()
    run = await house.ordered(worker)
    house.whole.made.set()
    await house.state(run, RunState.KEEPING)
    await killed(worker)
    await house.ledger.give_back(worker.owner)
    house.worker(whole=Whole())
    tried = await house.until(run, lambda one: one.due_at > run.due_at + 1, seconds=20)
    assert (tried.state, tried.lease_owner, tried.trouble) == (RunState.KEEPING, None, None)
    house.whole.stop_at = ""
    house.worker()
    assert (await house.final(run)).state is RunState.DONE
