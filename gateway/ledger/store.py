"""What each method of the ledger means in SQL, on any connection that both dialects' adapters give.

Plain blocking functions. They begin and end no transaction: that, locking and threads are the
adapter's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

from gateway.core.model import Account, AccountKey, Delivery, Job, Run, RunState, Upload
from gateway.core.transaction import Decide, Keys, View, Writes
from gateway.ledger import rows, statements
from gateway.ledger.rows import Row

T = TypeVar("T")

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
    live = finished = run = claim = None
    owed: tuple[Job, ...] = ()
    if keys.fingerprint is not None:
        live = _one_run(db, statements.RUN_LIVE, keys.fingerprint)
        finished = _one_run(db, statements.RUN_FINISHED, keys.fingerprint)
    if keys.run_id is not None:
        run = _one_run(db, statements.RUN_BY_ID, keys.run_id)
        found = db.execute(statements.OWED_JOBS, (keys.run_id,)).fetchall()
        owed = tuple(rows.job_from(row) for row in found)
    if keys.claim is not None:
        claim = _one(db, statements.CLAIM, keys.claim, rows.claim_from)
    return View(accounts(db, keys.accounts), live, finished, run, owed, claim)


def apply(db: Database, writes: Writes, view: View) -> None:
    """Writes what differs from the view.

    Runs that others can join go last: the fingerprint may be given up by one for another.
    """
    known = {run.id: run for run in (view.run, view.live, view.finished) if run}
    for run in sorted(writes.runs, key=lambda run: run.shared and not run.is_final):
        if run != known.get(run.id):
            _put_run(db, run, known.get(run.id))
    for job in writes.jobs:
        db.execute(statements.ADD_JOB, rows.job_row(job))
    for freed in writes.freed:
        db.execute(statements.FREE_CLAIM, (freed.team, freed.key, freed.job_id))
    for claim in writes.claims:
        db.execute(statements.ADD_CLAIM, rows.claim_row(claim))
    for delivery in writes.deliveries:
        db.execute(statements.PUT_DELIVERY, rows.delivery_row(delivery))
    for upload in writes.uploads:
        _put_upload(db, upload)
    changed = {a.key: a for a in writes.accounts if view.accounts.get(a.key) != a}
    if changed:
        values = [value for account in changed.values() for value in rows.account_row(account)]
        db.execute(statements.put_accounts(len(changed)), values)
    for usage in writes.usage:
        db.execute(statements.ADD_USAGE, rows.usage_row(usage))
        db.execute(statements.ADD_TOTAL, rows.total_row(usage))


def _put_run(db: Database, run: Run, before: Run | None) -> None:
    db.execute(statements.PUT_RUN, rows.run_row(run))
    if before is None or before.state is not run.state:
        db.execute(statements.TELL_JOBS, (run.state.value, run.id))
    if run.state is RunState.DONE:
        for picture in rows.picture_rows(run):
            db.execute(statements.PUT_PICTURE, picture)


def _put_upload(db: Database, upload: Upload) -> None:
    db.execute(statements.PUT_UPLOAD, rows.upload_row(upload))
    db.execute(statements.DROP_URLS, (upload.team, upload.id))
    for url in upload.urls:
        db.execute(statements.PUT_URL, (upload.team, url, upload.id))


def forget_upload(db: Database, team: str, upload_id: str) -> None:
    """Its links go with it."""
    db.execute(statements.FORGET_UPLOAD, (team, upload_id))


def _one(db: Database, sql: str, values: Sequence[Any], read: Callable[[Row], T]) -> T | None:
    found = db.execute(sql, values).fetchall()
    return read(found[0]) if found else None


def _one_run(db: Database, sql: str, value: str) -> Run | None:
    return _one(db, sql, (value,), rows.run_from)


def accounts(db: Database, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
    wanted = tuple(dict.fromkeys(keys))
    found: list[Sequence[Any]] = []
    for start in range(0, len(wanted), ACCOUNTS_AT_ONCE):
        part = wanted[start : start + ACCOUNTS_AT_ONCE]
        values = [value for key in part for value in rows.key_row(key)]
        found += db.execute(statements.get_accounts(len(part)), values).fetchall()
    return rows.accounts_from(found, wanted)


def lease(db: Database, owner: str, *, now: float, until: float, limit: int) -> Sequence[Run]:
    due = db.execute(statements.DUE_RUNS, (now, now, now, limit)).fetchall()
    runs = [replace(rows.run_from(row), lease_owner=owner, lease_until=until) for row in due]
    for run in runs:
        db.execute(statements.LEASE_RUN, (owner, until, run.id))
    return runs


def lease_deliveries(
    db: Database, owner: str, *, now: float, until: float, limit: int
) -> Sequence[Delivery]:
    due = db.execute(statements.DUE_DELIVERIES, (now, now, now, limit)).fetchall()
    found = [rows.delivery_from(row) for row in due]
    for one in found:
        db.execute(statements.LEASE_DELIVERY, (owner, until, one.id))
    return [replace(one, lease_owner=owner, lease_until=until) for one in found]


def void_leases(db: Database) -> None:
    for statement in statements.VOID_LEASES:
        db.execute(statement)


# --- retention ---------------------------------------------------------------------------------


def prune(statement: str, db: Database, *, before: float, limit: int) -> int:
    """Runs one of the statements in `statements.PRUNE`; how many rows went."""
    return db.execute(statement, (before, limit)).rowcount
