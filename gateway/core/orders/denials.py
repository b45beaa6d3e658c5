"""What denies an order, each rule as a function of the order and what the ledger shows.

A denial is data: why, by which rule, in which words, and when it frees. Which of the rules is
asked when is admission's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.core.catalog import ClientControl, Team
from gateway.core.instants import NEVER, rfc3339, rfc3339_if_ever
from gateway.core.model import FailureKind, Run
from gateway.core.money.accounts import Measure
from gateway.core.money.budgets import Excess, first_excess
from gateway.core.orders.ask import Ask
from gateway.core.orders.pricing import Offer, offers, priced_values
from gateway.core.orders.spellings import AUTO
from gateway.core.runs.failures import (
    charged_all_the_same,
    not_makeable,
    wants_another_request,
)
from gateway.core.transaction import View
from gateway.errors import (
    BudgetExhausted,
    GatewayError,
    GenerationTimeout,
    InvalidRequest,
    ModelAccessDenied,
    NotCached,
    OutcomeUnknown,
    RateLimited,
    ResultLost,
    Unavailable,
)

ROOM_RETRY_SECONDS: Final = 60.0
"""An operator has to make room on the disk; asking more often than this is no use."""


class Reason(StrEnum):
    """Why an order was denied: the closed list of the metrics' label."""

    BUDGET = "budget"
    IMAGES = "images"
    RUNS_PER_MINUTE = "runs_per_minute"
    CONCURRENT_RUNS = "concurrent_runs"
    MODEL = "model_not_allowed"
    SIZE = "size_not_allowed"
    QUALITY = "quality_not_allowed"
    COUNT = "n_not_allowed"
    UNPRICED = "unpriced"
    NO_ROUTE = "no_route_fits"
    ROOM = "no_room"
    NOT_CACHED = "not_cached"
    RESULT_LOST = "result_lost"
    TIMED_OUT = "generation_timeout"
    OUTCOME_UNKNOWN = "outcome_unknown"
    CHARGED_FAILURE = "charged_failure"


REMEMBERED: Final[Mapping[FailureKind, Reason]] = {
    # Endings that count as spent: sent again, such an order might be paid again.
    FailureKind.RESULT_LOST: Reason.RESULT_LOST,
    FailureKind.TIMED_OUT: Reason.TIMED_OUT,
    FailureKind.OUTCOME_UNKNOWN: Reason.OUTCOME_UNKNOWN,
    FailureKind.TASK_FAILED: Reason.CHARGED_FAILURE,
}

NEVER_PAID_TWICE: Final = "never_paid_twice"
"""The rule that refuses an order which may have been paid already."""


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal as data: why, by which rule, what to tell the caller, when it frees.

    `code` is the one that upstream gave for refusing what the same order asked for.
    """

    reason: Reason
    message: str
    rule: str
    param: str | None = None
    frees_at: float = NEVER
    excess: Excess | None = None
    code: str | None = None

    def error(self, now: float) -> GatewayError:
        """What the caller is told."""
        retry_after = None if self.frees_at == NEVER else max(1.0, self.frees_at - now)
        resets_at = rfc3339_if_ever(self.frees_at)
        limit = {"limit_scope": self.rule, "resets_at": resets_at}
        match self.reason:
            case Reason.BUDGET:
                return BudgetExhausted(self.message, retry_after_seconds=retry_after, extra=limit)
            case Reason.IMAGES | Reason.RUNS_PER_MINUTE | Reason.CONCURRENT_RUNS:
                return RateLimited(self.message, retry_after_seconds=retry_after, extra=limit)
            case Reason.MODEL:
                return ModelAccessDenied(self.message, param=self.param)
            case Reason.ROOM:
                return Unavailable(self.message, retry_after_seconds=retry_after)
            case Reason.NOT_CACHED:
                return NotCached(self.message)
            case Reason.CHARGED_FAILURE if self.code:
                return not_makeable(self.code, self.message)
            case Reason.RESULT_LOST | Reason.CHARGED_FAILURE:
                return ResultLost(self.message)
            case Reason.TIMED_OUT:
                return GenerationTimeout(self.message)
            case Reason.OUTCOME_UNKNOWN:
                return OutcomeUnknown(self.message)
            case _:
                return InvalidRequest(self.message, param=self.param)


def forbidden(ask: Ask) -> Denial | None:
    """What the team may not ask for at all, whatever its budget."""
    allow, order = ask.team.allow, ask.order
    if allow.models is not None and order.model not in allow.models:
        return _not_allowed(Reason.MODEL, "model", order.model, allow.models)
    sizes = allow.sizes_of(order.model)
    if sizes is not None and (order.size or AUTO) not in sizes:
        return _not_allowed(Reason.SIZE, "size", order.size, sizes)
    if allow.qualities is not None and (order.quality or AUTO) not in allow.qualities:
        return _not_allowed(Reason.QUALITY, "quality", order.quality, allow.qualities)
    if allow.max_n is not None and order.n > allow.max_n:
        message = f"This team may ask for at most {allow.max_n} pictures at once; n is {order.n}."
        return Denial(Reason.COUNT, message, "allow.max_n", param="n")
    return None


def _not_allowed(reason: Reason, param: str, value: str | None, allowed: frozenset[str]) -> Denial:
    got = f"not '{value}'" if value is not None else "and must say which: it is missing, or 'auto'"
    message = f"This team may use these values of '{param}': {', '.join(sorted(allowed))}; {got}."
    return Denial(reason, message, f"allow.{param}", param=param)


def remembered(ask: Ask, view: View) -> Denial | None:
    """The ending of an identical order that counts as spent, while it is repeated.

    A picture that came since then shows that there is more to be had.
    """
    lost = view.lost
    if ask.freshness.no_store or ask.freshness.no_cache or not lost or not lost.failure:
        return None
    ended, later = lost.finished_at or 0.0, (view.finished and view.finished.finished_at) or 0.0
    until = ended + ask.remember_lost_seconds
    reason = REMEMBERED.get(lost.failure.kind)
    if reason is None or ask.now >= until or later > ended:
        return None
    failure, code = lost.failure, None
    words = failure.message
    if reason is Reason.CHARGED_FAILURE:
        words = charged_all_the_same(failure)
        code = failure.code if wants_another_request(failure) else None
    message = (
        f"An identical order ended at {rfc3339(ended)}, and nothing was ordered now: "
        f"{words} The same request gets this answer until {rfc3339(until)}; "
        f"{knowingly(ask.team)}"
    )
    return Denial(reason, message, NEVER_PAID_TWICE, frees_at=until, code=code)


def knowingly(team: Team) -> str:
    """How a client may pay for what may be paid already."""
    if team.client_control is ClientControl.IGNORE:
        return "the gateway's settings let no client start a new one before."
    return "send it with 'Cache-Control: no-cache' to start a new one knowingly."


def no_room(ask: Ask) -> Denial:
    message = (
        "The gateway's picture store is nearly full, or refuses to be written, so no new "
        "pictures are ordered."
    )
    return Denial(Reason.ROOM, message, "free_space", frees_at=ask.now + ROOM_RETRY_SECONDS)


def no_route(ask: Ask) -> Denial:
    """Of an order that no route makes: because it fits none that has a price for it, or for want of
    a price."""
    missed = next((one for one in offers(ask.model, ask.order) if one.misfit), None)
    if missed is None or missed.misfit is None or _wants_a_price(ask, missed):
        return unpriced(ask)
    message = (
        f"No route of '{ask.order.model}' can make this order. The cheapest is "
        f"{missed.route.name}, which does not take {missed.misfit}."
    )
    field = _field_named(missed.misfit, ask)
    return Denial(Reason.NO_ROUTE, message, "no_route_fits", param=field)


def _wants_a_price(ask: Ask, missed: Offer) -> bool:
    """Whether another route lacks nothing but a price, and the one that is missed has none."""
    fits = any(one.misfit is None for one in offers(ask.model, ask.order))
    return fits and missed.ceiling_usd_micros is None


def _field_named(misfit: str, ask: Ask) -> str | None:
    """The field of the order that it begins with."""
    name, colon, _ = misfit.partition(":")
    return name if colon and name in (*ask.order.body, "n") else None


def unpriced(ask: Ask) -> Denial:
    """The first field at fault is named: one whose value no price knows, or that is left out."""
    known = sorted(priced_values(ask.model).items())
    fields = [name for name, values in known if ask.order.body.get(name) not in list(values)]
    listed = "; ".join(f"{name} {', '.join(sorted(values))}" for name, values in known)
    message = (
        f"'{ask.order.model}' has no price for this order in the gateway's settings, so it is "
        f"refused. Prices name {listed}. Choose among them, or ask the platform team."
    )
    return Denial(Reason.UNPRICED, message, "unpriced", param=next(iter(fields), None))


def over_budget(ask: Ask, run: Run, view: View) -> Denial | None:
    """The cap that the run would break, if any."""
    excess = first_excess(
        ask.team.caps, ask.in_force(view.accounts), run.hold, now=ask.now, renews_at=ask.renews_at
    )
    if excess is None:
        return None
    reason = {
        Measure.USD: Reason.BUDGET,
        Measure.IMAGES: Reason.IMAGES,
        Measure.RUNS: Reason.RUNS_PER_MINUTE,
        Measure.LIVE: Reason.CONCURRENT_RUNS,
    }[excess.cap.measure]
    return Denial(
        reason,
        f"{excess.sentence} {_advice(excess)}",
        excess.cap.rule,
        frees_at=excess.frees_at,
        excess=excess,
    )


def _advice(excess: Excess) -> str:
    if excess.asked > excess.cap.limit:
        return "It can never fit: ask for less, or ask the platform team for a larger limit."
    if excess.frees_at == NEVER:
        return "This limit does not renew: ask the platform team for a larger one."
    if excess.cap.measure is Measure.LIVE:
        return "Try again when one of the running ones has ended."
    return f"It renews at {rfc3339(excess.frees_at)}."
