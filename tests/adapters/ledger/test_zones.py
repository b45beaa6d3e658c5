"""No window holds less than what was ordered in it, whatever time zone comes to be in force.

The truth is added up from the runs by their times. It is compared with what an order is shown, in
every window of every zone, while zones, clocks and runs change.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_backends import BACKENDS, Clock
from ledger_builders import a_job, a_picture, a_run, done, failed, look, now_is, older

from gateway.core.model import Run
from gateway.core.money.accounts import NOTHING, Account, AccountKey, Amounts, Window
from gateway.core.money.booking import book
from gateway.core.money.budgets import account_keys, windows_at
from gateway.core.money.invariants import Invariant
from gateway.core.runs.history import begun
from gateway.core.transaction import Keys, View, Writes
from gateway.ports.ledger import Ledger

ZONES: tuple[tzinfo, ...] = (
    UTC,
    ZoneInfo("Europe/Berlin"),
    ZoneInfo("Africa/Lagos"),  # begins its winter days with Berlin, and ends one month before it
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Kolkata"),
    ZoneInfo("Asia/Kathmandu"),
    ZoneInfo("Asia/Tokyo"),
    ZoneInfo("Pacific/Auckland"),
    ZoneInfo("Pacific/Chatham"),
    timezone(timedelta(hours=1), "as if new rules had come"),
)
NEAR: tuple[datetime, ...] = (
    datetime(2026, 3, 8, 6, 30, tzinfo=UTC),  # New York's clocks go forward
    datetime(2026, 3, 29, 0, 30, tzinfo=UTC),  # Berlin's
    datetime(2026, 4, 4, 13, 30, tzinfo=UTC),  # Auckland's go back
    datetime(2026, 9, 26, 13, 30, tzinfo=UTC),  # and forward
    datetime(2026, 10, 24, 23, 30, tzinfo=UTC),  # Berlin's go back
    datetime(2026, 11, 1, 5, 30, tzinfo=UTC),  # New York's
    datetime(2026, 12, 31, 22, 30, tzinfo=UTC),
)
STEPS = st.sampled_from([0.0, 0.5, 59.0, 61.0, 1799.0, 3600.0, 20_000.0, 90_000.0, 700_000.0])
DO = st.sampled_from(["order", "order", "order", "settle", "fail", "prune", "reopen"])
Move = tuple[str, tzinfo, float]
MOVES = st.lists(st.tuples(DO, st.sampled_from(ZONES), STEPS), min_size=3, max_size=14)


async def order(ledger: Ledger, run: Run, zone: tzinfo) -> None:
    """The run, as an order is admitted in this zone."""
    keys = account_keys(run.team, run.created_at, zone)

    def decide(view: View) -> tuple[None, Writes]:
        assert all(view.accounts[key] for key in keys)
        return None, replace(
            book(None, run, view.accounts), jobs=(a_job(run),), steps=(begun(run),)
        )

    await ledger.transact(Keys(keys, counted=(run.team, run.created_at)), decide)


async def settle(ledger: Ledger, after: Run, zone: tzinfo) -> None:
    keys = account_keys(after.team, after.created_at, zone)

    def decide(view: View) -> tuple[None, Writes]:
        return None, replace(book(view.run, after, view.accounts), steps=(now_is(after),))

    counted = (after.team, after.created_at)
    await ledger.transact(Keys(keys, counted=counted, run_id=after.id), decide)


def truth(runs: list[Run], key: AccountKey) -> Account:
    mine = [run for run in runs if key.covers(run.team, run.created_at)]
    spent, held = (run.spent for run in mine), (run.hold for run in mine)
    return Account(key, sum(spent, NOTHING), sum(held, NOTHING))


async def prove(ledger: Ledger, runs: dict[str, Run], now: float) -> None:
    """What is read and what a decision is shown, in every zone, is what was ordered."""
    every = list(runs.values())
    for zone in ZONES:
        keys = account_keys("alpha", now, zone)
        expected = {key: truth(every, key) for key in keys}
        assert await ledger.accounts(keys) == expected
        assert (await look(ledger, accounts=keys)).accounts == expected


async def live(kind: str, start: datetime, moves: list[Move], *, thorough: bool) -> None:
    clock = Clock()
    clock.now = start.timestamp()
    with folder() as path, BACKENDS[kind](path, clock) as store:
        ledger = await store.again()
        runs: dict[str, Run] = {}
        for number, (what, zone, seconds) in enumerate(moves):
            now = clock.now
            open_runs = [run for run in runs.values() if not run.is_final]
            if what == "order":
                windows = windows_at(now, zone)
                run = a_run(created_at=now, windows=windows, n=1 + number % 3)
                await order(ledger, run, zone)
                runs[run.id] = run
            elif what in ("settle", "fail") and open_runs:
                run = open_runs[number % len(open_runs)]
                lost = failed(run, spent=run.hold, at=now)
                after = done(run, a_picture(f"d{number}"), at=now) if what == "settle" else lost
                await settle(ledger, after, zone)
                runs[run.id] = after
            elif what == "prune":
                await ledger.prune(older(accounts=now - 3600), limit=100)
            elif what == "reopen":
                ledger = await store.again()
            if thorough:
                await prove(ledger, runs, now)
            clock.now += seconds
        await prove(ledger, runs, clock.now)
        assert {one.invariant for one in await ledger.violations()} <= {Invariant.IN_TIME}
        await store.close()


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.parametrize("thorough", [True, False])
@given(start=st.sampled_from(NEAR), moves=MOVES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_window_of_every_zone_has_what_was_ordered_in_it(
    start: datetime, moves: list[Move], thorough: bool
) -> None:
    """Not `thorough`: only the accounts that the moves themselves ask for come to be there."""
    asyncio.run(live("sqlite", start, moves, thorough=thorough))


@pytest.mark.slow
@given(start=st.sampled_from(NEAR), moves=MOVES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_so_has_it_in_postgresql(start: datetime, moves: list[Move]) -> None:
    asyncio.run(live("postgres", start, moves, thorough=False))


async def test_a_run_that_settles_later_counts_in_the_windows_of_every_zone_since(
    ledger: Ledger, clock: Clock
) -> None:
    run = a_run(created_at=clock.now)
    await order(ledger, run, UTC)
    tokyo, berlin = (
        account_keys("alpha", clock.now, ZoneInfo(name)) for name in ("Asia/Tokyo", "Europe/Berlin")
    )
    await look(ledger, accounts=tokyo)  # an order was denied there, say
    after = done(run, a_picture())
    await settle(ledger, after, ZoneInfo("Europe/Berlin"))
    for keys in (tokyo, berlin, account_keys("alpha", clock.now, UTC)):
        found = await ledger.accounts(keys)
        assert {(one.held, one.spent) for one in found.values()} == {(NOTHING, after.spent)}
    assert await ledger.violations() == []


async def test_new_rules_for_the_same_zone_are_another_window(ledger: Ledger, clock: Clock) -> None:
    """The month begins as before and ends an hour earlier: its account is made anew."""
    run = a_run(created_at=clock.now)
    await order(ledger, run, UTC)
    (month,) = (k for k in account_keys("alpha", clock.now, UTC) if k.window is Window.MONTH)
    other = month._replace(end=month.end - 3600)
    assert (await ledger.accounts([other]))[other].held == run.hold


async def test_booking_without_all_accounts_is_a_defect(ledger: Ledger, clock: Clock) -> None:
    run = a_run(created_at=clock.now)
    keys = account_keys(run.team, run.created_at, UTC)
    with pytest.raises(KeyError):
        await ledger.transact(Keys(keys[1:]), lambda view: (None, book(None, run, view.accounts)))
    assert await ledger.accounts(keys) == {key: Account(key) for key in keys}


async def test_only_made_accounts_are_written(ledger: Ledger, clock: Clock) -> None:
    run = a_run(created_at=clock.now)
    await order(ledger, run, UTC)
    keys = account_keys("alpha", clock.now, ZoneInfo("Asia/Tokyo"))
    await look(ledger, accounts=keys)
    counted = (await look(ledger, counted=("alpha", clock.now))).accounts
    days = {key for key in counted if key.window is Window.DAY}
    assert days == {
        key
        for zone in (UTC, ZoneInfo("Asia/Tokyo"))
        for key in account_keys("alpha", clock.now, zone)
        if key.window is Window.DAY
    }
    assert {one.held for one in counted.values()} == {Amounts(run.hold.usd_micros, 1, 1)}
