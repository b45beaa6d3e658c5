"""What an order gets where it says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core_samples import CATALOG, MODEL, STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Allow, Catalog, ImageModel, Limits, Team
from gateway.core.model import Order
from gateway.core.orders.defaults import allowed, defaults, filled, must_say
from gateway.core.orders.fingerprint import claim_digest, fingerprint
from gateway.core.orders.pricing import cheapest
from gateway.core.orders.validation import read_order

SIZES, QUALITIES, NS = ("1:1", "2:3", "9:9"), ("low", "medium", "vast"), (1, 3, 9)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.sampled_from((*SIZES, "auto")),
        "quality": st.sampled_from((*QUALITIES, "LOW ", "auto")),
        "n": st.sampled_from(NS),
        "background": st.sampled_from(("opaque", "transparent")),
    },
)


def some(values: tuple[str, ...]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(st.sampled_from((*values, "auto")), min_size=1)


TEAMS = st.builds(
    lambda given, sizes, qualities, most: Team(
        "alpha",
        allow=Allow(sizes=sizes, qualities=qualities, max_n=most),
        defaults=tuple(given.items()),
    ),
    FIELDS,
    some(SIZES),
    some(QUALITIES),
    st.none() | st.sampled_from((1, 4)),
)
MODELS = st.builds(
    lambda given, sizes, qualities: replace(
        MODEL,
        defaults=tuple(given.items()),
        limits=Limits(max_n=4, sizes=sizes, qualities=qualities),
    ),
    FIELDS,
    some(SIZES),
    some(QUALITIES),
)


def read(team: Team, model: ImageModel = MODEL, **said: Any) -> Order:
    body = {"model": model.name, "prompt": "a red bicycle", **said}
    return read_order(body, Catalog({model.name: model}), team)


@STEADY
@given(TEAMS, MODELS, FIELDS)
def test_what_is_said_stays_and_filling_again_changes_nothing(
    team: Team, model: ImageModel, said: dict[str, object]
) -> None:
    once = filled(said, model, team)
    assert once.items() >= said.items()
    assert filled(once, model, team) == once
    assert once.keys() == said.keys() | defaults(model, team).keys()


@STEADY
@given(TEAMS, MODELS)
def test_to_say_the_defaults_is_to_leave_them_out(team: Team, model: ImageModel) -> None:
    """One order for the cache, for its price, under an Idempotency-Key, and upstream."""
    silent, explicit = read(team, model), read(team, model, **defaults(model, team))
    assert silent == explicit
    assert fingerprint(silent, team, model) == fingerprint(explicit, team, model)
    assert claim_digest(silent) == claim_digest(explicit)
    assert cheapest(model, silent) == cheapest(model, explicit)
    assert read(team, model, size="auto", quality=" AUTO ") == silent


@STEADY
@given(TEAMS, MODELS)
def test_nobody_is_refused_for_what_they_did_not_say(team: Team, model: ImageModel) -> None:
    """A default is one that the model offers and that the team may use, or it is none."""
    order = read(team, model)
    for name, value in (("size", order.size), ("quality", order.quality)):
        choices = allowed(name, model, team)
        assert value is None or choices is None or value in choices
    assert order.n <= (team.allow.max_n or 4)


@STEADY
@given(MODELS, FIELDS)
def test_without_defaults_and_lists_nothing_is_filled(
    model: ImageModel, said: dict[str, object]
) -> None:
    plain = replace(model, defaults=(), limits=Limits())
    assert filled(said, plain, Team("alpha")) == said


@pytest.mark.parametrize(
    ("of_model", "of_team", "said", "got"),
    [
        (None, None, None, None),
        ("medium", None, None, "medium"),
        (None, "low", None, "low"),
        ("medium", "low", None, "low"),
        ("medium", "low", "high", "high"),
        ("medium", "low", "auto", "low"),
        ("medium", "auto", None, None),  # the team leaves it to upstream
        ("auto", None, None, None),
        ("medium", "vast", None, "medium"),  # not one of this model's
        (None, "Low", None, "low"),
    ],
)
def test_the_order_goes_before_the_team_and_the_team_before_the_model(
    of_model: str | None, of_team: str | None, said: str | None, got: str | None
) -> None:
    model = replace(MODEL, defaults=(("quality", of_model),) if of_model else ())
    team = Team("alpha", defaults=(("quality", of_team),) if of_team else ())
    assert read(team, model, quality=said).quality == got


@pytest.mark.parametrize(
    ("allow", "got", "required"),
    [
        (Allow(qualities=frozenset({"low"})), "low", []),
        (Allow(qualities=frozenset({"low", "medium"})), None, ["quality"]),
        (Allow(qualities=frozenset({"low", "auto"})), None, []),
        (Allow(qualities=frozenset({"auto"})), None, []),
        (Allow(qualities=frozenset({"low", "vast"})), "low", []),  # the other is not offered
        (Allow(qualities=frozenset({"vast"})), None, ["quality"]),
    ],
)
def test_the_one_value_of_a_list_is_the_default(
    allow: Allow, got: str | None, required: list[str]
) -> None:
    team = Team("alpha", allow=allow)
    for said in ({}, {"quality": "auto"}):
        assert read(team, **said).quality == got
    assert must_say(MODEL, team) == required


def test_the_one_value_of_a_model_is_the_default_but_no_resolution_is() -> None:
    """Not every order may carry a resolution."""
    limits = replace(MODEL.limits, sizes=frozenset({"1:1"}), resolutions=frozenset({"1K"}))
    assert dict(read(Team("alpha"), replace(MODEL, limits=limits)).body) == {
        "prompt": "a red bicycle",
        "size": "1:1",
    }


def test_an_installation_without_defaults_finds_what_it_has_paid() -> None:
    """The names of orders in its cache are what they were."""
    order = read_order({"model": MODEL.name, "prompt": "a red bicycle", "n": 1}, CATALOG)
    known = "17f5bcbaebb7e398a5306c32efd00ee5fc92a6580a3e29fe14373baa871d63b3"
    assert fingerprint(order, Team("alpha"), MODEL) == known
