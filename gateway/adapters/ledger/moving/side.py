"""One ledger as a move reads it or writes it, whatever kind it is. Blocking.

What both kinds say alike stands here; how each reads in pages, writes many rows and is held is
its own. Whatever the store raises comes out as `Unavailable` that names the place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from gateway.adapters.ledger.database import Database, Row
from gateway.adapters.ledger.moving import marks
from gateway.adapters.ledger.moving.tables import CarriedTable
from gateway.adapters.ledger.moving.walking import Differences, Page
from gateway.core.money.invariants import Violation

STARTED: Final = {"runs": 1, "jobs": 1, "uploads": 2, "teams": 3, "team_keys": 3, "changes": 3}
"""A ledger that has rows in none of these is nobody's: there is nothing in it to lose. Each with
the migration that made it."""

ALONE: Final = "CREATE UNIQUE INDEX"
"""How the statement begins of an index that may be in the way while rows change places."""


class LedgerSide(ABC):
    """`place` is what people call it, without a password."""

    def __init__(self, place: str) -> None:
        self.place = place

    # --- each kind's own -----------------------------------------------------------------------

    @abstractmethod
    def writer(self) -> Database:
        """The connection that writes; it begins no transaction of its own."""

    @abstractmethod
    def schema(self) -> int | None:
        """The newest migration that it has had; None where there is no ledger at all."""

    @abstractmethod
    def identity(self) -> str:
        """The same for the same place, by whatever name it is called."""

    @abstractmethod
    def make(self) -> None:
        """Brings an empty place to the newest schema."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[None]:
        """What `pages` gives within it is all of one instant."""

    @abstractmethod
    def pages(self, table: CarriedTable, *, as_it_is: bool) -> Iterator[Page]:
        """All rows by key; without `as_it_is` as they shall be in the other place."""

    @abstractmethod
    def insert(self, table: CarriedTable, rows: Page) -> None: ...

    @abstractmethod
    def change_many(self, sql: str, rows: Sequence[Row]) -> None: ...

    @abstractmethod
    def indexes(self) -> Mapping[str, str]:
        """By name the statement that makes each, of those that belong to no constraint."""

    @abstractmethod
    def take(self) -> None:
        """Nobody else moves or opens this ledger until `close`; raises `Unavailable` if it is
        in use, after a moment. What was read of it before may not be true any more."""

    @abstractmethod
    def in_use(self) -> str | None:
        """Who serves from it now, as a sentence; None when nobody does."""

    @abstractmethod
    def held(self) -> AbstractContextManager[None]:
        """Nobody writes here within it: what is read is the last word. Raises `Unavailable` where
        somebody serves from it, also at the end."""

    @abstractmethod
    def settle(self) -> None:
        """What was written is durable, and as quick to read as it will be."""

    @abstractmethod
    def violations(self, now: float) -> Sequence[Violation]:
        """What an audit finds."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def failures(self) -> AbstractContextManager[None]:
        """Within it the store's own errors become `Unavailable`."""

    # --- alike ---------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All that is written within it, or nothing."""
        with self.failures():
            db = self.writer()
            db.execute("BEGIN")
            try:
                yield
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def apply(self, table: CarriedTable, found: Differences) -> None:
        """Makes this side the other's equal in a stretch of a table."""
        if not found:
            return
        where = " AND ".join(f'"{one.name}" = ?' for one in table.keys)
        sets = ", ".join(f'"{one.name}" = ?' for one in table.columns)
        with self.writing():
            self.change_many(f"DELETE FROM {table.name} WHERE {where}", found.surplus)
            self.change_many(
                f"UPDATE {table.name} SET {sets} WHERE {where}",
                [(*row, *(row[at] for at in table.key)) for row in found.changed],
            )
            if found.missing:
                self.insert(table, found.missing)

    def count(self, table: CarriedTable) -> int:
        return int(self._one(f"SELECT COUNT(*) FROM {table.name}"))

    def sums(self, table: CarriedTable) -> Mapping[str, int]:
        """Of every column that adds up to something."""
        if not table.amounts:
            return {}
        named = ", ".join(f'COALESCE(SUM("{name}"), 0)' for name in table.amounts)
        with self.failures():
            [row] = self.writer().execute(f"SELECT {named} FROM {table.name}").fetchall()
        return {name: int(value) for name, value in zip(table.amounts, row, strict=True)}

    def is_empty(self) -> bool:
        """Whether nothing was ever ordered or made here; also where it is made half-way."""
        have = self.schema() or 0
        return not any(self._has_rows(name) for name, since in STARTED.items() if since <= have)

    def store_id(self) -> str | None:
        """The installation, by the id of its pictures."""
        with self.failures():
            found = self.writer().execute("SELECT id FROM picture_store").fetchall()
        return str(found[0][0]) if found else None

    def has_picture(self, digest: str) -> bool:
        """Whether it is on record, and not erased."""
        sql = "SELECT 1 FROM pictures WHERE digest = ? AND erased_at IS NULL LIMIT 1"
        with self.failures():
            return bool(self.writer().execute(sql, (digest,)).fetchall())

    def marks(self) -> Mapping[str, str]:
        with self.failures():
            return marks.marks(self.writer())

    def mark(self, name: str, value: str) -> None:
        with self.failures():
            self.writer().execute(marks.PUT_MARK, (name, value))

    def unmark(self, name: str) -> None:
        with self.failures():
            self.writer().execute(marks.DROP_MARK, (name,))

    def drop_indexes(self, *, all_of_them: bool) -> None:
        """Those that would be in the way; which they were is noted until they are there again."""
        for name, statement in self.indexes().items():
            if all_of_them or statement.startswith(ALONE):
                with self.writing():
                    self.mark(f"{marks.INDEX}{name}", statement)
                    self.writer().execute(f"DROP INDEX {name}")

    def make_indexes(self) -> Iterator[tuple[int, int]]:
        """Those that were dropped; how many are there again, and of how many."""
        noted = {
            name: statement
            for name, statement in self.marks().items()
            if name.startswith(marks.INDEX)
        }
        for at, (name, statement) in enumerate(noted.items(), 1):
            with self.writing():
                self.writer().execute(statement)
                self.unmark(name)
            yield at, len(noted)

    def _one(self, sql: str) -> int:
        with self.failures():
            return int(self.writer().execute(sql).fetchall()[0][0])

    def _has_rows(self, name: str) -> bool:
        with self.failures():
            return bool(self.writer().execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall())


def without_nul(page: Page) -> tuple[Page, int]:
    """The rows as every place can keep them, and how many texts had to be changed for it.

    SQLite keeps U+0000 in a text, PostgreSQL does not; in a key it stays, and is refused.
    """
    changed, rows = 0, list(page)
    for at, row in enumerate(page):
        if any(isinstance(value, str) and "\0" in value for value in row):
            rows[at] = tuple(_printable(value) for value in row)
            changed += sum(isinstance(value, str) and "\0" in value for value in row)
    return (rows, changed) if changed else (page, 0)


def _printable(value: object) -> object:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
