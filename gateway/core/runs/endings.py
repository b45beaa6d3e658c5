"""How a run ends, and what becomes of its hold: settled, released, or spent in full.

For the lifecycle only, whose table says when. Where upstream may have charged, the hold counts as
spent: money fails closed. The texts are read by whoever ordered; upstream's links and our folders
have no place in them.
"""

from __future__ import annotations

import json
from typing import Final

from gateway.core.copies import replace
from gateway.core.model import Failure, FailureKind, Run, RunState
from gateway.core.money.accounts import NOTHING, Amounts
from gateway.core.runs.events import CredentialsRefused, NotNow, Refused, TaskFailed, Why

REASON_CHARACTERS: Final = 200
"""Of what an upstream named as the reason, beside our own words."""

# --- settled -----------------------------------------------------------------------------------


def done(run: Run, now: float, *, pictures: int, usd_micros_per_credit: float | None) -> Run:
    """All its `pictures` are kept.

    Where the settings say what a credit is worth, upstream's own count of credits is the cost;
    else it is the route's price for each picture delivered, also where no credits are counted for
    pictures that are there: upstream may bill them a moment later. It is never above the hold.
    Where upstream told its bill with the pictures, that is the cost, whatever was held. What was
    spent when the run failed before stays so otherwise.
    """
    if run.billed_usd_micros is not None:
        return _settled(run, _bill(run.billed_usd_micros, min(pictures, run.n)), now)
    if not run.hold:
        return _settled(run, run.spent, now)
    images = min(pictures, run.hold.images)
    cost = _worth(run.credits_used, usd_micros_per_credit) or _at_its_ceiling(run, images)
    spent = Amounts(usd_micros=min(cost, run.hold.usd_micros), images=images, runs=1)
    return _settled(run, spent, now)


def _at_its_ceiling(run: Run, images: int) -> int:
    """The hold without the price of what did not come."""
    return run.hold.usd_micros - run.price_usd_micros * (run.hold.images - images)


def _bill(usd_micros: int, images: int) -> Amounts:
    return Amounts(usd_micros=usd_micros, images=images, runs=1)


def _settled(run: Run, spent: Amounts, now: float) -> Run:
    return replace(
        run,
        state=RunState.DONE,
        hold=NOTHING,
        spent=spent,
        tries=0,
        finished_at=now,
        trouble=None,
    )


# --- released ----------------------------------------------------------------------------------


def refused(run: Run, event: Refused, now: float) -> Run:
    """By upstream, which says why."""
    failure = Failure(
        FailureKind.REFUSED, event.code, event.message, status=event.status, body=event.body
    )
    return _release(run, failure, now)


def credentials_refused(run: Run, event: CredentialsRefused, now: float) -> Run:
    message = "The upstream provider refused the gateway's own key or balance."
    failure = Failure(FailureKind.CREDENTIALS, "upstream_error", message, status=event.status)
    return _release(run, failure, now)


def not_taken(run: Run, now: float) -> Run:
    message = "No upstream took the request before its deadline. Nothing was charged; try again."
    return _release(run, Failure(FailureKind.UNAVAILABLE, "service_unavailable", message), now)


def declined(run: Run, event: NotNow, now: float, *, is_whole: bool) -> Run:
    """No route is left: each has declined it as often as it is asked (`trials`), or cannot
    make it at all. Of that, as the last of them said, the order is told as of its own mistake."""
    if event.why is Why.MISFIT:
        said = f" ({event.words})" if event.words else ""
        return _does_not_fit(run, event.reason[:REASON_CHARACTERS] + said, now)
    how = "asked again and again" if is_whole else "although it took others meanwhile"
    message = (
        f"The upstream provider did not take this request, {how}. "
        "Nothing was charged; change the request, or try again later."
    )
    return _release(run, Failure(FailureKind.UNAVAILABLE, "service_unavailable", message), now)


def _does_not_fit(run: Run, reason: str, now: float) -> Run:
    code = "invalid_request"
    message = (
        f"No upstream of this model takes the order as it is: {reason}. Nothing was charged; "
        "change the order, and send it again."
    )
    error = {"code": code, "message": message, "type": "invalid_request_error", "param": None}
    body = json.dumps({"error": error})
    return _release(run, Failure(FailureKind.REFUSED, code, message, status=400, body=body), now)


def task_failed(
    run: Run, event: TaskFailed, now: float, *, usd_micros_per_credit: float | None
) -> Run:
    """It counts as a run, and costs nothing, unless upstream says that it was charged all the same.

    Then its credits are spent, cut to the hold; where it does not count them, or the settings do
    not say what one is worth, that is the whole hold.
    """
    failure = Failure(FailureKind.TASK_FAILED, event.code, event.message)
    cost = 0
    if not event.is_free:
        cost = _worth(event.credits_used, usd_micros_per_credit) or run.hold.usd_micros
    spent = Amounts(usd_micros=min(cost, run.hold.usd_micros), runs=1)
    after = _release(run, failure, now)
    return replace(after, task=event.task, credits_used=event.credits_used, spent=spent)


# --- spent in full -----------------------------------------------------------------------------


def outcome_unknown(run: Run, now: float) -> Run:
    message = (
        "The request was sent upstream and its answer was lost. "
        "It counts as spent, since upstream may have charged for it."
    )
    return _charge(run, Failure(FailureKind.OUTCOME_UNKNOWN, "outcome_unknown", message), now)


def timed_out(run: Run, now: float) -> Run:
    message = (
        "Upstream did not finish the task before its deadline. "
        "It counts as spent, since upstream may still charge for it."
    )
    return _charge(run, Failure(FailureKind.TIMED_OUT, "generation_timeout", message), now)


def result_lost(run: Run, reason: str, now: float) -> Run:
    message = f"Upstream made and charged the pictures, but they could not be kept: {reason}."
    if run.kept:
        count = f"{len(run.kept)} of {len(run.links)}"
        message += f" Of its pictures {count} are kept all the same; the operator knows where."
    return _charge(run, Failure(FailureKind.RESULT_LOST, "result_lost", message), now)


def _worth(used: float | None, usd_micros_per_credit: float | None) -> int:
    """What these credits cost in micro-dollars; 0 where that cannot be said."""
    if not used or usd_micros_per_credit is None:
        return 0
    return round(used * usd_micros_per_credit)


def _release(run: Run, failure: Failure, now: float) -> Run:
    """Failed and not charged: the hold goes back."""
    return replace(
        run, state=RunState.FAILED, failure=failure, hold=NOTHING, finished_at=now, due_at=now
    )


def _charge(run: Run, failure: Failure, now: float) -> Run:
    """Failed, and upstream charged it or may have: its bill is spent, or else the hold.

    One that failed before and was tried again has spent that already, and holds nothing.
    """
    spent = run.spent + run.hold
    if run.billed_usd_micros is not None:
        spent = _bill(run.billed_usd_micros, spent.images)
    return replace(_release(run, failure, now), spent=spent)
