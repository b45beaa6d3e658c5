"""PostgreSQL connections as the lanes' servers: opened when needed, let go when broken.

A connection lives in its lane's thread and is opened at the first work. What is read is read once
more where its connection broke; what is written is `batches`' and `settling`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psycopg

from gateway.adapters.ledger.lane import Ticket, WorkOutcome
from gateway.adapters.ledger.postgres.database import PostgresDatabase, TimeOuts
from gateway.adapters.ledger.postgres.failures import is_defect, said, unavailable
from gateway.core.transaction import ConstraintViolation
from gateway.errors import Unavailable

QUICK: Final = TimeOuts()
WRITING: Final = TimeOuts(lock=0.3)
"""Whoever waits longer for a lock does so after others: see `held_up`."""

REPORTS: Final = TimeOuts(statement=30.0, transaction=60.0)
AUDIT: Final = TimeOuts(statement=120.0, idle=30.0, transaction=600.0)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the ledger lies, and by which way it is reached."""

    url: str
    pooler: bool = False
    direct: str | None = None

    @property
    def past_pooler(self) -> str | None:
        """For what lasts beyond a transaction; None where there is no such way."""
        return self.direct or (None if self.pooler else self.url)


class PostgresConnected:
    """Holds the connection of one lane's thread."""

    def __init__(self, address: Address, time_outs: TimeOuts, *, writes: bool = False) -> None:
        self._address = address
        self._bounds = time_outs
        self._writes = writes
        self._database: PostgresDatabase | None = None

    def database(self) -> PostgresDatabase:
        if self._database is None:
            self._database = PostgresDatabase(
                self._address.url,
                time_outs=self._bounds,
                pooler=self._address.pooler,
                writes=self._writes,
            )
        return self._database

    def close(self) -> None:
        """The last that is asked of it."""
        self.drop()

    def drop(self) -> None:
        """Lets go; what is not committed is undone."""
        database, self._database = self._database, None
        if database is not None:
            with suppress(psycopg.Error):
                database.close()

    def is_broken(self) -> bool:
        return self._database is None or self._database.is_broken


class PostgresReader(PostgresConnected):
    """Each piece of work sees the store as last committed."""

    def serve(self, batch: Sequence[Ticket]) -> Sequence[WorkOutcome]:
        return [self._served(ticket) for ticket in batch]

    def _served(self, ticket: Ticket) -> WorkOutcome:
        if ticket.is_gone:
            return WorkOutcome(error=Unavailable("Nobody waits for it."))
        had_one = self._database is not None
        try:
            return WorkOutcome(ticket(self.database()))
        except psycopg.Error as error:
            is_old = had_one and self.is_broken()
            self.drop()
            if is_old:  # it broke since it was used last: that says nothing of the server now
                return self._served(ticket)
            if is_defect(error):
                return WorkOutcome(error=ConstraintViolation(said(error)))
            return WorkOutcome(error=unavailable(error))
        except BaseException as error:
            return WorkOutcome(error=error)
