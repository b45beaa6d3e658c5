"""A COMMIT whose answer was lost: PostgreSQL itself is asked what became of it.

It is asked until it answers, however long it is away: nothing else can be written meanwhile, and
nobody may be told anything of that transaction before.
"""

from __future__ import annotations

from threading import Event
from typing import Final

import psycopg
import structlog

from gateway.adapters.ledger.postgres.connections import QUICK, Address
from gateway.adapters.ledger.postgres.database import PostgresDatabase
from gateway.errors import Unavailable

log = structlog.get_logger("gateway.ledger")

STATUS: Final = "SELECT pg_xact_status(%s::text::xid8)"

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0

UNHEARD_OF: Final = "22023"
"""That number is yet to come: another server has taken over, and never had it."""


class Settling:
    def __init__(self, address: Address, stopping: Event) -> None:
        self._address = address
        self._stopping = stopping

    def is_committed(self, xid: str) -> bool:
        """Raises `Unavailable` when the gateway stops before anybody knows."""
        pause = FIRST_PAUSE_SECONDS
        while (found := self._status(xid)) is None:
            if self._stopping.wait(pause):
                raise Unavailable("The gateway stopped before its ledger answered.")
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        log.warning("a commit whose answer was lost is settled", committed=found)
        return found

    def _status(self, xid: str) -> bool | None:
        try:
            db = PostgresDatabase(
                self._address.url, time_outs=QUICK, pooler=self._address.pooler, writes=True
            )
            try:
                [[status]] = db.connection.execute(STATUS, (xid,)).fetchall()
            finally:
                db.close()
        except psycopg.Error as error:
            return False if error.sqlstate == UNHEARD_OF else None
        return None if status == "in progress" else status == "committed"
