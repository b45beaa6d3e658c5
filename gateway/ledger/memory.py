"""The ledger in memory: the reference implementation, and the double for tests.

It keeps every rule of the port and every constraint of the stores on disk, and nothing
outlives the process. A transaction runs in one go on the event loop, so nothing interleaves.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any, TypeVar

from gateway.core.invariants import Violation
from gateway.core.model import (
    LIVE_STATES,
    Account,
    AccountKey,
    Job,
    Picture,
    Run,
    RunState,
    Usage,
    Window,
)
from gateway.core.transaction import Decide, Keys, View, Writes
from gateway.errors import Unavailable
from gateway.ledger import memory_audit
from gateway.ledger.memory_rules import check_account, check_job, check_run, check_usage, refuse
from gateway.ports import Clock

T = TypeVar("T")

UsageKey = tuple[str, str, int]


class MemoryLedger:
    """See gateway.ports.Ledger. What was written survives `close` and a new `open`."""

    def __init__(self, *, clock: Clock = time.time) -> None:
        self._clock = clock
        self._is_open = False
        self._runs: dict[str, Run] = {}
        self._live: dict[str, None] = {}
        self._of_fingerprint: dict[str, tuple[str, ...]] = {}
        self._of_task: dict[tuple[str, str], str] = {}
        self._jobs: dict[str, Job] = {}
        self._accounts: dict[AccountKey, Account] = {}
        self._usage: dict[UsageKey, Usage] = {}
        self._pictures: dict[str, Picture] = {}

    async def open(self) -> None:
        for run_id in self._live:
            self._runs[run_id] = replace(self._runs[run_id], lease_owner=None, lease_until=0.0)
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        self._require_open()
        view = self._view(keys)
        answer, writes = decide(view)
        undo = _Undo()
        try:
            self._apply(writes, undo)
        except BaseException:
            undo.all()
            raise
        await asyncio.sleep(0)
        return answer

    async def job(self, job_id: str) -> tuple[Job, Run] | None:
        await self._turn()
        job = self._jobs.get(job_id)
        return None if job is None else (job, self._runs[job.run_id])

    async def lease(self, owner: str, *, now: float, until: float, limit: int) -> Sequence[Run]:
        self._require_open()
        due = [run for run in self._live_runs() if run.due_at <= now and run.lease_until <= now]
        due.sort(key=lambda run: (run.due_at, run.id))
        leased = [replace(run, lease_owner=owner, lease_until=until) for run in due[:limit]]
        self._runs.update((run.id, run) for run in leased)
        await asyncio.sleep(0)
        return leased

    async def next_due(self, now: float) -> float | None:
        await self._turn()
        return min((max(run.due_at, run.lease_until) for run in self._live_runs()), default=None)

    async def accounts(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        await self._turn()
        return self._account_view(keys)

    async def usage(
        self, *, since_day: int | None = None, until_day: int | None = None
    ) -> Sequence[Usage]:
        await self._turn()
        totals: dict[tuple[str, str], Usage] = {}
        for one in self._usage.values():
            if (since_day is None or since_day <= one.day) and (
                until_day is None or one.day < until_day
            ):
                key = (one.team, one.model)
                totals[key] = _sum(totals.get(key, Usage(*key, 0)), one)
        return [totals[key] for key in sorted(totals)]

    async def run_counts(self) -> Mapping[RunState, int]:
        await self._turn()
        counts = Counter(run.state for run in self._runs.values())
        return {state: counts[state] for state in RunState}

    async def oldest_unkept(self) -> float | None:
        await self._turn()
        return min(
            (
                run.upstream_finished_at
                for run in self._live_runs()
                if run.state is RunState.KEEPING and run.upstream_finished_at is not None
            ),
            default=None,
        )

    async def picture_totals(self) -> tuple[int, int]:
        await self._turn()
        return len(self._pictures), sum(one.size_bytes for one in self._pictures.values())

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]:
        await self._turn()
        digests = sorted(digest for digest in self._pictures if digest > after)
        return [self._pictures[digest] for digest in digests[:limit]]

    async def violations(self) -> Sequence[Violation]:
        await self._turn()
        return memory_audit.violations(
            memory_audit.Books(
                runs=list(self._runs.values()),
                jobs=list(self._jobs.values()),
                accounts=self._accounts,
                usage=self._usage,
                digests=self._pictures.keys(),
            ),
            self._clock(),
        )

    async def prune(self, *, jobs_before: float, accounts_before: float, limit: int) -> int:
        await self._turn()
        jobs = sorted(
            (job.created_at, job.id)
            for job in self._jobs.values()
            if job.created_at < jobs_before and self._runs[job.run_id].is_final
        )[:limit]
        accounts = sorted(
            (key.start, key.team, key.window)
            for key, account in self._accounts.items()
            if key.window in (Window.MINUTE, Window.HOUR)
            and key.start < accounts_before
            and not account.held
        )[:limit]
        for _, job_id in jobs:
            del self._jobs[job_id]
        for start, team, window in accounts:
            del self._accounts[AccountKey(team, window, start)]
        return len(jobs) + len(accounts)

    # --- loading -------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if not self._is_open:
            raise Unavailable("The gateway's ledger is closed: the gateway is stopping.")

    async def _turn(self) -> None:
        """Lets others have their turn, as every store that is really outside does."""
        self._require_open()
        await asyncio.sleep(0)

    def _live_runs(self) -> list[Run]:
        return [self._runs[run_id] for run_id in self._live]

    def _view(self, keys: Keys) -> View:
        live = finished = None
        if keys.fingerprint is not None:
            same = [self._runs[one] for one in self._of_fingerprint.get(keys.fingerprint, ())]
            shared = [run for run in same if run.shared and run.fingerprint == keys.fingerprint]
            live = next((run for run in shared if not run.is_final), None)
            done = [run for run in shared if run.state is RunState.DONE]
            finished = max(done, key=lambda run: (run.finished_at, run.id), default=None)
        run = None if keys.run_id is None else self._runs.get(keys.run_id)
        return View(self._account_view(keys.accounts), live, finished, run)

    def _account_view(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        return {key: self._accounts.get(key) or Account(key) for key in keys}

    # --- writing -------------------------------------------------------------------------------

    def _apply(self, writes: Writes, undo: _Undo) -> None:
        for run in sorted(writes.runs, key=lambda run: run.shared and not run.is_final):
            self._put_run(run, undo)
        for job in writes.jobs:
            check_job(job)
            if job.run_id not in self._runs:
                refuse(f"job {job.id} has no run")
            if job.id in self._jobs:
                refuse(f"there is a job {job.id} already")
            undo.put(self._jobs, job.id, job)
        for account in writes.accounts:
            check_account(account)
            undo.put(self._accounts, account.key, account)
        for usage in writes.usage:
            check_usage(usage)
            key = (usage.team, usage.model, usage.day)
            undo.put(self._usage, key, _sum(self._usage.get(key, Usage(*key)), usage))

    def _put_run(self, run: Run, undo: _Undo) -> None:
        check_run(run)
        ids = self._of_fingerprint.get(run.fingerprint, ())
        if run.shared and not run.is_final:
            others = (self._runs[one] for one in ids if one != run.id)
            if any(
                o.shared and not o.is_final and o.fingerprint == run.fingerprint for o in others
            ):
                refuse(f"a second live shared run has the fingerprint {run.fingerprint}")
        if run.id not in ids:
            undo.put(self._of_fingerprint, run.fingerprint, (*ids, run.id))
        self._put_task(run, undo)
        undo.put(self._runs, run.id, run)
        if run.state in LIVE_STATES:
            undo.put(self._live, run.id, None)
        else:
            undo.drop(self._live, run.id)
        if run.state is RunState.DONE:
            for picture in run.pictures:
                undo.put(
                    self._pictures, picture.digest, self._pictures.get(picture.digest, picture)
                )

    def _put_task(self, run: Run, undo: _Undo) -> None:
        if run.upstream_task_id is None:
            return
        task = (run.upstream, run.upstream_task_id)
        owner = self._runs.get(self._of_task.get(task, ""))
        if owner and owner.id != run.id and (owner.upstream, owner.upstream_task_id) == task:
            refuse(f"two runs of {run.upstream} have the task {run.upstream_task_id}")
        undo.put(self._of_task, task, run.id)


class _Undo:
    """Remembers what was overwritten, to bring it back when a later write is refused."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def put(self, store: dict[Any, Any], key: object, value: object) -> None:
        self._remember(store, key)
        store[key] = value

    def drop(self, store: dict[Any, Any], key: object) -> None:
        self._remember(store, key)
        store.pop(key, None)

    def _remember(self, store: dict[Any, Any], key: object) -> None:
        if key in store:
            old = store[key]
            self._steps.append(lambda: store.__setitem__(key, old))
        else:
            self._steps.append(lambda: store.pop(key, None))

    def all(self) -> None:
        for step in reversed(self._steps):
            step()


def _sum(total: Usage, more: Usage) -> Usage:
    counters = zip(astuple(total)[3:], astuple(more)[3:], strict=True)
    return Usage(total.team, total.model, total.day, *(a + b for a, b in counters))
