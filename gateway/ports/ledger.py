"""The ledger: what is asked of it, by whom, and what each answer means.

Runs, jobs, accounts and usage: never lost, never wrong (ACID). Each protocol is what one kind of
asker needs. One class is all of them, and one contract suite holds it to what stands here.

Every method raises `gateway.errors.Unavailable` when the store cannot be reached or is full, and
nothing else but what `transact` says; after that error nothing was written, unless it is
`Unsettled`: then nobody knows yet, and the error itself tells once it is known. Only `Transactions`
and what writes wait for the writer: all other reads go past it, and see what was last committed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from gateway.core.model import (
    Delivery,
    DeliveryState,
    Job,
    KeptPicture,
    Picture,
    Run,
    RunState,
    Task,
    Upload,
    Usage,
    Verdict,
)
from gateway.core.money.accounts import Account, AccountKey
from gateway.core.money.invariants import Violation
from gateway.core.runs.history import Refusal, Step
from gateway.core.teams.records import Change, ManagedTeam, TeamKey
from gateway.core.transaction import Decide, Keys
from gateway.ports.leases import DeliveryLeases, RunLeases
from gateway.ports.replicas import Announcements, Replicas, SharedState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Old:
    """What may be pruned: rows from before these times (Unix seconds)."""

    jobs_before: float
    claims_before: float
    accounts_before: float
    uploads_before: float
    refusals_before: float = 0.0
    turns_before: float = 0.0


Mark = tuple[float, str]
"""Where a list goes on, newest first: the time and the id of the last row that was shown."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; None and empty mean any. Times are of their creation: [since, until)."""

    team: str | None = None
    model: str | None = None
    states: tuple[RunState, ...] = ()
    route: tuple[str, str] | None = None
    verdict: Verdict | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class RefusalFilter:
    team: str | None = None
    verdict: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class PictureFilter:
    """Which pictures; `text` is part of the prompt, whatever its case.

    With a digest those bytes alone, of every run that made them.
    """

    team: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    text: str | None = None
    since: float | None = None
    until: float | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    team: str | None = None
    job_id: str | None = None
    state: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes; a subject also means what belongs to it, as a key to its team (`team/id`)."""

    subject: str | None = None
    action: str | None = None
    actor: str | None = None


class UsagePart(StrEnum):
    """What a usage report keeps apart."""

    DAY = "day"
    TEAM = "team"
    MODEL = "model"


class Transactions(Protocol):
    """Whoever writes, or must see things in the order in which they are written."""

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        """Loads what `keys` name (locked), calls `decide`, writes what it returns, commits.

        Durable when it returns. `decide` is pure and may be called more than once. When it
        raises, nothing is written and its exception comes out unchanged; so it is when its
        writes break a constraint (`gateway.core.transaction.ConstraintViolation`). Cancelling
        the caller does not cancel the transaction.
        """


class AccountReads(Protocol):
    """How much a team has spent and holds."""

    async def accounts(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        """The accounts as last committed, each with what its runs have."""


class TaskReads(Protocol):
    """Tasks and their runs, as every poll asks for them: quick."""

    async def job(self, job_id: str) -> Task | None:
        """The job and the run it points to; None when there is no such job."""

    async def jobs(self, team: str, job_ids: Sequence[str]) -> Sequence[Task]:
        """Those of these jobs that are the team's, in the order asked; the others are absent."""

    async def tasks(
        self,
        team: str,
        *,
        states: Sequence[RunState],
        page: int,
        page_size: int,
        model: str | None = None,
    ) -> tuple[Sequence[Task], int]:
        """One page (from 1) of the team's jobs whose runs are in these states, newest first.

        With `model` only those of that model. The number is that of all of them.
        """

    async def run(self, run_id: str) -> Run | None:
        """The run as last committed; None when there is none with this id."""

    async def each_run(self, run_ids: Sequence[str]) -> Sequence[Run]:
        """Those of these runs that there are."""


class OrderRecords(Transactions, TaskReads, AccountReads, Protocol):
    """What an order is judged by and becomes."""


class RunQueue(Transactions, TaskReads, RunLeases, Protocol):
    """What drives runs."""


class Outbox(Transactions, TaskReads, DeliveryLeases, Protocol):
    """What delivers callbacks and alerts."""

    async def delivery(self, delivery_id: str) -> Delivery | None:
        """The callback or alert; None when there is none with this id."""


class UploadRecords(Transactions, Protocol):
    """The files that teams have uploaded, and what their links name."""

    async def uploads(
        self, team: str, *, now: float, page: int, page_size: int
    ) -> tuple[Sequence[Upload], int]:
        """One page (from 1) of the team's files that upstream still has, and how many there are.

        The newest come first.
        """

    async def upload(self, team: str, upload_id: str) -> Upload | None:
        """The team's file, whether upstream still has it or not."""

    async def digests(self, team: str, urls: Sequence[str]) -> Mapping[str, str]:
        """URL → digest for those URLs that name a file the team has uploaded."""

    async def forget_upload(self, team: str, upload_id: str) -> None:
        """Deletes the record; one that is not there is no error."""


class TeamRecords(Transactions, AccountReads, Protocol):
    """Teams and keys that were made at run time."""

    async def roster(self) -> tuple[Sequence[ManagedTeam], Sequence[TeamKey]]:
        """All teams made at run time, deleted ones too, by name; and every key of them, oldest
        first."""


class Reports(AccountReads, Protocol):
    """Numbers: what was spent, and how much there is of everything."""

    async def usage(
        self, *, since_day: int | None = None, team: str | None = None
    ) -> Sequence[Usage]:
        """Totals by team and model, from a day on or of all days; `day` is 0 in them."""

    async def usage_by_day(
        self,
        *,
        since_day: int,
        until_day: int,
        team: str | None = None,
        model: str | None = None,
        by: Collection[UsagePart] = frozenset(UsagePart),
    ) -> Sequence[Usage]:
        """The roll-up for the days in [since, until), ordered by day, team, model.

        What is not in `by` is summed over, and empty (0 for the day) in the answer. Without any
        of them it is one row, or none when there was no usage.
        """

    async def run_counts(self) -> Mapping[RunState, int]:
        """How many runs are in each state; every state is there."""

    async def over_hold(self) -> Mapping[str, int]:
        """By how many micro-dollars each upstream's bills were more than was held, in all; only
        those are named of which one was."""

    async def oldest_unkept(self) -> float | None:
        """When upstream finished the oldest run whose pictures are not kept yet."""

    async def picture_totals(self) -> tuple[int, int]:
        """How many pictures the finished runs own, and their bytes."""


class Lists(TaskReads, Protocol):
    """What operators look through, and teams in their gallery."""

    async def runs(self, asked: RunFilter, *, after: Mark | None, limit: int) -> Sequence[Run]:
        """Runs, the newest by creation first, from behind `after`.

        With a verdict: those that have, or had, a task with it.
        """

    async def steps(self, run_id: str) -> Sequence[Step]:
        """The life of a run, in order; empty for one from before steps were written."""

    async def jobs_of_run(self, run_id: str, *, limit: int) -> tuple[Sequence[Job], int]:
        """The first jobs of the run, oldest first, and how many there are."""

    async def refusals(
        self, asked: RefusalFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Refusal]:
        """Refused orders, newest first, from behind `after`."""

    async def refusals_named(self, name: str, *, limit: int) -> Sequence[Refusal]:
        """Those with this id, or whose request was called so: each team's newest first, so that
        no team's names hide those of another."""

    async def deliveries(
        self, asked: DeliveryFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Delivery]:
        """Callbacks and alerts, newest first, from behind `after`."""

    async def changes(
        self, asked: ChangeFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Change]:
        """What operators did, newest first, from behind `after`."""

    async def find_pictures(
        self, asked: PictureFilter, *, after: Mark | None, limit: int
    ) -> Sequence[KeptPicture]:
        """Pictures on record, newest first, from behind `after` (time and key).

        The same bytes are there once for each run that made them.
        """

    async def orders(self, team: str, *, after: Mark | None, limit: int) -> Sequence[Task]:
        """The team's jobs with their runs, newest first, from behind `after`."""

    async def gallery(
        self, team: str, asked: PictureFilter, *, after: Mark | None, limit: int
    ) -> Sequence[KeptPicture]:
        """The pictures that the team's own tasks show, each run's once, newest first.

        Also those that another team's run made, where the team was answered with them. `created_at`
        is when the team first asked for them, `task_id` that task. Erased ones are absent.
        """


class ErasureRecords(Transactions, Lists, Replicas, Protocol):
    """What is taken back for good, found first."""

    async def unremoved(self, *, limit: int) -> Sequence[KeptPicture]:
        """Pictures that are erased and whose bytes may still be there."""

    async def retire(self, *, team: str | None, limit: int) -> Sequence[str]:
        """Takes up to `limit` finished runs out of the cache for good, and returns their
        fingerprints: from now on nobody is answered from them. Their pictures and numbers stay.
        Where there are any, the epoch of the cache is raised with them."""

    async def scrub(self) -> None:
        """What was deleted or overwritten up to now is in none of the store's files any more.

        Raises `Unavailable` while somebody still reads an older state: then it may be tried again.
        """


class Upkeep(Transactions, Protocol):
    """What is done now and then: what is old goes, and what is there is proved."""

    async def prune(self, old: Old, *, limit: int) -> int:
        """Deletes old narrow rows, at most `limit` of each kind, and returns how many.

        Jobs whose run is final, with their ended callbacks; claims; uploads that upstream has
        forgotten; accounts of minute and hour windows that hold nothing; refusals; ended alerts
        from before `jobs_before`; turns that ran out. Runs stay for ever.
        """

    async def violations(self) -> Sequence[Violation]:
        """Every invariant that is broken, with where; empty when the ledger adds up."""

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]:
        """The pictures that the finished runs own, by digest, each once: up to `limit` of them.

        They begin behind the digest `after`; the first page is behind the empty one. Erased ones
        are absent, here and in the totals.
        """

    async def store_id(self) -> str | None:
        """The id of the picture store that belongs to this ledger; None before there is one."""

    async def note_store(self, store_id: str) -> None:
        """That picture store belongs to this ledger, and no other one."""

    async def credits(self, upstream: str) -> tuple[float, int]:
        """What this upstream reported for all its runs so far, in credits, and how many of its
        runs are live."""


class Ledger(
    OrderRecords,
    RunQueue,
    Outbox,
    UploadRecords,
    TeamRecords,
    Reports,
    ErasureRecords,
    Upkeep,
    Announcements,
    SharedState,
    Protocol,
):
    """All of it, as whoever opens and closes it has it."""

    async def open(self) -> None:
        """Makes or migrates the store and takes hold of it. Called once, before all else.

        A store that only one process may use is locked here, and the leases of its former
        holder are void from then on. Where several share it leases run out, for those who have
        them may live.
        """

    async def close(self) -> None:
        """Finishes what is under way and lets go. Safe to call twice."""
