"""PostgreSQL connections as the lanes' servers: opening, locking, committing, recovering.

A connection lives in its lane's thread, is opened at the first work and dropped after any error
of the server itself, so that the next work starts clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import psycopg

from gateway.adapters.ledger.lane import Work, WorkOutcome
from gateway.adapters.ledger.postgres.database import PostgresDatabase, is_defect, unavailable
from gateway.adapters.ledger.store import DecisionRaised
from gateway.core.transaction import ConstraintViolation

ONE_WRITER: Final = 0x67617465
"""Whoever writes holds this advisory lock until its commit."""


class Connected:
    """Holds the connection of one lane's thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._database: PostgresDatabase | None = None

    def database(self) -> PostgresDatabase:
        if self._database is None:
            self._database = PostgresDatabase(self._url)
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


class Reader(Connected):
    """Each piece of work sees the store as last committed."""

    def serve(self, batch: Sequence[Work]) -> Sequence[WorkOutcome]:
        outcomes: list[WorkOutcome] = []
        for work in batch:
            try:
                outcomes.append(WorkOutcome(work(self.database())))
            except psycopg.Error as error:
                self.drop()
                outcomes.append(WorkOutcome(error=unavailable(error)))
            except BaseException as error:
                outcomes.append(WorkOutcome(error=error))
        return outcomes


class Writer(Connected):
    """Each piece of work in a transaction of its own."""

    def serve(self, batch: Sequence[Work]) -> Sequence[WorkOutcome]:
        return [self._served(work) for work in batch]

    def _served(self, work: Work) -> WorkOutcome:
        try:
            db = self.database()
            db.execute("BEGIN")
            db.execute("SELECT pg_advisory_xact_lock(?)", (ONE_WRITER,))
            try:
                answer = work(db)
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except DecisionRaised as error:
            return WorkOutcome(error=error.original)
        except psycopg.Error as error:
            if is_defect(error):
                return WorkOutcome(error=ConstraintViolation(str(error)))
            self.drop()
            return WorkOutcome(error=unavailable(error))
        except BaseException as error:
            return WorkOutcome(error=error)
        return WorkOutcome(answer)
