"""The story of a reconciliation: upstream's own record is asked for, and held against the ledger.

    evidence → runs of that time → what differs → with `apply`: doubtful money freed or confirmed

The ledger is read after upstream's record, so that whatever is in that is in the ledger too, or on
its way. A conclusion happens to a run only while it is still in doubt: twice is as good as once.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

import structlog

from gateway import ids
from gateway.core.model import Run
from gateway.core.money.booking import book
from gateway.core.money.usd import dollars
from gateway.core.policy import Current
from gateway.core.reconciling.by_count import compare_counts
from gateway.core.reconciling.by_task import compare_tasks
from gateway.core.reconciling.evidence import (
    BUCKET_SECONDS,
    Evidence,
    MinuteCounts,
    NoEvidence,
    TaskList,
)
from gateway.core.reconciling.findings import Comparison, Conclusion, Doubt, Extra
from gateway.core.reconciling.works import Work, work_of
from gateway.core.runs import history, lifecycle
from gateway.core.runs.doubts import is_doubtful
from gateway.core.runs.events import FoundPaid, Freed
from gateway.core.runs.lifecycle import IllegalTransition
from gateway.core.runs.rules import Rules
from gateway.core.teams.changes import Act, Action
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.errors import InvalidRequest
from gateway.ports.clock import Clock
from gateway.ports.evidence import Witness
from gateway.ports.ledger import Lists, Mark, RunFilter, Transactions
from gateway.process.waiters import Waiters
from gateway.services.retries import TryAgain

log = structlog.get_logger("gateway.reconciling")

LOOK_BACK_SECONDS: Final = 24 * 3600.0
"""A run may reach upstream so long after it was ordered: then it waited for a route."""

LONGEST_SECONDS: Final = 31 * 24 * 3600.0
MOST_RUNS: Final = 200_000
"""What is held of each is small: a hundred megabytes in all."""

RUNS_AT_ONCE: Final = 100


class Became(StrEnum):
    """What became of a doubtful run."""

    FREED = "freed"
    CONFIRMED = "confirmed"
    FETCHING = "fetching"  # confirmed, and its pictures are asked for
    CHANGED = "changed"  # it was in doubt no more


@dataclass(frozen=True, slots=True)
class Question:
    """`upstream` None: all of them. `settled_seconds` is how old a loss has to be for upstream's
    silence about it to be believed. Times are Unix seconds."""

    upstream: str | None
    since: float
    settled_seconds: float


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One upstream: what was found, or the `problem` that nothing could be.

    `became` tells by run what was done about its doubt.
    """

    upstream: str
    problem: str | None = None
    found: Comparison | None = None
    became: Mapping[str, Became] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Whether anything is left on which the two records do not agree."""
        if self.found is None:
            return False
        left = [one for one in self.found.doubts if one.work.run_id not in self.became]
        return replace(self.found, extra=self.extra, doubts=tuple(left)).differs

    @property
    def extra(self) -> tuple[Extra, ...]:
        """Without the tasks that have found their runs."""
        doubts = self.found.doubts if self.found else ()
        given = {one.task.id for one in doubts if one.task and one.work.run_id in self.became}
        every = self.found.extra if self.found else ()
        return tuple(one for one in every if one.task is None or one.task.id not in given)


class ReconcileRecords(Transactions, Lists, Protocol):
    """What is asked of the ledger."""


@dataclass(frozen=True, slots=True)
class ReconcilingDeps:
    """`witnesses` are the upstreams of the settings, by name."""

    ledger: ReconcileRecords
    witnesses: Callable[[], Mapping[str, Witness]]
    try_again: TryAgain
    waiters: Waiters
    current: Current
    clock: Clock


class Reconciling:
    """One at a time: it reads much, here and upstream."""

    def __init__(self, deps: ReconcilingDeps) -> None:
        self._deps = deps
        self._turn = asyncio.Lock()

    async def look(self, asked: Question) -> Sequence[Reconciled]:
        """What differs. Raises `InvalidRequest` and `Unavailable`; changes nothing."""
        witnesses = self._asked_for(asked)
        async with self._turn:
            return await self._found(asked, witnesses)

    async def settle(self, asked: Question, act: Act) -> Sequence[Reconciled]:
        """The same, and what can be concluded of doubtful runs happens to them."""
        witnesses = self._asked_for(asked)
        async with self._turn:
            found = await self._found(asked, witnesses)
            return [await self._settled(one, act) for one in found]

    def _asked_for(self, asked: Question) -> Mapping[str, Witness]:
        if asked.since < self._deps.clock() - LONGEST_SECONDS:
            raise InvalidRequest("'since' must not be longer than 31 days ago.", param="since")
        every = self._deps.witnesses()
        if asked.upstream is None:
            return every
        if asked.upstream not in every:
            known = ", ".join(every)
            message = f"The settings name no upstream {asked.upstream[:64]!r}; there are: {known}."
            raise InvalidRequest(message, param="upstream")
        return {asked.upstream: every[asked.upstream]}

    # --- what is found -------------------------------------------------------------------------

    async def _found(
        self, asked: Question, witnesses: Mapping[str, Witness]
    ) -> Sequence[Reconciled]:
        now = self._deps.clock()
        since = asked.since // BUCKET_SECONDS * BUCKET_SECONDS
        told = await asyncio.gather(*(one.evidence(since, now) for one in witnesses.values()))
        works = await self._works(since, now, frozenset(witnesses))
        return [
            await self._compared(name, evidence, works[name], now, asked.settled_seconds)
            for name, evidence in zip(witnesses, told, strict=True)
        ]

    async def _compared(
        self,
        name: str,
        evidence: Evidence,
        works: Sequence[Work],
        now: float,
        settled_seconds: float,
    ) -> Reconciled:
        """In a thread: of a busy month it takes seconds."""
        match evidence:
            case NoEvidence(reason):
                return Reconciled(name, problem=reason)
            case TaskList():
                compare = partial(compare_tasks, evidence, works)
            case MinuteCounts():
                compare = partial(compare_counts, evidence, works)
        found = await asyncio.to_thread(compare, now=now, settled_seconds=settled_seconds)
        return Reconciled(name, found=found)

    async def _works(
        self, since: float, now: float, upstreams: frozenset[str]
    ) -> Mapping[str, list[Work]]:
        """The runs with each upstream that may be on a record of the time since then."""
        works: dict[str, list[Work]] = defaultdict(list)
        asked = RunFilter(since=since - LOOK_BACK_SECONDS)
        after: Mark | None = None
        count = 0
        while runs := await self._deps.ledger.runs(asked, after=after, limit=RUNS_AT_ONCE):
            after = (runs[-1].created_at, runs[-1].id)
            count += len(runs)
            if count > MOST_RUNS:
                raise InvalidRequest(
                    "There are too many runs to compare: ask for a shorter time.", param="since"
                )
            for run in runs:
                if run.upstream in upstreams and (work := await self._work(run)):
                    works[run.upstream].append(work)
        return works

    async def _work(self, run: Run) -> Work | None:
        steps = await self._deps.ledger.steps(run.id) if is_doubtful(run) else ()
        return work_of(run, steps)

    # --- what is done --------------------------------------------------------------------------

    async def _settled(self, found: Reconciled, act: Act) -> Reconciled:
        became: dict[str, Became] = {}
        for doubt in found.found.doubts if found.found else ():
            if doubt.conclusion is not Conclusion.UNKNOWN:
                became[doubt.work.run_id] = await self._conclude(doubt, act)
        return replace(found, became=became)

    async def _conclude(self, doubt: Doubt, act: Act) -> Became:
        event: Freed | FoundPaid
        if doubt.conclusion is Conclusion.NOT_TAKEN:
            event, action = Freed(doubt.reason), Action.RUN_FREE
        else:
            event = FoundPaid(doubt.reason, doubt.task.id if doubt.task else None)
            action = Action.RUN_CONFIRM
        after = await self._happen(doubt.work.run_id, event, action, act)
        if after is None:
            return Became.CHANGED
        if isinstance(event, Freed):
            return Became.FREED
        return await self._fetched(after, doubt, act)

    async def _happen(
        self, run_id: str, event: Freed | FoundPaid, action: Action, act: Act
    ) -> Run | None:
        """The run after it, committed with whose wish it was; None: it was in doubt no more."""
        run = await self._deps.ledger.run(run_id)
        if run is None:
            return None
        rules = self._deps.current.policy.rules_of(run.upstream)
        own = replace(act, id=ids.new_change_id(), at=self._deps.clock())
        keys = Keys(counted=(run.team, run.created_at), fingerprint=run.fingerprint, run_id=run.id)
        try:
            after = await self._deps.ledger.transact(
                keys, partial(_concluded, event, action, rules, own)
            )
        except ConstraintViolation:  # its task has got another run meanwhile
            return None
        if after is not None:
            self._deps.waiters.publish(after)
            log.info(
                "run",
                run=after.id,
                happened=type(event).__name__,
                team=after.team,
                route=after.route,
                upstream_task=after.upstream_task_id,
                reason=event.reason,
                spent=after.spent.usd_micros,
                actor=act.actor,
            )
        return after

    async def _fetched(self, run: Run, doubt: Doubt, act: Act) -> Became:
        """Its pictures are had by the second try that any paid run may have."""
        if doubt.task is None or not doubt.task.is_over or doubt.task.is_failed:
            return Became.CONFIRMED
        own = replace(act, id=ids.new_change_id(), at=self._deps.clock())
        tried = await self._deps.try_again(run, own)
        return Became.CONFIRMED if tried is None else Became.FETCHING


def _concluded(
    event: Freed | FoundPaid, action: Action, rules: Rules, act: Act, view: View
) -> tuple[Run | None, Writes]:
    """The decision that lets it happen to the run as it is now."""
    before = view.run
    if before is None:
        return None, Writes()
    try:
        after = lifecycle.advance(before, event, act.at, rules)
    except IllegalTransition:
        return None, Writes()
    step = history.note(before, event, after, act.at)
    change = act.change(
        action, before.id, before=_told(before), after=_told(after, reason=event.reason)
    )
    writes = book(before, after, view.accounts)
    return after, replace(writes, steps=(step,) if step else (), changes=(change,))


def _told(run: Run, **more: str) -> str:
    """What the record of a change says of a run."""
    facts = {
        "failure": run.failure and run.failure.code,
        "spent_usd": dollars(run.spent.usd_micros),
        "upstream_task": run.upstream_task_id,
        **more,
    }
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
