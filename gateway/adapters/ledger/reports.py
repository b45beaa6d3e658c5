"""The ledger's reads for answers and reports, in SQL.

Plain blocking functions, as in `store`. Those of several statements say so: their caller has to
let them see one state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.adapters.ledger import rows, statements
from gateway.adapters.ledger.database import Database, every
from gateway.core.model import RunState, Task, Upload, Usage
from gateway.core.runs.leases import LEFT_SECONDS
from gateway.ports.ledger import UsagePart

NAMES_AT_ONCE: Final = 100
"""One value each: far below the limit of values in a statement."""


def jobs(db: Database, team: str, job_ids: Sequence[str]) -> Sequence[Task]:
    """Several statements when there are many ids."""
    wanted = tuple(dict.fromkeys(job_ids))
    found: dict[str, Task] = {}
    for part in _parts(wanted):
        sql = statements.jobs_with_runs(len(part))
        found.update((one.job.id, one) for one in every(db, (sql, (team, *part)), rows.task_from))
    return [found[job_id] for job_id in wanted if job_id in found]


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks are asked for."""

    team: str
    states: Sequence[RunState]
    model: str | None


@dataclass(frozen=True, slots=True)
class Slot:
    """Which page of them, from 1."""

    page: int
    size: int


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """The days in [since, until), and what is kept apart."""

    since_day: int
    until_day: int
    team: str | None
    model: str | None
    by: frozenset[UsagePart]


def tasks(db: Database, asked: TaskQuery, slot: Slot) -> tuple[Sequence[Task], int]:
    """Two statements. Both read the team's part of an index alone: about 0.1 µs a job, and a
    quarter of it where it does not matter in which state its run is."""
    states = tuple(state.value for state in dict.fromkeys(asked.states))
    if not states:
        return [], 0
    if len(states) == len(RunState):
        states = ()
    of_model = asked.model is not None
    values = (asked.team, *states, *((asked.model,) if of_model else ()))
    count = db.execute(statements.count_tasks(len(states), of_model), values).fetchall()[0][0]
    page = statements.tasks_page(len(states), of_model)
    place = (slot.size, (slot.page - 1) * slot.size)
    return every(db, (page, (*values, *place)), rows.task_from), int(count)


def uploads(
    db: Database, team: str, now: float, *, skip: int, limit: int
) -> tuple[Sequence[Upload], int]:
    """Two statements."""
    count = db.execute(statements.COUNT_UPLOADS, (team, now)).fetchall()[0][0]
    page = (statements.UPLOADS_PAGE, (team, now, limit, skip))
    return every(db, page, rows.upload_from), int(count)


def digests(db: Database, team: str, urls: Sequence[str]) -> Mapping[str, str]:
    """Several statements when there are many links."""
    found: dict[str, str] = {}
    for part in _parts(tuple(dict.fromkeys(urls))):
        named = db.execute(statements.digests(len(part)), (team, *part)).fetchall()
        found.update((url, digest) for url, digest in named)
    return found


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), NAMES_AT_ONCE):
        yield names[start : start + NAMES_AT_ONCE]


def next_due(db: Database, known: Sequence[str]) -> float | None:
    values = (*known, LEFT_SECONDS) if known else ()
    return _single(db, statements.next_due(len(known)), values)


def running(db: Database) -> int:
    return int(db.execute(statements.RUNNING).fetchall()[0][0])


def oldest_unkept(db: Database) -> float | None:
    return _single(db, statements.OLDEST_UNKEPT)


def _single(db: Database, statement: str, values: Sequence[object] = ()) -> float | None:
    value = db.execute(statement, values).fetchall()[0][0]
    return None if value is None else float(value)


def usage(db: Database, since_day: int | None, team: str | None) -> Sequence[Usage]:
    """The totals of all days are kept ready: they are read at every scrape."""
    if since_day is not None:
        found = every(db, (statements.USAGE_SINCE, (since_day,)), rows.usage_from)
        return [one for one in found if team in (None, one.team)]
    if team is not None:
        return every(db, (statements.USAGE_EVER_OF_TEAM, (team,)), rows.usage_from)
    return every(db, (statements.USAGE_EVER, ()), rows.usage_from)


def run_counts(db: Database) -> Mapping[RunState, int]:
    """Two statements. The live ones are counted; the final ones follow from the roll-up."""
    counts = dict.fromkeys(RunState, 0)
    for state, count in db.execute(statements.LIVE_COUNTS).fetchall():
        counts[RunState(state)] = count
    live = sum(counts.values())
    started, failed = map(int, db.execute(statements.STARTED_AND_FAILED).fetchall()[0])
    counts[RunState.FAILED] = failed
    counts[RunState.DONE] = max(0, started - failed - live)
    return counts


def over_hold(db: Database) -> Mapping[str, int]:
    found = db.execute(statements.OVER_HOLD).fetchall()
    return {upstream: int(usd_micros) for upstream, usd_micros in found}


def usage_by_day(db: Database, asked: UsageQuery) -> Sequence[Usage]:
    """About 2 µs for each row that comes out, and 1 µs for each that is summed."""
    named = [name for name in (asked.team, asked.model) if name is not None]
    sql = statements.usage_by_day(
        asked.by, team=asked.team is not None, model=asked.model is not None
    )
    found = db.execute(sql, (asked.since_day, asked.until_day, *named)).fetchall()
    if len(asked.by) == len(UsagePart):
        return [rows.usage_of_day(row) for row in found]
    return [rows.summed_from(row) for row in found if row[-1] is not None]


def credits_of(db: Database, upstream: str) -> tuple[float, int]:
    """Two statements."""
    used = db.execute(statements.CREDITS, (upstream,)).fetchall()[0][0]
    live = db.execute(statements.LIVE_AT_UPSTREAM, (upstream,)).fetchall()[0][0]
    return float(used), int(live)
