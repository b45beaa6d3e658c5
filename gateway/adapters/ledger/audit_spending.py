"""Whether what runs have spent, and what others saved by them, is what it must be.

The accounts follow the runs, so a wrong amount that is booked everywhere adds up. Here it is held
against the run's price and end, and the usage of joined orders and hits against runs and tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.adapters.ledger.checks import Check
from gateway.adapters.ledger.json_words import JsonWords
from gateway.adapters.ledger.statements import LIVE
from gateway.core.model import FailureKind
from gateway.core.money.invariants import Invariant

CHARGED: Final = (FailureKind.OUTCOME_UNKNOWN, FailureKind.TIMED_OUT, FailureKind.RESULT_LOST)
"""Upstream may have charged the run: what it held is spent."""

RELEASED: Final = (FailureKind.REFUSED, FailureKind.CREDENTIALS, FailureKind.UNAVAILABLE)
"""Nobody took the run. A task that failed is neither: it spends what upstream says, if anything."""


def _of_kind(kinds: tuple[FailureKind, ...]) -> str:
    """The kind is what a failure's JSON begins with; no text of others stands before it."""
    told = (f'failure LIKE \'{{"kind":"{kind.value}"%\'' for kind in kinds)
    return f"state = 'failed' AND ({' OR '.join(told)})"


_NOTHING: Final = "(spent_usd_micros = 0 AND spent_images = 0 AND spent_runs = 0)"
_CEILING: Final = "(price_usd_micros * n + besides_usd_micros)"
_IN_FULL: Final = "spent_images = n AND spent_runs = 1"
_ALL: Final = f"(spent_usd_micros = {_CEILING} AND {_IN_FULL})"
_BILL: Final = f"(spent_usd_micros = COALESCE(billed_usd_micros, {_CEILING}) AND {_IN_FULL})"
_MOST: Final = (
    f"CASE WHEN billed_usd_micros > {_CEILING} THEN billed_usd_micros ELSE {_CEILING} END"
)
_PAID_IMAGES: Final = "CASE WHEN kept_count < n THEN kept_count ELSE n END"

# Where upstream told its bill, that is the cost. Where it counted credits, they may have been: then
# it is only known to be some.
_BOUGHT: Final = (
    f"((spent_runs = 1 OR kept_count = 0) AND spent_images = {_PAID_IMAGES} AND CASE"
    " WHEN billed_usd_micros IS NOT NULL THEN spent_usd_micros = billed_usd_micros"
    " WHEN credits_used IS NULL"
    f" THEN spent_usd_micros = price_usd_micros * {_PAID_IMAGES} + besides_usd_micros"
    " WHEN credits_used > 0 AND kept_count > 0 THEN spent_usd_micros > 0 OR price_usd_micros = 0"
    " ELSE 1 = 1 END)"
)
_HELD: Final = f"(hold_runs = 1 AND hold_images = n AND hold_usd_micros = {_CEILING})"

_TRIED_AGAIN: Final = (
    "(state = 'keeping' AND hold_usd_micros = 0 AND hold_images = 0 AND hold_runs = 0"
    f" AND ({_ALL} OR {_BILL}))"
)

# One that failed and was had by a second try, or found later, has spent all it held, also for fewer
# pictures; unless it was billed.
_HAD_AFTER_ALL: Final = (
    f"({_ALL} AND billed_usd_micros IS NULL AND EXISTS"
    " (SELECT 1 FROM steps WHERE steps.run_id = runs.id AND (steps.event = 'TriedAgain'"
    " OR (steps.event = 'Delivered' AND steps.before = 'failed'))))"
)

_MISSPENT: Final = (
    "SELECT id, state, n, price_usd_micros, hold_usd_micros, spent_usd_micros, spent_images,"
    " besides_usd_micros, billed_usd_micros"
    f" FROM runs WHERE spent_usd_micros > {_MOST} OR spent_images > n OR spent_runs > 1"
    f" OR ({LIVE} AND NOT ({_NOTHING} AND {_HELD}) AND NOT {_TRIED_AGAIN})"
    f" OR (state = 'done' AND NOT {_BOUGHT} AND NOT {_HAD_AFTER_ALL})"
    f" OR ({_of_kind(CHARGED)} AND NOT {_BILL})"
    f" OR ({_of_kind(RELEASED)} AND NOT {_NOTHING})"
    f" OR ({_of_kind((FailureKind.TASK_FAILED,))} AND spent_runs <> 1)"
)


def _say_misspent(run_id: str, state: str, *amounts: int | None) -> str:
    n, price, hold, spent, images, besides, billed = amounts
    more = f" and {besides} besides" if besides else ""
    bill = "" if billed is None else f"; upstream billed {billed}"
    return (
        f"Run {run_id} is {state}; {n} pictures at {price} micro-dollars each{more} were ordered,"
        f" and it holds {hold} and has spent {spent} micro-dollars for {images} pictures{bill}."
    )


# --- what joined orders and hits say -------------------------------------------------------------

# A hit leaves a task, and tasks are pruned, the oldest first. So as long as the oldest run has the
# task that it was started for, and no day of usage is older, none is gone.
_ALL_THERE: Final = (
    "(SELECT COUNT(*) FROM jobs WHERE verdict = 'started' AND run_id ="
    " (SELECT id FROM runs WHERE day_start <= (SELECT MIN(day) FROM usage)"
    " ORDER BY created_at, id LIMIT 1))"
)

_COUNTED: Final = (
    "joined", "saved_joined_usd_micros", "hits", "saved_hit_usd_micros", "images_cache",
)  # fmt: skip


def _of_joins(say: JsonWords) -> str:
    return (
        f"SELECT {say.word('one.value', 0)} AS team, runs.model AS model,"
        f" {say.number('one.value', 1)} AS joins,"
        " CASE WHEN runs.state = 'done' THEN 1 ELSE 0 END AS is_done,"
        " runs.spent_usd_micros AS spent, runs.kept_count AS kept"
        f" FROM runs, {say.members('runs.joins')} WHERE runs.joins <> '[]'"
    )


def _differs(name: str) -> str:
    """Joined orders are noted at their run for ever, hits only as long as their tasks are kept."""
    if "joined" in name:
        return f"SUM({name}) <> SUM(seen_{name})"
    return (
        f"SUM({name}) < SUM(seen_{name}) OR (SUM({name}) > SUM(seen_{name}) AND {_ALL_THERE} > 0)"
    )


def _saved(say: JsonWords) -> str:
    return (
        f"SELECT team, model, {', '.join(f'SUM({name})' for name in _COUNTED)},"
        f" {', '.join(f'SUM(seen_{name})' for name in _COUNTED)} FROM ("
        f"SELECT team, model, {', '.join(_COUNTED)},"
        f" {', '.join(f'0 AS seen_{name}' for name in _COUNTED)} FROM usage"
        " UNION ALL SELECT jobs.team, jobs.run_model, 0, 0, 0, 0, 0,"
        " 0, 0, COUNT(*), SUM(runs.spent_usd_micros), SUM(runs.kept_count)"
        " FROM jobs JOIN runs ON runs.id = jobs.run_id WHERE jobs.verdict = 'hit'"
        " GROUP BY jobs.team, jobs.run_model"
        " UNION ALL SELECT team, model, 0, 0, 0, 0, 0,"
        " joins, is_done * joins * spent, 0, 0, is_done * joins * kept"
        f" FROM ({_of_joins(say)}) AS joined"
        ") AS entries GROUP BY team, model"
        f" HAVING {' OR '.join(_differs(name) for name in _COUNTED)}"
    )


def _say_saved(team: str, model: str, *counters: int) -> str:
    """`counters`: those of the usage, then those of tasks and runs."""
    half = len(counters) // 2
    pairs = zip(_COUNTED, counters[:half], counters[half:], strict=True)
    wrong = ", ".join(f"{name} {said} for {seen}" for name, said, seen in pairs if said != seen)
    return (
        f"The usage of team {team} and model {model} is not that of its tasks and their runs:"
        f" {wrong}."
    )


CHECKS: Final = (Check(Invariant.SPENT, _MISSPENT, _say_misspent),)


def json_checks(say: JsonWords) -> Iterator[Check]:
    yield Check(Invariant.USAGE, _saved(say), _say_saved)
