"""The leases of a worker: believed while they hold, asked for when they may not, lost for good."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from core_samples import a_run

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.background.runs.leases import Lease, LeaseLost, Leases
from gateway.core.model import Run, RunState
from gateway.core.money.booking import book
from gateway.core.money.budgets import account_keys
from gateway.core.runs.events import AnswerLost, Begun, Delivered, NotNow, TaskFailed
from gateway.core.runs.leases import (
    RENEW_SECONDS,
    RUN_LEASE_SECONDS,
    SURE_SECONDS,
    may_record,
)
from gateway.core.transaction import Keys, View, Writes
from gateway.errors import Unavailable


class Time:
    """The clock on the wall, and the one that nobody sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.elapsed = 50.0

    def goes(self, seconds: float) -> None:
        self.now += seconds
        self.elapsed += seconds


class Counting(SqliteLedger):
    renewals = 0
    away = False

    async def renew(self, *args: object, **more: object) -> object:  # type: ignore[override]
        self.renewals += 1
        if self.away:
            raise Unavailable("away")
        return await super().renew(*args, **more)  # type: ignore[arg-type]


class Bench:
    """One run that is due, and two workers."""

    def __init__(self, ledger: Counting, time: Time) -> None:
        self.ledger = ledger
        self.time = time
        self.mine, self.other = (
            Leases(ledger, name, clock=lambda: time.now, elapsed=lambda: time.elapsed)
            for name in ("mine", "other")
        )

    async def taken(self) -> Lease:
        (run,) = await self.mine.take(9)
        return self.mine.of(run)

    async def put(self, run: Run) -> None:
        await self.ledger.transact(Keys(run_id=run.id), lambda _: (None, Writes(runs=(run,))))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    time, ledger = Time(), Counting(tmp_path / "ledger.db")
    await ledger.open()
    run = replace(
        a_run(), state=RunState.SUBMITTING, due_at=time.now, lease_owner=None, lease_until=0.0
    )
    keys = Keys(account_keys(run.team, run.created_at, UTC), counted=(run.team, run.created_at))

    def decide(view: View) -> tuple[None, Writes]:
        return None, book(None, run, view.accounts)

    await ledger.transact(keys, decide)
    yield Bench(ledger, time)
    await ledger.close()


async def test_a_lease_that_holds_is_believed(bench: Bench) -> None:
    lease = await bench.taken()
    bench.time.goes(RUN_LEASE_SECONDS - SURE_SECONDS)
    await bench.mine.prove(lease)
    assert bench.ledger.renewals == 0


async def test_one_that_was_due_is_so_though_the_clock_was_set_back_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease_them = bench.ledger.lease

    async def lease(*args: Any, **more: Any) -> Sequence[Run]:
        leased = await lease_them(*args, **more)
        bench.time.now -= 3600
        return leased

    monkeypatch.setattr(bench.ledger, "lease", lease)
    assert (await bench.taken()).run.due_at == bench.time.now


async def test_one_that_may_not_hold_is_asked_for(bench: Bench) -> None:
    """Even long after it ran out, if nobody else has come; whatever the wall's clock says."""
    lease = await bench.taken()
    bench.time.goes(900)
    bench.time.now -= 900
    await bench.mine.prove(lease)
    assert bench.ledger.renewals == 1
    await bench.mine.prove(lease)
    assert bench.ledger.renewals == 1
    bench.time.now += RUN_LEASE_SECONDS - 1
    assert await bench.other.take(9) == []


async def test_one_that_another_worker_has_is_lost(bench: Bench) -> None:
    lease = await bench.taken()
    bench.time.goes(RUN_LEASE_SECONDS)
    assert len(await bench.other.take(9)) == 1
    with pytest.raises(LeaseLost):
        await bench.mine.prove(lease)
    with pytest.raises(LeaseLost):  # and stays so, whatever becomes of the other one
        await bench.other.give_back()
        await bench.mine.prove(lease)


async def test_one_that_came_back_after_another_had_it_is_lost_too(bench: Bench) -> None:
    """The same owner again, and the same run; but it is not the submit that was begun."""
    lease = await bench.taken()
    bench.time.goes(RUN_LEASE_SECONDS)
    (run,) = await bench.other.take(9)
    await bench.put(replace(run, state=RunState.UNSURE, lease_owner=None, lease_until=0.0))
    assert list(await bench.mine.take(9)) == []  # it is in hand already
    with pytest.raises(LeaseLost):
        await bench.mine.prove(lease)


async def test_one_that_ran_out_under_its_own_step_goes_on(bench: Bench) -> None:
    lease = await bench.taken()
    bench.time.goes(RUN_LEASE_SECONDS + 1)
    assert list(await bench.mine.take(9)) == []
    await bench.mine.prove(lease)
    assert bench.ledger.renewals == 0


async def test_what_was_just_recorded_is_no_loss(bench: Bench) -> None:
    """A renewal may see more of our own step than the drive knows of yet."""
    lease = await bench.taken()
    on = replace(lease.run, attempts=lease.run.attempts + 1)
    await bench.put(on)
    await bench.mine.renew()
    lease.take_over(on)
    bench.time.goes(RUN_LEASE_SECONDS)
    await bench.mine.prove(lease)


async def test_while_nobody_can_tell_nothing_is_sent(bench: Bench) -> None:
    lease = await bench.taken()
    bench.time.goes(RUN_LEASE_SECONDS)
    bench.ledger.away = True
    with pytest.raises(Unavailable):
        await bench.mine.prove(lease)
    bench.ledger.away = False
    await bench.mine.prove(lease)


async def test_a_run_that_is_leased_while_its_drive_ends_is_not_forgotten(bench: Bench) -> None:
    """Its step was recorded, and it is due again before the drive knows that it has ended."""
    lease = await bench.taken()
    waits = replace(lease.run, state=RunState.UNSURE, tries=1, lease_owner=None, lease_until=0.0)
    await bench.put(waits)
    assert await bench.mine.take(9) == []
    again = bench.mine.end(waits.id)
    assert again is not None and (again.tries, again.lease_owner) == (1, "mine")
    await bench.mine.prove(bench.mine.of(again))
    assert bench.ledger.renewals == 1
    assert bench.mine.end(waits.id) is None


async def test_what_the_drive_did_under_the_new_lease_is_not_done_again(bench: Bench) -> None:
    lease = await bench.taken()
    bench.time.goes(RUN_LEASE_SECONDS)
    assert await bench.mine.take(9) == []
    await bench.put(replace(lease.run, state=RunState.UNSURE, lease_owner=None, lease_until=0.0))
    again = bench.mine.end(lease.run.id)
    assert again is not None
    with pytest.raises(LeaseLost):
        await bench.mine.prove(bench.mine.of(again))


async def test_a_submit_that_lasts_minutes_stays_in_the_same_hands(bench: Bench) -> None:
    lease = await bench.taken()
    for _ in range(75):
        bench.time.goes(RENEW_SECONDS)
        await bench.mine.renew()
        assert await bench.other.take(9) == []
    begun = replace(lease.run, accepted_at=bench.time.now)
    await bench.put(begun)
    await bench.mine.renew()
    lease.take_over(begun)
    await bench.mine.prove(lease)


async def test_a_process_that_stood_still_tells_of_its_submit_only_what_is_paid(
    bench: Bench,
) -> None:
    lease = await bench.taken()
    bench.time.goes(300)
    (taken,) = await bench.other.take(9)
    await bench.mine.renew()
    assert lease.lost
    for event in (Begun(), AnswerLost("cut"), NotNow("busy"), TaskFailed("{}", "error", "")):
        assert not may_record(lease.run, event, taken)
    assert may_record(lease.run, Delivered("{}", ("spool:run-1/0",), 5), taken)
