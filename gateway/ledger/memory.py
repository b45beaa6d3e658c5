"""The ledger in memory: the reference implementation, and the double for tests.

It keeps every rule of the port and every constraint of the stores on disk, and nothing
outlives the process. A transaction runs in one go on the event loop, so nothing interleaves.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from gateway.core.invariants import Violation
from gateway.core.model import (
    Account,
    AccountKey,
    Delivery,
    Job,
    Picture,
    Run,
    RunState,
    Upload,
    Usage,
    Window,
)
from gateway.core.transaction import Decide, Keys
from gateway.errors import Unavailable
from gateway.ledger import memory_audit
from gateway.ledger.memory_tables import Tables, add
from gateway.ports import Clock, Old

T = TypeVar("T")
Leasable = TypeVar("Leasable", Run, Delivery)


class MemoryLedger:
    """See gateway.ports.Ledger. What was written survives `close` and a new `open`."""

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

    def _require_open(self) -> None:
        if not self._is_open:
            raise Unavailable("The gateway's ledger is closed: the gateway is stopping.")

    async def _turn(self) -> None:
        """Lets others have their turn, as every store that is really outside does."""
        self._require_open()
        await asyncio.sleep(0)

    # --- writing -------------------------------------------------------------------------------

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        self._require_open()
        answer, writes = decide(self._tables.view(keys))
        self._tables.write(writes)
        await asyncio.sleep(0)
        return answer

    async def lease(self, owner: str, *, now: float, until: float, limit: int) -> Sequence[Run]:
        self._require_open()
        due = _in_turn(self._tables.live_runs(), now, limit)
        leased = [replace(run, lease_owner=owner, lease_until=until) for run in due]
        self._tables.runs.update((run.id, run) for run in leased)
        await asyncio.sleep(0)
        return leased

    async def lease_deliveries(
        self, owner: str, *, now: float, until: float, limit: int
    ) -> Sequence[Delivery]:
        self._require_open()
        due = _in_turn(self._tables.pending_deliveries(), now, limit)
        leased = [replace(one, lease_owner=owner, lease_until=until) for one in due]
        self._tables.deliveries.update((one.id, one) for one in leased)
        await asyncio.sleep(0)
        return leased

    async def forget_upload(self, team: str, upload_id: str) -> None:
        await self._turn()
        self._tables.drop_upload(team, upload_id)

    async def prune(self, old: Old, *, limit: int) -> int:
        await self._turn()
        jobs, claims = self._old_jobs(old)[:limit], self._old_claims(old)[:limit]
        accounts, uploads = self._old_accounts(old)[:limit], self._old_uploads(old)[:limit]
        for _, job_id in jobs:
            self._tables.drop_job(job_id)
        for _, team, key in claims:
            del self._tables.claims[team, key]
        for start, team, window in accounts:
            del self._tables.accounts[AccountKey(team, window, start)]
        for _, team, upload_id in uploads:
            self._tables.drop_upload(team, upload_id)
        return len(jobs) + len(claims) + len(accounts) + len(uploads)

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

    def _old_accounts(self, old: Old) -> list[tuple[int, str, Window]]:
        return sorted(
            (key.start, key.team, key.window)
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

    # --- jobs and runs -------------------------------------------------------------------------

    async def job(self, job_id: str) -> tuple[Job, Run] | None:
        await self._turn()
        job = self._tables.jobs.get(job_id)
        return None if job is None else (job, self._tables.runs[job.run_id])

    async def jobs(self, team: str, job_ids: Sequence[str]) -> Sequence[tuple[Job, Run]]:
        await self._turn()
        found = (self._tables.jobs.get(job_id) for job_id in dict.fromkeys(job_ids))
        return [(job, self._tables.runs[job.run_id]) for job in found if job and job.team == team]

    async def tasks(
        self,
        team: str,
        *,
        states: Sequence[RunState],
        page: int,
        page_size: int,
        model: str | None = None,
    ) -> tuple[Sequence[tuple[Job, Run]], int]:
        await self._turn()
        own = ((job, self._tables.runs[job.run_id]) for job in self._tables.jobs.values())
        found = [
            (job, run)
            for job, run in own
            if job.team == team and run.state in states and model in (None, run.model)
        ]
        found.sort(key=lambda pair: (pair[0].created_at, pair[0].id), reverse=True)
        return found[(page - 1) * page_size : page * page_size], len(found)

    async def next_due(self, now: float) -> float | None:
        await self._turn()
        return _next(self._tables.live_runs())

    async def oldest_unkept(self) -> float | None:
        await self._turn()
        return min(
            (
                run.upstream_finished_at
                for run in self._tables.live_runs()
                if run.state is RunState.KEEPING and run.upstream_finished_at is not None
            ),
            default=None,
        )

    async def run_counts(self) -> Mapping[RunState, int]:
        await self._turn()
        counts = Counter(run.state for run in self._tables.runs.values())
        return {state: counts[state] for state in RunState}

    # --- callbacks and uploads -----------------------------------------------------------------

    async def next_delivery_due(self) -> float | None:
        await self._turn()
        return _next(self._tables.pending_deliveries())

    async def delivery(self, delivery_id: str) -> Delivery | None:
        await self._turn()
        return self._tables.deliveries.get(delivery_id)

    async def deliveries(
        self, *, team: str | None, job_id: str | None, limit: int
    ) -> Sequence[Delivery]:
        await self._turn()
        found = [
            one
            for one in self._tables.deliveries.values()
            if team in (None, one.team) and job_id in (None, one.job_id)
        ]
        found.sort(key=lambda one: (one.created_at, one.id), reverse=True)
        return found[:limit]

    async def uploads(
        self, team: str, *, now: float, page: int, page_size: int
    ) -> tuple[Sequence[Upload], int]:
        await self._turn()
        found = [
            one
            for one in self._tables.uploads.values()
            if one.team == team and one.expires_at > now
        ]
        found.sort(key=lambda one: (one.created_at, one.id), reverse=True)
        return found[(page - 1) * page_size : page * page_size], len(found)

    async def upload(self, team: str, upload_id: str) -> Upload | None:
        await self._turn()
        return self._tables.uploads.get((team, upload_id))

    async def digests(self, team: str, urls: Sequence[str]) -> Mapping[str, str]:
        await self._turn()
        found = {url: self._tables.of_url.get((team, url)) for url in urls}
        return {url: self._tables.uploads[team, one].digest for url, one in found.items() if one}

    # --- money and sums ------------------------------------------------------------------------

    async def accounts(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        await self._turn()
        return self._tables.account_view(keys)

    async def usage(
        self, *, since_day: int | None = None, until_day: int | None = None
    ) -> Sequence[Usage]:
        await self._turn()
        totals: dict[tuple[str, str], Usage] = {}
        for one in self._tables.usage.values():
            if (since_day is None or since_day <= one.day) and (
                until_day is None or one.day < until_day
            ):
                key = (one.team, one.model)
                totals[key] = add(totals.get(key, Usage(*key, 0)), one)
        return [totals[key] for key in sorted(totals)]

    async def picture_totals(self) -> tuple[int, int]:
        await self._turn()
        pictures = self._tables.pictures.values()
        return len(pictures), sum(one.size_bytes for one in pictures)

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]:
        await self._turn()
        digests = sorted(digest for digest in self._tables.pictures if digest > after)
        return [self._tables.pictures[digest] for digest in digests[:limit]]

    async def violations(self) -> Sequence[Violation]:
        await self._turn()
        return memory_audit.violations(self._tables, self._clock())


def _in_turn(waiting: Iterable[Leasable], now: float, limit: int) -> list[Leasable]:
    """The due ones, each team in its turn, counted from what the teams have in hand already."""
    due = sorted(
        (one for one in waiting if one.due_at <= now), key=lambda one: (one.due_at, one.id)
    )
    turns = Counter(one.team for one in due if one.lease_until > now)
    chosen = []
    for one in due:
        if one.lease_until <= now:
            turns[one.team] += 1
            chosen.append((turns[one.team], one.due_at, one.id, one))
    first = [one for *_, one in sorted(chosen, key=lambda entry: entry[:3])[:limit]]
    return sorted(first, key=lambda one: (one.due_at, one.id))


def _next(waiting: Iterable[Leasable]) -> float | None:
    return min((max(one.due_at, one.lease_until) for one in waiting), default=None)
