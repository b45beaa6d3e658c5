"""The ledger in memory: the reference implementation, and the double for tests.

It keeps every rule of the port and every constraint of the stores on disk, and nothing
outlives the process. A transaction runs in one go on the event loop, so nothing interleaves.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from gateway.adapters.ledger.memory_reads import MemoryReads
from gateway.adapters.ledger.memory_tables import Tables
from gateway.core.delivery import party
from gateway.core.model import Delivery, DeliveryState, Run, RunState
from gateway.core.money.accounts import AccountKey, Window
from gateway.core.transaction import Decide, Keys
from gateway.core.turns import ANY, in_turn
from gateway.ports.clock import Clock
from gateway.ports.ledger import Old

T = TypeVar("T")
Leasable = TypeVar("Leasable", Run, Delivery)


class MemoryLedger(MemoryReads):
    """See gateway.ports.ledger.Ledger. What was written survives `close` and a new `open`."""

    def __init__(self, *, clock: Clock = time.time) -> None:
        self._clock = clock
        self._is_open = False
        self._tables = Tables()

    async def open(self) -> None:
        for run in self._tables.live_runs():
            self._tables.runs[run.id] = replace(run, lease_owner=None, lease_until=0.0)
        for one in self._tables.pending_deliveries():
            self._tables.deliveries[one.id] = replace(one, lease_owner=None, lease_until=0.0)
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False

    # --- writing -------------------------------------------------------------------------------

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        self._require_open()
        answer, writes = decide(self._tables.view(keys))
        self._tables.write(writes)
        await asyncio.sleep(0)
        return answer

    async def lease(self, owner: str, *, now: float, until: float, limit: int) -> Sequence[Run]:
        self._require_open()
        due = in_turn(*_due(self._tables.live_runs(), now, lambda run: run.team), limit=limit)
        leased = [replace(run, lease_owner=owner, lease_until=until) for run in due]
        self._tables.runs.update((run.id, run) for run in leased)
        await asyncio.sleep(0)
        return leased

    async def lease_deliveries(
        self, owner: str, *, now: float, until: float, limit: int, share: int = ANY
    ) -> Sequence[Delivery]:
        self._require_open()
        waiting = self._tables.pending_deliveries()
        due = in_turn(*_due(waiting, now, party), limit=limit, share=share)
        leased = [replace(one, lease_owner=owner, lease_until=until) for one in due]
        self._tables.deliveries.update((one.id, one) for one in leased)
        await asyncio.sleep(0)
        return leased

    async def forget_upload(self, team: str, upload_id: str) -> None:
        await self._turn()
        self._tables.drop_upload(team, upload_id)

    async def retire(self, *, team: str | None, limit: int) -> Sequence[str]:
        await self._turn()
        found = [
            run
            for run in self._tables.runs.values()
            if run.shared and run.state is RunState.DONE and team in (None, run.team)
        ]
        retired = sorted(found, key=lambda run: (run.team, run.id))[:limit]
        self._tables.runs.update((run.id, replace(run, shared=False)) for run in retired)
        return [run.fingerprint for run in retired]

    async def scrub(self) -> None:
        """Nothing that was overwritten is kept anywhere."""
        await self._turn()

    async def note_store(self, store_id: str) -> None:
        await self._turn()
        self._tables.store_id = store_id

    async def prune(self, old: Old, *, limit: int) -> int:
        await self._turn()
        tables = self._tables
        jobs, claims = self._old_jobs(old)[:limit], self._old_claims(old)[:limit]
        accounts, uploads = self._old_accounts(old)[:limit], self._old_uploads(old)[:limit]
        refusals, alerts = self._old_refusals(old)[:limit], self._old_alerts(old)[:limit]
        for _, job_id in jobs:
            tables.drop_job(job_id)
        for _, team, key in claims:
            del tables.claims[team, key]
        for start, team, window, end in accounts:
            del tables.accounts[AccountKey(team, window, start, end)]
        for _, team, upload_id in uploads:
            tables.drop_upload(team, upload_id)
        for _, refusal_id in refusals:
            del tables.roster.refusals[refusal_id]
        for _, alert_id in alerts:
            tables.drop_delivery(tables.deliveries[alert_id])
        gone = (jobs, claims, accounts, uploads, refusals, alerts)
        return sum(len(one) for one in gone)

    def _old_refusals(self, old: Old) -> list[tuple[float, str]]:
        every = self._tables.roster.refusals.values()
        return sorted((one.at, one.id) for one in every if one.at < old.refusals_before)

    def _old_alerts(self, old: Old) -> list[tuple[float, str]]:
        alerts = (self._tables.deliveries[one] for one in self._tables.delivered.get(None, ()))
        return sorted(
            (one.created_at, one.id)
            for one in alerts
            if one.created_at < old.jobs_before and one.state is not DeliveryState.PENDING
        )

    def _old_jobs(self, old: Old) -> list[tuple[float, str]]:
        tables = self._tables
        owed = {tables.deliveries[one].job_id for one in tables.pending}
        return sorted(
            (job.created_at, job.id)
            for job in tables.jobs.values()
            if job.created_at < old.jobs_before
            and tables.runs[job.run_id].is_final
            and job.id not in owed
        )

    def _old_claims(self, old: Old) -> list[tuple[float, str, str]]:
        return sorted(
            (one.created_at, one.team, one.key)
            for one in self._tables.claims.values()
            if one.created_at < old.claims_before
        )

    def _old_accounts(self, old: Old) -> list[tuple[int, str, Window, int]]:
        return sorted(
            (key.start, key.team, key.window, key.end)
            for key, account in self._tables.accounts.items()
            if key.window in (Window.MINUTE, Window.HOUR)
            and key.start < old.accounts_before
            and not account.held
        )

    def _old_uploads(self, old: Old) -> list[tuple[float, str, str]]:
        return sorted(
            (one.expires_at, one.team, one.id)
            for one in self._tables.uploads.values()
            if one.expires_at < old.uploads_before
        )


def _due(
    waiting: Iterable[Leasable], now: float, party: Callable[[Leasable], str]
) -> tuple[Mapping[str, Sequence[Leasable]], Mapping[str, int]]:
    """What is due of each party in its order, and how much of that each has in hand."""
    due: dict[str, list[Leasable]] = {}
    in_hand: Counter[str] = Counter()
    for one in sorted(waiting, key=lambda one: (one.due_at, one.id)):
        if one.due_at <= now:
            if one.lease_until > now:
                in_hand[party(one)] += 1
            else:
                due.setdefault(party(one), []).append(one)
    return due, in_hand
