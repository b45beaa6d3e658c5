"""The ledger in one SQLite file, for one gateway process.

One thread writes; transactions that wait for it share a commit. Reads go past it on connections
of their own: the quick ones, the reports and the audit each on a thread, so that a long one
never holds up a poll. The process that writes holds a lock on `<file>.lock`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

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
)
from gateway.core.transaction import Decide, Keys
from gateway.errors import Unavailable
from gateway.ledger import audit, migrations, reports, statements, store
from gateway.ledger.connections import BUSY_SECONDS, Reader, Writer, connect, unavailable
from gateway.ledger.lane import Lane
from gateway.ports import Clock, Old

T = TypeVar("T")

MAX_WAITING: Final = 10_000
"""More would wait for seconds: better to say so at once."""

MAX_BATCH: Final = 64
"""Transactions in one commit: the first of them waits for all of their work, about 10 ms."""

PRUNE_AT_ONCE: Final = 500
"""Rows deleted in one hop, so that orders get in between."""


class SqliteLedger:
    """See gateway.ports.Ledger. `read_only` reads beside a running gateway: no lock, no writes."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = time.time,
        read_only: bool = False,
        max_waiting: int = MAX_WAITING,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self._path = path
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._read_only = read_only
        self._lock_file: int | None = None
        lane = partial(Lane, max_waiting=max_waiting, max_batch=MAX_BATCH)
        self._writer = lane("ledger-writer", Writer(path, busy_seconds=busy_seconds))
        self._reader = lane("ledger-reader", Reader(path, busy_seconds=busy_seconds))
        self._reports = lane("ledger-reports", Reader(path, busy_seconds=busy_seconds))
        self._audit = lane("ledger-audit", Reader(path, busy_seconds=busy_seconds))
        self._lanes: tuple[Lane, ...] = ()

    async def open(self) -> None:
        await asyncio.to_thread(self._check if self._read_only else self._prepare)
        readers = (self._reader, self._reports, self._audit)
        self._lanes = readers if self._read_only else (self._writer, *readers)
        for lane in self._lanes:
            lane.start()

    async def close(self) -> None:
        for lane in self._lanes:
            await lane.stop()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    # --- writing -----------------------------------------------------------------------------

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        answer: T = await self._writer.call(lambda db: store.transact(db, keys, decide))
        return answer

    async def lease(self, owner: str, *, now: float, until: float, limit: int) -> Sequence[Run]:
        runs: Sequence[Run] = await self._writer.call(
            lambda db: store.lease(db, owner, now=now, until=until, limit=limit)
        )
        return runs

    async def lease_deliveries(
        self, owner: str, *, now: float, until: float, limit: int
    ) -> Sequence[Delivery]:
        found: Sequence[Delivery] = await self._writer.call(
            lambda db: store.lease_deliveries(db, owner, now=now, until=until, limit=limit)
        )
        return found

    async def forget_upload(self, team: str, upload_id: str) -> None:
        await self._writer.call(lambda db: store.forget_upload(db, team, upload_id))

    async def prune(self, old: Old, *, limit: int) -> int:
        before = (old.jobs_before, old.claims_before, old.accounts_before, old.uploads_before)
        kinds = zip(statements.PRUNE, before, strict=True)
        return sum([await self._prune(statement, at, limit) for statement, at in kinds])

    async def _prune(self, statement: str, before: float, limit: int) -> int:
        total = 0
        while total < limit:
            part = min(PRUNE_AT_ONCE, limit - total)
            deleted: int = await self._writer.call(
                partial(store.prune, statement, before=before, limit=part)
            )
            total += deleted
            if deleted < part:
                break
        return total

    # --- quick reads ---------------------------------------------------------------------------

    async def job(self, job_id: str) -> tuple[Job, Run] | None:
        found: tuple[Job, Run] | None = await self._reader.call(lambda db: reports.job(db, job_id))
        return found

    async def jobs(self, team: str, job_ids: Sequence[str]) -> Sequence[tuple[Job, Run]]:
        wanted = tuple(job_ids)
        found: Sequence[tuple[Job, Run]] = await self._reader.call(
            _snapshot(lambda db: reports.jobs(db, team, wanted))
        )
        return found

    async def next_due(self, now: float) -> float | None:
        due: float | None = await self._reader.call(reports.next_due)
        return due

    async def next_delivery_due(self) -> float | None:
        due: float | None = await self._reader.call(reports.next_delivery_due)
        return due

    async def delivery(self, delivery_id: str) -> Delivery | None:
        found: Delivery | None = await self._reader.call(
            lambda db: reports.delivery(db, delivery_id)
        )
        return found

    async def upload(self, team: str, upload_id: str) -> Upload | None:
        found: Upload | None = await self._reader.call(
            lambda db: reports.upload(db, team, upload_id)
        )
        return found

    async def digests(self, team: str, urls: Sequence[str]) -> Mapping[str, str]:
        wanted = tuple(urls)
        found: Mapping[str, str] = await self._reader.call(
            _snapshot(lambda db: reports.digests(db, team, wanted))
        )
        return found

    async def accounts(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        wanted = tuple(keys)
        found: Mapping[AccountKey, Account] = await self._reader.call(
            lambda db: store.accounts(db, wanted)
        )
        return found

    async def oldest_unkept(self) -> float | None:
        oldest: float | None = await self._reader.call(reports.oldest_unkept)
        return oldest

    # --- reports -------------------------------------------------------------------------------

    async def tasks(
        self,
        team: str,
        *,
        states: Sequence[RunState],
        page: int,
        page_size: int,
        model: str | None = None,
    ) -> tuple[Sequence[tuple[Job, Run]], int]:
        asked, slot = reports.Asked(team, tuple(states), model), reports.Slot(page, page_size)
        found: tuple[Sequence[tuple[Job, Run]], int] = await self._reports.call(
            _snapshot(lambda db: reports.tasks(db, asked, slot))
        )
        return found

    async def deliveries(
        self, *, team: str | None, job_id: str | None, limit: int
    ) -> Sequence[Delivery]:
        found: Sequence[Delivery] = await self._reports.call(
            lambda db: reports.deliveries(db, team=team, job_id=job_id, limit=limit)
        )
        return found

    async def uploads(
        self, team: str, *, now: float, page: int, page_size: int
    ) -> tuple[Sequence[Upload], int]:
        skip = (page - 1) * page_size
        found: tuple[Sequence[Upload], int] = await self._reports.call(
            _snapshot(lambda db: reports.uploads(db, team, now, skip=skip, limit=page_size))
        )
        return found

    async def usage(
        self, *, since_day: int | None = None, until_day: int | None = None
    ) -> Sequence[Usage]:
        totals: Sequence[Usage] = await self._reports.call(
            lambda db: reports.usage(db, since_day, until_day)
        )
        return totals

    async def run_counts(self) -> Mapping[RunState, int]:
        counts: Mapping[RunState, int] = await self._reports.call(_snapshot(reports.run_counts))
        return counts

    async def picture_totals(self) -> tuple[int, int]:
        totals: tuple[int, int] = await self._reports.call(reports.picture_totals)
        return totals

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]:
        page: Sequence[Picture] = await self._audit.call(
            lambda db: reports.pictures(db, after, limit)
        )
        return page

    async def violations(self) -> Sequence[Violation]:
        now = self._clock()
        found: Sequence[Violation] = await self._audit.call(
            _snapshot(lambda db: audit.violations(db, now, audit.SQLITE_CHECKS))
        )
        return found

    # --- opening -----------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Takes the lock, makes or migrates the file, voids the former holder's leases."""
        self._lock_file = self._take_lock()
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(self._connect()) as db:
                self._require_wal(db)
                migrations.migrate(db)
                store.void_leases(db)
        except BaseException as error:
            os.close(self._lock_file)
            self._lock_file = None
            raise self._named(error) from error

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, read_only=self._read_only, busy_seconds=self._busy_seconds)

    def _take_lock(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock_file = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._named(error) from error
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock_file)
            raise Unavailable(
                f"Another gateway uses the ledger {self._path}. Stop it first, or give this one"
                " a data folder of its own."
            ) from error
        return lock_file

    def _check(self) -> None:
        """A reader beside the gateway migrates nothing, so the schema must be its own."""
        try:
            with closing(self._connect()) as db:
                have = migrations.version(db)
        except (OSError, sqlite3.Error) as error:
            raise self._named(error) from error
        migrations.refuse_newer(have)
        if have < migrations.migrations()[-1].version:
            raise Unavailable(
                f"The ledger {self._path} is from an older version: start the gateway once,"
                " which brings it up to date."
            )

    def _require_wal(self, db: sqlite3.Connection) -> None:
        mode = db.execute("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal":
            raise Unavailable(
                f"The ledger {self._path} lies on a file system without shared memory (a network"
                " folder?). Put the data folder on a local disk."
            )

    def _named(self, error: BaseException) -> BaseException:
        """At the start the operator reads the message: it names the file."""
        if isinstance(error, sqlite3.Error):
            return Unavailable(f"{unavailable(error).message} ({self._path}: {error})")
        if isinstance(error, OSError):
            return Unavailable(f"The ledger {self._path} cannot be opened: {error}.")
        return error


def _snapshot(read: Any) -> Any:
    """Several statements that must see the same state."""

    def work(db: sqlite3.Connection) -> Any:
        db.execute("BEGIN")
        try:
            return read(db)
        finally:
            db.execute("COMMIT")

    return work
