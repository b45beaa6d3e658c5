"""What the ledger in memory answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from gateway.adapters.ledger import memory_audit, memory_lists
from gateway.adapters.ledger.memory_sums import add
from gateway.adapters.ledger.memory_tables import Tables
from gateway.core.model import (
    Delivery,
    Job,
    KeptPicture,
    Picture,
    Run,
    RunState,
    Task,
    Upload,
    Usage,
)
from gateway.core.money.accounts import Account, AccountKey
from gateway.core.money.invariants import Violation
from gateway.core.runs.history import Refusal, Step, in_turn
from gateway.core.teams.records import Change, ManagedTeam, TeamKey
from gateway.errors import Unavailable
from gateway.ports.clock import Clock
from gateway.ports.ledger import (
    ChangeFilter,
    DeliveryFilter,
    Mark,
    PictureFilter,
    RefusalFilter,
    RunFilter,
    UsagePart,
)


class MemoryReads:
    """The reading half of `MemoryLedger`, which fills the tables."""

    _clock: Clock
    _is_open: bool
    _tables: Tables

    def _require_open(self) -> None:
        if not self._is_open:
            raise Unavailable("The gateway's ledger is closed: the gateway is stopping.")

    async def _turn(self) -> None:
        """Lets others have their turn, as every store that is really outside does."""
        self._require_open()
        await asyncio.sleep(0)

    # --- jobs and runs -------------------------------------------------------------------------

    async def job(self, job_id: str) -> Task | None:
        await self._turn()
        job = self._tables.jobs.get(job_id)
        return None if job is None else Task(job, self._tables.runs[job.run_id])

    async def jobs(self, team: str, job_ids: Sequence[str]) -> Sequence[Task]:
        await self._turn()
        found = (self._tables.jobs.get(job_id) for job_id in dict.fromkeys(job_ids))
        return [
            Task(job, self._tables.runs[job.run_id]) for job in found if job and job.team == team
        ]

    async def tasks(
        self,
        team: str,
        *,
        states: Sequence[RunState],
        page: int,
        page_size: int,
        model: str | None = None,
    ) -> tuple[Sequence[Task], int]:
        await self._turn()
        own = (Task(job, self._tables.runs[job.run_id]) for job in self._tables.jobs.values())
        found = [
            task
            for task in own
            if task.job.team == team
            and task.run.state in states
            and model in (None, task.run.model)
        ]
        found.sort(key=lambda task: (task.job.created_at, task.job.id), reverse=True)
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
        self, asked: DeliveryFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Delivery]:
        await self._turn()
        every = self._tables.deliveries.values()
        found = (one for one in every if memory_lists.fits_delivery(asked, one))
        return memory_lists.page(found, memory_lists.of_delivery, after, limit)

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
        return self._tables.accounts_of(keys)

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

    async def usage_by_day(
        self,
        *,
        since_day: int,
        until_day: int,
        team: str | None = None,
        model: str | None = None,
        by: Collection[UsagePart] = frozenset(UsagePart),
    ) -> Sequence[Usage]:
        await self._turn()
        found = (
            one
            for one in self._tables.usage.values()
            if since_day <= one.day < until_day
            and team in (None, one.team)
            and model in (None, one.model)
        )
        return memory_lists.summed(found, by)

    async def credits(self, upstream: str) -> tuple[float, int]:
        await self._turn()
        of_upstream = [run for run in self._tables.runs.values() if run.upstream == upstream]
        used = sorted(run.credits_used for run in of_upstream if run.credits_used is not None)
        return float(sum(used)), sum(not run.is_final for run in of_upstream)

    # --- runs, and the way they went -----------------------------------------------------------

    async def run(self, run_id: str) -> Run | None:
        await self._turn()
        return self._tables.runs.get(run_id)

    async def runs(self, asked: RunFilter, *, after: Mark | None, limit: int) -> Sequence[Run]:
        await self._turn()
        verdicts = self._tables.verdicts
        found = (
            run
            for run in self._tables.runs.values()
            if memory_lists.fits_run(asked, run, verdicts.get(run.id, frozenset()))
        )
        return memory_lists.page(found, memory_lists.of_run, after, limit)

    async def steps(self, run_id: str) -> Sequence[Step]:
        await self._turn()
        return list(self._tables.roster.steps.get(run_id, ()))

    async def jobs_of_run(self, run_id: str, *, limit: int) -> tuple[Sequence[Job], int]:
        await self._turn()
        found = [job for job in self._tables.jobs.values() if job.run_id == run_id]
        found.sort(key=lambda job: (job.created_at, job.id))
        return found[:limit], len(found)

    async def refusals_named(self, name: str, *, limit: int) -> Sequence[Refusal]:
        await self._turn()
        every = self._tables.roster.refusals.values()
        return in_turn(one for one in every if name in (one.id, one.request_id))[:limit]

    async def refusals(
        self, asked: RefusalFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Refusal]:
        await self._turn()
        every = self._tables.roster.refusals.values()
        found = (one for one in every if memory_lists.fits_refusal(asked, one))
        return memory_lists.page(found, memory_lists.of_refusal, after, limit)

    # --- teams, keys, changes ------------------------------------------------------------------

    async def roster(self) -> tuple[Sequence[ManagedTeam], Sequence[TeamKey]]:
        await self._turn()
        roster = self._tables.roster
        return [roster.teams[name] for name in sorted(roster.teams)], roster.all_keys()

    async def changes(
        self, asked: ChangeFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Change]:
        await self._turn()
        every = self._tables.roster.changes.values()
        found = (one for one in every if memory_lists.fits_change(asked, one))
        return memory_lists.page(found, memory_lists.of_change, after, limit)

    # --- pictures ------------------------------------------------------------------------------

    async def find_pictures(
        self, asked: PictureFilter, *, after: Mark | None, limit: int
    ) -> Sequence[KeptPicture]:
        await self._turn()
        found = self._tables.pictures.find(asked, self._tables.jobs)
        return memory_lists.page(found, memory_lists.of_picture, after, limit)

    async def gallery(
        self, team: str, asked: PictureFilter, *, after: Mark | None, limit: int
    ) -> Sequence[KeptPicture]:
        await self._turn()
        found = self._tables.pictures.gallery(team, asked, self._tables.jobs)
        return memory_lists.page(found, memory_lists.of_picture, after, limit)

    async def unremoved(self, *, limit: int) -> Sequence[KeptPicture]:
        await self._turn()
        register = self._tables.pictures
        waiting = sorted(
            (one.erased_at, one.key)
            for one in register.kept.values()
            if one.erased_at is not None and one.removed_at is None
        )
        return [register.told(register.kept[key]) for _, key in waiting[:limit]]

    async def store_id(self) -> str | None:
        await self._turn()
        return self._tables.store_id

    async def picture_totals(self) -> tuple[int, int]:
        await self._turn()
        pictures = self._tables.pictures.live()
        return len(pictures), sum(one.size_bytes for one in pictures)

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]:
        await self._turn()
        pictures = self._tables.pictures.live()
        return [one for one in pictures if one.digest > after][:limit]

    async def violations(self) -> Sequence[Violation]:
        await self._turn()
        return memory_audit.violations(self._tables, self._clock())


def _next(waiting: Iterable[Run | Delivery]) -> float | None:
    return min((max(one.due_at, one.lease_until) for one in waiting), default=None)
