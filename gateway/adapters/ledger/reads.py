"""What the ledger answers: each read goes by one of the lanes, past the writer.

The quick reads, the reports and the audit have a lane each, so that a long one never holds up a
poll. What takes several statements reads them in one transaction, and so sees one state.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar, TypeVar

from gateway.adapters.ledger import (
    account_store,
    history_store,
    listing,
    outbox_store,
    picture_store,
    replica_store,
    reports,
    rows,
    statements,
    store,
    team_store,
)
from gateway.adapters.ledger.database import Database, Row, Statement, every, first
from gateway.adapters.ledger.lane import Lane
from gateway.adapters.ledger.picture_rows import kept_from, picture_from
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
from gateway.core.replicas import Epochs, Replica
from gateway.core.runs.history import Refusal, Step
from gateway.core.teams.records import Change, ManagedTeam, TeamKey
from gateway.ports.ledger import (
    ChangeFilter,
    DeliveryFilter,
    Mark,
    PictureFilter,
    RefusalFilter,
    RunFilter,
    UsagePart,
)
from gateway.ports.replicas import CreditCheck

T = TypeVar("T")


class LedgerReads:
    """The reading half of a ledger, which gives the lanes."""

    _snapshot_begin: ClassVar[str] = "BEGIN"
    _reader: Lane
    _reports: Lane
    _audit: Lane

    async def _first(
        self, sql: str, values: Sequence[object], read: Callable[[Row], T]
    ) -> T | None:
        return await self._reader.call(partial(first, statement=(sql, values), read=read))

    async def _every(self, statement: Statement, read: Callable[[Row], T]) -> list[T]:
        return await self._reports.call(lambda db: every(db, statement, read))

    # --- quick reads ---------------------------------------------------------------------------

    async def job(self, job_id: str) -> Task | None:
        return await self._first(statements.JOB_WITH_RUN, (job_id,), rows.task_from)

    async def jobs(self, team: str, job_ids: Sequence[str]) -> Sequence[Task]:
        wanted = tuple(job_ids)
        return await self._reader.call(self._snapshot(lambda db: reports.jobs(db, team, wanted)))

    async def run(self, run_id: str) -> Run | None:
        return await self._first(statements.RUN_BY_ID, (run_id,), rows.run_from)

    async def each_run(self, run_ids: Sequence[str]) -> Sequence[Run]:
        wanted = (statements.runs_by_id(len(run_ids)), tuple(run_ids))
        return await self._reader.call(lambda db: every(db, wanted, rows.run_from))

    async def steps(self, run_id: str) -> Sequence[Step]:
        told = (history_store.STEPS, (run_id,))
        return await self._reader.call(lambda db: every(db, told, lambda row: Step(*row)))

    async def refusals_named(self, name: str, *, limit: int) -> Sequence[Refusal]:
        named = (history_store.REFUSALS_NAMED, (name, name, limit))
        return await self._every(named, lambda row: Refusal(*row))

    async def roster(self) -> tuple[Sequence[ManagedTeam], Sequence[TeamKey]]:
        return await self._reader.call(self._snapshot(team_store.roster))

    async def next_due(self, known: Collection[str] = ()) -> float | None:
        return await self._reader.call(partial(reports.next_due, known=sorted(known)))

    async def running(self) -> int:
        return await self._reader.call(reports.running)

    async def next_delivery_due(self) -> float | None:
        return await self._reader.call(outbox_store.next_due)

    async def delivery(self, delivery_id: str) -> Delivery | None:
        return await self._first(statements.DELIVERY, (delivery_id,), rows.delivery_from)

    async def upload(self, team: str, upload_id: str) -> Upload | None:
        return await self._first(statements.UPLOAD, (team, upload_id), rows.upload_from)

    async def digests(self, team: str, urls: Sequence[str]) -> Mapping[str, str]:
        wanted = tuple(urls)
        return await self._reader.call(self._snapshot(lambda db: reports.digests(db, team, wanted)))

    async def accounts(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        wanted = tuple(keys)
        return await self._reader.call(
            self._snapshot(lambda db: account_store.accounts(db, wanted))
        )

    async def store_id(self) -> str | None:
        return await self._reader.call(store.store_id)

    async def oldest_unkept(self) -> float | None:
        return await self._reader.call(reports.oldest_unkept)

    async def epochs(self) -> Epochs:
        return await self._reader.call(replica_store.epochs)

    async def replicas(self, *, since: float) -> Sequence[Replica]:
        return await self._reader.call(partial(replica_store.replicas, since=since))

    async def secret(self, name: str) -> str | None:
        return await self._reader.call(partial(replica_store.secret, name=name))

    async def credit_checks(self) -> Sequence[CreditCheck]:
        return await self._reader.call(replica_store.credit_checks)

    # --- lists ---------------------------------------------------------------------------------

    async def tasks(
        self,
        team: str,
        *,
        states: Sequence[RunState],
        page: int,
        page_size: int,
        model: str | None = None,
    ) -> tuple[Sequence[Task], int]:
        asked, slot = reports.TaskQuery(team, tuple(states), model), reports.Slot(page, page_size)
        return await self._reports.call(self._snapshot(lambda db: reports.tasks(db, asked, slot)))

    async def orders(self, team: str, *, after: Mark | None, limit: int) -> Sequence[Task]:
        found = (statements.orders_page(after is not None), (team, *(after or ()), limit))
        return await self._every(found, rows.task_from)

    async def uploads(
        self, team: str, *, now: float, page: int, page_size: int
    ) -> tuple[Sequence[Upload], int]:
        skip = (page - 1) * page_size
        return await self._reports.call(
            self._snapshot(lambda db: reports.uploads(db, team, now, skip=skip, limit=page_size))
        )

    async def deliveries(
        self, asked: DeliveryFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Delivery]:
        found = listing.deliveries_statement(asked, after, limit)
        return await self._every(found, rows.delivery_from)

    async def runs(self, asked: RunFilter, *, after: Mark | None, limit: int) -> Sequence[Run]:
        return await self._every(listing.runs_statement(asked, after, limit), rows.run_from)

    async def jobs_of_run(self, run_id: str, *, limit: int) -> tuple[Sequence[Job], int]:
        return await self._reports.call(
            self._snapshot(lambda db: listing.jobs_of_run(db, run_id, limit))
        )

    async def refusals(
        self, asked: RefusalFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Refusal]:
        found = listing.refusals_statement(asked, after, limit)
        return await self._every(found, lambda row: Refusal(*row))

    async def changes(
        self, asked: ChangeFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Change]:
        found = listing.changes_statement(asked, after, limit)
        return await self._every(found, lambda row: Change(*row))

    async def find_pictures(
        self, asked: PictureFilter, *, after: Mark | None, limit: int
    ) -> Sequence[KeptPicture]:
        found = picture_store.find_statement(asked, after, limit)
        return await self._every(found, partial(picture_store.read_as_asked, asked))

    async def gallery(
        self, team: str, asked: PictureFilter, *, after: Mark | None, limit: int
    ) -> Sequence[KeptPicture]:
        found = picture_store.gallery_statement(team, asked, after=after, limit=limit)
        return await self._every(found, partial(picture_store.read_as_asked, asked))

    async def unremoved(self, *, limit: int) -> Sequence[KeptPicture]:
        return await self._every((picture_store.UNREMOVED, (limit,)), kept_from)

    # --- sums ----------------------------------------------------------------------------------

    async def usage(
        self, *, since_day: int | None = None, team: str | None = None
    ) -> Sequence[Usage]:
        return await self._reports.call(lambda db: reports.usage(db, since_day, team))

    async def usage_by_day(
        self,
        *,
        since_day: int,
        until_day: int,
        team: str | None = None,
        model: str | None = None,
        by: Collection[UsagePart] = frozenset(UsagePart),
    ) -> Sequence[Usage]:
        asked = reports.UsageQuery(since_day, until_day, team, model, frozenset(by))
        return await self._reports.call(lambda db: reports.usage_by_day(db, asked))

    async def run_counts(self) -> Mapping[RunState, int]:
        return await self._reports.call(self._snapshot(reports.run_counts))

    async def over_hold(self) -> Mapping[str, int]:
        return await self._reports.call(reports.over_hold)

    async def picture_totals(self) -> tuple[int, int]:
        return await self._reports.call(picture_store.picture_totals)

    # --- the audit -----------------------------------------------------------------------------

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]:
        found = (picture_store.PICTURES, (after, limit))
        return await self._audit.call(lambda db: every(db, found, picture_from))

    async def credits(self, upstream: str) -> tuple[float, int]:
        """Adds up an index: some 0.1 µs a run, which no page should have to wait for."""
        return await self._audit.call(self._snapshot(lambda db: reports.credits_of(db, upstream)))

    @abstractmethod
    async def violations(self) -> Sequence[Violation]: ...

    def _snapshot(self, read: Callable[[Database], T]) -> Callable[[Database], T]:
        """Several statements that must see the same state."""

        def work(db: Database) -> T:
            db.execute(self._snapshot_begin)
            try:
                return read(db)
            finally:
                db.execute("COMMIT")

        return work
