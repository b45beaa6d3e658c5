"""What a form offers, what each choice costs in it, and what it begins with."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from core_samples import an_order

from gateway.core.catalog import Allow, ImageModel, Limits, PriceRule, Route, Team
from gateway.core.orders.choices import beginning, choices, is_automatic, offered, price
from gateway.core.orders.pricing import cheapest

BY_QUALITY = (
    PriceRule(12_000, (("quality", "low"),)),
    PriceRule(60_000, (("quality", "medium"),)),
    PriceRule(360_000),
)
SIZES = frozenset({"1024x1024", "auto", "1:1", "16:9", "9:16"})
MODEL = ImageModel(
    "painter",
    (Route("u", "painter", BY_QUALITY),),
    Limits(sizes=SIZES, qualities=frozenset({"low", "medium", "high"})),
    deadline_seconds=60,
)
FREE = Team("blue")


def held_to(**allow: frozenset[str]) -> Team:
    return Team("blue", allow=Allow(**allow))


def usd(model: ImageModel, team: Team, field: str, **said: str) -> dict[str | None, int | None]:
    return {one.value: one.usd_micros for one in choices(model, team, said)[field]}


def test_each_choice_has_its_price_and_so_has_none() -> None:
    prices = usd(MODEL, FREE, "quality")
    assert prices == {None: 360_000, "low": 12_000, "medium": 60_000, "high": 360_000}
    assert list(prices) == [None, "low", "medium", "high"]
    assert set(usd(MODEL, FREE, "size", quality="low").values()) == {12_000}


def test_a_choice_costs_what_its_order_would() -> None:
    for quality, size in product((None, "low", "high"), (None, "1:1", "2:3")):
        said = {"quality": quality, "size": size}
        order = an_order(**{name: value for name, value in said.items() if value})
        found = cheapest(MODEL, order)
        assert price(MODEL, FREE, said) == (found and found[1])


def test_what_people_look_for_first_stands_first() -> None:
    assert offered(MODEL, FREE, "quality") == ["low", "medium", "high"]
    assert offered(MODEL, FREE, "size") == ["1:1", "9:16", "16:9", "1024x1024"]
    assert offered(MODEL, FREE, "resolution") is None


def test_nothing_is_offered_that_could_never_work() -> None:
    team = held_to(qualities=frozenset({"low", "medium"}), sizes=frozenset({"1:1", "7:1"}))
    assert list(usd(MODEL, team, "quality")) == ["low", "medium"]
    assert list(usd(MODEL, team, "size")) == ["1:1"]
    assert not is_automatic(MODEL, team, "size")  # the one choice is filled in


def test_upstream_chooses_where_nothing_is_filled_in_and_no_list_forbids_it() -> None:
    assert is_automatic(MODEL, FREE, "quality")
    assert is_automatic(MODEL, held_to(qualities=frozenset({"auto", "low"})), "quality")
    assert not is_automatic(MODEL, held_to(qualities=frozenset({"medium"})), "quality")
    model = replace(MODEL, defaults=(("quality", "medium"),))
    assert not is_automatic(model, FREE, "quality")
    assert list(usd(model, FREE, "quality")) == ["low", "medium", "high"]


def test_a_form_begins_with_the_cheapest_where_prices_differ() -> None:
    assert beginning(MODEL, FREE) == {"quality": "low"}
    one_price = replace(MODEL, routes=(Route("u", "m", (PriceRule(5),)),))
    assert beginning(one_price, FREE) == {}


def test_a_form_begins_with_what_may_be_said() -> None:
    team = held_to(qualities=frozenset({"medium", "high"}), sizes=frozenset({"16:9", "1:1"}))
    assert beginning(MODEL, team) == {"size": "1:1", "quality": "medium"}


def test_the_operators_default_comes_before_the_cheapest() -> None:
    model = replace(MODEL, defaults=(("quality", "high"), ("size", "16:9")))
    assert beginning(model, FREE) == {"size": "16:9", "quality": "high"}
    assert beginning(model, held_to(qualities=frozenset({"low"}))) == {
        "size": "16:9",
        "quality": "low",
    }


def test_a_teams_own_default_comes_first() -> None:
    model = replace(MODEL, defaults=(("quality", "high"),))
    team = replace(FREE, defaults=(("quality", "medium"),))
    assert beginning(model, team) == {"quality": "medium"}
    assert list(usd(model, team, "quality")) == ["low", "medium", "high"]
    assert price(model, team, {}) == 60_000


def test_what_has_no_price_is_not_begun_with() -> None:
    only_high = (PriceRule(9, (("quality", "high"),)),)
    model = replace(MODEL, routes=(Route("u", "m", only_high),))
    assert usd(model, FREE, "quality") == {None: None, "low": None, "medium": None, "high": 9}
    assert beginning(model, FREE) == {"quality": "high"}


def test_a_resolution_is_chosen_where_there_is_a_list() -> None:
    rules = (PriceRule(900, (("resolution", "4K"),)), PriceRule(40))
    model = ImageModel(
        "gpt-image-2",
        (Route("u", "gpt-image-2", rules),),
        Limits(resolutions=frozenset({"4K", "1K"})),
        deadline_seconds=60,
    )
    assert usd(model, FREE, "resolution") == {None: 40, "1K": 40, "4K": 900}
    assert usd(model, FREE, "quality") == {None: 40}
    assert (
        price(model, FREE, {"size": "2048x2048"}) == 900
    )  # worth a higher resolution, whatever it says
