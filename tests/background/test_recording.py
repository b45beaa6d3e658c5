"""What an event comes to is decided by the policy of its transaction, not of its arrival."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from core_samples import a_policy
from following_samples import alone

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.background.runs.deps import RunsDeps
from gateway.background.runs.recording import RunRecorder
from gateway.core.catalog import Team
from gateway.core.model import Run, RunState
from gateway.core.money.accounts import Amounts, Cap, Measure, Window
from gateway.core.money.booking import book
from gateway.core.money.budgets import account_keys, windows_at
from gateway.core.money.invariants import Invariant
from gateway.core.policy import Current, Policy
from gateway.core.runs.events import Event, Finished, NotNow, Progressed
from gateway.core.runs.routing import Alternative, Outlook
from gateway.core.transaction import Decide, Keys, View, Writes
from gateway.process.waiters import Waiters

T = TypeVar("T")

NOW = 1_800_003_600.0  # 2027-01-15, nine in the morning in UTC
DEARER = Outlook(go=Alternative("dear", "pictures", 30_000))


class Late(SqliteLedger):
    """Somebody changes the settings while the transaction waits for its turn."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        self.meanwhile()
        return await super().transact(keys, decide)


def a_run(at: float = NOW, **fields: object) -> Run:
    base = Run(
        id=f"run-{at:.0f}",
        fingerprint=f"f-{at:.0f}",
        team="blue",
        model="m",
        quality="",
        n=1,
        request="{}",
        upstream="cheap",
        upstream_model="pictures",
        price_usd_micros=10_000,
        windows=windows_at(at, UTC),
        hold=Amounts(10_000, 1, 1),
        created_at=at,
        deadline_at=at + 900,
        due_at=at,
    )
    return replace(base, **fields)


def limited(limit: int, zone: str) -> Policy:
    team = Team("blue", caps=(Cap(Measure.USD, Window.DAY, limit),))
    return a_policy(teams={"blue": team}, zone=ZoneInfo(zone))


async def ordered(ledger: SqliteLedger, run: Run) -> None:
    keys = Keys(account_keys("blue", run.created_at, UTC), counted=("blue", run.created_at))

    def decide(view: View) -> tuple[None, Writes]:
        return None, book(None, run, view.accounts)

    await ledger.transact(keys, decide)


def tools_of(ledger: SqliteLedger, current: Current) -> RunsDeps:
    nothing: Any = SimpleNamespace(advanced=lambda *_: None, epoch=0)
    return RunsDeps(
        ledger=ledger,
        upstreams={},
        links={},
        pictures=nothing,
        cache=nothing,
        waiters=Waiters(),
        observer=nothing,
        current=current,
        clock=lambda: NOW,
        nudge_webhooks=lambda: None,
        following=alone(),
        recovered=nothing,
    )


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (limited(60_000, "UTC"), RunState.SUBMITTING),
        (limited(29_999, "UTC"), RunState.QUEUED),
        (limited(60_000, "Asia/Tokyo"), RunState.SUBMITTING),
        (limited(50_000, "Asia/Tokyo"), RunState.QUEUED),  # there it was today still
        (replace(limited(60_000, "UTC"), teams={}), RunState.QUEUED),
    ],
)
async def test_a_dearer_route_must_fit_the_limits_of_the_transaction(
    tmp_path: Path, after: Policy, state: RunState
) -> None:
    ledger = Late(tmp_path / "ledger.db", clock=lambda: NOW)
    await ledger.open()
    yesterday = replace(a_run(NOW - 10 * 3600), hold=Amounts(30_000, 1, 1))
    run = a_run()
    for one in (yesterday, run):
        await ordered(ledger, one)
    current = Current(limited(60_000, "UTC"), lambda: NOW)
    ledger.meanwhile = lambda: setattr(current, "policy", after)  # type: ignore[method-assign]
    tools = tools_of(ledger, current)
    went, happened = await RunRecorder(tools).record(run, NotNow("busy"), DEARER)
    await ledger.close()
    assert happened
    assert went.state is state
    assert went.hold.usd_micros == (30_000 if state is RunState.SUBMITTING else 10_000)


class Asked(SqliteLedger):
    """Writes down which accounts each transaction reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, clock=lambda: NOW)
        self.accounts: list[int] = []

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        self.accounts.append(len(keys.accounts) + (keys.counted is not None))
        return await super().transact(keys, decide)


@pytest.mark.parametrize(
    ("event", "deadline_at", "state", "reads"),
    [
        (Progressed("{}"), NOW + 900, RunState.RUNNING, [False]),
        (Finished("{}", ("https://files.example.org/1.png",)), NOW, RunState.KEEPING, [False]),
        (Progressed("{}"), NOW, RunState.FAILED, [False, True]),  # too late: its hold is spent
    ],
)
async def test_accounts_are_read_only_for_what_moves_money(
    tmp_path: Path, event: Event, deadline_at: float, state: RunState, reads: list[bool]
) -> None:
    ledger = Asked(tmp_path / "ledger.db")
    await ledger.open()
    run = a_run(state=RunState.RUNNING, upstream_task_id="t", deadline_at=deadline_at)
    await ordered(ledger, run)
    ledger.accounts.clear()
    tools = tools_of(ledger, Current(limited(60_000, "UTC"), lambda: NOW))
    went, happened = await RunRecorder(tools).record(run, event)
    assert (went.state, happened) == (state, True)
    assert [bool(count) for count in ledger.accounts] == reads
    wrong = {one.invariant for one in await ledger.violations()}
    assert wrong <= {Invariant.TOLD}  # its steps were never written here
    await ledger.close()
