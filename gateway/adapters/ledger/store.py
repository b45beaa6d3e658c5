"""What each writing method of the ledger means in SQL.

Plain blocking functions. They begin and end no transaction: that, locking and threads are the
adapter's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from gateway.adapters.ledger import (
    account_store,
    picture_store,
    planned,
    replica_store,
    rows,
    statements,
    team_store,
)
from gateway.adapters.ledger.database import Database, Row, every, first
from gateway.adapters.ledger.loaded import ALL_SLOTS, SLOTS
from gateway.adapters.ledger.moving.marks import require_settled
from gateway.adapters.ledger.planned import Before
from gateway.core.model import Claim, Job, Run
from gateway.core.replicas import Epoch
from gateway.core.runs.leases import LEFT_SECONDS, Stand
from gateway.core.transaction import Decide, Keys, View, Writes

T = TypeVar("T")

LONGEST_WAIT_SECONDS: Final = 120.0
"""Longer than the usual paces of polls and tries. Who waits longer by his settings has one too many
after a start."""


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
    run = claim = None
    slots: dict[str, Any] = {}
    owed: tuple[Job, ...] = ()
    if keys.fingerprint is not None and not keys.alone:
        slots = slots_of(db, keys.fingerprint)
    if keys.run_id is not None:
        run = _run(db, statements.RUN_BY_ID, keys.run_id)
    if keys.run_id is not None and not keys.alone:
        owed = tuple(every(db, (statements.OWED_JOBS, (keys.run_id,)), rows.job_from))
    if keys.claim is not None:
        claim = first(db, (statements.CLAIM, keys.claim), lambda row: Claim(*row))
    accounts = account_store.ready(db, keys.accounts) if keys.accounts else {}
    if keys.counted is not None:
        accounts = {**accounts, **account_store.counted(db, *keys.counted)}
    view = View(accounts, run=run, owed=owed, claim=claim, **slots)
    if keys.team is not None:
        team, team_keys = team_store.managed(db, keys.team)
        view = replace(view, managed=team, team_keys=team_keys)
    if keys.picture is not None:
        view = replace(view, pictures=picture_store.made_by(db, keys.picture))
    if keys.epochs:
        view = replace(view, epochs=replica_store.epochs(db))
    if keys.uploads is not None:
        view = replace(view, uploaded_bytes=uploaded_bytes(db, *keys.uploads))
    return view


def uploaded_bytes(db: Database, team: str, now: float) -> int:
    return int(db.execute(statements.UPLOADED_BYTES, (team, now)).fetchall()[0][0])


def slots_of(db: Database, fingerprint: str) -> dict[str, Run]:
    """The runs that a view names of the fingerprint, by the names that it has for them."""
    found = db.execute(ALL_SLOTS, (fingerprint,) * len(SLOTS)).fetchall()
    return {row[0]: rows.run_from(row[1:]) for row in found}


def apply(db: Database, writes: Writes, view: View) -> None:
    """Writes what differs from the view."""
    known = known_of(db, writes, view)
    planned.apply_all(db, planned.planned(writes, known))
    take_back(db, writes)


def take_back(db: Database, writes: Writes) -> None:
    """Pictures and words, which are read before they are written."""
    for picture in writes.pictures:
        picture_store.erase(db, picture)
    for run_id in writes.wordless:
        picture_store.take_words(db, run_id)
    replica_store.raise_epochs(db, writes.raised)


def known_of(db: Database, writes: Writes, view: View) -> Before:
    """What is known from the view, and of which run it must be known whether it was done."""
    seen = (view.run, view.live, view.finished, view.superseded)
    return all_known(db, writes, Before({run.id: run for run in seen if run}, view.accounts))


def all_known(db: Database, writes: Writes, known: Before) -> Before:
    """Of a run that is done it must be known whether it was so before."""
    unread = known.unread(writes.runs)
    found = [_run(db, statements.RUN_BY_ID, run_id) for run_id in unread]
    return known.joined_by(run for run in found if run)


def forget_upload(db: Database, team: str, upload_id: str) -> None:
    """Its links go with it."""
    db.execute(statements.FORGET_UPLOAD, (team, upload_id))


def _run(db: Database, sql: str, value: str) -> Run | None:
    return first(db, (sql, (value,)), rows.run_from)


@dataclass(frozen=True, slots=True)
class Leasing:
    """Runs that are wanted: of upstreams that are `known` those that are due, of others what has
    been due for a while. `passing` by what is being written is for stores that several share."""

    owner: str
    now: float
    until: float
    limit: int
    known: tuple[str, ...]
    passing: str


def lease(db: Database, asked: Leasing) -> Sequence[Run]:
    """What is due is found, then taken as far as no one else was quicker, and only then read."""
    now, passing = asked.now, asked.passing
    if passing:
        db.execute(statements.one_leases("runs"))
    among = (*asked.known, now - LEFT_SECONDS) if asked.known else ()
    wanted = (statements.due_runs(len(asked.known)), (now, now, *among, now, asked.limit))
    due = every(db, wanted, _text)
    if not due:
        return []
    require_settled(db)  # a gateway that was cut off while its ledger was moved away
    found = (asked.owner, asked.until, *due)
    db.execute(statements.take_runs(len(due), passing), (*found[:2], now, now, *due))
    return every(db, (statements.leased_runs(len(due)), found), rows.run_from)


def renew(db: Database, owner: str, run_ids: Sequence[str], until: float) -> Sequence[Stand]:
    """Raises `Unavailable` where nobody may serve: what is submitted now were paid and unknown."""
    require_settled(db)  # a gateway that stood still while its ledger was moved away
    db.execute(statements.renew("runs", len(run_ids)), (until, owner, *run_ids))
    told = (statements.stands(len(run_ids)), (owner, *run_ids))
    return every(db, told, lambda row: Stand(*row))


def give_back(db: Database, owner: str) -> None:
    for statement in statements.GIVE_BACK:
        db.execute(statement, (owner,))


def retire(db: Database, *, team: str | None, limit: int) -> Sequence[str]:
    """Up to `limit` finished runs that answer nobody any more; their fingerprints."""
    named = () if team is None else (team,)
    found = db.execute(statements.to_retire(team=team is not None), (*named, limit)).fetchall()
    for run_id, _ in found:
        db.execute(statements.RETIRE, (run_id,))
    if found:
        replica_store.raise_epochs(db, [Epoch.CACHE])
    return [fingerprint for _, fingerprint in found]


def store_id(db: Database) -> str | None:
    return first(db, (statements.STORE_ID, ()), _text)


def _text(row: Row) -> str:
    return str(row[0])


def note_store(db: Database, store_id: str) -> None:
    """Several gateways that start at once may note the same one."""
    db.execute(statements.FORGET_OTHER_STORES, (store_id,))
    db.execute(statements.NOTE_STORE, (store_id,))


def void_leases(db: Database) -> None:
    for statement in statements.VOID_LEASES:
        db.execute(statement)


def not_so_late(db: Database, now: float) -> None:
    """No run waits longer than any pace has it: who wrote that had a clock that was ahead."""
    db.execute(statements.NOT_SO_LATE, (now, now + LONGEST_WAIT_SECONDS))


def clock_set(db: Database, seconds: float) -> None:
    for statement in statements.CLOCK_SET:
        db.execute(statement, (seconds,) * statement.count("?"))
    for run in every(db, (statements.IN_TROUBLE, ()), rows.run_from):
        if run.trouble is not None:
            since = replace(run.trouble, since=run.trouble.since + seconds)
            columns, values = rows.run_changes(run, replace(run, trouble=since))
            db.execute(statements.change_run(columns), values)


# --- retention ---------------------------------------------------------------------------------


def prune(statement: str, db: Database, *, before: float, limit: int) -> int:
    """Runs one of the statements `PRUNE_...`; how many rows went."""
    return db.execute(statement, (before, limit)).rowcount
