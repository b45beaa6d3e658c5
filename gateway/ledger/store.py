"""What each method of the ledger means in SQL, on any connection that both dialects' adapters give.

Plain blocking functions. They begin and end no transaction: that, locking and threads are the
adapter's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from gateway.core.model import (
    Account,
    AccountKey,
    Job,
    Picture,
    Run,
    RunState,
    Usage,
)
from gateway.core.transaction import Decide, Keys, View, Writes
from gateway.ledger import rows, statements

T = TypeVar("T")

MAX_DAY: Final = 2**62
"""Later than every day, and within what both stores call a BIGINT."""


ACCOUNTS_AT_ONCE: Final = 100
"""Three values each: far below every store's limit of values in a statement."""


class Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...

    def fetchall(self) -> Sequence[Sequence[Any]]: ...


class Database(Protocol):
    """A connection: `?` in the statement stands for the next value."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor: ...


class DecisionRaised(Exception):
    """Carries what `decide` raised past the adapter's translation of the store's own errors."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(str(original))
        self.original = original


def transact(db: Database, keys: Keys, decide: Decide[T]) -> T:
    """Loads, decides, writes. What `decide` raises comes out inside `DecisionRaised`."""
    view = load(db, keys)
    try:
        answer, writes = decide(view)
    except BaseException as error:
        raise DecisionRaised(error) from error
    apply(db, writes, view)
    return answer


def load(db: Database, keys: Keys) -> View:
    live = finished = run = None
    if keys.fingerprint is not None:
        live = _one_run(db, statements.RUN_LIVE, keys.fingerprint)
        finished = _one_run(db, statements.RUN_FINISHED, keys.fingerprint)
    if keys.run_id is not None:
        run = _one_run(db, statements.RUN_BY_ID, keys.run_id)
    return View(accounts(db, keys.accounts), live, finished, run)


def apply(db: Database, writes: Writes, view: View) -> None:
    """Writes what differs from the view.

    Runs that others can join go last: the fingerprint may be given up by one for another.
    """
    for run in sorted(writes.runs, key=lambda run: run.shared and not run.is_final):
        if run not in (view.run, view.live, view.finished):
            _put_run(db, run)
    for job in writes.jobs:
        db.execute(statements.ADD_JOB, rows.job_row(job))
    changed = {a.key: a for a in writes.accounts if view.accounts.get(a.key) != a}
    if changed:
        values = [value for account in changed.values() for value in rows.account_row(account)]
        db.execute(statements.put_accounts(len(changed)), values)
    for usage in writes.usage:
        db.execute(statements.ADD_USAGE, rows.usage_row(usage))


def _put_run(db: Database, run: Run) -> None:
    db.execute(statements.PUT_RUN, rows.run_row(run))
    if run.state is RunState.DONE:
        for picture in rows.picture_rows(run):
            db.execute(statements.PUT_PICTURE, picture)


def _one_run(db: Database, statement: str, value: str) -> Run | None:
    found = db.execute(statement, (value,)).fetchall()
    return rows.run_from(found[0]) if found else None


def job(db: Database, job_id: str) -> tuple[Job, Run] | None:
    found = db.execute(statements.JOB_WITH_RUN, (job_id,)).fetchall()
    if not found:
        return None
    width = len(rows.JOB_COLUMNS)
    return rows.job_from(found[0][:width]), rows.run_from(found[0][width:])


def accounts(db: Database, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
    wanted = tuple(dict.fromkeys(keys))
    found: list[Sequence[Any]] = []
    for start in range(0, len(wanted), ACCOUNTS_AT_ONCE):
        part = wanted[start : start + ACCOUNTS_AT_ONCE]
        values = [value for key in part for value in rows.key_row(key)]
        found += db.execute(statements.get_accounts(len(part)), values).fetchall()
    return rows.accounts_from(found, wanted)


def lease(db: Database, owner: str, *, now: float, until: float, limit: int) -> Sequence[Run]:
    due = db.execute(statements.DUE_RUNS, (now, now, limit)).fetchall()
    runs = [replace(rows.run_from(row), lease_owner=owner, lease_until=until) for row in due]
    for run in runs:
        db.execute(statements.LEASE_RUN, (owner, until, run.id))
    return runs


def next_due(db: Database) -> float | None:
    return _single(db, statements.NEXT_DUE)


def oldest_unkept(db: Database) -> float | None:
    return _single(db, statements.OLDEST_UNKEPT)


def _single(db: Database, statement: str) -> float | None:
    value = db.execute(statement).fetchall()[0][0]
    return None if value is None else float(value)


def usage(db: Database, since_day: int | None, until_day: int | None) -> Sequence[Usage]:
    since = -MAX_DAY if since_day is None else since_day
    until = MAX_DAY if until_day is None else until_day
    found = db.execute(statements.USAGE_TOTALS, (since, until)).fetchall()
    return [rows.usage_from(row) for row in found]


def run_counts(db: Database) -> Mapping[RunState, int]:
    """The live ones are counted, the final ones follow from the roll-up: they are too many."""
    counts = dict.fromkeys(RunState, 0)
    for state, count in db.execute(statements.LIVE_COUNTS).fetchall():
        counts[RunState(state)] = count
    live = sum(counts.values())
    started, failed = map(int, db.execute(statements.STARTED_AND_FAILED).fetchall()[0])
    counts[RunState.FAILED] = failed
    counts[RunState.DONE] = max(0, started - failed - live)
    return counts


def picture_totals(db: Database) -> tuple[int, int]:
    count, size_bytes = db.execute(statements.PICTURE_TOTALS).fetchall()[0]
    return int(count), int(size_bytes)


def pictures(db: Database, after: str, limit: int) -> Sequence[Picture]:
    found = db.execute(statements.PICTURES, (after, limit)).fetchall()
    return [rows.picture_from(row) for row in found]


def prune_jobs(db: Database, before: float, limit: int) -> int:
    return db.execute(statements.PRUNE_JOBS, (before, limit)).rowcount


def prune_accounts(db: Database, before: float, limit: int) -> int:
    return db.execute(statements.PRUNE_ACCOUNTS, (before, limit)).rowcount
