"""The ledger in a PostgreSQL database, for any number of gateway processes.

One connection writes, others read: the quick reads, the reports and the audit each on a thread
and a connection of their own, so that a long one never holds up a poll.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event
from typing import ClassVar, Final

from gateway.adapters.ledger import audit, statements
from gateway.adapters.ledger.database import Database
from gateway.adapters.ledger.lane import Lane, Patience, Pulse
from gateway.adapters.ledger.postgres import opening, schema
from gateway.adapters.ledger.postgres.batches import PostgresWriter
from gateway.adapters.ledger.postgres.connections import (
    AUDIT,
    QUICK,
    REPORTS,
    Address,
    PostgresReader,
)
from gateway.adapters.ledger.postgres.listening import Listener
from gateway.adapters.ledger.reads import LedgerReads
from gateway.adapters.ledger.writes import LedgerWrites
from gateway.core.money.invariants import Violation
from gateway.ports.clock import Clock
from gateway.ports.replicas import News

MAX_WAITING: Final = 10_000
"""More would wait for seconds: better to say so at once."""

MAX_BATCH: Final = 64

PATIENCE_SECONDS: Final = 5.0
REPORT_SECONDS: Final = 35.0
AUDIT_SECONDS: Final = 600.0
CLOSING_SECONDS: Final = 5.0
"""How long a server that does not answer is waited for."""


class PostgresLedger(LedgerReads, LedgerWrites):
    """See gateway.ports.ledger. `read_only` reads beside running gateways and migrates nothing."""

    _snapshot_begin: ClassVar[str] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    _passing: ClassVar[str] = statements.SKIP_LOCKED

    def __init__(
        self,
        address: str | Address,
        *,
        clock: Clock = time.time,
        read_only: bool = False,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        address = Address(address) if isinstance(address, str) else address
        self._address = address
        self._clock = clock
        self._read_only = read_only
        self._stopping = Event()
        self._listener = Listener(address.past_pooler) if address.past_pooler else None
        self._is_heard = False
        lane = partial(Lane, max_waiting=max_waiting, max_batch=MAX_BATCH)
        short = Patience(PATIENCE_SECONDS)
        self._writer = lane(
            "ledger-writer", PostgresWriter(address, self._stopping), patience=short
        )
        self._reader = lane("ledger-reader", PostgresReader(address, QUICK), patience=short)
        self._reports = lane(
            "ledger-reports",
            PostgresReader(address, REPORTS),
            patience=Patience(REPORT_SECONDS, Pulse(self._reader, _beat)),
        )
        self._audit = lane(
            "ledger-audit", PostgresReader(address, AUDIT), patience=Patience(AUDIT_SECONDS)
        )
        self._lanes: tuple[Lane, ...] = ()

    async def open(self) -> None:
        is_reader = self._read_only or self._address.past_pooler is None
        ready = opening.check if is_reader else opening.prepare
        await asyncio.to_thread(ready, self._address)
        readers = (self._reader, self._reports, self._audit)
        self._lanes = readers if self._read_only else (*readers, self._writer)
        for lane in self._lanes:
            lane.start()
        if self._listener is not None and self._is_heard:
            self._listener.start()

    async def require_way_past_pooler(self) -> None:
        """Raises `Unavailable` where there is one that does not lead here; needs no opening."""
        if self._address.direct is not None:
            await asyncio.to_thread(opening.check_past_pooler, self._address)

    async def close(self) -> None:
        """Whatever hangs is left behind after a while."""
        if self._listener is not None:
            self._listener.stop()
        self._stopping.set()
        await asyncio.gather(*(lane.stop(CLOSING_SECONDS) for lane in self._lanes))

    async def clock_offset(self, own: Clock) -> float | None:
        return await self._reader.call(partial(_offset, own=own))

    def listen(self, heard: Callable[[News], None]) -> None:
        """Behind a pooler, without a way past it, nothing is heard."""
        self._is_heard = True
        if self._listener is not None:
            self._listener.add(heard)
            if self._lanes:
                self._listener.start()

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


def _beat(db: Database) -> None:
    """What a server answers that answers at all."""
    db.execute("SELECT 1").fetchall()


def _offset(db: Database, own: Clock) -> float:
    """Of three measurements the quickest: its half round trip is what it may be wrong by."""
    return min(_measured(db, own) for _ in range(3))[1]


def _measured(db: Database, own: Clock) -> tuple[float, float]:
    """How long the server took to say what time it is, and how far it is ahead."""
    asked, began = own(), time.monotonic()
    [[said]] = db.execute("SELECT EXTRACT(EPOCH FROM clock_timestamp())").fetchall()
    took = time.monotonic() - began
    return took, float(said) - (asked + took / 2)
