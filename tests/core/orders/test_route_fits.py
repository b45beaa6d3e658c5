"""Routes of several kinds under one name: which makes an order, at what price, and who made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from core_samples import MODEL, Books, an_ask, an_order

from gateway.core.catalog import CacheScope, Catalog, ImageModel, PriceRule, Route, Team
from gateway.core.kinds import Kind, Rates
from gateway.core.model import Order
from gateway.core.money.accounts import Amounts, Cap, Measure, Window
from gateway.core.orders.admission import Denied, Started
from gateway.core.orders.ask import Ask
from gateway.core.orders.choices import choices
from gateway.core.orders.estimate import estimate
from gateway.core.orders.fingerprint import fingerprint
from gateway.core.orders.pricing import ceiling, cheapest, offers, price_per_picture
from gateway.core.runs.routing import by_price, offers_for


def no_wide(order: Order, upstream_model: str) -> str | None:
    return f"size: nothing to {upstream_model}" if order.size == "2:3" else None


def by_tokens(order: Order, rates: Rates | None) -> int:
    return round(len(order.prompt) * rates.text_in) if rates else 0


PLAIN = Kind("plain")
WHOLE = Kind("whole", is_whole=True, misfit=no_wide, besides=by_tokens)
NARROW = Route("w", "m", (PriceRule(100),), kind=WHOLE, rates=Rates(5, 8, 30))
WIDE = Route("p", "m", (PriceRule(150),), kind=PLAIN)
BOTH = replace(MODEL, routes=(WIDE, NARROW))
PROMPT = "a red bicycle"  # 13 letters, 65 micro-dollars at these rates


def asked(model: ImageModel, **fields: object) -> Ask:
    return an_ask(model=model, order=an_order(prompt=PROMPT, **fields))


def test_a_price_is_of_the_pictures_and_the_ceiling_of_all() -> None:
    order = an_order(prompt=PROMPT, n=2)
    assert price_per_picture(NARROW, order) == 100
    assert ceiling(order, 100, NARROW) == Amounts(265, 2, 1)
    assert ceiling(order, 150, WIDE) == Amounts(300, 2, 1)


def test_the_cheapest_is_so_with_all_that_it_costs() -> None:
    assert cheapest(BOTH, an_order(prompt=PROMPT)) == (WIDE, 150)
    assert cheapest(BOTH, an_order(prompt=PROMPT, n=2)) == (NARROW, 100)
    assert cheapest(BOTH, an_order(prompt="x")) == (NARROW, 100)
    assert [one.name for one in by_price(BOTH, an_order(prompt="x"))] == ["w/m", "p/m"]


def test_what_a_route_cannot_make_passes_it_over() -> None:
    order = an_order(prompt="x", size="2:3")
    assert price_per_picture(NARROW, order) is None
    assert cheapest(BOTH, order) == (WIDE, 150)
    assert [one.name for one in by_price(BOTH, order)] == ["p/m"]
    prices = {one.value: one.usd_micros for one in choices(BOTH, Team("alpha"), {})["size"]}
    assert prices == {None: 100, "1:1": 100, "2:3": 150}


def test_every_route_is_offered_or_says_why_not() -> None:
    unpriced = Route("q", "m", (PriceRule(1, (("quality", "high"),)),), kind=PLAIN)
    model = replace(BOTH, routes=(unpriced, WIDE, NARROW))
    fits, other, none = offers(model, an_order(prompt=PROMPT, quality="low", n=2))
    assert (fits.route, fits.ceiling_usd_micros, fits.skipped) == (NARROW, 265, None)
    assert (other.route, other.ceiling_usd_micros, other.skipped) == (WIDE, 300, None)
    assert (none.route, none.ceiling_usd_micros) == (unpriced, None)
    assert none.skipped == "no price for this order"
    fits, missed, _ = offers(model, an_order(prompt=PROMPT, quality="low", size="2:3"))
    assert (fits.route, fits.skipped) == (WIDE, None)
    assert (missed.route, missed.skipped) == (NARROW, "size: nothing to m")


def test_an_order_starts_where_it_fits_and_holds_what_it_costs_there() -> None:
    books = Books()
    started, _ = books.admit(asked(BOTH, n=2))
    assert isinstance(started, Started)
    run = started.run
    assert (run.route, run.price_usd_micros, run.hold) == ("w/m", 100, Amounts(265, 2, 1))
    wide, _ = books.admit(asked(BOTH, size="2:3"))
    assert isinstance(wide, Started) and wide.run.route == "p/m"
    seen = offers_for(wide.run, Catalog({BOTH.name: BOTH}))
    assert [(one.route.name, one.misfit is None) for one in seen] == [("p/m", True), ("w/m", False)]
    assert offers_for(wide.run, Catalog({})) == ()


def test_what_is_beside_the_pictures_counts_against_a_budget() -> None:
    team = Team("alpha", caps=(Cap(Measure.USD, Window.DAY, 164),))
    model = replace(BOTH, routes=(NARROW,))
    denied, _ = Books().admit(replace(asked(model), team=team))
    assert isinstance(denied, Denied) and denied.denial.rule == "usd_per_day"
    cap = replace(team.caps[0], limit=165)
    started, _ = Books().admit(replace(asked(model), team=replace(team, caps=(cap,))))
    assert isinstance(started, Started)


def refused(model: ImageModel, **fields: object) -> Denied:
    decision, _ = Books().admit(asked(model, **fields))
    assert isinstance(decision, Denied)
    return decision


def test_an_order_that_fits_no_route_is_told_what_the_cheapest_misses() -> None:
    dear = replace(NARROW, model="dear", prices=(PriceRule(900),))
    denial = refused(replace(BOTH, routes=(dear, NARROW)), size="2:3").denial
    assert (denial.reason, denial.param) == ("no_route_fits", "size")
    assert denial.message == (
        "No route of 'gpt-image-1.5' can make this order. The cheapest is w/m, which does not take "
        "size: nothing to m."
    )
    error = denial.error(0.0)
    assert (error.status, error.code) == (400, "invalid_request")


def test_for_want_of_a_price_alone_an_order_is_unpriced() -> None:
    only_high = (PriceRule(1, (("quality", "high"),)),)
    unpriced = replace(WIDE, prices=only_high)
    missed = replace(NARROW, prices=only_high)
    both = replace(BOTH, routes=(unpriced, missed))
    assert refused(both, size="2:3", quality="low").denial.reason == "unpriced"
    priced = replace(BOTH, routes=(unpriced, NARROW))
    assert refused(priced, size="2:3", quality="low").denial.reason == "no_route_fits"
    none = replace(BOTH, routes=(missed,))
    assert refused(none, size="2:3", quality="low").denial.reason == "no_route_fits"


def test_an_estimate_names_the_routes() -> None:
    ask = asked(BOTH, size="2:3")
    decision, _ = Books().admit(ask)
    assert isinstance(decision, Started)
    found = estimate(ask, decision)
    assert found.ceiling_usd_micros == 150
    assert [one.route for one in found.offers] == [WIDE, NARROW]
    denied = asked(replace(BOTH, routes=(NARROW,)), size="2:3")
    decision, _ = Books().admit(denied)
    assert isinstance(decision, Denied)
    assert estimate(denied, decision).ceiling_usd_micros is None


# --- who makes it, in an order's name ------------------------------------------------------------

LINK = "https://example.com/a.png"
BODY = {"prompt": PROMPT, "size": "1:1", "quality": "low"}
ART = Team("art")
SHARED = Team("art", cache_scope=CacheScope.ORGANIZATION)
LINKED = {**BODY, "image_urls": [LINK]}
ONE_MODEL = ImageModel("gpt-image-2", (WIDE, NARROW), deadline_seconds=60)


def named(body: Mapping[str, object], n: int = 1, digest: str = "") -> Order:
    digests = {LINK: digest} if digest else {}
    return Order("gpt-image-2", PROMPT, n, "1:1", "low", body, digests=digests)


@pytest.mark.parametrize(
    ("order", "team", "name"),
    [
        (named(BODY), ART, "c6d3cd87e8de900f18cf8fc6aa7a125ba6b680a7942bffecdfcdeec427c354e5"),
        (
            named(BODY, 3),
            SHARED,
            "e94ce0d6dce16408e217b61669a2c6cd31219474b93b015110a3d1f1fc6e1710",
        ),
        (
            named({**LINKED, "seed": 7}),
            ART,
            "649d06c310ee3753c1b5b33a4276b1a66c019a7859aaab5cb17777509f10ea9c",
        ),
        (
            named(LINKED, digest="1" * 64),
            ART,
            "fe693fe9f8468d2db1ab0f38ec5a42455c314c0786f9148d5c993b94735131d2",
        ),
    ],
)
def test_the_names_of_orders_are_those_that_they_always_had(
    order: Order, team: Team, name: str
) -> None:
    assert fingerprint(order, team, ONE_MODEL) == name


def made_by(*routes: Route) -> str:
    return fingerprint(named(BODY), ART, replace(ONE_MODEL, routes=routes))


def test_orders_that_another_model_may_make_are_other_orders() -> None:
    other = replace(NARROW, model="gpt-image-1.5", is_another_model=True)
    third = replace(other, model="gpt-image-2.5-flare")
    alone, mixed = made_by(other), made_by(WIDE, other)
    assert len({made_by(WIDE), alone, mixed, made_by(WIDE, other, third)}) == 4
    assert mixed == made_by(other, WIDE)
    cheaper, dated = replace(WIDE, prices=(PriceRule(1),)), replace(WIDE, model="m-2026-04-21")
    assert mixed == made_by(cheaper, other) == made_by(dated, other) == made_by(WIDE, NARROW, other)
    assert replace(ONE_MODEL, routes=(WIDE, other)).others == ("gpt-image-1.5", "gpt-image-2")
    assert ONE_MODEL.others == ()


def test_nothing_that_a_client_says_can_pass_for_it() -> None:
    other = replace(NARROW, is_another_model=True)
    told = {**BODY, "made_by": ["gpt-image-2", "m"]}
    assert fingerprint(named(told), ART, ONE_MODEL) != made_by(WIDE, other)
    digests = named(LINKED, digest="1" * 64)
    assert fingerprint(digests, ART, ONE_MODEL) != fingerprint(
        digests, ART, replace(ONE_MODEL, routes=(other,))
    )
