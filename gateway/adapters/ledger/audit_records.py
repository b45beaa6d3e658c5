"""Whether each record agrees with those beside it: windows, steps, tasks, keys, documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.adapters.ledger.checks import Check
from gateway.adapters.ledger.json_words import JsonWords
from gateway.adapters.ledger.statements import LIVE
from gateway.core.model import FailureKind
from gateway.core.money.invariants import Invariant
from gateway.core.runs.history import MOST_STEPS, STEPS_AT_ITS_END
from gateway.core.teams.changes import Action

LONGEST_HOURS: Final = {"day_start": 26, "week_start": 8 * 24, "month_start": 32 * 24}
"""Clocks that are set back make a day of 25 hours. Which zone was in force is not known."""

QUICK_SECONDS: Final = 3600.0
"""Far less than tasks are kept: what ended so soon after its order was never spared by pruning."""


# --- windows -------------------------------------------------------------------------------------

_TOO_LONG: Final = " OR ".join(
    f"created_at >= {start} + {hours * 3600}" for start, hours in LONGEST_HOURS.items()
)
_OUTSIDE: Final = (
    "SELECT id, created_at, minute_start, hour_start, day_start, week_start, month_start FROM runs"
    " WHERE created_at < minute_start OR created_at >= minute_start + 60"
    " OR minute_start < hour_start OR created_at >= hour_start + 3600 OR hour_start < day_start"
    f" OR day_start < week_start OR day_start < month_start OR {_TOO_LONG}"
)


def _say_outside(run_id: str, created_at: float, *starts: int) -> str:
    told = ", ".join(str(start) for start in starts)
    return f"Run {run_id} was ordered {created_at:.0f}, outside one of its windows from {told}."


# --- steps and tasks -----------------------------------------------------------------------------

_UNTOLD: Final = (
    "SELECT runs.id, runs.state, steps.after FROM runs LEFT JOIN steps ON steps.run_id = runs.id"
    " AND steps.number = (SELECT MAX(number) FROM steps AS told WHERE told.run_id = runs.id)"
    " WHERE runs.has_steps = 1 AND (steps.after IS NULL"
    " OR (runs.state IN ('done', 'failed') AND steps.after <> runs.state)"
    f" OR (runs.{LIVE} AND steps.after IN ('done', 'failed')"
    f" AND steps.number < {MOST_STEPS - STEPS_AT_ITS_END}))"
)


def _say_untold(run_id: str, state: str, last: str | None) -> str:
    told = "it has no steps" if last is None else f"its last step says {last}"
    return f"Run {run_id} is {state}, but {told}."


_OTHERS_RUN: Final = (
    "SELECT jobs.id, jobs.team, runs.id, runs.team FROM jobs JOIN runs ON runs.id = jobs.run_id"
    " WHERE jobs.verdict = 'started' AND jobs.team <> runs.team"
)


def _say_others_run(job_id: str, team: str, run_id: str, payer: str) -> str:
    return f"Job {job_id} of team {team} has started run {run_id}, which team {payer} pays."


# A claim outlives its task where tasks are kept for a shorter time. They are pruned oldest first,
# so what is younger than the oldest that could have gone must be there.
_NOWHERE: Final = (
    "SELECT claims.team, claims.job_id FROM claims WHERE claims.created_at >= ("
    "SELECT jobs.created_at FROM jobs JOIN runs ON runs.id = jobs.run_id"
    " WHERE jobs.callback_url IS NULL AND runs.state IN ('done', 'failed')"
    f" AND runs.finished_at <= jobs.created_at + {QUICK_SECONDS}"
    " ORDER BY jobs.created_at LIMIT 1)"
    f" AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = claims.job_id)"
)


def _say_nowhere(team: str, job_id: str) -> str:
    return f"An idempotency key of team {team} leads to job {job_id}, which is not there."


_OTHERS_CLAIM: Final = (
    "SELECT claims.team, jobs.id, jobs.team FROM claims JOIN jobs ON jobs.id = claims.job_id"
    " WHERE jobs.team <> claims.team"
)


def _say_others_claim(team: str, job_id: str, owner: str) -> str:
    return f"An idempotency key of team {team} leads to job {job_id} of team {owner}."


# A gallery outlives the tasks that filled it; what is there must be that of the team.
_OTHERS_SHOWN: Final = (
    "SELECT gallery.team, gallery.run_id, jobs.id, jobs.team FROM gallery"
    " JOIN jobs ON jobs.id = gallery.job_id JOIN runs ON runs.id = jobs.run_id"
    " WHERE jobs.team <> gallery.team OR jobs.run_id <> gallery.run_id"
)


def _say_others_shown(team: str, run_id: str, job_id: str, owner: str) -> str:
    return (
        f"The gallery of team {team} shows run {run_id} for job {job_id}, which is another run's"
        f" or of another team: {owner}."
    )


_OTHERS_CALL: Final = (
    "SELECT deliveries.id, jobs.id FROM deliveries JOIN jobs ON jobs.id = deliveries.job_id"
    " WHERE deliveries.team <> jobs.team OR deliveries.url <> jobs.callback_url"
)


def _say_others_call(delivery_id: str, job_id: str) -> str:
    return f"Callback {delivery_id} goes elsewhere than its job {job_id} asked for."


# --- keys ----------------------------------------------------------------------------------------


def _subject(key: str) -> str:
    return f"team || '/' || {key}"


def _subjects(action: Action) -> str:
    return f"SELECT subject FROM changes WHERE action = '{action}'"


_UNISSUED: Final = (
    "SELECT id, team FROM team_keys WHERE CASE WHEN replaces IS NULL"
    f" THEN {_subject('id')} NOT IN ({_subjects(Action.KEY_ISSUE)})"
    f" ELSE {_subject('replaces')} NOT IN ({_subjects(Action.KEY_ROTATE)}) END"
)


def _say_unissued(key_id: str, team: str) -> str:
    return f"The key {key_id} of team {team} is not on the record of changes."


_REOPENED: Final = (
    "SELECT id, team FROM team_keys WHERE revoked_at IS NULL"
    f" AND ({_subject('id')} IN ({_subjects(Action.KEY_REVOKE)}) OR (expires_at IS NULL"
    f" AND {_subject('id')} IN ({_subjects(Action.KEY_ROTATE)})))"
)


def _say_reopened(key_id: str, team: str) -> str:
    return f"The key {key_id} of team {team} was ended by an operator, and opens again."


_UNSAID: Final = (
    "SELECT name FROM teams WHERE NOT EXISTS (SELECT 1 FROM changes"
    f" WHERE action IN ('{Action.TEAM_CREATE}', '{Action.TEAM_CHANGE}')"
    f" AND subject = teams.name AND after = teams.document)"
)


def _say_unsaid(name: str) -> str:
    return f"The settings of team {name} are not on the record of changes."


# --- documents -----------------------------------------------------------------------------------

DOCUMENTS: Final[Mapping[tuple[str, str], str]] = {
    ("runs", "request"): "object",
    ("runs", "task"): "object",
    ("runs", "failure"): "object",
    ("runs", "joins"): "array",
    ("runs", "tried"): "array",
    ("runs", "links"): "array",
    ("runs", "kept"): "array",
    ("jobs", "labels"): "object",
    ("teams", "document"): "object",
    ("uploads", "urls"): "array",
    ("deliveries", "body"): "object",
    ("changes", "before"): "object",
    ("changes", "after"): "object",
}
"""What is JSON, by table and column, and of which type; NULL is nothing to read."""

_NAMES: Final = {"teams": "name", "uploads": "team || '/' || id"}


def _unreadable_sql(table: str, columns: Mapping[str, str], say: JsonWords) -> str:
    wrong = [
        f"({name} IS NOT NULL AND COALESCE({say.kind(name)}, '') <> '{kind}')"
        for name, kind in columns.items()
    ]
    found = f"SELECT {_NAMES.get(table, 'id')} AS name, {', '.join(columns)} FROM {table}"
    return f"{found} WHERE {' OR '.join(wrong)}"


def _unreadable_checks(say: JsonWords) -> Iterator[Check]:
    for table in dict.fromkeys(table for table, _ in DOCUMENTS):
        columns = {name: kind for (of, name), kind in DOCUMENTS.items() if of == table}
        sql = _unreadable_sql(table, columns, say)
        yield Check(Invariant.READABLE, sql, _Unreadable(table, columns))


class _Unreadable:
    """Looks again with Python's own reader: the stores' give up on what is nested very deep."""

    def __init__(self, table: str, columns: Mapping[str, str]) -> None:
        self._table = table
        self._columns = columns

    def __call__(self, name: str, *texts: str | None) -> str:
        pairs = zip(self._columns.items(), texts, strict=True)
        wrong = [column for (column, kind), text in pairs if not _is_readable(text, kind)]
        return f"{', '.join(wrong)} of {name} in {self._table} cannot be read." if wrong else ""


def _is_readable(text: str | None, kind: str) -> bool:
    try:
        return text is None or isinstance(json.loads(text), dict if kind == "object" else list)
    except (ValueError, TypeError, RecursionError):
        return False


# As it is written, the kind is what a failure's JSON begins with.
_KINDS: Final = " OR ".join(f'failure LIKE \'{{"kind":"{kind.value}"%\'' for kind in FailureKind)

_UNEXPLAINED: Final = (
    "SELECT id, state, failure FROM runs WHERE (state = 'failed' AND failure IS NULL)"
    " OR (state = 'done' AND failure IS NOT NULL)"
    f" OR (failure IS NOT NULL AND NOT ({_KINDS}))"
)


def _say_unexplained(run_id: str, state: str, failure: str | None) -> str:
    """Nothing of one that cannot be read at all, which is another violation."""
    if failure is not None and state != "done":
        try:
            told = json.loads(failure)
        except (ValueError, RecursionError):
            return ""
        if isinstance(told, dict) and told.get("kind") in set(FailureKind):
            return ""
    return f"Run {run_id} is {state}, and its failure cannot be read from its record."


# --- pictures ------------------------------------------------------------------------------------


def _not_kept(say: JsonWords) -> str:
    return (
        "SELECT pictures.digest, pictures.run_id FROM pictures"
        " JOIN runs ON runs.id = pictures.run_id WHERE NOT EXISTS (SELECT 1"
        f" FROM {say.members('runs.kept')}"
        f" WHERE {say.field('one.value', 'digest')} = pictures.digest)"
    )


def _say_not_kept(digest: str, run_id: str) -> str:
    return f"Picture {digest} is on record as made by run {run_id}, which does not have it."


_OTHERS_PICTURE: Final = (
    "SELECT pictures.digest, pictures.team, runs.id, runs.team FROM pictures"
    " JOIN runs ON runs.id = pictures.run_id"
    " WHERE pictures.team <> runs.team OR pictures.model <> runs.model"
)


def _say_others_picture(digest: str, team: str, run_id: str, owner: str) -> str:
    return f"Picture {digest} is on record as team {team}'s; run {run_id} of {owner} made it."


CHECKS: Final = (
    Check(Invariant.WINDOWS, _OUTSIDE, _say_outside),
    Check(Invariant.TOLD, _UNTOLD, _say_untold),
    Check(Invariant.STARTED, _OTHERS_RUN, _say_others_run),
    Check(Invariant.CLAIMED, _NOWHERE, _say_nowhere),
    Check(Invariant.CLAIMED, _OTHERS_CLAIM, _say_others_claim),
    Check(Invariant.SHOWN, _OTHERS_SHOWN, _say_others_shown),
    Check(Invariant.OWED, _OTHERS_CALL, _say_others_call),
    Check(Invariant.ISSUED, _UNISSUED, _say_unissued),
    Check(Invariant.ISSUED, _REOPENED, _say_reopened),
    Check(Invariant.ISSUED, _UNSAID, _say_unsaid),
    Check(Invariant.ON_RECORD, _OTHERS_PICTURE, _say_others_picture),
    Check(Invariant.READABLE, _UNEXPLAINED, _say_unexplained),
)


def json_checks(say: JsonWords) -> Iterator[Check]:
    yield from _unreadable_checks(say)
    yield Check(Invariant.ON_RECORD, _not_kept(say), _say_not_kept)
