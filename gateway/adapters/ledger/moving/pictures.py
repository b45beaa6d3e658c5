"""What the target's ledger knows of pictures while they are carried, and which are proven.

The record of those lies beside the ledger for as long as the move lasts: a run that goes on after
a cut reads no picture again that it has read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.adapters.ledger.database import Row
from gateway.adapters.ledger.moving.side import LedgerSide
from gateway.adapters.ledger.picture_rows import PICTURE_FACTS, picture_from
from gateway.adapters.ledger.statements import upsert
from gateway.core.model import Picture

MAKE: Final = (
    "CREATE TABLE IF NOT EXISTS moved_files (shard TEXT NOT NULL, name TEXT NOT NULL,"
    " version TEXT NOT NULL, PRIMARY KEY (shard, name))"
)
DROP: Final = "DROP TABLE IF EXISTS moved_files"
NOTE: Final = upsert("moved_files", ("shard", "name", "version"), key=2)
PROVEN: Final = "SELECT name, version FROM moved_files WHERE shard = ?"

# Digests are of 0-9 and a-f, so that what begins alike comes before the same and a g.
_OF_SHARD: Final = "digest >= ? AND digest < ?"
ON_RECORD: Final = (
    f"SELECT DISTINCT {', '.join(PICTURE_FACTS)} FROM pictures"
    f" WHERE {_OF_SHARD} AND erased_at IS NULL"
)
ERASED: Final = (
    f"SELECT DISTINCT digest FROM pictures WHERE {_OF_SHARD} EXCEPT"
    f" SELECT digest FROM pictures WHERE {_OF_SHARD} AND erased_at IS NULL"
)
TOTALS: Final = (
    "SELECT COUNT(*), COALESCE(SUM(size_bytes), 0) FROM pictures"
    " WHERE erased_at IS NULL AND again = 0"
)


class KnownPictures:
    """Of the ledger that `side` is."""

    def __init__(self, side: LedgerSide) -> None:
        self._side = side
        with side.failures():
            side.writer().execute(MAKE)

    def on_record(self, shard: str) -> Sequence[Picture]:
        return [picture_from(row) for row in self._rows(ON_RECORD, *_span(shard))]

    def erased(self, shard: str) -> frozenset[str]:
        return frozenset(str(row[0]) for row in self._rows(ERASED, *_span(shard), *_span(shard)))

    def proven(self, shard: str) -> Mapping[str, str]:
        return {str(name): str(version) for name, version in self._rows(PROVEN, shard)}

    def note(self, shard: str, proven: Iterable[tuple[str, str]]) -> None:
        with self._side.writing():
            self._side.change_many(NOTE, [(shard, name, version) for name, version in proven])

    def totals(self) -> tuple[int, int]:
        [(count, size_bytes)] = self._rows(TOTALS)
        return int(count), int(size_bytes)

    def forget(self) -> None:
        """All is carried: nobody goes on with it."""
        with self._side.failures():
            self._side.writer().execute(DROP)

    def _rows(self, sql: str, *values: object) -> Sequence[Row]:
        with self._side.failures():
            return self._side.writer().execute(sql, values).fetchall()


def _span(shard: str) -> tuple[str, str]:
    return shard, f"{shard}g"
