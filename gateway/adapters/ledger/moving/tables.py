"""The tables of the newest schema, as a move carries them: by name, key and columns.

They are read from a ledger that the migrations make in memory, so that a table or column of a
later migration is carried without a word here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from typing import Final

from gateway.adapters.ledger import migrations

STAYS: Final = frozenset({"schema_version", "replicas", "turns", "moves"})
"""What is of the place and not of the installation: who runs there, and what was done to it."""

LEASE: Final = {"lease_owner": "NULL", "lease_until": "CAST(0 AS DOUBLE PRECISION)"}
"""Nobody's work goes on in another place: there every lease is over, as after each start."""


@dataclass(frozen=True, slots=True)
class CarriedColumn:
    """`kind` is that of the migrations: TEXT, BIGINT or DOUBLE PRECISION."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class CarriedTable:
    """`key` are the places of the primary key's columns among `columns`, in the key's order."""

    name: str
    columns: tuple[CarriedColumn, ...]
    key: tuple[int, ...]

    @property
    def names(self) -> str:
        """Of the columns, for a statement."""
        return ", ".join(f'"{one.name}"' for one in self.columns)

    @property
    def read(self) -> str:
        """The columns as they shall be in the other place."""
        return ", ".join(LEASE.get(one.name, f'"{one.name}"') for one in self.columns)

    @property
    def keys(self) -> Sequence[CarriedColumn]:
        return [self.columns[at] for at in self.key]

    @property
    def amounts(self) -> Sequence[str]:
        """The columns that add up to something: counts, bytes and money."""
        key = {one.name for one in self.keys}
        numbers = [one.name for one in self.columns if one.kind == "BIGINT"]
        return [name for name in numbers if name not in key]


@cache
def tables() -> Sequence[CarriedTable]:
    """Every one, after those that its rows point to."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.migrate(db)
        names = [
            str(row[0])
            for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if row[0] not in STAYS and not row[0].startswith("sqlite_")
        ]
        pointing = {
            name: {row[2] for row in db.execute(f'PRAGMA foreign_key_list("{name}")')}
            for name in sorted(names)
        }
        return [_table(db, name) for name in TopologicalSorter(pointing).static_order()]


def _table(db: sqlite3.Connection, name: str) -> CarriedTable:
    found = db.execute(f'PRAGMA table_info("{name}")').fetchall()
    columns = tuple(CarriedColumn(row[1], row[2]) for row in found)
    ranks = {row[5]: at for at, row in enumerate(found) if row[5]}
    return CarriedTable(name, columns, tuple(ranks[rank] for rank in sorted(ranks)))
