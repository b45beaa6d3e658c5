"""A COMMIT whose answer was lost: PostgreSQL itself is asked what became of it.

Each transaction writes its own number first, into a row that its connection alone writes. Whoever
asks for the row waits for whoever may still commit, and then finds the number, or a former one: as
true as all else that the server kept. (`pg_xact_status` is not: a server that crashes gives numbers
that it had not synced out again, to others' transactions.)

It is asked until it answers, however long it is away: nothing else can be written meanwhile, and
nobody may be told anything of that transaction before.
"""

from __future__ import annotations

import secrets
from threading import Event
from typing import Final

import psycopg
import structlog

from gateway.adapters.ledger.postgres.connections import QUICK, Address
from gateway.adapters.ledger.postgres.database import PostgresDatabase
from gateway.errors import Unavailable

log = structlog.get_logger("gateway.ledger")

_NOW: Final = "EXTRACT(EPOCH FROM clock_timestamp())"
BEGUN: Final = (
    f"INSERT INTO commits (writer, number, at) VALUES (%s, %s, {_NOW})"
    " ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at"
)
LAST: Final = (
    f"INSERT INTO commits (writer, number, at) VALUES (%s, 0, {_NOW})"
    " ON CONFLICT (writer) DO UPDATE SET number = commits.number RETURNING number"
)
"""Changes nothing that is there, and so waits for whoever has it."""

FORGET: Final = "DELETE FROM commits WHERE at < EXTRACT(EPOCH FROM clock_timestamp()) - 2592000"
"""Of connections that are long gone."""

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0


class Settling:
    """Of one writing connection after the other."""

    def __init__(self, address: Address, stopping: Event) -> None:
        self._address = address
        self._stopping = stopping
        self._writer = ""
        self._number = 0

    def connected(self) -> None:
        """There is a new connection: what the former one does still is not waited for."""
        self._writer, self._number = secrets.token_hex(12), 0

    def begin(self, db: PostgresDatabase) -> None:
        """Begins a transaction, and writes which one it is: to be answered before its COMMIT."""
        self._number += 1
        db.begin()
        db.connection.execute(BEGUN, (self._writer, self._number))

    def is_committed(self) -> bool:
        """The one that was begun last. Raises `Unavailable` when the gateway stops before anybody
        knows."""
        pause = FIRST_PAUSE_SECONDS
        while (last := self._last()) is None:
            if self._stopping.wait(pause):
                raise Unavailable("The gateway stopped before its ledger answered.")
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        found = last == self._number
        log.warning("a commit whose answer was lost is settled", committed=found)
        return found

    def _last(self) -> int | None:
        """The number that is committed; None while nobody can tell."""
        try:
            db = PostgresDatabase(
                self._address.url, time_outs=QUICK, pooler=self._address.pooler, writes=True
            )
            try:
                db.begin()
                [[last]] = db.connection.execute(LAST, (self._writer,)).fetchall()
                db.connection.execute("COMMIT")
            finally:
                db.close()
        except psycopg.Error:
            return None
        return int(last)
