"""What an order costs at most, and on which route."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from core_samples import MODEL, PRICE, STEADY, an_order
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Catalog, ImageModel, Limits, PriceRule, Route
from gateway.core.model import Order
from gateway.core.money.accounts import Amounts
from gateway.core.orders.pricing import ceiling, cheapest, price_per_picture
from gateway.core.orders.validation import read_order
from gateway.errors import InvalidRequest

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
    assert ceiling(an_order(n=n), price, BETA) == Amounts(n * price, n, 1)


# --- what an order may mean ----------------------------------------------------------------------

NAMES = ("size", "quality", "resolution")
WORDS = {
    "size": ["1:1", "2:3", "1024x1024", "auto", "4096x4096"],
    "quality": ["low", "high", "auto", "ultra"],
    "resolution": ["1K", "4K", "UHD", "auto"],
}
rules = st.builds(
    PriceRule,
    st.integers(0, 9),
    st.fixed_dictionaries({}, optional={n: st.sampled_from(WORDS[n][:4]) for n in NAMES}).map(
        lambda match: tuple(match.items())
    ),
)
lists = st.none() | st.frozensets(
    st.sampled_from(["1:1", "2:3", "low", "high", "1K", "4K", "auto"])
)
models = st.builds(
    ImageModel,
    st.just(MODEL.name),
    st.lists(
        st.builds(
            Route,
            st.just("u"),
            st.sampled_from(["gpt-image-1.5", "gpt-image-2"]),
            st.lists(rules, max_size=5).map(tuple),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    st.builds(Limits, sizes=lists, qualities=lists, resolutions=lists),
)
odd = st.none() | st.booleans() | st.integers(0, 4096) | st.just([]) | st.just(["4K"]) | st.just("")
wishes = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from([*WORDS[name], *(word.upper() for word in WORDS[name])]) | odd
        for name in NAMES
    },
)


def meanings(field: str, order: Order, model: ImageModel, route: Route) -> set[str]:
    """All that upstream may make of what is forwarded: a word of the prices, or none of them."""
    value = order.body.get(field)
    named = {one for rule in route.prices for name, one in rule.match if name == field}
    listed = model.limits.lists[field]
    anything = {*named, "none of them"}
    if field == "resolution" and "4096" in str(order.body.get("size")):
        return anything
    if field == "resolution" and route.model == "gpt-image-2" and value in (None, "1K"):
        return {"1K"}
    if value is None:
        return anything
    if isinstance(value, str) and (value in named or (value in (listed or ()) and value != "auto")):
        return {value}
    return anything


@STEADY
@given(models, wishes)
def test_no_order_is_cheaper_than_any_rule_that_may_fit_it(
    model: ImageModel, wish: dict[str, object]
) -> None:
    try:
        order = read_order(
            {"model": model.name, "prompt": "x", **wish}, Catalog({model.name: model})
        )
    except InvalidRequest as refused:
        assert refused.param in NAMES
        return
    for route in model.routes:
        priced = price_per_picture(route, order, model.limits)
        sets = [meanings(name, order, model, route) for name in NAMES]
        first = [
            next(
                (
                    rule.usd_micros
                    for rule in route.prices
                    if all(dict(zip(NAMES, said, strict=True))[n] == v for n, v in rule.match)
                ),
                None,
            )
            for said in product(*sets)
        ]
        if None in first:
            assert priced is None
        else:
            assert priced is not None and priced >= max(one for one in first if one is not None)


SHIPPED = Route(
    "evolink",
    "gpt-image-2",
    (
        PriceRule(1_200_000, (("resolution", "4K"),)),
        PriceRule(600_000, (("resolution", "2K"),)),
        PriceRule(20_000, (("quality", "low"),)),
        PriceRule(400_000),
    ),
)


@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({}, 20_000),  # documented: 1K where nothing is said
        ({"resolution": "1K"}, 20_000),
        ({"resolution": "8K"}, 1_200_000),  # neither a list nor a price knows the word
        ({"resolution": "4K"}, 1_200_000),
        ({"resolution": "4k"}, 1_200_000),
        ({"resolution": 4096}, 1_200_000),
        ({"resolution": "2K"}, 600_000),
    ],
)
def test_without_a_list_an_unknown_word_is_the_dearest(
    fields: dict[str, object], price: int
) -> None:
    assert price_per_picture(SHIPPED, an_order(quality="low", **fields)) == price


def test_a_list_makes_a_word_known() -> None:
    limits = Limits(resolutions=frozenset({"1K", "2K", "4K"}))
    order = an_order(quality="low", resolution="1K")
    assert price_per_picture(SHIPPED, order, limits) == 20_000


def test_a_large_size_in_pixels_is_a_high_resolution_whatever_it_is_called() -> None:
    for said in ({}, {"resolution": "1K"}):
        body = {"prompt": "x", "size": "3840x2160", "quality": "low", **said}
        order = Order(MODEL.name, "x", 1, "3840x2160", "low", body)
        limits = Limits(resolutions=frozenset({"1K", "2K", "4K"}))
        assert price_per_picture(SHIPPED, order, limits) == 1_200_000


def test_what_upstream_makes_of_nothing_is_known_of_some_models_only() -> None:
    other = replace(SHIPPED, model="another-model")
    assert price_per_picture(other, an_order(quality="low")) == 1_200_000
