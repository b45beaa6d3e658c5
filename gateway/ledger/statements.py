"""The statements, in the dialect that SQLite and PostgreSQL both accept; `?` stands for a value.

Where a partial index must serve a query, the query repeats the index's condition word by word.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from gateway.ledger.rows import (
    ACCOUNT_COLUMNS,
    JOB_COLUMNS,
    PICTURE_COLUMNS,
    PICTURE_FACTS,
    RUN_COLUMNS,
    RUN_COUNTS,
    USAGE_COLUMNS,
    USAGE_COUNTERS,
)

LIVE: Final = "state NOT IN ('done', 'failed')"

_RUN: Final = ", ".join(RUN_COLUMNS)


def _insert(table: str, columns: tuple[str, ...], rows: int = 1) -> str:
    one = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * rows)}"


def _upsert(table: str, columns: tuple[str, ...], *, key: int, rows: int = 1) -> str:
    """Inserts or replaces; the first `key` columns are the primary key."""
    new = ", ".join(f"{name} = excluded.{name}" for name in columns[key:])
    conflict = ", ".join(columns[:key])
    return f"{_insert(table, columns, rows)} ON CONFLICT ({conflict}) DO UPDATE SET {new}"


# --- single records --------------------------------------------------------------------------

RUN_BY_ID: Final = f"SELECT {_RUN} FROM runs WHERE id = ?"
RUN_LIVE: Final = f"SELECT {_RUN} FROM runs WHERE fingerprint = ? AND shared = 1 AND {LIVE}"
RUN_FINISHED: Final = (
    f"SELECT {_RUN} FROM runs WHERE fingerprint = ? AND shared = 1 AND state = 'done'"
    " ORDER BY finished_at DESC, id DESC LIMIT 1"
)
JOB_WITH_RUN: Final = (
    f"SELECT {', '.join(f'jobs.{name}' for name in JOB_COLUMNS)},"
    f" {', '.join(f'runs.{name}' for name in RUN_COLUMNS)}"
    " FROM jobs JOIN runs ON runs.id = jobs.run_id WHERE jobs.id = ?"
)

PUT_RUN: Final = _upsert("runs", (*RUN_COLUMNS, *RUN_COUNTS), key=1)
ADD_JOB: Final = _insert("jobs", JOB_COLUMNS)
PUT_PICTURE: Final = f"{_insert('pictures', PICTURE_COLUMNS)} ON CONFLICT (digest) DO NOTHING"
ADD_USAGE: Final = (
    f"{_insert('usage', USAGE_COLUMNS)} ON CONFLICT (day, team, model) DO UPDATE SET "
    + ", ".join(f"{name} = usage.{name} + excluded.{name}" for name in USAGE_COUNTERS)
)


@cache
def get_accounts(count: int) -> str:
    """`count` accounts in one statement: each statement more is a chance to lose the processor.

    Spelt out with OR, because SQLite finds no index for `(a, b, c) IN (VALUES ...)`.
    """
    one = "(team = ? AND window_name = ? AND window_start = ?)"
    return f"SELECT {', '.join(ACCOUNT_COLUMNS)} FROM accounts WHERE {' OR '.join([one] * count)}"


@cache
def put_accounts(count: int) -> str:
    return _upsert("accounts", ACCOUNT_COLUMNS, key=3, rows=count)


# --- the worker's ----------------------------------------------------------------------------

DUE_RUNS: Final = (
    f"SELECT {_RUN} FROM runs WHERE {LIVE} AND due_at <= ? AND lease_until <= ?"
    " ORDER BY due_at, id LIMIT ?"
)
LEASE_RUN: Final = "UPDATE runs SET lease_owner = ?, lease_until = ? WHERE id = ?"
VOID_LEASES: Final = (
    f"UPDATE runs SET lease_owner = NULL, lease_until = 0 WHERE {LIVE} AND lease_until > 0"
)
NEXT_DUE: Final = (
    "SELECT MIN(CASE WHEN due_at > lease_until THEN due_at ELSE lease_until END)"
    f" FROM runs WHERE {LIVE}"
)

# --- reports ---------------------------------------------------------------------------------

USAGE_TOTALS: Final = (
    f"SELECT team, model, {', '.join(f'SUM({name})' for name in USAGE_COUNTERS)} FROM usage"
    " WHERE day >= ? AND day < ? GROUP BY team, model ORDER BY team, model"
)
LIVE_COUNTS: Final = f"SELECT state, COUNT(*) FROM runs WHERE {LIVE} GROUP BY state"
STARTED_AND_FAILED: Final = "SELECT COALESCE(SUM(started), 0), COALESCE(SUM(failed), 0) FROM usage"
OLDEST_UNKEPT: Final = "SELECT MIN(upstream_finished_at) FROM runs WHERE state = 'keeping'"
PICTURE_TOTALS: Final = "SELECT COUNT(*), COALESCE(SUM(size_bytes), 0) FROM pictures"
PICTURES: Final = (
    f"SELECT {', '.join(PICTURE_FACTS)} FROM pictures WHERE digest > ? ORDER BY digest LIMIT ?"
)

# --- retention -------------------------------------------------------------------------------

PRUNE_JOBS: Final = (
    "DELETE FROM jobs WHERE id IN (SELECT jobs.id FROM jobs JOIN runs ON runs.id = jobs.run_id"
    " WHERE jobs.created_at < ? AND runs.state IN ('done', 'failed')"
    " ORDER BY jobs.created_at, jobs.id LIMIT ?)"
)
PRUNE_ACCOUNTS: Final = (
    "DELETE FROM accounts WHERE (team, window_name, window_start) IN ("
    "SELECT team, window_name, window_start FROM accounts"
    " WHERE window_name IN ('minute', 'hour') AND window_start < ?"
    " AND held_usd_micros = 0 AND held_images = 0 AND held_runs = 0"
    " ORDER BY window_start, team, window_name LIMIT ?)"
)
