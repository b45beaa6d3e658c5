"""What an order costs at most, and on which route."""

from __future__ import annotations

from dataclasses import replace

from core_samples import MODEL, PRICE, STEADY, an_order
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.accounts import Amounts
from gateway.core.catalog import PriceRule, Route
from gateway.core.pricing import ceiling, cheapest, price_per_picture

BETA, FULL = MODEL.routes


def test_the_first_rule_that_fits_is_the_price() -> None:
    assert price_per_picture(FULL, an_order(quality="low")) == 12_000
    assert price_per_picture(FULL, an_order(quality="medium")) == 60_000
    assert price_per_picture(FULL, an_order(quality="high")) == 360_000
    assert price_per_picture(FULL, an_order()) == 360_000


def test_every_field_of_a_rule_must_fit() -> None:
    route = Route("u", "m", (PriceRule(5, (("quality", "low"), ("size", "1:1"))), PriceRule(9)))
    assert price_per_picture(route, an_order(quality="low", size="1:1")) == 5
    assert price_per_picture(route, an_order(quality="low")) == 9
    assert price_per_picture(route, an_order(quality="low", size="2:3")) == 9


def test_a_rule_may_look_at_any_field() -> None:
    route = Route("u", "m", (PriceRule(7, (("resolution", "2K"),)),))
    assert price_per_picture(route, an_order(resolution="2K")) == 7
    assert price_per_picture(route, an_order(resolution="4K")) is None
    assert price_per_picture(route, an_order(resolution=["2K"])) is None


def test_the_cheapest_route_that_has_a_price_serves() -> None:
    assert cheapest(MODEL, an_order(quality="low")) == (FULL, 12_000)
    assert cheapest(MODEL, an_order(quality="high")) == (BETA, PRICE)


def test_routes_of_equal_price_keep_their_order() -> None:
    first, second = (Route("u", name, (PriceRule(1),)) for name in "ab")
    assert cheapest(replace(MODEL, routes=(first, second)), an_order()) == (first, 1)
    assert cheapest(replace(MODEL, routes=(second, first)), an_order()) == (second, 1)


def test_an_order_without_a_price_has_no_route() -> None:
    only_low = Route("u", "m", (PriceRule(1, (("quality", "low"),)),))
    model = replace(MODEL, routes=(only_low,))
    assert cheapest(model, an_order(quality="high")) is None
    assert cheapest(model, an_order()) is None
    assert cheapest(replace(MODEL, routes=()), an_order()) is None


@STEADY
@given(st.integers(1, 4), st.integers(0, 10**9))
def test_the_ceiling_multiplies_by_n(n: int, price: int) -> None:
    assert ceiling(an_order(n=n), price) == Amounts(n * price, n, 1)
