"""A ledger that is many times as large: what is in it copied, by a statement for each table.

The copies have ids, fingerprints and pictures of their own and the times of what they copy, so
that accounts and usage are a multiple, and the audit finds nothing wrong with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

RUN: Final = "printf('run_%024d', CAST(substr({}, 5) AS INTEGER) + :runs * :copy)"
OTHER: Final = "substr({}, 1, 60) || printf('%04x', :copy)"
JOB: Final = "{} || '-' || :copy"
DIGEST: Final = "substr(links, instr(links, '.example/') + 9, 64)"
LINKS: Final = f"replace({{}}, {DIGEST}, {OTHER.format(DIGEST)})"

CHANGED: Final[Mapping[str, Mapping[str, str]]] = {
    "runs": {
        "id": RUN,
        "fingerprint": OTHER,
        "upstream_task_id": JOB,
        "links": LINKS,
        "kept": LINKS,
    },
    "jobs": {"id": JOB, "run_id": RUN},
    "steps": {"run_id": RUN},
    "gallery": {"run_id": RUN, "job_id": JOB},
    "pictures": {
        "id": f"{OTHER.format('digest')} || '/' || {RUN.format('run_id')}",
        "digest": OTHER,
        "run_id": RUN,
    },
}
"""What is another in a copy. A table comes behind those that it refers to."""

SUMS: Final = ("accounts", "usage", "usage_totals")
KEYS: Final = ("team", "model", "day", "window_name", "window_start", "window_end")


def add(db: sqlite3.Connection, runs: int, times: int) -> None:
    """Afterwards the ledger, which has so many runs, has `times` as many."""
    db.execute("BEGIN")
    for table, changed in CHANGED.items():
        columns = _columns(db, table)
        values = [changed.get(column, "{}").format(column) for column in columns]
        named = ", ".join(columns)
        last = db.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0]
        for copy in range(1, times):
            db.execute(
                f"INSERT INTO {table} ({named}) SELECT {', '.join(values)} FROM {table}"
                " WHERE rowid <= :last",
                {"runs": runs, "copy": copy, "last": last},
            )
    for table in SUMS:
        sums = [column for column in _columns(db, table) if column not in KEYS]
        db.execute(f"UPDATE {table} SET {', '.join(f'{one} = {one} * {times}' for one in sums)}")
    db.execute("COMMIT")


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
