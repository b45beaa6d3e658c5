"""Another name of a size is the same as the size: in orders, in allow lists and in defaults."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from core_samples import STEADY, an_ask
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import SettingsError, convert, parse
from gateway.core.catalog import Catalog, ImageModel, Team
from gateway.core.orders.choices import choices
from gateway.core.orders.defaults import defaults, must_say
from gateway.core.orders.denials import forbidden
from gateway.core.orders.fingerprint import claim_digest, fingerprint
from gateway.core.orders.pricing import cheapest
from gateway.core.orders.validation import read_order
from gateway.errors import InvalidRequest
from gateway.wiring.kinds import KINDS

ALIASES = {"1:1": "1024x1024", "Square": "1024x1024", "2:3": "1024x1536"}
SPELLINGS = {"1 : 1": "1024x1024", "SQUARE": "1024x1024", " 2:3 ": "1024x1536"}
SIZES = ["auto", "1024x1024", "1024x1536", "3:2"]
NAMES = st.sampled_from([*SIZES[1:], *ALIASES])
PRICES = [{"size": "1024x1024", "usd": 0.01}, {"size": "1024x1536", "usd": 0.02}, {"usd": 0.03}]


def meant(size: str | None) -> str | None:
    return {**ALIASES, **SPELLINGS}.get(size or "", size)


def installation(listed: bool, allow: Any, of_team: Any, of_model: Any) -> tuple[ImageModel, Team]:
    """A model with aliases and a team, through the settings."""
    model = {
        "limits": {"sizes": SIZES} if listed else {},
        "size_aliases": ALIASES,
        "defaults": {"size": of_model} if of_model else {},
        "routes": [{"upstream": "evolink", "model": "a", "price": PRICES}],
    }
    team = {
        "allow": {"sizes": allow} if allow else {},
        "defaults": {"size": of_team} if of_team else {},
    }
    value = {
        "upstreams": {"evolink": {"base_url": "https://api.example.org", "api_key": "sk-1"}},
        "models": {"a": model},
        "teams": {"alpha": team},
    }
    settings = parse(json.dumps(value), {})
    return convert.catalog(settings, KINDS).models["a"], convert.teams(settings)["alpha"]


def told(model: ImageModel, team: Team, size: str | None) -> Any:
    """Everything that comes of an order which says this size, and what the team is offered."""
    order = read_order({"model": "a", "prompt": "x", "size": size}, Catalog({"a": model}), team)
    return (
        order,
        fingerprint(order, team, model),
        claim_digest(order),
        cheapest(model, order),
        forbidden(replace(an_ask(), order=order, team=team, model=model)),
        defaults(model, team),
        must_say(model, team),
        choices(model, team, {}),
    )


@STEADY
@given(
    st.booleans(),
    st.none() | st.lists(NAMES | st.just("auto"), min_size=1, unique=True),
    st.none() | NAMES,
    st.none() | NAMES,
    st.none() | NAMES | st.sampled_from([*SPELLINGS, "auto"]),
)
def test_an_alias_is_its_size_wherever_it_stands(
    listed: bool, allow: list[str] | None, of_team: str | None, of_model: str | None, said: Any
) -> None:
    plain = sorted({meant(one) or "" for one in allow}) if allow else None
    try:
        model, team = installation(listed, plain, meant(of_team), meant(of_model))
    except SettingsError:  # a default beyond the list: whatever it is called
        refused = False
        try:
            installation(listed, allow, of_team, of_model)
        except SettingsError:
            refused = True
        assert refused
        return
    aliased = installation(listed, allow, of_team, of_model)
    assert told(*aliased, said) == told(model, team, meant(said))
    assert told(*aliased, said)[0].body.get("size") not in ALIASES


def test_another_models_names_are_its_own() -> None:
    """What a team may order of one model is not widened by what another model calls it."""
    model, team = installation(True, ["1:1"], None, None)
    other = replace(model, name="b", limits=replace(model.limits, size_aliases={}))
    assert team.allow.sizes_of("a") == {"1024x1024"}
    assert team.allow.sizes_of("b") == {"1:1"}
    order = read_order({"model": "b", "prompt": "x", "size": "1024x1024"}, Catalog({"b": other}))
    assert forbidden(replace(an_ask(), order=order, team=team, model=other))


def test_an_alias_of_no_listed_text_is_no_size() -> None:
    model, team = installation(True, None, None, None)
    for size in (["1:1"], {"1:1": 1}, 11, "1:1:1"):
        try:
            told(model, team, size)  # type: ignore[arg-type]
        except InvalidRequest as refused:
            assert refused.param == "size"
        else:
            raise AssertionError(size)
