"""A ledger carried from one side to the other, however often it is cut and begun again.

Both sides are walked table by table in the order of their keys, and what differs is written. So a
run that goes on, the rest after a stop and the proof at the end are one and the same: the proof is
a walk that finds nothing. Blocking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from gateway.adapters.ledger import migrations
from gateway.adapters.ledger.moving import marks
from gateway.adapters.ledger.moving.marks import Mark
from gateway.adapters.ledger.moving.side import LedgerSide, without_nul
from gateway.adapters.ledger.moving.sqlite_side import SqliteSide
from gateway.adapters.ledger.moving.tables import CarriedTable, tables
from gateway.adapters.ledger.moving.walking import Differences, Page, key_of, walk
from gateway.core.instants import rfc3339
from gateway.errors import Unavailable

Tell = Callable[[str, int, int], None]
"""What is being done, how far it is, and of how much."""

NUL: Final = b"\\u0000"
"""A U+0000 in a row that is written as JSON; so is one that was written so in JSON before."""

MOST_WALKS: Final = 3
"""Of a table that nobody else writes: the first writes what differs, the second finds nothing."""


class AlreadyMoved(Unavailable):
    """There is nothing left to do: a run before this one got to its end, and perhaps no further."""


@dataclass(slots=True)
class Written:
    """In rows; and of each table how many texts had a U+0000 in them."""

    new: int = 0
    changed: int = 0
    removed: int = 0
    nul: dict[str, int] = field(default_factory=dict)

    def add(self, found: Differences) -> None:
        self.new += len(found.missing)
        self.changed += len(found.changed)
        self.removed += len(found.surplus)


@dataclass(frozen=True, slots=True)
class TableProof:
    """A table that is the same on both sides: its rows, their SHA-256 by key, and its sums."""

    table: str
    rows: int
    digest: str
    sums: Mapping[str, int]


@dataclass(slots=True)
class _Walked:
    rows: int = 0
    differ: bool = False
    here: hashlib._Hash = field(default_factory=hashlib.sha256)
    there: hashlib._Hash = field(default_factory=hashlib.sha256)


class LedgerMove:
    """From `source` to `target`: `open`, then `carry` or, with the source held, `finish`."""

    def __init__(
        self, source: LedgerSide, target: LedgerSide, *, tell: Tell, clock: Callable[[], float]
    ) -> None:
        self.source = source
        self.target = target
        self.written = Written()
        self._tell = tell
        self._clock = clock
        self._store_id = ""
        self._told = 0

    @property
    def store_id(self) -> str:
        """Of the pictures that go with the ledger, once it is open."""
        return self._store_id

    def open(self) -> None:
        """Raises `Unavailable` where the one cannot become the other; nothing is changed then."""
        store_id = self._require_source()
        self._require_target(store_id)
        self._store_id = store_id
        if self.target.schema() != migrations.migrations()[-1].version:
            self.target.make()
        if marks.ARRIVING not in self.target.marks():
            self.target.mark(marks.ARRIVING, self._mark(self.source.place))

    def carry(self) -> None:
        """All of it as of one instant, while the source may go on."""
        self._clear_the_way()
        with self.source.reading():
            total = self._total()
            self._told = 0
            for table in tables():
                self._walk(table, total)
        self._make_indexes()

    def copy(self) -> None:
        """All of it as of one instant into a new file of its own: of a ledger that is whole, and
        that stays where it is."""
        self._require_source()
        self.target.make()
        self.carry()
        self.target.settle()

    def finish(self) -> Sequence[TableProof]:
        """The rest, and the proof that nothing is missing; the source must be held meanwhile."""
        self._clear_the_way()
        with self.source.reading():
            total = self._total()
            self._told = 0
            proofs = [self._proven(table, total) for table in tables()]
        self._make_indexes()
        return proofs

    def leave(self) -> None:
        """No gateway starts on the source any more."""
        self.source.mark(marks.LEFT, self._mark(self.target.place))

    def arrive(self) -> None:
        """The target may be served from: the very last."""
        self.target.settle()
        with self.target.writing():
            self.target.unmark(marks.LEFT)
            self.target.unmark(marks.ARRIVING)

    # --- may it be ---------------------------------------------------------------------------

    def _require_source(self) -> str:
        source = self.source
        have, newest = source.schema(), migrations.migrations()[-1].version
        if have is None:
            raise Unavailable(f"There is no ledger at {source.place}.")
        if have < newest:
            raise Unavailable(
                f"The ledger {source.place} is from an older version: start the gateway once,"
                " which brings it up to date, and migrate then."
            )
        if marks.ARRIVING in source.marks():
            marks.require_settled(source.writer())
        found = source.store_id()
        if found is None:
            raise Unavailable(f"The ledger {source.place} was never served from: start with a new.")
        return found

    def _require_target(self, store_id: str) -> None:
        source, target = self.source, self.target
        if target.schema() is not None and source.identity() == target.identity():
            raise Unavailable(f"{target.place} is where the ledger is: name another place.")
        target.take()
        # Read only now: another move may have ended here while this one waited.
        have, newest = target.schema(), migrations.migrations()[-1].version
        if have is None:
            self._require_not_left()
            return
        if have < newest:
            if target.is_empty():  # cut while it was being made
                self._require_not_left()
                return
            raise Unavailable(
                f"{target.place} has a ledger from an older version of the gateway: name an empty"
                " database or folder."
            )
        if (said := target.in_use()) is not None:
            raise Unavailable(f"{said} Nothing is carried into a ledger that is served from.")
        found = target.marks()
        if marks.ARRIVING in found:
            self._require_own(marks.read(found[marks.ARRIVING]).store_id, store_id)
            return
        self._require_not_left()
        if marks.LEFT in found:
            self._require_own(target.store_id(), store_id)
            self._require_successor()
        elif not target.is_empty():
            self._require_own(target.store_id(), store_id)
            raise Unavailable(
                f"{target.place} has a ledger of this installation already, and may know of orders"
                f" that {source.place} does not. If it is left over and nothing is served from it,"
                " empty that place, or name another one."
            )

    def _require_not_left(self) -> None:
        """One that was moved goes on being moved to the place that waits for it alone."""
        if (value := self.source.marks().get(marks.LEFT)) is not None:
            mark = marks.read(value)
            said = f"The ledger {self.source.place} was moved to {mark.place} at {mark.at} already"
            if mark.place == self.target.place:
                raise AlreadyMoved(f"{said}: start the gateway with the settings of that place.")
            raise Unavailable(f"{said}.")

    def _require_own(self, found: str | None, store_id: str) -> None:
        if found != store_id:
            raise Unavailable(
                f"{self.target.place} has another installation's ledger: name an empty database or"
                " folder."
            )

    def _require_successor(self) -> None:
        """A place that was left once is written over by what went on from it, and nothing else."""
        [runs] = [table for table in tables() if table.name == "runs"]
        ids = CarriedTable(runs.name, tuple(runs.keys), tuple(range(len(runs.key))))
        with self.source.reading(), self.target.reading():
            here = self.source.pages(ids, as_it_is=True)
            there = self.target.pages(ids, as_it_is=True)
            for found in walk(key_of(ids.key), here, there):
                if found.surplus:
                    raise Unavailable(
                        f"{self.target.place} knows of the run {found.surplus[0][0]} and"
                        f" {self.source.place} does not: neither went on from the other. Name an"
                        " empty database or folder."
                    )

    # --- carrying ----------------------------------------------------------------------------

    def _clear_the_way(self) -> None:
        """Rows change places, so that two may be alike for a moment; and a first copy is quicker
        without any index."""
        self.target.drop_indexes(all_of_them=self.target.is_empty())

    def _make_indexes(self) -> None:
        for at, of in self.target.make_indexes():
            self._tell("indexes", at, of)

    def _total(self) -> int:
        return sum(self.source.count(table) for table in tables())

    def _walk(self, table: CarriedTable, total: int, *, again: bool = False) -> _Walked:
        walked = _Walked()
        with self.target.reading():
            here, there = self._here(table, walked.here), self._there(table, walked.there)
            for found in walk(key_of(table.key), here, there):
                self.target.apply(table, found)
                self.written.add(found)
                walked.rows += found.seen
                walked.differ |= bool(found)
                self._told += 0 if again else found.seen
                self._tell(table.name, self._told, total)
        return walked

    def _here(self, table: CarriedTable, digest: hashlib._Hash) -> Iterator[Page]:
        """The source's rows as the target can keep them."""
        self.written.nul[table.name] = 0
        for found in self.source.pages(table, as_it_is=False):
            page, told = found, orjson.dumps(found)
            if NUL in told:
                page, changed = without_nul(found)
                self.written.nul[table.name] += changed
                told = orjson.dumps(page)
            digest.update(told)
            yield page

    def _there(self, table: CarriedTable, digest: hashlib._Hash) -> Iterator[Page]:
        for page in self.target.pages(table, as_it_is=True):
            digest.update(orjson.dumps(page))
            yield page

    def _proven(self, table: CarriedTable, total: int) -> TableProof:
        for at in range(MOST_WALKS):
            walked = self._walk(table, total, again=at > 0)
            if not walked.differ:
                break
        sums = self.source.sums(table)
        same = (
            not walked.differ
            and walked.here.digest() == walked.there.digest()
            and self.target.count(table) == self.source.count(table) == walked.rows
            and self.target.sums(table) == sums
        )
        if not same:
            raise Unavailable(
                f"The table {table.name} of {self.target.place} does not become as it is in"
                f" {self.source.place}: somebody else writes one of the two. The old place serves."
            )
        return TableProof(table.name, walked.rows, walked.here.hexdigest(), sums)

    def _mark(self, place: str) -> str:
        return Mark(place, rfc3339(self._clock()), self._store_id).to_json()


def copy_out(source: LedgerSide, path: Path, tell: Tell, clock: Callable[[], float]) -> None:
    """The ledger as of one instant, as a file of its own; raises `Unavailable`."""
    path.unlink(missing_ok=True)
    with closing(SqliteSide(path, alone=True)) as target:
        LedgerMove(source, target, tell=tell, clock=clock).copy()
