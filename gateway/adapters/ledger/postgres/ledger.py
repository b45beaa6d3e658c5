"""The ledger in a PostgreSQL database, for any number of gateway processes.

One connection writes, others read: the quick reads, the reports and the audit each on a thread
and a connection of their own, so that a long one never holds up a poll.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import ClassVar, Final

import psycopg

from gateway.adapters.ledger import audit, migrations
from gateway.adapters.ledger.lane import Lane
from gateway.adapters.ledger.moving import marks
from gateway.adapters.ledger.postgres.connections import Reader, Writer
from gateway.adapters.ledger.postgres.database import PostgresDatabase, unavailable
from gateway.adapters.ledger.reads import LedgerReads
from gateway.adapters.ledger.writes import LedgerWrites
from gateway.core.money.invariants import Violation
from gateway.errors import Unavailable
from gateway.ports.clock import Clock
from gateway.ports.replicas import News

MAX_WAITING: Final = 10_000
"""More would wait for seconds: better to say so at once."""

MAX_BATCH: Final = 64

MIGRATING: Final = 0x6D696772
"""Whoever migrates holds this advisory lock, so that replicas that start at once take turns."""


class PostgresLedger(LedgerReads, LedgerWrites):
    """See gateway.ports.ledger. `read_only` reads beside running gateways and migrates nothing."""

    _snapshot_begin: ClassVar[str] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(
        self,
        url: str,
        *,
        clock: Clock = time.time,
        read_only: bool = False,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._url = url
        self._clock = clock
        self._read_only = read_only
        lane = partial(Lane, max_waiting=max_waiting, max_batch=MAX_BATCH)
        self._writer = lane("ledger-writer", Writer(url))
        self._reader = lane("ledger-reader", Reader(url))
        self._reports = lane("ledger-reports", Reader(url))
        self._audit = lane("ledger-audit", Reader(url))
        self._lanes: tuple[Lane, ...] = ()

    async def open(self) -> None:
        await asyncio.to_thread(self._check if self._read_only else self._prepare)
        readers = (self._reader, self._reports, self._audit)
        self._lanes = readers if self._read_only else (*readers, self._writer)
        for lane in self._lanes:
            lane.start()

    async def close(self) -> None:
        for lane in self._lanes:
            await lane.stop()

    def listen(self, heard: Callable[[News], None]) -> None:
        """Not told yet."""

    async def scrub(self) -> None:
        """What is deleted here is gone for readers; the server's vacuum frees the bytes."""

    async def violations(self) -> Sequence[Violation]:
        now = self._clock()
        return await self._audit.call(
            self._snapshot(lambda db: list(audit.violations(db, now, audit.POSTGRES_CHECKS)))
        )

    # --- opening -----------------------------------------------------------------------------

    def _prepare(self) -> None:
        try:
            with closing(PostgresDatabase(self._url)) as db:
                db.execute("SELECT pg_advisory_lock(?)", (MIGRATING,))
                migrations.migrate(db, migrations.POSTGRESQL)
                marks.require_settled(db)
        except psycopg.Error as error:
            raise self._named(error) from error

    def _check(self) -> None:
        """A reader beside the gateways migrates nothing, so the schema must be its own."""
        try:
            with closing(PostgresDatabase(self._url)) as db:
                have = migrations.version(db)
        except psycopg.Error as error:
            raise self._named(error) from error
        migrations.refuse_newer(have)
        if have < migrations.migrations()[-1].version:
            raise Unavailable(
                "The ledger is from an older version: start the gateway once, which brings it up"
                " to date."
            )

    def _named(self, error: psycopg.Error) -> Unavailable:
        """At the start the operator reads the message: it says what the server said."""
        return Unavailable(f"{unavailable(error).message} ({str(error).splitlines()[0]})")
