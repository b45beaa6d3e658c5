"""What the ledger's SQL needs of a connection, and how rows are read into records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

Row = Sequence[Any]
Statement = tuple[str, Sequence[object]]
"""SQL, and the values that its `?` stand for."""


class Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...

    def fetchall(self) -> Sequence[Row]: ...

    def fetchmany(self, size: int, /) -> Sequence[Row]: ...


class Database(Protocol):
    """A connection: `?` in the statement stands for the next value."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor: ...

    def executemany(self, sql: str, rows: Sequence[Row], /) -> Cursor:
        """The statement for each of the rows; `rowcount` is that of all."""


def first(db: Database, statement: Statement, read: Callable[[Row], T]) -> T | None:
    """The first row's record; None when there is no row."""
    found = db.execute(*statement).fetchall()
    return read(found[0]) if found else None


def every(db: Database, statement: Statement, read: Callable[[Row], T]) -> list[T]:
    """The records of all rows."""
    return [read(row) for row in db.execute(*statement).fetchall()]
