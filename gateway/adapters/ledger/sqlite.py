"""The ledger in one SQLite file, for one gateway process.

One thread writes; transactions that wait for it share a commit. Reads go past it on connections
of their own: the quick ones, the reports and the audit each on a thread, so that a long one
never holds up a poll. The process that writes holds a lock on `<file>.lock`.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from gateway.adapters.ledger import audit, migrations, sqlite_schema, store
from gateway.adapters.ledger.connections import (
    BUSY_SECONDS,
    SqliteReader,
    connect,
    empty_log,
    unavailable,
)
from gateway.adapters.ledger.lane import Lane
from gateway.adapters.ledger.ledger_file import take_lock
from gateway.adapters.ledger.moving import marks
from gateway.adapters.ledger.reads import LedgerReads
from gateway.adapters.ledger.sqlite_writer import SqliteWriter
from gateway.adapters.ledger.writes import LedgerWrites
from gateway.core.money.invariants import Violation
from gateway.errors import Unavailable
from gateway.ports.clock import Clock
from gateway.ports.replicas import News

MAX_WAITING: Final = 10_000
"""More would wait for seconds: better to say so at once."""

READS: Final = 4
"""So many times more of them may wait: each takes about 50 µs. Ten thousand clients that ask at the
same moment are all answered within the second."""

MAX_BATCH: Final = 64
"""Transactions in one commit: the first of them waits for all of their work, about 10 ms."""

SCRUB_SECONDS: Final = 0.1
SCRUB_TRIES: Final = 20
"""A report that takes longer is not waited for: whoever erases tries again later."""


class SqliteLedger(LedgerReads, LedgerWrites):
    """See gateway.ports.ledger. `read_only` reads beside a running gateway, without a lock."""

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
        self._writer = lane("ledger-writer", SqliteWriter(path, busy_seconds=busy_seconds))
        self._reader = lane(
            "ledger-reader",
            SqliteReader(path, busy_seconds=busy_seconds),
            max_waiting=READS * max_waiting,
        )
        self._reports = lane("ledger-reports", SqliteReader(path, busy_seconds=busy_seconds))
        self._audit = lane("ledger-audit", SqliteReader(path, busy_seconds=busy_seconds))
        self._lanes: tuple[Lane, ...] = ()

    async def open(self) -> None:
        await asyncio.to_thread(self._check if self._read_only else self._prepare)
        readers = (self._reader, self._reports, self._audit)
        # The writer ends last: while anybody reads, it could not empty the log.
        self._lanes = readers if self._read_only else (*readers, self._writer)
        for lane in self._lanes:
            lane.start()

    async def close(self) -> None:
        for lane in self._lanes:
            await lane.stop()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    async def clock_offset(self, own: Clock) -> float | None:
        """The machine's clock is the only one."""
        return None

    def listen(self, heard: Callable[[News], None]) -> None:
        """Nobody else writes here, and who writes here tells of it himself."""

    async def scrub(self) -> None:
        """In small steps, since nobody can write while it waits for readers."""
        for _ in range(SCRUB_TRIES):
            if await asyncio.to_thread(self._scrub):
                return
            await asyncio.sleep(SCRUB_SECONDS)
        raise Unavailable("The gateway's ledger is being read: its log cannot be emptied now.")

    def _scrub(self) -> bool:
        try:
            with closing(connect(self._path, read_only=False, busy_seconds=SCRUB_SECONDS)) as db:
                return empty_log(db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return False
            raise unavailable(error) from error

    async def violations(self) -> Sequence[Violation]:
        now = self._clock()
        return await self._audit.call(
            self._snapshot(
                lambda db: [
                    *audit.violations(db, now, audit.SQLITE_CHECKS),
                    *sqlite_schema.violations(db),
                ]
            )
        )

    # --- opening -----------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Takes the lock, makes or migrates the file, voids the former holder's leases."""
        self._lock_file = self._take_lock()
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(self._connect()) as db:
                self._require_wal(db)
                migrations.migrate(db)
                marks.require_settled(db)
                store.void_leases(db)
                store.not_so_late(db, self._clock())
        except BaseException as error:
            os.close(self._lock_file)
            self._lock_file = None
            raise self._named(error) from error

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, read_only=self._read_only, busy_seconds=self._busy_seconds)

    def _take_lock(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return take_lock(self._path)
        except OSError as error:
            raise self._named(error) from error

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
