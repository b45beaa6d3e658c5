"""A psycopg connection as the ledger's SQL wants it, and its errors told apart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import psycopg

from gateway.adapters.ledger.database import Cursor, Row
from gateway.adapters.ledger.postgres.texts import keepable
from gateway.errors import Unavailable

RETRY_AFTER_SECONDS = 5.0


@cache
def translated(sql: str, *, with_values: bool) -> str:
    """`?` becomes `%s`; with values a percent sign of the statement's own is doubled."""
    return sql.replace("%", "%%").replace("?", "%s") if with_values else sql


class PostgresDatabase:
    """One connection, used by one thread; transactions are begun by statements alone."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, connect_timeout=3)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        if not parameters:
            return self.connection.execute(sql)
        statement = translated(sql, with_values=True)
        try:
            return self.connection.execute(statement, parameters)
        except (UnicodeEncodeError, psycopg.DataError):
            if (kept := keepable(parameters)) == tuple(parameters):
                raise
            return self.connection.execute(statement, kept)  # nothing had been sent

    def executemany(self, sql: str, rows: Sequence[Row], /) -> Cursor:
        cursor = self.connection.cursor()
        cursor.executemany(translated(sql, with_values=True), rows)
        return cursor

    def close(self) -> None:
        self.connection.close()


def is_defect(error: psycopg.Error) -> bool:
    """Whether it is the statement's own, and would be so again: constraints and bad data."""
    return isinstance(error, psycopg.IntegrityError | psycopg.DataError | psycopg.ProgrammingError)


def unavailable(error: psycopg.Error) -> Unavailable:
    """The public face of an error of the server; the error itself goes along as its cause."""
    face = Unavailable(
        "The gateway's ledger cannot be used now: its PostgreSQL server failed or is away.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
    face.__cause__ = error
    return face
