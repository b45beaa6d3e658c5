"""The statements of the ledger; `?` stands for a value.

They keep to what SQLite and PostgreSQL both accept.
Where a partial index must serve a query, the query repeats the index's condition word by word.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from gateway.adapters.ledger.rows import (
    ACCOUNT_COLUMNS,
    CLAIM_COLUMNS,
    DELIVERY_COLUMNS,
    JOB_COLUMNS,
    RUN_COLUMNS,
    RUN_COUNTS,
    TOTAL_COLUMNS,
    UPLOAD_COLUMNS,
    URL_COLUMNS,
    USAGE_COLUMNS,
    USAGE_COUNTERS,
)
from gateway.core.money.accounts import Window

LIVE: Final = "state NOT IN ('done', 'failed')"
AWAITED: Final = "state = 'submitting' AND accepted_at IS NOT NULL"
"""As `showing.is_awaited` has it."""

AWAITED_RUNS: Final = f"(SELECT id FROM runs WHERE {LIVE} AND {AWAITED})"
SHOWN_STATE: Final = f"CASE WHEN {AWAITED} THEN 'running' ELSE state END"
"""The state as which a run is listed and counted (`showing.shown_state`)."""

PENDING: Final = "state = 'pending'"
ENDED: Final = "state <> 'pending'"

_RUN: Final = ", ".join(RUN_COLUMNS)
_DELIVERY: Final = ", ".join(DELIVERY_COLUMNS)
_UPLOAD: Final = ", ".join(UPLOAD_COLUMNS)


def insert(table: str, columns: tuple[str, ...], rows: int = 1) -> str:
    one = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * rows)}"


def upsert(table: str, columns: tuple[str, ...], *, key: int, rows: int = 1) -> str:
    """Inserts or replaces; the first `key` columns are the primary key."""
    new = ", ".join(f"{name} = excluded.{name}" for name in columns[key:])
    conflict = ", ".join(columns[:key])
    return f"{insert(table, columns, rows)} ON CONFLICT ({conflict}) DO UPDATE SET {new}"


# --- single records --------------------------------------------------------------------------

RUN_BY_ID: Final = f"SELECT {_RUN} FROM runs WHERE id = ?"
RUN_LIVE: Final = f"SELECT {_RUN} FROM runs WHERE fingerprint = ? AND shared = 1 AND {LIVE}"
RUN_FINISHED: Final = (
    f"SELECT {_RUN} FROM runs WHERE fingerprint = ? AND shared = 1 AND state = 'done'"
    " ORDER BY finished_at DESC, id DESC LIMIT 1"
)
RUN_LOST: Final = (
    f"SELECT {_RUN} FROM runs WHERE fingerprint = ? AND shared = 1 AND state = 'failed'"
    " AND (spent_usd_micros > 0 OR spent_images > 0) ORDER BY finished_at DESC, id DESC LIMIT 1"
)
RUN_SUPERSEDED: Final = (
    f"SELECT {_RUN} FROM runs WHERE fingerprint = ? AND superseded = 1 AND {LIVE}"
    " ORDER BY created_at DESC, id DESC LIMIT 1"
)
OWED_JOBS: Final = (
    f"SELECT {', '.join(JOB_COLUMNS)} FROM jobs WHERE run_id = ? AND callback_url IS NOT NULL"
    " ORDER BY created_at, id"
)
CLAIM: Final = f"SELECT {', '.join(CLAIM_COLUMNS)} FROM claims WHERE team = ? AND key = ?"
DELIVERY: Final = f"SELECT {_DELIVERY} FROM deliveries WHERE id = ?"
UPLOAD: Final = f"SELECT {_UPLOAD} FROM uploads WHERE team = ? AND id = ?"

PUT_RUN: Final = upsert("runs", (*RUN_COLUMNS, *RUN_COUNTS.values()), key=1)


@cache
def change_run(columns: tuple[str, ...]) -> str:
    """New values for these, then the run's id."""
    return f"UPDATE runs SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?"


TELL_JOBS: Final = "UPDATE jobs SET run_state = ? WHERE run_id = ?"
ADD_JOB: Final = (
    f"INSERT INTO jobs ({', '.join(JOB_COLUMNS)}, run_state, run_model)"
    f" VALUES ({', '.join('?' * len(JOB_COLUMNS))}, (SELECT {SHOWN_STATE} FROM runs WHERE id = ?),"
    " (SELECT model FROM runs WHERE id = ?))"
)
FREE_CLAIM: Final = "DELETE FROM claims WHERE team = ? AND key = ? AND job_id = ?"
ADD_CLAIM: Final = insert("claims", CLAIM_COLUMNS)
PUT_DELIVERY: Final = upsert("deliveries", DELIVERY_COLUMNS, key=1)
ADD_ALERT: Final = f"{insert('deliveries', DELIVERY_COLUMNS)} ON CONFLICT (id) DO NOTHING"
PUT_UPLOAD: Final = upsert("uploads", UPLOAD_COLUMNS, key=2)
DROP_URLS: Final = "DELETE FROM upload_urls WHERE team = ? AND upload_id = ?"
PUT_URL: Final = upsert("upload_urls", URL_COLUMNS, key=2)
FORGET_UPLOAD: Final = "DELETE FROM uploads WHERE team = ? AND id = ?"


STORE_ID: Final = "SELECT id FROM picture_store"
FORGET_OTHER_STORES: Final = "DELETE FROM picture_store WHERE id <> ?"
NOTE_STORE: Final = "INSERT INTO picture_store (id) VALUES (?) ON CONFLICT (id) DO NOTHING"


def _add(table: str, columns: tuple[str, ...], key: str) -> str:
    """Inserts, or adds the counters to those that are there."""
    sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in USAGE_COUNTERS)
    return f"{insert(table, columns)} ON CONFLICT ({key}) DO UPDATE SET {sums}"


ADD_USAGE: Final = _add("usage", USAGE_COLUMNS, "day, team, model")
ADD_TOTAL: Final = _add("usage_totals", TOTAL_COLUMNS, "team, model")
MAY_BE_LESS: Final = (
    "failed", "spent_failed_usd_micros", "spent_usd_micros", "spent_bypassed_usd_micros",
)  # fmt: skip
"""What becomes less when a failed run is taken up again, or its bill is found to be."""

_LESS: Final = ", ".join(f"{name} = {name} + ?" for name in MAY_BE_LESS)
LESS: Final = f"UPDATE usage SET {_LESS} WHERE team = ? AND model = ? AND day = ?"
LESS_IN_ALL: Final = f"UPDATE usage_totals SET {_LESS} WHERE team = ? AND model = ?"


@cache
def get_accounts(count: int) -> str:
    """`count` accounts in one statement: each statement more is a chance to lose the processor.

    Spelt out with OR, because SQLite finds no index for `(a, b, c) IN (VALUES ...)`.
    """
    one = "(team = ? AND window_name = ? AND window_start = ? AND window_end = ?)"
    return f"SELECT {', '.join(ACCOUNT_COLUMNS)} FROM accounts WHERE {' OR '.join([one] * count)}"


@cache
def put_accounts(count: int) -> str:
    return upsert("accounts", ACCOUNT_COLUMNS, key=4, rows=count)


ACCOUNT_OF_RUNS: Final = (
    "SELECT COUNT(*), COALESCE(SUM(spent_usd_micros), 0), COALESCE(SUM(spent_images), 0),"
    " COALESCE(SUM(spent_runs), 0), COALESCE(SUM(hold_usd_micros), 0),"
    " COALESCE(SUM(hold_images), 0), COALESCE(SUM(hold_runs), 0)"
    " FROM runs WHERE team = ? AND created_at >= ? AND created_at < ?"
)
ACCOUNTS_BETWEEN: Final = (
    f"SELECT {', '.join(ACCOUNT_COLUMNS)} FROM accounts WHERE team = ? AND window_name = ?"
    " AND window_start > ? AND window_start <= ? AND window_end > ?"
)
ACCOUNTS_COUNTED: Final = " UNION ALL ".join([ACCOUNTS_BETWEEN] * len(Window))
"""For each window: team, window, at - the longest that it may be, at, at."""


# --- the jobs of a team ------------------------------------------------------------------------

_JOB_WITH_RUN: Final = (
    f"SELECT {', '.join(f'jobs.{name}' for name in JOB_COLUMNS)},"
    f" {', '.join(f'runs.{name}' for name in RUN_COLUMNS)}"
    " FROM jobs JOIN runs ON runs.id = jobs.run_id"
)
JOB_WITH_RUN: Final = f"{_JOB_WITH_RUN} WHERE jobs.id = ?"


@cache
def jobs_with_runs(count: int) -> str:
    return f"{_JOB_WITH_RUN} WHERE jobs.team = ? AND jobs.id IN ({', '.join('?' * count)})"


@cache
def count_tasks(states: int, of_model: bool) -> str:
    return f"SELECT COUNT(*) {_tasks(states, of_model)}"


@cache
def tasks_page(states: int, of_model: bool) -> str:
    """The inner query reads an index alone, however far back the page lies."""
    return (
        f"{_JOB_WITH_RUN} WHERE jobs.id IN (SELECT id {_tasks(states, of_model)}"
        " ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?)"
        " ORDER BY jobs.created_at DESC, jobs.id DESC"
    )


@cache
def orders_page(behind: bool) -> str:
    """The inner query reads the page's part of an index alone."""
    going_on = " AND (created_at, id) < (?, ?)" if behind else ""
    return (
        f"{_JOB_WITH_RUN} WHERE jobs.id IN (SELECT id FROM jobs WHERE team = ?{going_on}"
        " ORDER BY created_at DESC, id DESC LIMIT ?)"
        " ORDER BY jobs.created_at DESC, jobs.id DESC"
    )


def _tasks(states: int, of_model: bool) -> str:
    """Without `states` those in any."""
    among = f" AND run_state IN ({', '.join('?' * states)})" if states else ""
    return f"FROM jobs WHERE team = ?{among}{' AND run_model = ?' if of_model else ''}"


# --- what is due -------------------------------------------------------------------------------


def _due(table: str, columns: tuple[str, ...], open_rows: str, among: str = "") -> str:
    """What is due and not leased: now, now, what it is `among`, now, limit.

    The teams take turns, counted from what they have in hand already: a row's turn is its
    number among its team's leased and due ones.
    """
    return (
        f"SELECT {', '.join(columns)} FROM {table} WHERE id IN (SELECT id FROM ("
        "SELECT id, due_at, lease_until, ROW_NUMBER() OVER (PARTITION BY team"
        " ORDER BY CASE WHEN lease_until > ? THEN 0 ELSE 1 END, due_at, id) AS turn"
        f" FROM {table} WHERE {open_rows} AND due_at <= ?{among}) AS waiting"
        " WHERE lease_until <= ? ORDER BY turn, due_at, id LIMIT ?) ORDER BY due_at, id"
    )


@cache
def runs_by_id(count: int) -> str:
    return f"SELECT {_RUN} FROM runs WHERE id IN {marks(count)}"


@cache
def take_runs(count: int, passing: str = "") -> str:
    """Those that are still as they were seen, whoever else has seen them: owner, until, now, now,
    ids. What somebody is writing just now is waited for, or passed by."""
    return take("runs", LIVE, count, passing)


SKIP_LOCKED: Final = " FOR UPDATE SKIP LOCKED"
"""PostgreSQL passes them by: who leases does not wait for those who write."""


def one_leases(table: str) -> str:
    """Gateways that share a store lease one after the other: so each sees what is left, and how
    much a party has in hand."""
    return f"SELECT pg_advisory_xact_lock(hashtext(current_schema()), hashtext('{table}'))"


def take(table: str, open_rows: str, count: int, passing: str) -> str:
    still = f"{open_rows} AND due_at <= ? AND lease_until <= ? AND id IN {marks(count)}"
    which = f"id IN (SELECT id FROM {table} WHERE {still}{passing})" if passing else still
    return f"UPDATE {table} SET lease_owner = ?, lease_until = ? WHERE {which}"


@cache
def leased_runs(count: int) -> str:
    return (
        f"SELECT {_RUN} FROM runs WHERE lease_owner = ? AND lease_until = ?"
        f" AND id IN {marks(count)} ORDER BY due_at, id"
    )


@cache
def renew(table: str, count: int) -> str:
    return f"UPDATE {table} SET lease_until = ? WHERE lease_owner = ? AND id IN {marks(count)}"


@cache
def stands(count: int) -> str:
    return (
        "SELECT id, state, attempts, tries FROM runs"
        f" WHERE lease_owner = ? AND id IN {marks(count)}"
    )


def marks(count: int) -> str:
    return f"({', '.join('?' * count)})"


def _give_back(table: str, open_rows: str) -> str:
    return f"{_void(table, open_rows)} AND lease_owner = ?"


def _void(table: str, open_rows: str) -> str:
    return (
        f"UPDATE {table} SET lease_owner = NULL, lease_until = 0"
        f" WHERE {open_rows} AND lease_until > 0"
    )


def _later(table: str, *columns: str) -> str:
    """By how much, for each of the columns and for the lease; nobody's stays nobody's."""
    leased = "CASE WHEN lease_owner IS NULL THEN lease_until ELSE lease_until + ? END"
    times = ", ".join(f"{name} = {name} + ?" for name in columns)
    return f"UPDATE {table} SET {times}, lease_until = {leased}"


def _next(table: str, open_rows: str) -> str:
    return (
        "SELECT MIN(CASE WHEN due_at > lease_until THEN due_at ELSE lease_until END)"
        f" FROM {table} WHERE {open_rows}"
    )


@cache
def due_runs(known: int) -> str:
    """now, now, and where some are known the upstreams and the time since when others are due; now,
    limit."""
    among = f" AND (upstream IN {marks(known)} OR due_at <= ?)" if known else ""
    return _due("runs", ("id",), LIVE, among)


@cache
def next_due(known: int) -> str:
    """The upstreams that are known, and by how much others are due later; nothing where none is."""
    if not known:
        return _next("runs", LIVE)
    left = f"CASE WHEN upstream IN {marks(known)} THEN due_at ELSE due_at + ? END AS due_at"
    return _next(f"(SELECT lease_until, {left} FROM runs WHERE {LIVE}) AS live_runs", "TRUE")


RUNNING: Final = f"SELECT COUNT(*) FROM runs WHERE {LIVE} AND state = 'running'"

GIVE_BACK: Final = (_give_back("runs", LIVE), _give_back("deliveries", PENDING))
CLOCK_SET: Final = (
    f"{_later('runs', 'due_at', 'deadline_at', 'accepted_at', 'upstream_finished_at')}"
    f" WHERE {LIVE}",
    f"{_later('deliveries', 'due_at')} WHERE {PENDING}",
)
IN_TROUBLE: Final = f"SELECT {_RUN} FROM runs WHERE {LIVE} AND trouble IS NOT NULL"
NOT_SO_LATE: Final = f"UPDATE runs SET due_at = ? WHERE {LIVE} AND state <> 'unsure' AND due_at > ?"
VOID_LEASES: Final = (_void("runs", LIVE), _void("deliveries", PENDING), "DELETE FROM turns")

# --- uploads ---------------------------------------------------------------------------------


COUNT_UPLOADS: Final = "SELECT COUNT(*) FROM uploads WHERE team = ? AND expires_at > ?"
UPLOADED_BYTES: Final = (
    "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM uploads"
    " WHERE team = ? AND expires_at > ?"
)
UPLOADS_PAGE: Final = (
    f"SELECT {_UPLOAD} FROM uploads WHERE team = ? AND expires_at > ?"
    " ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?"
)


@cache
def digests(count: int) -> str:
    return (
        "SELECT upload_urls.url, uploads.digest FROM upload_urls JOIN uploads"
        " ON uploads.team = upload_urls.team AND uploads.id = upload_urls.upload_id"
        f" WHERE upload_urls.team = ? AND upload_urls.url IN ({', '.join('?' * count)})"
    )


# --- reports ---------------------------------------------------------------------------------

USAGE_SINCE: Final = (
    f"SELECT team, model, {', '.join(f'SUM({name})' for name in USAGE_COUNTERS)} FROM usage"
    " WHERE day >= ? GROUP BY team, model ORDER BY team, model"
)
USAGE_EVER: Final = f"SELECT {', '.join(TOTAL_COLUMNS)} FROM usage_totals ORDER BY team, model"
USAGE_EVER_OF_TEAM: Final = (
    f"SELECT {', '.join(TOTAL_COLUMNS)} FROM usage_totals WHERE team = ? ORDER BY model"
)
LIVE_COUNTS: Final = (
    f"SELECT shown, COUNT(*) FROM (SELECT {SHOWN_STATE} AS shown FROM runs WHERE {LIVE}) AS live"
    " GROUP BY shown"
)
STARTED_AND_FAILED: Final = (
    "SELECT COALESCE(SUM(started), 0), COALESCE(SUM(failed), 0) FROM usage_totals"
)
CREDITS: Final = (
    "SELECT COALESCE(SUM(credits_used), 0) FROM runs"
    " WHERE upstream = ? AND credits_used IS NOT NULL"
)
LIVE_AT_UPSTREAM: Final = f"SELECT COUNT(*) FROM runs WHERE {LIVE} AND upstream = ?"
OVER_HOLD: Final = (
    "SELECT upstream, SUM(billed_usd_micros - price_usd_micros * n - besides_usd_micros) FROM runs"
    " WHERE billed_usd_micros > price_usd_micros * n + besides_usd_micros"
    " GROUP BY upstream ORDER BY upstream"
)
OLDEST_UNKEPT: Final = "SELECT MIN(upstream_finished_at) FROM runs WHERE state = 'keeping'"


@cache
def usage_by_day(by: frozenset[str], *, team: bool, model: bool) -> str:
    """The days in [since, until), summed over what is not in `by`: since, until, team, model."""
    empty = {"team": "''", "model": "''", "day": "0"}
    named = ", ".join(
        name if name in by else f"{value} AS no_{name}" for name, value in empty.items()
    )
    kept = [name for name in ("day", "team", "model") if name in by]
    whole = len(kept) == len(empty)
    counters = USAGE_COUNTERS if whole else tuple(f"SUM({name})" for name in USAGE_COUNTERS)
    asked = [name for name, wanted in (("team", team), ("model", model)) if wanted]
    where = " AND ".join(["day >= ? AND day < ?", *(f"{name} = ?" for name in asked)])
    group = f" GROUP BY {', '.join(kept)}" if kept and not whole else ""
    order = f" ORDER BY {', '.join(kept)}" if kept else ""
    return f"SELECT {named}, {', '.join(counters)} FROM usage WHERE {where}{group}{order}"


RETIRE: Final = "UPDATE runs SET shared = 0 WHERE id = ?"


@cache
def to_retire(*, team: bool) -> str:
    named = " AND team = ?" if team else ""
    return (
        f"SELECT id, fingerprint FROM runs WHERE shared = 1 AND state = 'done'{named}"
        " ORDER BY team, id LIMIT ?"
    )
