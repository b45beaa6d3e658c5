"""A ledger in a file, as a move reads or writes it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.adapters.ledger import audit, migrations, sqlite_schema
from gateway.adapters.ledger.connections import ADVICE, connect, empty_log
from gateway.adapters.ledger.database import Row
from gateway.adapters.ledger.ledger_file import LedgerFile, take_lock
from gateway.adapters.ledger.moving.side import LedgerSide
from gateway.adapters.ledger.moving.tables import CarriedTable
from gateway.adapters.ledger.moving.walking import PAGE, Page
from gateway.core.money.invariants import Violation
from gateway.errors import Unavailable

_INDEXES: Final = (
    "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
)


class SqliteSide(LedgerSide):
    """`path` may not be there yet: then there is no ledger, until one is made.

    `alone`: it is nobody else's, and needs neither a lock nor to be durable before it is whole.
    """

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        super().__init__(str(path))
        self._path = path
        self._alone = alone
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._lock: int | None = None

    def writer(self) -> sqlite3.Connection:
        """Where nobody may write it is read beside whoever does."""
        if self._writer is None:
            is_ours = self._alone or self._lock is not None
            self._writer = connect(self._path, read_only=not is_ours)
            if self._alone:
                self._writer.execute("PRAGMA synchronous = OFF")
        return self._writer

    def schema(self) -> int | None:
        if not self._path.exists():
            return None
        with closing(LedgerFile(self._path)) as file:
            return file.schema or None

    def identity(self) -> str:
        return str(self._path.resolve())

    def make(self) -> None:
        with self.failures():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            if os.geteuid() == 0:  # whoever has the folder is to serve from it
                folder = self._path.parent.stat()
                os.chown(self._path, folder.st_uid, folder.st_gid)
                with suppress(FileNotFoundError):
                    os.chown(f"{self._path}.lock", folder.st_uid, folder.st_gid)
            migrations.migrate(self.writer())

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self.failures():
            self._reader = connect(self._path, read_only=True)
        try:
            self._reader.execute("BEGIN")
            yield
        finally:
            self._reader.close()

    def pages(self, table: CarriedTable, *, as_it_is: bool) -> Iterator[Page]:
        assert self._reader is not None  # noqa: S101 - within `reading`
        columns = table.names if as_it_is else table.read
        order = ", ".join(f'"{one.name}"' for one in table.keys)
        with self.failures():
            found = self._reader.execute(f"SELECT {columns} FROM {table.name} ORDER BY {order}")
            while page := found.fetchmany(PAGE):
                yield page

    def insert(self, table: CarriedTable, rows: Page) -> None:
        values = ", ".join("?" * len(table.columns))
        self.change_many(f"INSERT INTO {table.name} ({table.names}) VALUES ({values})", rows)

    def change_many(self, sql: str, rows: Sequence[Row]) -> None:
        with self.failures():
            self.writer().executemany(sql, rows)

    def indexes(self) -> Mapping[str, str]:
        with self.failures():
            return dict(self.writer().execute(_INDEXES).fetchall())

    def take(self) -> None:
        with self.failures():
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._drop(self._writer)
            self._lock, self._writer = take_lock(self._path), None

    def in_use(self) -> str | None:
        """The lock tells, and is let go again."""
        if self._lock is not None:
            return None  # it is ours
        try:
            os.close(take_lock(self._path))
        except Unavailable:
            return f"A gateway serves from {self._path}."
        except OSError as error:
            raise Unavailable(f"The ledger {self._path} cannot be used: {error}.") from error
        return None

    @contextmanager
    def held(self) -> Iterator[None]:
        """By the lock, without which no gateway starts."""
        self.take()
        try:
            yield
        finally:
            self._release()

    def settle(self) -> None:
        """All of it in the one file."""
        with self.failures():
            self._drop(self._reader)
            empty_log(self.writer())
            if self._alone:
                self.writer().execute("PRAGMA journal_mode = DELETE")
                _sync(self._path)

    def violations(self, now: float) -> Sequence[Violation]:
        with self.failures():
            db = self.writer()
            of_file = sqlite_schema.violations(db)
            return [*audit.violations(db, now, audit.SQLITE_CHECKS), *of_file]

    def close(self) -> None:
        self._drop(self._reader)
        self._release()

    @contextmanager
    def failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeError) as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            why = f"{ADVICE[code]} ({error})" if code in ADVICE else str(error)
            raise Unavailable(f"The ledger {self._path} cannot be used: {why}.") from error
        except OSError as error:
            raise Unavailable(f"The ledger {self._path} cannot be used: {error}.") from error

    def _release(self) -> None:
        self._drop(self._writer)
        self._writer = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _drop(self, connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _sync(path: Path) -> None:
    """Makes the file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
