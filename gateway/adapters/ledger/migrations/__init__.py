"""Numbered migrations, `NNNN_name.sql`: each runs once, in order, in a transaction of its own.

They are written in the dialect that SQLite and PostgreSQL both accept. A statement ends with a
semicolon at the end of a line. What that dialect cannot say is done after the statements, in the
same transaction: in Python (`BACKFILLS`), or for one kind of store alone (`NNNN_name.KIND.sql`).
A migration that was released is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from gateway.adapters.ledger.database import Database
from gateway.adapters.ledger.migrations.backfill_0003 import backfill as backfill_0003
from gateway.adapters.ledger.migrations.backfill_0005 import backfill as backfill_0005
from gateway.adapters.ledger.migrations.backfill_0010 import backfill as backfill_0010
from gateway.errors import Unavailable

BACKFILLS: Final[Mapping[int, Callable[[Database], None]]] = {
    3: backfill_0003,
    5: backfill_0005,
    10: backfill_0010,
}


@dataclass(frozen=True, slots=True)
class StoreKind:
    """A kind of store: its name in files of its own, and the type of its texts."""

    name: str
    text: str


SQLITE: Final = StoreKind("sqlite", "TEXT")
POSTGRESQL: Final = StoreKind("postgresql", 'TEXT COLLATE "C"')
"""Texts compare by their bytes whatever the database's language, as SQLite and Python compare."""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    statements: tuple[str, ...]


def migrations(kind: StoreKind = SQLITE) -> Sequence[Migration]:
    """All of them, in order."""
    files = {entry.name: entry.read_text("utf-8") for entry in resources.files(__name__).iterdir()
             if entry.name.endswith(".sql")}  # fmt: skip
    shared = sorted(name for name in files if name.count(".") == 1)
    return [
        _parse(name, files[name], files.get(name.replace(".sql", f".{kind.name}.sql"), ""), kind)
        for name in shared
    ]


def migrate(db: Database, kind: StoreKind = SQLITE) -> None:
    """Brings the store up to date; raises `Unavailable` when it is from a newer version."""
    table = (
        "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, name TEXT NOT NULL)"
    )
    db.execute(_typed(table, kind))
    known = migrations(kind)
    have = version(db)
    refuse_newer(have)
    for migration in known:
        if migration.version > have:
            _apply(db, migration)


def version(db: Database) -> int:
    """The newest migration that the store has had; 0 for none."""
    return int(db.execute("SELECT COALESCE(MAX(version), 0) FROM schema_version").fetchall()[0][0])


def refuse_newer(have: int) -> None:
    newest = migrations()[-1].version
    if have > newest:
        raise Unavailable(
            f"The ledger was written by a newer version of the gateway (schema {have}; this one"
            f" knows up to {newest}). Run that version, or restore a backup from before it."
        )


def _apply(db: Database, migration: Migration) -> None:
    db.execute("BEGIN")
    try:
        for statement in migration.statements:
            db.execute(statement)
        if backfill := BACKFILLS.get(migration.version):
            backfill(db)
        db.execute(
            "INSERT INTO schema_version (version, name) VALUES (?, ?)",
            (migration.version, migration.name),
        )
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _parse(file_name: str, shared: str, of_kind: str, kind: StoreKind) -> Migration:
    number, name = file_name.removesuffix(".sql").split("_", 1)
    statements = (*(_typed(one, kind) for one in _statements(shared)), *_statements(of_kind))
    return Migration(int(number), name, statements)


def _statements(text: str) -> Iterator[str]:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    yield from (part.strip() for part in f"{code}\n".split(";\n") if part.strip(" ;\n"))


def _typed(statement: str, kind: StoreKind) -> str:
    return re.sub(r"\bTEXT\b", kind.text, statement)
