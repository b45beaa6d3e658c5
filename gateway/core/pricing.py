"""What an order costs at most: the first price rule of a route that fits it, times `n`."""

from __future__ import annotations

from gateway.core.accounts import Amounts
from gateway.core.catalog import ImageModel, Route
from gateway.core.model import Order


def price_per_picture(route: Route, order: Order) -> int | None:
    """Micro-dollars per picture on this route; None when no rule fits: the order is unpriced."""
    for rule in route.prices:
        if all(order.body.get(name) == value for name, value in rule.match):
            return rule.usd_micros
    return None


def cheapest(model: ImageModel, order: Order) -> tuple[Route, int] | None:
    """The cheapest route that has a price for the order, and that price per picture.

    Routes of equal price keep the order of the settings. None: the order is unpriced.
    """
    priced = [
        (route, price)
        for route in model.routes
        if (price := price_per_picture(route, order)) is not None
    ]
    return min(priced, key=lambda pair: pair[1], default=None)


def ceiling(order: Order, price_usd_micros: int) -> Amounts:
    """What is held for the order: the most it can cost."""
    return Amounts(usd_micros=price_usd_micros * order.n, images=order.n, runs=1)
