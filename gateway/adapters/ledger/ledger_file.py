"""A ledger's file as it lies there, of whatever schema: looked at, copied, never migrated.

For who wants to know a ledger before it is opened, or has a copy of one in a backup. Blocking.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from gateway.adapters.ledger import audit, migrations
from gateway.adapters.ledger.connections import ADVICE, connect
from gateway.adapters.ledger.database import Row
from gateway.adapters.ledger.picture_rows import PICTURE_FACTS, picture_from
from gateway.adapters.ledger.picture_store import TO_REMOVE
from gateway.core.model import Picture
from gateway.core.money.invariants import Violation
from gateway.errors import Unavailable

STEP_PAGES: Final = 256
"""Copied at a time: a megabyte."""

PAUSE_SECONDS: Final = 0.002
"""After each step, so that the gateway's own writes find the disk free."""

Told = Callable[[int, int], None]
"""How far it is: done, of how many."""

_LIVE: Final = (("erased_at", "erased_at IS NULL"), ("again", "again = 0"))
"""Of equal bytes one row, by the columns that a schema may not have yet."""


class LedgerFile:
    """A connection that reads. `still`: nobody writes the file, so that no lock is needed.

    Whatever the database raises comes out as `Unavailable` that names the file.
    """

    def __init__(self, path: Path, *, still: bool = False) -> None:
        self._path = path
        try:
            self._db = _still(path) if still else connect(path, read_only=True)
            self.schema = self._schema()
            self._columns = {row[1] for row in self._rows("PRAGMA table_info(pictures)")}
        except sqlite3.Error as error:
            raise _unreadable(path, error) from error

    def close(self) -> None:
        self._db.close()

    @property
    def is_current(self) -> bool:
        """Whether its schema is the newest that this version knows."""
        return self.schema == migrations.migrations()[-1].version

    def store_id(self) -> str | None:
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'picture_store'"):
            return None
        found = self._rows("SELECT id FROM picture_store")
        return str(found[0][0]) if found else None

    def run_count(self) -> int:
        return int(self._rows("SELECT COUNT(*) FROM runs")[0][0]) if self._columns else 0

    def last_run(self) -> str | None:
        """The one that was written last; none is ever deleted."""
        if not self._columns:
            return None
        found = self._rows("SELECT id FROM runs ORDER BY rowid DESC LIMIT 1")
        return str(found[0][0]) if found else None

    def has_run(self, run_id: str) -> bool:
        return bool(self._columns and self._rows("SELECT 1 FROM runs WHERE id = ?", run_id))

    def is_live(self, run_id: str) -> bool:
        """Whether the run is on record and has not ended."""
        sql = "SELECT 1 FROM runs WHERE id = ? AND state NOT IN ('done', 'failed')"
        return bool(self._columns and self._rows(sql, run_id))

    def picture_totals(self) -> tuple[int, int]:
        """How many are on record, and their bytes."""
        if not self._columns:
            return 0, 0
        sql = f"SELECT COUNT(*), COALESCE(SUM(size_bytes), 0) FROM pictures WHERE {self._live()}"
        count, size_bytes = self._rows(sql)[0]
        return int(count), int(size_bytes)

    def pictures(self, *, after: str, limit: int) -> Sequence[Picture]:
        """Those on record, by digest."""
        if not self._columns:
            return []
        sql = (
            f"SELECT {', '.join(PICTURE_FACTS)} FROM pictures WHERE digest > ? AND {self._live()}"
            " ORDER BY digest LIMIT ?"
        )
        return [picture_from(row) for row in self._rows(sql, after, limit)]

    def is_on_record(self, digest: str) -> bool:
        sql = f"SELECT 1 FROM pictures WHERE digest = ? AND {self._live()} LIMIT 1"
        return bool(self._columns and self._rows(sql, digest))

    def to_remove(self) -> frozenset[str]:
        """Digests of what is erased, and whose bytes may be there still."""
        if "erased_at" not in self._columns:
            return frozenset()
        sql = (
            f"SELECT digest FROM pictures WHERE {TO_REMOVE}"
            " EXCEPT SELECT digest FROM pictures WHERE erased_at IS NULL"
        )
        return frozenset(str(row[0]) for row in self._rows(sql))

    def damage(self) -> str | None:
        """What is wrong with the file itself; None when it is whole."""
        found = str(self._rows("PRAGMA integrity_check(1)")[0][0])
        return None if found == "ok" else found

    def violations(self, now: float) -> Sequence[Violation]:
        """As an audit finds them; only of a current schema, since the checks know that alone."""
        try:
            return list(audit.violations(self._db, now, audit.SQLITE_CHECKS))
        except sqlite3.Error as error:
            raise _unreadable(self._path, error) from error

    def _schema(self) -> int:
        if not self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
            return 0  # made by a gateway that died before its first migration
        have = migrations.version(self._db)
        migrations.refuse_newer(have)
        return have

    def _live(self) -> str:
        found = [condition for column, condition in _LIVE if column in self._columns]
        return " AND ".join(found) or "1 = 1"

    def _rows(self, sql: str, *values: object) -> Sequence[Row]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _unreadable(self._path, error) from error


def copy_ledger(source: Path, target: Path, tell: Told) -> None:
    """Copies a ledger, also one that is being written: all of it as it was at one instant.

    What is copied is one state that the source keeps meanwhile, so that writes do not make the
    copy begin anew. The copy is one file and durable. Raises `Unavailable`.
    """
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(connect(source, read_only=True)) as db, closing(_alone(target)) as copy:
            db.execute("BEGIN")
            db.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()
            db.backup(copy, pages=STEP_PAGES, progress=_paced(tell))
            copy.execute("PRAGMA journal_mode = DELETE")  # else a reader makes files beside it
    except sqlite3.Error as error:
        raise _uncopied(source, target, error) from error
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_lock(path: Path) -> int:
    """The lock of whoever writes the ledger at `path`; held until the descriptor is closed.

    Raises `Unavailable` while another one holds it, and `OSError`.
    """
    return hold(
        Path(f"{path}.lock"),
        f"Another gateway uses the ledger {path}. Stop it first, or give this one"
        " a data folder of its own.",
    )


def hold(lock: Path, otherwise: str) -> int:
    """The file's lock, until the descriptor is closed. Raises `Unavailable` with these words while
    another process holds it, and `OSError`."""
    lock_file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock_file)
        raise Unavailable(otherwise) from error
    return lock_file


def _paced(tell: Told) -> Callable[[int, int, int], None]:
    def step(_: int, left: int, total: int) -> None:
        tell(total - left, total)
        time.sleep(PAUSE_SECONDS)

    return step


def _still(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _alone(path: Path) -> sqlite3.Connection:
    """For the one who makes the file: no locks, which a network folder may not have; no journal."""
    uri = f"{path.absolute().as_uri()}?mode=rw&vfs=unix-none"
    db = sqlite3.connect(uri, uri=True, isolation_level=None)
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = OFF", "synchronous = OFF"):
        db.execute(f"PRAGMA {pragma}")
    return db


def _unreadable(path: Path, error: sqlite3.Error) -> Unavailable:
    return Unavailable(f"The ledger {path} cannot be read: {_why(error)}.")


def _uncopied(source: Path, target: Path, error: sqlite3.Error) -> Unavailable:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return Unavailable(f"There is no room for the ledger's copy {target}.")
    return Unavailable(f"The ledger {source} cannot be copied to {target}: {_why(error)}.")


def _why(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return f"{ADVICE[code]} ({error})" if code in ADVICE else str(error)
