"""The ledger in a PostgreSQL database, for any number of gateway processes.

One connection writes, others read: the quick reads, the reports and the audit each on a thread
and a connection of their own, so that a long one never holds up a poll.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Final

from gateway.adapters.ledger import audit
from gateway.adapters.ledger.database import Database
from gateway.adapters.ledger.lane import Lane
from gateway.adapters.ledger.postgres import opening, schema
from gateway.adapters.ledger.postgres.connections import Reader, Writer
from gateway.adapters.ledger.reads import LedgerReads
from gateway.adapters.ledger.writes import LedgerWrites
from gateway.core.money.invariants import Violation
from gateway.ports.clock import Clock
from gateway.ports.replicas import News

MAX_WAITING: Final = 10_000
"""More would wait for seconds: better to say so at once."""

MAX_BATCH: Final = 64


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
        await asyncio.to_thread(opening.check if self._read_only else opening.prepare, self._url)
        readers = (self._reader, self._reports, self._audit)
        self._lanes = readers if self._read_only else (*readers, self._writer)
        for lane in self._lanes:
            lane.start()

    async def close(self) -> None:
        for lane in self._lanes:
            await lane.stop()

    async def clock_offset(self, own: Clock) -> float | None:
        return await self._reader.call(partial(_offset, own=own))

    def listen(self, heard: Callable[[News], None]) -> None:
        """Not told yet."""

    async def scrub(self) -> None:
        """What is deleted here is gone for readers; the server's vacuum frees the bytes."""

    async def violations(self) -> Sequence[Violation]:
        now = self._clock()
        return await self._audit.call(
            self._snapshot(
                lambda db: [
                    *audit.violations(db, now, audit.POSTGRES_CHECKS),
                    *schema.violations(db),
                ]
            )
        )


def _offset(db: Database, own: Clock) -> float:
    """Of three measurements the quickest: its half round trip is what it may be wrong by."""
    return min(_measured(db, own) for _ in range(3))[1]


def _measured(db: Database, own: Clock) -> tuple[float, float]:
    """How long the server took to say what time it is, and how far it is ahead."""
    asked, began = own(), time.monotonic()
    [[said]] = db.execute("SELECT EXTRACT(EPOCH FROM clock_timestamp())").fetchall()
    took = time.monotonic() - began
    return took, float(said) - (asked + took / 2)
