"""Lists for operators in SQL: filtered, newest first, going on where a page ended.

The rows of a page are found in an index that has every column that is filtered by, and only
they are read whole.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from gateway.adapters.ledger import rows
from gateway.adapters.ledger.database import Database, Statement, every
from gateway.adapters.ledger.plain_rows import CHANGE_COLUMNS, REFUSAL_COLUMNS
from gateway.adapters.ledger.statements import AWAITED_RUNS, ENDED, PENDING
from gateway.core.model import DeliveryState, Job, RunState, Verdict
from gateway.ports.ledger import ChangeFilter, DeliveryFilter, Mark, RefusalFilter, RunFilter

VERDICT_BITS: Final = {Verdict.STARTED: 1, Verdict.JOINED: 2, Verdict.HIT: 4}
"""What `runs.verdicts` is the sum of."""


class Where:
    """Conditions that all hold, with their values."""

    def __init__(self) -> None:
        self._conditions: list[str] = []
        self._values: list[object] = []

    def add(self, condition: str, *values: object) -> None:
        self._conditions.append(condition)
        self._values += values

    def equal(self, column: str, value: object | None, *, indexed: bool = True) -> None:
        """None asks for nothing. With `indexed` False no index is chosen for this condition."""
        if value is not None:
            self.add(f"{column} = ?" if indexed else f"COALESCE({column}, '') = ?", value)

    def between(self, column: str, since: float | None, until: float | None) -> None:
        """[since, until)."""
        if since is not None:
            self.add(f"{column} >= ?", since)
        if until is not None:
            self.add(f"{column} < ?", until)

    def behind(self, order: tuple[str, str], mark: Mark | None) -> None:
        if mark is not None:
            self.add(f"({order[0]}, {order[1]}) < (?, ?)", *mark)

    @property
    def sql(self) -> str:
        return " AND ".join(self._conditions) or "1 = 1"

    @property
    def values(self) -> tuple[object, ...]:
        return tuple(self._values)


def page(table: str, columns: str, order: tuple[str, str], where: Where, limit: int) -> Statement:
    """The newest `limit` rows; `order` names the time and the table's key."""
    at, key = order
    newest = f"ORDER BY {at} DESC, {key} DESC"
    sql = (
        f"SELECT {columns} FROM {table} WHERE {key} IN ("
        f"SELECT {key} FROM {table} WHERE {where.sql} {newest} LIMIT ?) {newest}"
    )
    return sql, (*where.values, limit)


# --- runs and their jobs -------------------------------------------------------------------------

_RUN: Final = ", ".join(rows.RUN_COLUMNS)
_JOB: Final = ", ".join(rows.JOB_COLUMNS)
JOBS_OF_RUN: Final = f"SELECT {_JOB} FROM jobs WHERE run_id = ? ORDER BY created_at, id LIMIT ?"
COUNT_JOBS_OF_RUN: Final = "SELECT COUNT(*) FROM jobs WHERE run_id = ?"


def runs_statement(asked: RunFilter, after: Mark | None, limit: int) -> Statement:
    where = Where()
    where.equal("team", asked.team)
    where.equal("model", asked.model)
    if asked.states:
        where.add(_in_states(asked.states), *(state.value for state in asked.states))
    if asked.route is not None:
        where.add("upstream = ? AND upstream_model = ?", *asked.route)
    if asked.verdict is not None:
        where.add("(verdicts & ?) <> 0", VERDICT_BITS.get(asked.verdict, 0))
    where.between("created_at", asked.since, asked.until)
    where.behind(("created_at", "id"), after)
    return page("runs", _RUN, ("created_at", "id"), where, limit)


def _in_states(states: Collection[RunState]) -> str:
    """As they are shown: the few that are shown as another state are looked up beforehand, so that
    the index alone answers for all others."""
    condition = f"state IN ({', '.join('?' * len(states))})"
    if (RunState.RUNNING in states) is (RunState.SUBMITTING in states):
        return condition
    if RunState.RUNNING in states:
        return f"({condition} OR id IN {AWAITED_RUNS})"
    return f"({condition} AND id NOT IN {AWAITED_RUNS})"


def jobs_of_run(db: Database, run_id: str, limit: int) -> tuple[Sequence[Job], int]:
    """Two statements."""
    count = db.execute(COUNT_JOBS_OF_RUN, (run_id,)).fetchall()[0][0]
    return every(db, (JOBS_OF_RUN, (run_id, limit)), rows.job_from), int(count)


# --- callbacks, refusals, changes ----------------------------------------------------------------

_DELIVERY: Final = ", ".join(rows.DELIVERY_COLUMNS)


def deliveries_statement(asked: DeliveryFilter, after: Mark | None, limit: int) -> Statement:
    """A job has few, a team some: each narrows the list down better than what comes behind it."""
    of_job, of_team = asked.job_id is not None, asked.team is not None
    order = ("created_at", "id")
    where = Where()
    where.equal("job_id", asked.job_id)
    where.equal("team", asked.team, indexed=not of_job)
    if asked.state is not None:
        if of_job or of_team:
            where.equal("state", asked.state.value, indexed=False)
        elif asked.state is DeliveryState.PENDING:
            where.add(PENDING)
            order = ("COALESCE(created_at, 0)", "id")  # few: they are read from an index of theirs
        else:
            where.add(f"{ENDED} AND state = ?", asked.state.value)
    where.behind(order, after)
    return page("deliveries", _DELIVERY, order, where, limit)


def refusals_statement(asked: RefusalFilter, after: Mark | None, limit: int) -> Statement:
    of_team, of_reason = asked.team is not None, asked.reason is not None
    where = Where()
    where.equal("team", asked.team)
    where.equal("reason", asked.reason, indexed=not of_team)
    where.equal("verdict", asked.verdict, indexed=not (of_team or of_reason))
    where.between("at", asked.since, asked.until)
    where.behind(("at", "id"), after)
    return page("refusals", ", ".join(REFUSAL_COLUMNS), ("at", "id"), where, limit)


def changes_statement(asked: ChangeFilter, after: Mark | None, limit: int) -> Statement:
    where = Where()
    if asked.subject is not None:  # acts are few: the newest index is read through
        inside = f"{asked.subject}/"
        where.add(
            "(COALESCE(subject, '') = ? OR SUBSTR(subject, 1, ?) = ?)",
            asked.subject,
            len(inside),
            inside,
        )
    where.equal("action", asked.action)
    where.equal("actor", asked.actor)
    where.behind(("at", "id"), after)
    return page("changes", ", ".join(CHANGE_COLUMNS), ("at", "id"), where, limit)
