"""How amounts, times, limits and pictures look to operators and teams.

US dollars are numbers, times RFC 3339 in UTC, days those of the operator's time zone.
"""

from __future__ import annotations

from typing_extensions import TypedDict

from gateway.core.instants import NEVER, rfc3339
from gateway.core.model import KeptPicture
from gateway.core.money.accounts import Measure
from gateway.core.money.budgets import Standing
from gateway.core.money.usd import dollars
from gateway.core.orders.pricing import Offer


class StandingShape(TypedDict):
    """How a team stands with one limit: dollars for `usd`, else counts."""

    rule: str
    measure: str
    window: str
    limit: float
    spent: float
    held: float
    left: float
    resets_at: str | None


class PictureShape(TypedDict):
    """A kept picture. An erased one has no prompt any more, and its URL answers 404."""

    digest: str
    url: str
    team: str
    model: str
    prompt: str
    run: str
    task: str
    size_bytes: int
    width: int
    height: int
    created_at: str
    erased_at: str | None


class RouteOfferShape(TypedDict):
    """What a route would ask for an order at most. One that `skipped` says the reason of is not
    asked; `kind` is what its upstream speaks."""

    name: str
    kind: str
    price_usd: float | None
    skipped: str | None


class PicturesShape(TypedDict):
    data: list[PictureShape]
    next: str | None


def moment(at: float | None) -> str | None:
    """The same; None where there is no time, and for never."""
    return None if at is None or at == NEVER else instant(at)


def instant(at: float) -> str:
    """A Unix time as RFC 3339 in UTC, to the millisecond."""
    return rfc3339(at, "milliseconds")


def standing(one: Standing) -> StandingShape:
    amount = dollars if one.cap.measure is Measure.USD else int
    return {
        "rule": one.cap.rule,
        "measure": one.cap.measure.value,
        "window": one.cap.window.value,
        "limit": amount(one.cap.limit),
        "spent": amount(one.spent),
        "held": amount(one.held),
        "left": amount(one.left),
        "resets_at": moment(one.renews_at),
    }


def offer(one: Offer) -> RouteOfferShape:
    most = one.ceiling_usd_micros if one.skipped is None else None
    return {
        "name": one.route.name,
        "kind": one.route.kind.name,
        "price_usd": None if most is None else dollars(most),
        "skipped": one.skipped,
    }


def picture(one: KeptPicture, public_url: str) -> PictureShape:
    return {
        "digest": one.picture.digest,
        "url": f"{public_url}/pictures/{one.picture.name}",
        "team": one.team,
        "model": one.model,
        "prompt": one.prompt,
        "run": one.run_id,
        "task": one.task_id,
        "size_bytes": one.picture.size_bytes,
        "width": one.picture.width,
        "height": one.picture.height,
        "created_at": instant(one.created_at),
        "erased_at": moment(one.erased_at),
    }
