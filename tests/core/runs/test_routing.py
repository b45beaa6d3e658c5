"""Which routes a run may go to, in which order, and at which price."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_samples import CATALOG, MODEL, NOW, PRICE, a_run, an_order, keys_of
from test_lifecycle import EVENTS

from gateway.core.catalog import Catalog, Mode, PriceRule, Route, Team
from gateway.core.model import Run
from gateway.core.money.accounts import Account, AccountKey, Amounts, Cap, Measure, Window
from gateway.core.orders.pricing import cheapest
from gateway.core.runs.events import (
    Accepted,
    CredentialsRefused,
    DeadlinePassed,
    Event,
    Finished,
    NotNow,
    Refused,
    Retry,
    TaskFailed,
)
from gateway.core.runs.routing import (
    Alternative,
    Outlook,
    affordable,
    alternatives,
    by_price,
    moves,
    next_after,
)

CHEAP, MIDDLE, DEAR = (
    Alternative(name, "pictures", usd_micros)
    for name, usd_micros in (("cheap", 10_000), ("middle", 20_000), ("dear", 50_000))
)
ALL = (CHEAP, MIDDLE, DEAR)


def on(route: Alternative, **fields: object) -> Run:
    base = a_run(n=2, upstream=route.upstream, upstream_model=route.upstream_model)
    return replace(base, hold=route.hold(base), price_usd_micros=route.price_usd_micros, **fields)


def test_only_what_was_not_taken_moves_a_run() -> None:
    moving = {kind for kind, event in EVENTS.items() if moves(event)}
    assert moving == {NotNow, CredentialsRefused, Retry, TaskFailed}
    assert not {Accepted, Refused, Finished, DeadlinePassed} & moving


@pytest.mark.parametrize(
    ("quality", "prices"),
    [("low", [12_000, PRICE]), ("medium", [PRICE, 60_000]), (None, [PRICE, 360_000])],
)
def test_the_order_of_the_routes_follows_the_order(quality: str | None, prices: list[int]) -> None:
    order = an_order(**({"quality": quality} if quality else {}))
    routes = by_price(MODEL, order)
    assert [route.price_usd_micros for route in routes] == prices
    first = cheapest(MODEL, order)
    assert first and (first[0].name, first[1]) == (routes[0].name, routes[0].price_usd_micros)


def test_a_run_has_the_routes_of_its_order_but_those_that_failed_it() -> None:
    run = a_run(request='{"prompt":"a red bicycle","quality":"low"}')
    names = [route.name for route in alternatives(run, CATALOG)]
    assert names == ["evolink/gpt-image-1.5", "evolink/gpt-image-1.5-beta"]
    assert run.route in names
    tried = replace(run, tried=("evolink/gpt-image-1.5",))
    assert [route.name for route in alternatives(tried, CATALOG)] == names[1:]
    assert alternatives(replace(run, model="no longer offered"), CATALOG) == ()


def test_a_route_without_a_price_for_the_order_is_none() -> None:
    only_low = Route("other", "m", (PriceRule(1, (("quality", "low"),)),))
    model = replace(MODEL, routes=(*MODEL.routes, only_low))
    catalog = Catalog({model.name: model})
    low = a_run(request='{"prompt":"x","quality":"low"}')
    high = a_run(request='{"prompt":"x","quality":"high"}')
    assert "other/m" in [route.name for route in alternatives(low, catalog)]
    assert "other/m" not in [route.name for route in alternatives(high, catalog)]


@pytest.mark.parametrize(
    ("event", "at_once", "later"),
    [
        (NotNow(""), [DEAR], [CHEAP, MIDDLE, DEAR]),
        (CredentialsRefused(401, ""), [DEAR], [CHEAP, DEAR]),
        (TaskFailed("{}", "x", "", is_providers=True), [CHEAP, DEAR], [CHEAP, DEAR]),
        (Retry(), [CHEAP, MIDDLE, DEAR], [CHEAP, MIDDLE, DEAR]),
    ],
)
def test_a_run_goes_up_the_list_and_begins_anew_after_a_wait(
    event: Event, at_once: list[Alternative], later: list[Alternative]
) -> None:
    found = next_after(on(MIDDLE), event, ALL)
    assert (list(found[0]), list(found[1])) == (at_once, later)


def test_a_run_on_a_route_that_the_settings_no_longer_name_may_go_to_any() -> None:
    gone = on(Alternative("gone", "m", 5))
    assert next_after(gone, NotNow(""), ALL) == (ALL, ALL)


# --- money ---------------------------------------------------------------------------------------


def accounts(run: Run, spent: int, held: int) -> dict[AccountKey, Account]:
    return {
        key: Account(key, Amounts(usd_micros=spent), Amounts(held, 0, 5)) for key in keys_of(run)
    }


def test_the_hold_of_a_route_is_its_price_for_every_picture() -> None:
    run = on(CHEAP)
    assert DEAR.hold(run) == Amounts(100_000, 2, 1)
    assert CHEAP.hold(run) == run.hold


@pytest.mark.parametrize(("limit", "fits"), [(139_999, False), (140_000, True)])
def test_a_dearer_route_must_fit_to_the_micro_dollar(limit: int, fits: bool) -> None:
    run = on(CHEAP)  # holds 20,000; the dear one would hold 100,000
    books = accounts(run, spent=30_000, held=30_000)
    team = Team("alpha", caps=(Cap(Measure.USD, Window.DAY, limit),))
    assert affordable(run, DEAR, books, team) is fits
    assert affordable(run, DEAR, books, replace(team, mode=Mode.SHADOW))
    assert affordable(run, CHEAP, books, team)


def test_a_cheaper_route_always_fits_and_counts_are_not_asked_again() -> None:
    run = on(MIDDLE)
    books = accounts(run, spent=10**9, held=10**9)
    caps = [Cap(measure, Window.TOTAL, 0) for measure in Measure if measure is not Measure.USD]
    over = Team("alpha", caps=(Cap(Measure.USD, Window.DAY, 1), *caps))
    assert affordable(run, CHEAP, books, over)
    assert not affordable(run, DEAR, books, over)
    assert affordable(run, DEAR, books, replace(over, caps=tuple(caps)))


def test_nothing_dearer_is_bought_for_a_team_that_is_no_more() -> None:
    run = on(MIDDLE)
    books = accounts(run, 0, 0)
    assert [affordable(run, route, books, None) for route in ALL] == [True, True, False]


def test_the_outlook_within_the_budget() -> None:
    run = on(CHEAP)
    books = accounts(run, 0, 0)
    outlook = Outlook(DEAR, ((CHEAP, NOW + 9), (DEAR, NOW + 3)))
    poor = Team("alpha", caps=(Cap(Measure.USD, Window.DAY, 60_000),))
    assert outlook.within_budget(run, books, Team("alpha")) == outlook
    assert outlook.comes_up_at == NOW + 3
    left = outlook.within_budget(run, books, poor)
    assert left == Outlook(None, ((CHEAP, NOW + 9),)) and left.comes_up_at == NOW + 9
    assert Outlook().comes_up_at is None
