"""The ledger's invariants as SQL: each check selects the rows that break it.

Nothing here is needed for the gateway to run: constraints and `transact` keep the ledger right,
and this proves that they did. A check's rows become violations of the invariant that it names,
each a sentence with the numbers in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.core.invariants import Invariant, Violation
from gateway.core.model import USD_MICROS, Window
from gateway.ledger.rows import USAGE_COUNTERS
from gateway.ledger.statements import LIVE, PENDING
from gateway.ledger.store import Database

MAX_SENTENCES: Final = 100
"""Of each check: a broken ledger is known to be broken after the first few."""

GRACE_SECONDS: Final = 3600.0
"""A live run this far beyond its deadline is not late but forgotten."""

LINKS_LIVE_SECONDS: Final = 24 * 3600.0
"""An accepted run may be watched and kept for as long as upstream's result links live."""

STUCK_SECONDS: Final = 24 * 3600.0
"""A callback this long overdue is not slow: nobody makes it any more."""


@dataclass(frozen=True, slots=True)
class Check:
    """`sql` takes `parameters`; `say` takes the columns of one of its rows."""

    invariant: Invariant
    sql: str
    say: Callable[..., str]
    parameters: tuple[object, ...] = field(default=())


def violations(db: Database, now: float, of_the_store: Sequence[Check]) -> Sequence[Violation]:
    """All of them, in the order of the checks; `of_the_store` are the adapter's own checks.

    Reads every run several times: about 40 µs for each run. Not for every scrape.
    """
    return list(_found(db, [*portable_checks(now), *of_the_store]))


def _found(db: Database, checks: Sequence[Check]) -> Iterator[Violation]:
    for check in checks:
        broken = db.execute(check.sql, check.parameters).fetchall()[:MAX_SENTENCES]
        sentences = sorted(filter(None, (check.say(*row) for row in broken)))
        yield from (Violation(check.invariant, sentence) for sentence in sentences)


def portable_checks(now: float) -> Iterator[Check]:
    """Those that every store words in the same way."""
    for window in Window:
        yield Check(Invariant.ACCOUNTS, _accounts_sql(window), say_account)
    yield Check(Invariant.FINAL_HOLDS, _FINAL_HOLDS, say_final_holds)
    yield Check(Invariant.IN_TIME, _LATE, say_late, (now - GRACE_SECONDS,))
    yield Check(Invariant.USAGE, _USAGE, say_usage)
    yield Check(Invariant.ALL_KEPT, _UNKEPT, say_unkept)
    yield Check(Invariant.PAID_ONCE, _SHARED_TASK, say_shared_task)
    yield Check(Invariant.ONE_LIVE, _TWO_LIVE, say_two_live)
    yield Check(Invariant.JOBS, _ORPHANS, say_orphan)
    yield Check(Invariant.OWED, _UNCALLED, say_uncalled)
    yield Check(Invariant.CALLED, _STUCK, say_stuck, (now - STUCK_SECONDS,))
    yield Check(Invariant.TOTALS, _TOTALS, _say_total)
    yield Check(Invariant.LISTED, _MISLISTED, _say_mislisted)


# --- the sentences, also those of the ledger in memory -------------------------------------------


def say_account(team: str, window: str, start: int, *amounts: int) -> str:
    """`amounts`: the account's held and spent, then its runs' held and spent, three each."""
    held, spent, runs_held, runs_spent = (_amounts(*amounts[at : at + 3]) for at in (0, 3, 6, 9))
    return (
        f"The {window} account of team {team} from {start} has {held} held and {spent} spent,"
        f" but its runs have {runs_held} held and {runs_spent} spent."
    )


def say_final_holds(run_id: str, state: str, *hold: int) -> str:
    return f"Run {run_id} is {state} and still holds {_amounts(*hold)}."


def say_late(run_id: str, state: str, overdue_at: float) -> str:
    return f"Run {run_id} is still {state}, though it had to end by {overdue_at:.0f}."


def say_usage(team: str, model: str, day: int, *counters: int) -> str:
    """`counters`: started, failed, pictures and micro-dollars of the roll-up, then of the runs."""
    rolled, counted = (_counters(*counters[at : at + 4]) for at in (0, 4))
    return (
        f"The usage of team {team} and model {model} on day {day} says {rolled},"
        f" but the runs say {counted}."
    )


def say_unkept(run_id: str, kept: int, links: int) -> str:
    return f"Run {run_id} is done with {kept} kept pictures for {links} result links."


def say_shared_task(upstream: str, task_id: str, count: int) -> str:
    return f"{count} runs of upstream {upstream} share the task {task_id}."


def say_two_live(fingerprint: str, count: int) -> str:
    return f"{count} live shared runs have the fingerprint {fingerprint}."


def say_orphan(job_id: str, run_id: str) -> str:
    return f"Job {job_id} points to run {run_id}, which is not there."


def say_uncalled(job_id: str, run_id: str, state: str) -> str:
    return f"Job {job_id} wants a callback for run {run_id}, which is {state}, and none is owed."


def say_stuck(delivery_id: str, job_id: str, due_at: float) -> str:
    return f"The callback {delivery_id} of job {job_id} is still pending; it was due {due_at:.0f}."


def say_missing_picture(run_id: str, digest: str) -> str:
    return f"Run {run_id} is done with picture {digest}, which is not among the pictures."


def _amounts(usd_micros: int, images: int, runs: int) -> str:
    return f"{_usd(usd_micros)}, {images} pictures, {runs} runs"


def _counters(started: int, failed: int, images: int, usd_micros: int) -> str:
    return f"{started} started, {failed} failed, {images} pictures, {_usd(usd_micros)} spent"


def _usd(usd_micros: int) -> str:
    return f"{usd_micros / USD_MICROS:.6f} USD"


# --- the portable checks -------------------------------------------------------------------------

_MEASURES: Final = ("usd_micros", "images", "runs")


def _accounts_sql(window: Window) -> str:
    """An account has what its runs have.

    A missing account counts as zeros, except that minute and hour accounts which hold nothing
    may have been pruned together with what they had spent.
    """
    start = "0" if window is Window.TOTAL else f"{window.value}_start"
    held = [f"held_{name}" for name in _MEASURES]
    hold = [f"hold_{name}" for name in _MEASURES]
    spent = [f"spent_{name}" for name in _MEASURES]
    zeros = ["0"] * 6
    names = ", ".join((*held, *spent, *(f"runs_{name}" for name in (*held, *spent))))
    differ = " OR ".join(f"SUM({name}) <> SUM(runs_{name})" for name in held)
    differ_spent = " OR ".join(f"SUM({name}) <> SUM(runs_{name})" for name in spent)
    if window in {Window.MINUTE, Window.HOUR}:
        differ_spent = f"SUM(present) > 0 AND ({differ_spent})"
    from_accounts = ", ".join((*held, *spent, *zeros))
    aliased = ", ".join(
        f"{column} AS {name}"
        for column, name in zip(from_accounts.split(", "), names.split(", "), strict=True)
    )
    return (
        f"SELECT team, '{window.value}', start_at,"
        f" {', '.join(f'SUM({name})' for name in names.split(', '))} FROM ("
        f"SELECT team, window_start AS start_at, 1 AS present, {aliased}"
        f" FROM accounts WHERE window_name = '{window.value}'"
        f" UNION ALL SELECT team, {start}, 0, {', '.join((*zeros, *hold, *spent))} FROM runs"
        f") AS entries GROUP BY team, start_at HAVING {differ} OR ({differ_spent})"
        f" LIMIT {MAX_SENTENCES}"
    )


_FINAL_HOLDS: Final = (
    "SELECT id, state, hold_usd_micros, hold_images, hold_runs FROM runs"
    f" WHERE NOT ({LIVE}) AND (hold_usd_micros <> 0 OR hold_images <> 0 OR hold_runs <> 0)"
    f" LIMIT {MAX_SENTENCES}"
)

_LINKS_DEAD: Final = (
    "CASE state"
    f" WHEN 'running' THEN COALESCE(accepted_at, created_at) + {LINKS_LIVE_SECONDS}"
    f" WHEN 'keeping' THEN COALESCE(upstream_finished_at, created_at) + {LINKS_LIVE_SECONDS}"
    " ELSE deadline_at END"
)

_LATE: Final = (
    "SELECT id, state, ends_at FROM ("
    "SELECT id, state, CASE WHEN links_dead > deadline_at THEN links_dead ELSE deadline_at END"
    f" AS ends_at FROM (SELECT id, state, deadline_at, {_LINKS_DEAD} AS links_dead"
    f" FROM runs WHERE {LIVE}) AS live) AS ending WHERE ends_at < ?"
    f" LIMIT {MAX_SENTENCES}"
)

_USAGE: Final = (
    "SELECT team, model, day, SUM(started), SUM(failed), SUM(images), SUM(spent),"
    " SUM(runs_started), SUM(runs_failed), SUM(runs_images), SUM(runs_spent) FROM ("
    "SELECT team, model, day, started, failed, images_generated AS images,"
    " spent_usd_micros AS spent,"
    " 0 AS runs_started, 0 AS runs_failed, 0 AS runs_images, 0 AS runs_spent FROM usage"
    " UNION ALL SELECT team, model, day_start, 0, 0, 0, 0,"
    " 1, CASE WHEN state = 'failed' THEN 1 ELSE 0 END,"
    " CASE WHEN state = 'done' THEN kept_count ELSE 0 END, spent_usd_micros FROM runs"
    ") AS entries GROUP BY team, model, day"
    " HAVING SUM(started) <> SUM(runs_started) OR SUM(failed) <> SUM(runs_failed)"
    " OR SUM(images) <> SUM(runs_images) OR SUM(spent) <> SUM(runs_spent)"
    f" LIMIT {MAX_SENTENCES}"
)

_UNKEPT: Final = (
    "SELECT id, kept_count, link_count FROM runs WHERE state = 'done' AND kept_count < link_count"
    f" LIMIT {MAX_SENTENCES}"
)

_SHARED_TASK: Final = (
    "SELECT upstream, upstream_task_id, COUNT(*) FROM runs WHERE upstream_task_id IS NOT NULL"
    f" GROUP BY upstream, upstream_task_id HAVING COUNT(*) > 1 LIMIT {MAX_SENTENCES}"
)

_TWO_LIVE: Final = (
    f"SELECT fingerprint, COUNT(*) FROM runs WHERE shared = 1 AND {LIVE}"
    f" GROUP BY fingerprint HAVING COUNT(*) > 1 LIMIT {MAX_SENTENCES}"
)

_ORPHANS: Final = (
    "SELECT jobs.id, jobs.run_id FROM jobs LEFT JOIN runs ON runs.id = jobs.run_id"
    f" WHERE runs.id IS NULL LIMIT {MAX_SENTENCES}"
)

# A job that was told no task id, because its submit was refused, is called back by no one.
_UNCALLED: Final = (
    "SELECT jobs.id, runs.id, runs.state FROM jobs JOIN runs ON runs.id = jobs.run_id"
    " WHERE jobs.callback_url IS NOT NULL"
    " AND (runs.state = 'done' OR (runs.state = 'failed' AND runs.accepted_at IS NOT NULL))"
    " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.job_id = jobs.id)"
    f" LIMIT {MAX_SENTENCES}"
)

_STUCK: Final = (
    f"SELECT id, job_id, due_at FROM deliveries WHERE {PENDING} AND due_at < ?"
    f" LIMIT {MAX_SENTENCES}"
)

# --- what the stores on disk keep twice ----------------------------------------------------------


def _say_total(team: str, model: str, *counters: int) -> str:
    """`counters`: all of the total's, then of the days' sums."""
    half = len(counters) // 2
    pairs = zip(USAGE_COUNTERS, counters[:half], counters[half:], strict=True)
    wrong = ", ".join(f"{name} {total} for {days}" for name, total, days in pairs if total != days)
    return f"The usage totals of team {team} and model {model} are not those of its days: {wrong}."


def _say_mislisted(job_id: str, listed: str, run_id: str, actual: str) -> str:
    return f"Job {job_id} is listed as {listed}, but its run {run_id} is {actual}."


_TOTALS: Final = (
    f"SELECT team, model, {', '.join(f'SUM({name})' for name in USAGE_COUNTERS)},"
    f" {', '.join(f'SUM(days_{name})' for name in USAGE_COUNTERS)} FROM ("
    f"SELECT team, model, {', '.join(USAGE_COUNTERS)},"
    f" {', '.join(f'0 AS days_{name}' for name in USAGE_COUNTERS)} FROM usage_totals"
    f" UNION ALL SELECT team, model, {', '.join('0' * len(USAGE_COUNTERS))},"
    f" {', '.join(USAGE_COUNTERS)} FROM usage) AS entries GROUP BY team, model"
    f" HAVING {' OR '.join(f'SUM({name}) <> SUM(days_{name})' for name in USAGE_COUNTERS)}"
    f" LIMIT {MAX_SENTENCES}"
)

_MISLISTED: Final = (
    "SELECT jobs.id, jobs.run_state || ' of ' || jobs.run_model,"
    " runs.id, runs.state || ' of ' || runs.model FROM jobs JOIN runs ON runs.id = jobs.run_id"
    f" WHERE jobs.run_state <> runs.state OR jobs.run_model <> runs.model LIMIT {MAX_SENTENCES}"
)

# --- the checks that each store words in its own way ----------------------------------------------


def _say_wrong_count(run_id: str, kept: int, links: int) -> str:
    return f"Run {run_id} does not count its own lists right: {kept} kept, {links} links."


def _say_dangling(table: str, row: int, parent: str, _: int) -> str:
    return f"Row {row} of {table} points to a row of {parent} that is not there."


def _say_file(report: str) -> str:
    return "" if report == "ok" else f"The ledger's file is damaged: {report}."


SQLITE_CHECKS: Final = (
    Check(
        Invariant.COUNTS,
        "SELECT id, kept_count, link_count FROM runs WHERE CASE"
        " WHEN json_valid(kept) AND json_valid(links)"
        " THEN kept_count <> json_array_length(kept) OR link_count <> json_array_length(links)"
        f" ELSE 1 END LIMIT {MAX_SENTENCES}",
        _say_wrong_count,
    ),
    Check(
        Invariant.ON_RECORD,
        "SELECT runs.id, json_extract(one.value, '$.digest') AS digest"
        " FROM runs, json_each(CASE WHEN json_valid(runs.kept) THEN runs.kept ELSE '[]' END) AS one"
        " WHERE runs.state = 'done' AND NOT EXISTS (SELECT 1 FROM pictures"
        " WHERE pictures.digest = json_extract(one.value, '$.digest'))"
        f" LIMIT {MAX_SENTENCES}",
        say_missing_picture,
    ),
    Check(Invariant.REFERENCES, "PRAGMA foreign_key_check", _say_dangling),
    Check(Invariant.FILE, f"PRAGMA quick_check({MAX_SENTENCES})", _say_file),
)
