"""SQLite connections as the lanes' servers: opening, committing together, telling errors apart.

A connection lives in its lane's thread, is opened at the first work and dropped after any error
of the store itself, so that the next work starts clean: a full disk heals by itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

from gateway.adapters.ledger.lane import Work, WorkOutcome
from gateway.errors import Unavailable

DEFECTS: Final = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
)
"""Errors that are the statement's own, and leave the store as it was."""

BUSY_SECONDS: Final = 5.0
"""How long a lock that some other program took is waited for."""

RETRY_AFTER_SECONDS: Final = 5.0

ADVICE: Final = {
    sqlite3.SQLITE_FULL: "its disk is full; orders are taken again as soon as there is room",
    sqlite3.SQLITE_IOERR: "its disk cannot be written or read (full or broken)",
    sqlite3.SQLITE_BUSY: "another program has locked it (a backup, or an open database shell)",
    sqlite3.SQLITE_LOCKED: "another program has locked it (a backup, or an open database shell)",
    sqlite3.SQLITE_READONLY: "it may not be written: check the data folder's permissions",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check the data folder and its permissions",
    sqlite3.SQLITE_PERM: "it cannot be opened: check the data folder and its permissions",
    sqlite3.SQLITE_CORRUPT: "its file is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "its file is not a database: restore it from a backup",
}


def unavailable(error: sqlite3.Error) -> Unavailable:
    """The public face of an error of the store; the error itself goes along as its cause."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    why = ADVICE.get(code, "the store failed; the gateway's log says how")
    face = Unavailable(
        f"The gateway's ledger cannot be used now: {why}.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
    face.__cause__ = error
    return face


def connect(
    path: Path, *, read_only: bool, busy_seconds: float = BUSY_SECONDS
) -> sqlite3.Connection:
    """A connection without implicit transactions."""
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
    )
    try:
        for pragma in READER_PRAGMAS if read_only else WRITER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


READER_PRAGMAS: Final = ("query_only = ON", "cache_size = -16384")

WRITER_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "cache_size = -32768",
    "journal_size_limit = 67108864",
    "secure_delete = ON",  # an erased prompt is not left in what is free of the file
)


def empty_log(db: sqlite3.Connection) -> bool:
    """Brings all that is committed into the file itself; False while an older state is read."""
    return not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


class SqliteConnected:
    """Holds the connection of one lane's thread, which has `_pragmas` besides those of all."""

    _pragmas: ClassVar[tuple[str, ...]] = ()

    def __init__(self, path: Path, *, read_only: bool, busy_seconds: float) -> None:
        self._path = path
        self._read_only = read_only
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None

    def connection(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(
                self._path, read_only=self._read_only, busy_seconds=self._busy_seconds
            )
            for pragma in self._pragmas:
                self._connection.execute(f"PRAGMA {pragma}")
        return self._connection

    def close(self) -> None:
        """The last that is asked of it."""
        self.drop()

    def drop(self) -> None:
        """Lets go; what is not committed is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


class SqliteReader(SqliteConnected):
    """Each piece of work sees the store as last committed."""

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        super().__init__(path, read_only=True, busy_seconds=busy_seconds)

    def serve(self, batch: Sequence[Work]) -> Sequence[WorkOutcome]:
        outcomes: list[WorkOutcome] = []
        for work in batch:
            try:
                outcomes.append(WorkOutcome(work(self.connection())))
            except sqlite3.Error as error:
                self.drop()
                outcomes.append(WorkOutcome(error=unavailable(error)))
            except BaseException as error:
                outcomes.append(WorkOutcome(error=error))
        return outcomes
