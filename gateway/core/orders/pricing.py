"""What an order costs at most: the dearest price rule of a route that may fit it, times `n`.

A rule fits for certain when the order says what the rule says. Where an order leaves a field
open, or says what no list and no rule knows, any rule on that field may fit: upstream decides what
it makes, so the order is priced at the dearest of them, never at what happens to come last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.catalog import ImageModel, Limits, Route
from gateway.core.model import Order
from gateway.core.money.accounts import Amounts
from gateway.core.orders.spellings import AUTO, pixels

RESOLUTION: Final = "resolution"
DOCUMENTED_DEFAULTS: Final[Mapping[str, Mapping[str, str]]] = {
    # Beginning of upstream's names of models → what a field means there when it is left out. Only
    # what its documents have always agreed on: of sizes and qualities they say different things.
    "gpt-image-2": {RESOLUTION: "1K"},
}
PIXELS_OF_1K: Final = 2_000_000
"""A size in pixels beyond it is worth a higher resolution, whatever the order calls it."""

_OFFERS_ANYTHING: Final = Limits()


def price_per_picture(route: Route, order: Order, limits: Limits = _OFFERS_ANYTHING) -> int | None:
    """Micro-dollars per picture on this route; None where it may be that no rule fits, or where the
    route cannot make the order at all."""
    return None if route.misfit(order) is not None else _by_rules(route, order, limits)


def _by_rules(route: Route, order: Order, limits: Limits) -> int | None:
    said = {name: _said(name, order, route, limits) for name in _named(route)}
    dearest = 0
    for rule in route.prices:
        if any(said[name] not in (None, value) for name, value in rule.match):
            continue
        dearest = max(dearest, rule.usd_micros)
        if all(said[name] == value for name, value in rule.match):
            return dearest
    return None


def cheapest(model: ImageModel, order: Order) -> tuple[Route, int] | None:
    """The cheapest route that has a price for the order, and that price per picture.

    Routes of equal price keep the order of the settings. None: the order is unpriced.
    """
    priced = [
        (route, price)
        for route in model.routes
        if (price := price_per_picture(route, order, model.limits)) is not None
    ]
    return min(priced, key=lambda pair: _in_all(order, *pair), default=None)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a route would ask for an order at most; `misfit` says why it cannot make it.

    `besides_usd_micros` is what of that is not for the pictures.
    `ceiling_usd_micros` is None where no price of the route fits, and is told of a misfit too: of
    such routes the cheapest is the one that is missed.
    """

    route: Route
    ceiling_usd_micros: int | None
    besides_usd_micros: int
    misfit: str | None

    @property
    def skipped(self) -> str | None:
        """Why the order does not go there; None: it may."""
        if self.misfit is not None:
            return self.misfit
        return "no price for this order" if self.ceiling_usd_micros is None else None


def offers(model: ImageModel, order: Order) -> Sequence[Offer]:
    """One for each route: those that may serve first, then the others, by price."""
    every = [_offer(route, order, model.limits) for route in model.routes]
    return sorted(every, key=_place)


def _offer(route: Route, order: Order, limits: Limits) -> Offer:
    price, misfit = _by_rules(route, order, limits), route.misfit(order)
    most = None if price is None else _in_all(order, route, price)
    return Offer(route, most, route.besides_usd_micros(order), misfit)


def _place(offer: Offer) -> tuple[bool, bool, int]:
    most = offer.ceiling_usd_micros
    return offer.skipped is not None, most is None, most or 0


def ceiling(order: Order, price_usd_micros: int, route: Route) -> Amounts:
    """What is held for the order on this route at this price per picture: the most it can cost."""
    cost = _in_all(order, route, price_usd_micros)
    return Amounts(usd_micros=cost, images=order.n, runs=1)


def _in_all(order: Order, route: Route, price_usd_micros: int) -> int:
    return price_usd_micros * order.n + route.besides_usd_micros(order)


def priced_values(model: ImageModel) -> Mapping[str, frozenset[str]]:
    """The fields that prices look at, with the values that some rule names."""
    every = [_named(route) for route in model.routes]
    names = {name for one in every for name in one}
    return {name: frozenset().union(*(one.get(name, ()) for one in every)) for name in names}


def _named(route: Route) -> Mapping[str, set[str]]:
    named: dict[str, set[str]] = {}
    for rule in route.prices:
        for name, value in rule.match:
            named.setdefault(name, set()).add(value)
    return named


def _said(name: str, order: Order, route: Route, limits: Limits) -> str | None:
    """What the order certainly asks for in this field; None where that is not known."""
    if name == RESOLUTION and pixels(order.body.get("size")) > PIXELS_OF_1K:
        return None
    value = order.body.get(name)
    if value is None:
        return _left_out(name, route)
    if not isinstance(value, str):
        return None
    if value in _named(route)[name] or value == _left_out(name, route):
        return value
    listed = limits.lists.get(name)
    return value if listed is not None and value in listed and value != AUTO else None


def _left_out(name: str, route: Route) -> str | None:
    known = (
        fields.get(name)
        for model, fields in DOCUMENTED_DEFAULTS.items()
        if route.model.startswith(model)
    )
    return next(known, None)
