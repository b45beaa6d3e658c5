"""All that the decisions of a batch have to see, locked and read in one round trip.

The statements are those of one decision, each asked for all keys at once. Runs that may be written
as wholes are locked as rows too: leases are taken without the batch's locks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from gateway.adapters.ledger import picture_store, replica_store, rows, statements, team_store
from gateway.adapters.ledger.database import Cursor, Row
from gateway.adapters.ledger.loaded import SLOTS, Loaded, Wanted
from gateway.adapters.ledger.picture_rows import kept_from
from gateway.adapters.ledger.planned import Before
from gateway.adapters.ledger.postgres.database import PostgresDatabase
from gateway.adapters.ledger.postgres.locks import LOCK, locks
from gateway.adapters.ledger.postgres.texts import keepable
from gateway.core.model import Claim
from gateway.core.money.accounts import LONGEST_SECONDS, Account, Amounts
from gateway.core.replicas import Epochs
from gateway.core.teams.records import ManagedTeam, TeamKey
from gateway.core.transaction import Keys, Writes

LOCKED: Final = "FOR NO KEY UPDATE"
"""Keeps other writers away, and lets jobs be added."""

NEAR_SECONDS: Final = 60
"""Times of orders that are so near are looked up together."""


@cache
def for_each(sql: str, types: tuple[str, ...], tail: str = "", *, named: bool = False) -> str:
    """The statement for many: each `?` is a list of values of that type, all equally long.

    `named`: with the values before each row.
    """
    first, *parts = sql.split("?")
    asked = [f"v{number}" for number in range(len(types))]
    body = first + "".join(f"asked.{v}{part}" for v, part in zip(asked, parts, strict=True))
    lists = ", ".join(f"%s::{kind}[]" for kind in types)
    columns = "asked.*, found.*" if named else "found.*"
    return (
        f"SELECT {columns} FROM unnest({lists}) AS asked({', '.join(asked)})"
        f" CROSS JOIN LATERAL ({body} {tail}) AS found"
    )


TEXT: Final = ("text",)
WRITTEN_SLOTS: Final = ("live", "superseded")
FOUND: Final = {
    slot: for_each(sql, TEXT, LOCKED if slot in WRITTEN_SLOTS else "")
    for slot, sql in SLOTS.items()
}
RUNS: Final = for_each(statements.RUN_BY_ID, TEXT, LOCKED)
OWED: Final = for_each(statements.OWED_JOBS, TEXT)
CLAIMS: Final = for_each(statements.CLAIM, ("text", "text"))
ACCOUNTS: Final = for_each(statements.get_accounts(1), ("text", "text", "bigint", "bigint"))
COUNTED: Final = for_each(
    statements.ACCOUNTS_BETWEEN, ("text", "text", "bigint", "bigint", "bigint")
)
OF_RUNS: Final = for_each(statements.ACCOUNT_OF_RUNS, ("text", "float8", "float8"), named=True)
MANAGED: Final = for_each(team_store.TEAM, TEXT)
KEYS_OF_TEAM: Final = for_each(team_store.KEYS_OF_TEAM, TEXT)
MADE_BY: Final = for_each(picture_store.MADE_BY, TEXT)
UPLOADED: Final = for_each(statements.UPLOADED_BYTES, ("text", "float8"), named=True)


def load(
    db: PostgresDatabase, every: Sequence[Keys], *, schema: str, begin: Callable[[], None]
) -> Loaded:
    """Begins a transaction by `begin`."""
    asked = Wanted(every)
    reading = _Reading(db)
    with db.connection.pipeline():
        begin()
        named = locks(every, schema=schema)
        if named:
            db.connection.execute(LOCK, (named,))
        _ask(reading, asked)
    loaded = Loaded()
    _read(loaded, reading.answers, asked)
    _make_accounts(db, loaded, asked)
    return loaded


class _Reading:
    """Statements under way, by what they are about."""

    def __init__(self, db: PostgresDatabase) -> None:
        self._db = db
        self.answers: dict[str, Cursor] = {}

    def ask(self, name: str, sql: str, *lists: Sequence[Any]) -> None:
        if not lists:
            self.answers[name] = self._db.connection.execute(sql)
        elif lists[0]:
            self.answers[name] = self._db.connection.execute(
                sql, [[*keepable(one)] for one in lists]
            )


def _ask(reading: _Reading, asked: Wanted) -> None:
    for slot, sql in FOUND.items():
        reading.ask(slot, sql, asked.fingerprints)
    reading.ask("runs", RUNS, asked.run_ids)
    reading.ask("owed", OWED, asked.owing)
    if asked.claims:
        reading.ask("claims", CLAIMS, *zip(*asked.claims, strict=True))
    if asked.accounts:
        named = [rows.key_row(key) for key in asked.accounts]
        reading.ask("accounts", ACCOUNTS, *zip(*named, strict=True))
    if asked.counted:
        reading.ask("counted", COUNTED, *zip(*_stretches(asked.counted), strict=True))
    reading.ask("teams", MANAGED, asked.teams)
    reading.ask("keys", KEYS_OF_TEAM, asked.teams)
    reading.ask("pictures", MADE_BY, asked.pictures)
    if asked.epochs:
        reading.ask("epochs", replica_store.EPOCHS)
    if asked.uploads:
        reading.ask("uploaded", UPLOADED, *zip(*asked.uploads, strict=True))


def _stretches(counted: Sequence[tuple[str, float]]) -> list[tuple[str, str, int, int, int]]:
    """Of each window those accounts that lie around any of these times, or between two."""
    groups: list[tuple[str, int, int]] = []
    for team, at in counted:
        second = int(at // 1)
        if groups and groups[-1][0] == team and second - groups[-1][1] <= NEAR_SECONDS:
            groups[-1] = (team, groups[-1][1], second)
        else:
            groups.append((team, second, second))
    return [
        (team, window.value, since - int(longest) - 1, until, since)
        for team, since, until in groups
        for window, longest in LONGEST_SECONDS.items()
    ]


def _read(loaded: Loaded, answers: Mapping[str, Cursor], asked: Wanted) -> None:
    def found(name: str) -> Sequence[Row]:
        return answers[name].fetchall() if name in answers else ()

    loaded.slots = {one: dict.fromkeys(SLOTS) for one in asked.fingerprints}
    for slot in SLOTS:
        for run in map(rows.run_from, found(slot)):
            loaded.runs[run.id] = run
            loaded.slots[run.fingerprint][slot] = run.id
    loaded.runs |= {run.id: run for run in map(rows.run_from, found("runs"))}
    loaded.owed = {run_id: [] for run_id in asked.owing}
    for job in sorted(map(rows.job_from, found("owed")), key=lambda job: (job.created_at, job.id)):
        loaded.owed[job.run_id].append(job)
    loaded.claims = {(row[0], row[1]): Claim(*row) for row in found("claims")}
    loaded.accounts = {
        **rows.accounts_from(found("accounts")),
        **rows.accounts_from(found("counted")),
    }
    loaded.teams = {row[0]: ManagedTeam(*row) for row in found("teams")}
    loaded.team_keys = {name: [] for name in asked.teams}
    for key in sorted((TeamKey(*row) for row in found("keys")), key=_age):
        loaded.team_keys[key.team].append(key)
    loaded.pictures = {digest: [] for digest in asked.pictures}
    for one in sorted(map(kept_from, found("pictures")), key=lambda p: (p.created_at, p.run_id)):
        loaded.pictures[one.picture.digest].append(one)
    if asked.epochs:
        [loaded.epochs] = [Epochs(*row) for row in found("epochs")] or [Epochs()]
    loaded.uploaded = {(row[0], row[1]): int(row[2]) for row in found("uploaded")}


def _age(key: TeamKey) -> tuple[float, str]:
    return key.created_at, key.id


def _make_accounts(db: PostgresDatabase, loaded: Loaded, asked: Wanted) -> None:
    """Those that are not there, of the runs; nobody else can start one meanwhile."""
    missing = [key for key in asked.accounts if key not in loaded.accounts]
    if not missing:
        return
    named = sorted({(key.team, float(key.start), float(key.end)) for key in missing})
    lists = [list(one) for one in zip(*named, strict=True)]
    sums = db.connection.execute(OF_RUNS, lists).fetchall()
    of = {tuple(row[:3]): [int(value) for value in row[3:]] for row in sums}
    made = []
    for key in missing:
        runs, *amounts = of[key.team, float(key.start), float(key.end)]
        account = Account(key, Amounts(*amounts[:3]), Amounts(*amounts[3:]))
        loaded.accounts[key] = account
        if runs:
            made.append(account)
    loaded.made = tuple(made)


def all_known(db: PostgresDatabase, writes: Writes, known: Before) -> Before:
    """Of a run that is done it must be known whether it was so before."""
    unread = known.unread(writes.runs)
    if not unread:
        return known
    found = db.connection.execute(RUNS, (unread,)).fetchall()
    return known.joined_by(map(rows.run_from, found))
