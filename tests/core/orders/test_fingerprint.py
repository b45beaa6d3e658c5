"""Which orders are the same order: whatever may change the picture counts, nothing else."""

from __future__ import annotations

import json
from typing import Any

from core_samples import CATALOG, MODEL, STEADY
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.catalog import CacheScope, Team
from gateway.core.model import Order
from gateway.core.orders.fingerprint import canonical_json, fingerprint
from gateway.core.orders.spellings import NOT_FORWARDED, OPTIONAL, REQUIRED
from gateway.core.orders.validation import read_order

characters = st.characters(codec="utf-8", exclude_characters="\0")
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(characters, max_size=6), inner)
    ),
    max_leaves=6,
)
KNOWN = {*REQUIRED, *OPTIONAL}
unknown_names = st.text(characters, min_size=1, max_size=12).filter(
    lambda name: name.casefold() not in KNOWN
)
bodies = st.fixed_dictionaries(
    {
        "model": st.just(MODEL.name),
        "prompt": st.text(characters, min_size=1, max_size=30).filter(str.strip),
    },
    optional={
        "n": st.integers(1, 4),
        "size": st.sampled_from(["1:1", "2:3"]),
        "quality": st.sampled_from(["low", "high"]),
        "seed": json_values,
        "model_params": json_values,
    },
)
ALPHA = Team("alpha")


def order(body: dict[str, Any]) -> Order:
    return read_order(body, CATALOG)


def name(body: dict[str, Any], team: Team = ALPHA) -> str:
    return fingerprint(order(body), team, MODEL)


@STEADY
@given(bodies, st.randoms(use_true_random=False))
def test_the_order_of_keys_means_nothing(body: dict[str, Any], random: Any) -> None:
    names = list(body)
    random.shuffle(names)
    shuffled = json.loads(json.dumps({one: body[one] for one in names}))
    assert name(shuffled) == name(body)


@STEADY
@given(bodies)
def test_one_picture_is_the_default(body: dict[str, Any]) -> None:
    absent = {key: value for key, value in body.items() if key != "n"}
    assert name({**body, "n": 1}) == name(absent) == name({**absent, "n": None})


@STEADY
@given(bodies, st.text(characters, max_size=20))
def test_delivery_and_tracing_mean_nothing(body: dict[str, Any], value: str) -> None:
    others = dict.fromkeys(sorted(NOT_FORWARDED - {"callback_url"}), value)
    sent = {**body, **others, "callback_url": "https://example.com/hook"}
    assert name(sent) == name(body)


@STEADY
@given(bodies, unknown_names, json_values, json_values)
def test_any_other_field_counts(body: dict[str, Any], field: str, one: Any, other: Any) -> None:
    assume(one is not None and canonical_json(one) != canonical_json(other))
    assert name({**body, field: one}) != name({**body, field: other})
    assume(field not in body)
    assert name({**body, field: one}) != name(body)


@STEADY
@given(bodies)
def test_the_known_fields_count(body: dict[str, Any]) -> None:
    seen = name(body)
    assert name({**body, "prompt": body["prompt"] + "."}) != seen
    assert name({**body, "n": body.get("n", 1) % 4 + 1}) != seen
    for field, values in (("size", ("1:1", "2:3")), ("quality", ("low", "medium"))):
        others = [value for value in values if value != body.get(field)]
        assert seen not in {name({**body, field: value}) for value in others}
    picture = "https://example.com/a.png"
    assert name({**body, "image_urls": [picture]}) != seen


def test_the_order_of_references_counts() -> None:
    urls = ["https://example.com/a.png", "https://example.com/b.png"]
    body = {"model": MODEL.name, "prompt": "x"}
    assert name({**body, "image_urls": urls}) != name({**body, "image_urls": urls[::-1]})


def test_an_alias_is_the_same_model() -> None:
    body = {"model": MODEL.name, "prompt": "x"}
    assert name({**body, "model": "gpt-image-1.5-lite"}) == name(body)


@STEADY
@given(bodies, st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=5))
def test_the_scope_is_inside(body: dict[str, Any], one: str, other: str) -> None:
    def teams(scope: CacheScope) -> list[Team]:
        return [Team(one, cache_scope=scope), Team(other, cache_scope=scope)]

    own = {name(body, team) for team in teams(CacheScope.TEAM)}
    shared = {name(body, team) for team in teams(CacheScope.ORGANIZATION)}
    assert len(own) == len({one, other})
    assert len(shared) == 1
    assert not own & shared


def test_a_team_cannot_be_named_like_the_whole_organization() -> None:
    body = {"model": MODEL.name, "prompt": "x"}
    assert name(body, Team("*")) != name(body, Team("a", cache_scope=CacheScope.ORGANIZATION))


def test_it_is_a_digest_in_hex() -> None:
    text = name({"model": MODEL.name, "prompt": "ü ☃ \N{ROCKET}"})
    assert len(text) == 64 and int(text, 16) >= 0


@STEADY
@given(json_values)
def test_one_text_for_one_value(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
