"""Validation: every rule names its field, and nothing but a rule refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from core_samples import CATALOG, MODEL, STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Catalog, Limits
from gateway.core.orders.validation import (
    MAX_DEPTH,
    NOT_FORWARDED,
    check_prompt_tokens,
    needs_counting,
    read_order,
)
from gateway.errors import InvalidRequest

GOOD = {"model": MODEL.name, "prompt": "a red bicycle"}
PICTURE = "https://example.com/a.png"


def refused(body: Any, **rules: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read_order(body, CATALOG, **rules)
    error = caught.value
    assert error.status == 400 and error.code == "invalid_request"
    assert error.message.endswith(".") and len(error.message) < 400
    return error


def nested(depth: int, kind: type = dict) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if kind is dict else [value]
    return value


@pytest.mark.parametrize("body", [None, [], "text", 1, 1.5, True, [GOOD]])
def test_the_body_is_an_object(body: Any) -> None:
    assert refused(body).param is None


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"model": None}, "model", "required"),
        ({"model": "dall-e-9"}, "model", "'dall-e-9' is not known here. Known models: gpt-image"),
        ({"model": 7}, "model", "must be a model's name, not 7"),
        ({"model": []}, "model", "a list"),
        ({"model": {}}, "model", "a dict"),
        ({"model": ""}, "model", "''"),
        ({"prompt": None}, "prompt", "required"),
        ({"prompt": ""}, "prompt", "required"),
        ({"prompt": " \n\t "}, "prompt", "required"),
        ({"prompt": 5}, "prompt", "required"),
        ({"prompt": ["a"]}, "prompt", "required"),
        ({"prompt": "x" * 201}, "prompt", "201 characters; this model takes at most 200"),
        ({"n": 0}, "n", "from 1 to 4, not 0"),
        ({"n": 5}, "n", "from 1 to 4, not 5"),
        ({"n": -1}, "n", "from 1 to 4"),
        ({"n": 1.0}, "n", "whole number"),
        ({"n": True}, "n", "whole number"),
        ({"n": "2"}, "n", "whole number"),
        ({"n": 2**64}, "n", "whole number"),
        ({"size": "9:9"}, "size", "one of 1:1, 2:3, not '9:9'"),
        ({"size": 1024}, "size", "must be a text, not 1024"),
        ({"quality": "ultra"}, "quality", "one of high, low, medium, not 'ultra'"),
        ({"quality": ["low"]}, "quality", "must be a text, not a list"),
        ({"image_urls": PICTURE}, "image_urls", "a list of at most 3 URLs"),
        ({"image_urls": [PICTURE] * 4}, "image_urls", "a list of at most 3 URLs"),
        ({"image_urls": {}}, "image_urls", "a list"),
        ({"image_urls": [PICTURE, 7]}, "image_urls[1]", "must be a URL, not 7"),
        ({"image_urls": [None]}, "image_urls[0]", "must be a URL"),
        ({"image_urls": [PICTURE, PICTURE, "ftp://x.org/a.png"]}, "image_urls[2]", "https://"),
        ({"image_urls": ["data:image/png;base64,AAAA"]}, "image_urls[0]", "https://"),
        ({"image_urls": [PICTURE + "?" + "x" * 2048]}, "image_urls[0]", "2048"),
        ({"image_urls": ["https://example.com/a.gif"]}, "image_urls[0]", "'.gif'"),
        ({"image_urls": ["https://example.com/a.tar.gz?x=.png"]}, "image_urls[0]", "'.gz'"),
        ({"image_urls": ["https://example.com/a."]}, "image_urls[0]", "'.'"),
        ({"image_urls": ["https://exa mple.com/a.png"]}, "image_urls[0]", "spaces"),
        ({"callback_url": 7}, "callback_url", "https URL, not 7"),
        ({"callback_url": "/done"}, "callback_url", "https://"),
        ({"callback_url": "http://example.com/hook"}, "callback_url", "https://"),
        ({"callback_url": "https://localhost/hook"}, "callback_url", "internal"),
        ({"callback_url": "https://10.0.0.8/hook"}, "callback_url", "not allowed"),
        ({"callback_url": "https://[::1]/hook"}, "callback_url", "not allowed"),
        ({"callback_url": "https://me:pw@example.com/"}, "callback_url", "password"),
        ({"callback_url": "https://example.com/" + "x" * 2048}, "callback_url", "2048"),
    ],
)
def test_each_rule_names_its_field(change: dict[str, Any], param: str, says: str) -> None:
    error = refused({**GOOD, **change})
    assert error.param == param
    assert says in error.message


@pytest.mark.parametrize("kind", [dict, list])
def test_the_depth_is_bounded(kind: type) -> None:
    assert read_order({**GOOD, "extra": nested(MAX_DEPTH - 2, kind)}, CATALOG).n == 1
    assert refused({**GOOD, "extra": nested(MAX_DEPTH, kind)}).param is None
    refused({**GOOD, "extra": nested(100_000, kind)})  # no recursion


def test_long_values_are_cut_in_messages() -> None:
    error = refused({**GOOD, "size": "s" * 10_000})
    assert len(error.message) < 200
    assert len(refused({**GOOD, "model": "m" * 10_000}).message) < 200


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://example.com/a.JPEG?size=2",
        "https://example.com/pictures/42",
        "https://example.com/v1.5/raw",
        "https://example.com",
        "https://example.com/a.webp#part",
        "https://10.0.0.8/a.jpg",  # upstream fetches it, so upstream judges
    ],
)
def test_references_that_are_taken(url: str) -> None:
    assert read_order({**GOOD, "image_urls": [url]}, CATALOG).body["image_urls"] == [url]


def test_private_callbacks_are_a_setting() -> None:
    body = {**GOOD, "callback_url": "https://10.0.0.8/hook"}
    assert read_order(body, CATALOG, private_callbacks=True).callback_url == body["callback_url"]
    insecure = {**GOOD, "callback_url": "http://10.0.0.8/hook"}
    assert refused(insecure, private_callbacks=True).param == "callback_url"
    metadata = {**GOOD, "callback_url": "https://169.254.169.254/latest"}
    assert refused(metadata, private_callbacks=True).param == "callback_url"


def test_an_order_says_what_goes_upstream() -> None:
    body = {
        **GOOD,
        "n": 3,
        "size": "1:1",
        "quality": "low",
        "image_urls": [PICTURE],
        "seed": 7,
        "model_params": {"web_search": None, "deep": [1, {"x": 2}]},
        "empty": None,
        "callback_url": "https://example.com/hook",
        "idempotency_key": "k",
        "trace_id": "t",
    }
    order = read_order(body, CATALOG)
    assert (order.model, order.prompt, order.n) == (MODEL.name, GOOD["prompt"], 3)
    assert (order.size, order.quality) == ("1:1", "low")
    assert order.callback_url == "https://example.com/hook"
    assert dict(order.body) == {
        "prompt": GOOD["prompt"],
        "n": 3,
        "size": "1:1",
        "quality": "low",
        "image_urls": [PICTURE],
        "seed": 7,
        "model_params": {"web_search": None, "deep": [1, {"x": 2}]},
    }


def test_absent_fields_are_not_made_up() -> None:
    order = read_order({**GOOD, "n": None, "size": None, "quality": None}, CATALOG)
    assert dict(order.body) == {"prompt": GOOD["prompt"]}
    assert (order.n, order.size, order.quality) == (1, None, None)


def test_defaults_of_the_settings_fill_what_is_absent_or_null() -> None:
    model = replace(MODEL, defaults=(("quality", "low"), ("n", 2), ("resolution", "1K")))
    catalog = Catalog({model.name: model})
    order = read_order({**GOOD, "quality": None}, catalog)
    assert (order.n, order.quality, order.body["resolution"]) == (2, "low", "1K")
    assert dict(order.body) == {
        "prompt": GOOD["prompt"],
        "quality": "low",
        "n": 2,
        "resolution": "1K",
    }
    asked = read_order({**GOOD, "quality": "high", "n": 1, "resolution": "4K"}, catalog)
    assert (asked.n, asked.quality, asked.body["resolution"]) == (1, "high", "4K")


def test_an_alias_becomes_the_models_own_name() -> None:
    assert read_order({**GOOD, "model": "gpt-image-1.5-lite"}, CATALOG).model == MODEL.name


def test_without_limits_upstream_judges() -> None:
    model = replace(MODEL, limits=Limits())
    body = {**GOOD, "prompt": "x" * 50_000, "size": "weird", "quality": "ultra", "n": 10}
    order = read_order(body, Catalog({model.name: model}))
    assert (order.size, order.quality, order.n) == ("weird", "ultra", 10)


def test_tokens_are_judged_when_they_are_counted() -> None:
    limits = Limits(prompt_tokens=5)
    check_prompt_tokens(5, limits)
    check_prompt_tokens(10**9, Limits())
    with pytest.raises(InvalidRequest, match="6 tokens; this model takes at most 5") as caught:
        check_prompt_tokens(6, limits)
    assert caught.value.param == "prompt"


def test_a_short_prompt_is_not_counted() -> None:
    def counts(prompt: str, limit: int | None) -> bool:
        order = read_order({**GOOD, "prompt": prompt}, CATALOG)
        return needs_counting(order, Limits(prompt_tokens=limit))

    assert not counts("x" * 150, None)
    assert not counts("x" * 10, 10)
    assert counts("x" * 11, 10)
    assert counts("ü" * 6, 10)  # two bytes each


# --- anything at all -----------------------------------------------------------------------------

# What the parser of requests can give: no lone surrogates, no infinities, 64-bit whole numbers.
# U+0000 is refused wherever it is, also in fields that are otherwise forwarded as they come.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
addresses = texts | st.builds("{}://{}/{}".format, st.sampled_from(["https", "http"]), texts, texts)
FIELDS = {
    "model": st.just(MODEL.name) | values,
    "prompt": texts | values,
    "n": st.integers(0, 5) | values,
    "size": st.just("1:1") | values,
    "quality": st.just("low") | values,
    "image_urls": st.lists(addresses, max_size=4) | values,
    "callback_url": addresses | values,
    "extra": values,
}


@STEADY
@given(values | st.fixed_dictionaries({}, optional=FIELDS))
def test_any_json_is_an_order_or_a_refusal_that_names_a_field(body: Any) -> None:
    try:
        order = read_order(body, CATALOG)
    except InvalidRequest as error:
        field = re.sub(r"\[[0-9]+\]$", "", error.param or "body")
        assert field in {*FIELDS, "body"} - {"extra"}
        return
    assert 1 <= order.n <= MODEL.limits.max_n
    assert order.body["prompt"] == body["prompt"] == order.prompt
    assert not order.body.keys() & {"model", *NOT_FORWARDED}
    sent = {key for key, value in body.items() if value is not None}
    assert order.body.keys() == sent - {"model", *NOT_FORWARDED}


@STEADY
@given(texts.filter(str.strip))
def test_a_prompt_goes_on_as_it_came(prompt: str) -> None:
    assert read_order({**GOOD, "prompt": prompt}, CATALOG).body["prompt"] == prompt
