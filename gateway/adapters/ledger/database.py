"""What the ledger's SQL needs of a connection, whichever store is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...

    def fetchall(self) -> Sequence[Sequence[Any]]: ...


class Database(Protocol):
    """A connection: `?` in the statement stands for the next value."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor: ...
