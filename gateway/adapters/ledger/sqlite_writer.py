"""The writing lane of SQLite: all work of a batch shares one commit.

Decisions that wait together are made together, and what they write is written as if it were of one:
each statement is a chance to lose the processor to the event loop, and so takes many times what
SQLite needs for it. Where a constraint is broken each is made for itself, so that only the guilty
one hears of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from math import floor
from pathlib import Path
from typing import Final

from gateway.adapters.ledger import (
    account_store,
    planned,
    replica_store,
    rows,
    statements,
    store,
    team_store,
)
from gateway.adapters.ledger.connections import (
    BUSY_SECONDS,
    DEFECTS,
    SqliteConnected,
    empty_log,
    unavailable,
)
from gateway.adapters.ledger.database import Database, every, first
from gateway.adapters.ledger.deciding import Deciding, deciding, decision_of, kind_of
from gateway.adapters.ledger.lane import Ticket, Work, WorkOutcome
from gateway.adapters.ledger.loaded import SLOTS, Loaded, Wanted
from gateway.adapters.ledger.store import DecisionRaised
from gateway.adapters.ledger.writes import Decision
from gateway.core.model import Claim
from gateway.core.transaction import ConstraintViolation, Keys

BEGIN: Final = "BEGIN IMMEDIATE"

_ALONE: Final = ((), ("ROLLBACK", BEGIN), ())
_AMONG_OTHERS: Final = (
    ("SAVEPOINT work",),
    ("ROLLBACK TO work", "RELEASE work"),
    ("RELEASE work",),
)
"""How work is begun, undone, and ended without having raised."""


class SqliteWriter(SqliteConnected):
    # For what a statement may have to take back: a batch would write it to a file of its own. Only
    # here, where nothing is sorted: a migration's indexes would have no bound in memory.
    _pragmas = ("temp_store = MEMORY",)

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        super().__init__(path, read_only=False, busy_seconds=busy_seconds)

    def close(self) -> None:
        """Leaves everything in the one file, for whoever copies it after a stop."""
        with suppress(sqlite3.Error):  # then it is in the log beside it, where it is as safe
            empty_log(self.connection())
        self.drop()

    def serve(self, batch: Sequence[Ticket]) -> Sequence[WorkOutcome]:
        outcomes: list[WorkOutcome] = []
        try:
            db = self.connection()
            db.execute(BEGIN)
            for kind, some in groupby(batch, key=kind_of):
                serve = _decided if kind is Decision else _one_by_one
                outcomes += serve(db, list(some), first=not outcomes)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self.drop()
            return _nothing_written(outcomes, len(batch), error)
        return outcomes


def _decided(
    db: sqlite3.Connection, tickets: Sequence[Ticket], *, first: bool
) -> list[WorkOutcome]:
    outcomes: list[WorkOutcome] = []
    while len(outcomes) < len(tickets):
        left = tickets[len(outcomes) :]
        some = deciding(left) or left[:1]
        serve = _together if len(some) > 1 else _one_by_one
        outcomes += serve(db, some, first=first and not outcomes)
    return outcomes


def _together(
    db: sqlite3.Connection, tickets: Sequence[Ticket], *, first: bool
) -> Sequence[WorkOutcome]:
    """At least the first one's."""
    try:
        with _undone_if_it_raises(db, first=first):
            decided = Deciding(load(db, [decision_of(ticket).keys for ticket in tickets]))
            outcomes = decided.outcomes(tickets)
            writes, known = decided.writes(), decided.known
            planned.apply_all(db, planned.planned(writes, store.all_known(db, writes, known)))
            store.take_back(db, writes)
    except Exception as error:
        if _is_the_stores(error):
            raise
        return _one_by_one(db, tickets, first=first)
    return outcomes


def _one_by_one(db: sqlite3.Connection, batch: Sequence[Work], *, first: bool) -> list[WorkOutcome]:
    """What raises is undone alone."""
    return [_undone_alone(db, work, first=first and n == 0) for n, work in enumerate(batch)]


def _undone_alone(db: sqlite3.Connection, work: Work, *, first: bool) -> WorkOutcome:
    try:
        with _undone_if_it_raises(db, first=first):
            return WorkOutcome(work(db))
    except DecisionRaised as error:
        return WorkOutcome(error=error.original)
    except DEFECTS as error:
        return WorkOutcome(error=ConstraintViolation(str(error)))
    except sqlite3.Error:
        raise
    except BaseException as error:
        return WorkOutcome(error=error)


@contextmanager
def _undone_if_it_raises(db: sqlite3.Connection, *, first: bool) -> Iterator[None]:
    """Errors of the store itself leave no transaction to go back in: all of it is undone then.

    The `first` of a transaction needs no place to go back to, for which SQLite would copy each page
    before it changes: the transaction begins anew.
    """
    begin, back, end = _ALONE if first else _AMONG_OTHERS
    for statement in begin:
        db.execute(statement)
    try:
        yield
    except BaseException as error:
        if not _is_the_stores(error):
            for statement in back:
                db.execute(statement)
        raise
    for statement in end:
        db.execute(statement)


def _is_the_stores(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and not isinstance(error, DEFECTS)


def _nothing_written(
    outcomes: Sequence[WorkOutcome], size: int, error: sqlite3.Error
) -> Sequence[WorkOutcome]:
    """What a decision raised still comes out; all else failed with the store."""
    kept = [one if one.error else None for one in outcomes] + [None] * (size - len(outcomes))
    return [one or WorkOutcome(error=unavailable(error)) for one in kept]


# --- what they have to see -----------------------------------------------------------------------


def load(db: Database, keys: Sequence[Keys]) -> Loaded:
    """Accounts that were not there and have runs are there from now on."""
    asked, loaded = Wanted(keys), Loaded()
    for fingerprint in asked.fingerprints:
        loaded.slots[fingerprint] = dict.fromkeys(SLOTS)
        for slot, one in store.slots_of(db, fingerprint).items():
            loaded.runs[one.id] = one
            loaded.slots[fingerprint][slot] = one.id
    if ids := asked.run_ids:
        # Of a few lengths only, so that SQLite has each prepared already.
        more = (1 << (len(ids) - 1).bit_length()) - len(ids)
        named = (statements.runs_by_id(len(ids) + more), (*ids, *ids[-1:] * more))
        loaded.runs.update((run.id, run) for run in every(db, named, rows.run_from))
    for run_id in asked.owing:
        loaded.owed[run_id] = every(db, (statements.OWED_JOBS, (run_id,)), rows.job_from)
    for claim in asked.claims:
        if found := first(db, (statements.CLAIM, claim), lambda row: Claim(*row)):
            loaded.claims[claim] = found
    loaded.accounts = dict(account_store.ready(db, asked.accounts)) if asked.accounts else {}
    for team, second in sorted({(team, floor(at)) for team, at in asked.counted}):
        loaded.accounts |= account_store.counted(db, team, second)
    loaded.uploaded = {one: store.uploaded_bytes(db, *one) for one in asked.uploads}
    _load_operated(db, loaded, asked)
    return loaded


def _load_operated(db: Database, loaded: Loaded, asked: Wanted) -> None:
    """What operators change."""
    for name in asked.teams:
        team, keys = team_store.managed(db, name)
        loaded.team_keys[name] = [*keys]
        if team is not None:
            loaded.teams[name] = team
    loaded.epochs = replica_store.epochs(db) if asked.epochs else None
