"""Whether what runs have spent, and what others saved by them, is what it must be.

The accounts follow the runs, so a wrong amount that is booked everywhere adds up. Here it is held
against the run's price and end, and the usage of joined orders and hits against runs and tasks.
"""

from __future__ import annotations

from typing import Final

from gateway.core.invariants import Invariant
from gateway.core.model import FailureKind
from gateway.ledger.checks import LIMIT, Check
from gateway.ledger.statements import LIVE

CHARGED: Final = (FailureKind.OUTCOME_UNKNOWN, FailureKind.TIMED_OUT, FailureKind.RESULT_LOST)
"""Upstream may have charged the run: what it held is spent."""

RELEASED: Final = (FailureKind.REFUSED, FailureKind.CREDENTIALS, FailureKind.UNAVAILABLE)
"""Nobody took the run. A task that failed is neither: it spends what upstream says, if anything."""


def _of_kind(kinds: tuple[FailureKind, ...]) -> str:
    """The kind is what a failure's JSON begins with; no text of others stands before it."""
    told = (f'failure LIKE \'{{"kind":"{kind.value}"%\'' for kind in kinds)
    return f"state = 'failed' AND ({' OR '.join(told)})"


_NOTHING: Final = "(spent_usd_micros = 0 AND spent_images = 0 AND spent_runs = 0)"
_ALL: Final = "(spent_usd_micros = price_usd_micros * n AND spent_images = n AND spent_runs = 1)"
_PAID_IMAGES: Final = "CASE WHEN kept_count < n THEN kept_count ELSE n END"

# Where upstream counted credits, they may have been the cost: then it is only known to be some.
_BOUGHT: Final = (
    f"((spent_runs = 1 OR kept_count = 0) AND spent_images = {_PAID_IMAGES} AND CASE"
    f" WHEN credits_used IS NULL THEN spent_usd_micros = price_usd_micros * {_PAID_IMAGES}"
    " WHEN credits_used > 0 AND kept_count > 0 THEN spent_usd_micros > 0 OR price_usd_micros = 0"
    " ELSE 1 = 1 END)"
)
_HELD: Final = (
    "(hold_runs = 0 OR (hold_runs = 1 AND hold_images = n"
    " AND hold_usd_micros = price_usd_micros * n))"
)

_MISSPENT: Final = (
    "SELECT id, state, n, price_usd_micros, hold_usd_micros, spent_usd_micros, spent_images"
    " FROM runs WHERE spent_usd_micros > price_usd_micros * n OR spent_images > n OR spent_runs > 1"
    f" OR ({LIVE} AND NOT ({_NOTHING} AND {_HELD}))"
    f" OR (state = 'done' AND NOT {_BOUGHT})"
    f" OR ({_of_kind(CHARGED)} AND NOT {_ALL})"
    f" OR ({_of_kind(RELEASED)} AND NOT {_NOTHING})"
    f" OR ({_of_kind((FailureKind.TASK_FAILED,))} AND spent_runs <> 1) {LIMIT}"
)


def _say_misspent(run_id: str, state: str, *amounts: int) -> str:
    n, price, hold, spent, images = amounts
    return (
        f"Run {run_id} is {state}; {n} pictures at {price} micro-dollars each were ordered, and it"
        f" holds {hold} and has spent {spent} micro-dollars for {images} pictures."
    )


# --- what joined orders and hits say -------------------------------------------------------------

# A hit leaves a task, and tasks are pruned, the oldest first. So as long as the oldest run has the
# task that it was started for, and no day of usage is older, none is gone.
_ALL_THERE: Final = (
    "(SELECT COUNT(*) FROM jobs WHERE verdict = 'started' AND run_id ="
    " (SELECT id FROM runs WHERE day_start <= (SELECT MIN(day) FROM usage)"
    " ORDER BY created_at, id LIMIT 1))"
)

_HITS: Final = (
    "SELECT team, model, SUM(hits), SUM(seen), SUM(saved), SUM(seen_saved) FROM ("
    "SELECT team, model, hits, 0 AS seen, saved_hit_usd_micros AS saved, 0 AS seen_saved"
    " FROM usage"
    " UNION ALL SELECT jobs.team, jobs.run_model, 0, COUNT(*), 0, SUM(runs.spent_usd_micros)"
    " FROM jobs JOIN runs ON runs.id = jobs.run_id WHERE jobs.verdict = 'hit'"
    " GROUP BY jobs.team, jobs.run_model) AS entries GROUP BY team, model"
    " HAVING SUM(hits) < SUM(seen) OR SUM(saved) < SUM(seen_saved)"
    f" OR ((SUM(hits) > SUM(seen) OR SUM(saved) > SUM(seen_saved)) AND {_ALL_THERE} > 0) {LIMIT}"
)


def _say_hits(team: str, model: str, *counters: int) -> str:
    hits, seen, saved, seen_saved = counters
    return (
        f"The usage of team {team} and model {model} has {hits} hits that saved {saved}"
        f" micro-dollars, but its tasks are {seen} hits that saved {seen_saved}."
    )


_JOINS: Final = (
    "SELECT team, model, SUM(joined), SUM(joins), SUM(saved), SUM(run_saved) FROM ("
    "SELECT team, model, joined, 0 AS joins, saved_joined_usd_micros AS saved, 0 AS run_saved"
    " FROM usage"
    " UNION ALL SELECT json_extract(one.value, '$[0]'), runs.model, 0,"
    " json_extract(one.value, '$[1]'), 0, CASE WHEN runs.state = 'done'"
    " THEN json_extract(one.value, '$[1]') * runs.spent_usd_micros ELSE 0 END"
    " FROM runs, json_each(CASE WHEN json_valid(runs.joins) THEN runs.joins ELSE '[]' END) AS one"
    " WHERE runs.joins <> '[]') AS entries GROUP BY team, model"
    f" HAVING SUM(joined) <> SUM(joins) OR SUM(saved) <> SUM(run_saved) {LIMIT}"
)


def _say_joins(team: str, model: str, *counters: int) -> str:
    joined, joins, saved, run_saved = counters
    return (
        f"The usage of team {team} and model {model} has {joined} joined orders that saved {saved}"
        f" micro-dollars, but its runs say {joins} that saved {run_saved}."
    )


_IMAGES: Final = (
    "SELECT team, model, SUM(images), SUM(seen) FROM ("
    "SELECT team, model, images_cache AS images, 0 AS seen FROM usage"
    " UNION ALL SELECT jobs.team, jobs.run_model, 0, SUM(runs.kept_count)"
    " FROM jobs JOIN runs ON runs.id = jobs.run_id WHERE jobs.verdict = 'hit'"
    " GROUP BY jobs.team, jobs.run_model"
    " UNION ALL SELECT json_extract(one.value, '$[0]'), runs.model, 0,"
    " json_extract(one.value, '$[1]') * runs.kept_count"
    " FROM runs, json_each(CASE WHEN json_valid(runs.joins) THEN runs.joins ELSE '[]' END) AS one"
    " WHERE runs.joins <> '[]' AND runs.state = 'done') AS entries GROUP BY team, model"
    " HAVING SUM(images) < SUM(seen)"
    f" OR (SUM(images) > SUM(seen) AND {_ALL_THERE} > 0) {LIMIT}"
)


def _say_images(team: str, model: str, images: int, seen: int) -> str:
    return (
        f"The usage of team {team} and model {model} has {images} pictures from the cache,"
        f" but its tasks and runs say {seen}."
    )


CHECKS: Final = (
    Check(Invariant.SPENT, _MISSPENT, _say_misspent),
    Check(Invariant.USAGE, _HITS, _say_hits),
)
SQLITE_CHECKS: Final = (
    Check(Invariant.USAGE, _JOINS, _say_joins),
    Check(Invariant.USAGE, _IMAGES, _say_images),
)
