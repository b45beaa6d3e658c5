"""What a team asks before it orders: an order's verdict and price, its models.

Pure: the service looks things up, this puts them together. Nothing here spends or reserves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.catalog import ImageModel, Team
from gateway.core.model import Order
from gateway.core.orders.admission import Denied, Doubtful, Hit, Joined, Settled
from gateway.core.orders.ask import Ask
from gateway.core.orders.denials import Denial
from gateway.core.orders.pricing import Offer, offers
from gateway.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an order would come to now.

    `verdict` is hit, join, start, deny or unknown (an identical order's outcome is unknown).
    `ceiling_usd_micros` is the most it could cost if it were started; None: unpriced. `denial`
    is what refuses it, or would if the team were not in shadow mode. `offers` are of each route of
    the model, in the order in which they would be asked.
    """

    order: Order
    verdict: str
    ceiling_usd_micros: int | None
    denial: Denial | None
    offers: Sequence[Offer]


def estimate(ask: Ask, decision: Settled) -> Estimate:
    found = offers(ask.model, ask.order)
    price = next((one.ceiling_usd_micros for one in found if one.skipped is None), None)
    verdict, denial = _verdict(decision)
    return Estimate(ask.order, verdict, price, denial, found)


def _verdict(decision: Settled) -> tuple[str, Denial | None]:
    match decision:
        case Denied(denial):
            return "deny", denial
        case Doubtful():
            return "unknown", None
        case Hit(shadow=shadow):
            return "hit", shadow
        case Joined(shadow=shadow):
            return "join", shadow
        case _:
            return "start", decision.shadow


def models_of(team: Team, policy: Policy) -> Sequence[ImageModel]:
    """The public models that the team may use, by name."""
    allowed = team.allow.models
    named = sorted(policy.catalog.models.items())
    return [model for name, model in named if allowed is None or name in allowed]
