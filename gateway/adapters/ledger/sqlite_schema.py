"""Whether a SQLite ledger has the tables, indexes and constraints that the migrations make.

They are made once more, in memory, and compared. What is there besides is left alone (a tool that
copies the ledger has tables of its own), but for triggers and views: nothing here makes one.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cache
from typing import Final

from gateway.adapters.ledger import migrations
from gateway.adapters.ledger.database import Database
from gateway.core.money.invariants import Invariant, Violation

_OBJECTS: Final = (
    "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'"
)
Name = tuple[str, str]


def violations(db: Database) -> Iterator[Violation]:
    expected, found = _expected(), _objects(db)
    for (kind, name), text in sorted(expected.items()):
        if found.get((kind, name)) != text:
            how = "is not there" if (kind, name) not in found else "is another"
            yield Violation(Invariant.SCHEMA, f"The {kind} {name} {how}.")
    for kind, name in sorted(found.keys() - expected.keys()):
        if kind in ("trigger", "view"):
            yield Violation(Invariant.SCHEMA, f"The {kind} {name} is not of this gateway.")


@cache
def _expected() -> Mapping[Name, str]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.migrate(db)
        return _objects(db)


def _objects(db: Database) -> Mapping[Name, str]:
    """By kind and name; SQLite's versions differ in the blanks and quotes that they write."""
    rows = db.execute(_OBJECTS).fetchall()
    return {(kind, name): re.sub(r'[\s"]+', "", sql or "").casefold() for kind, name, sql in rows}
