"""Two spellings of one wish are one order; no spelling is another order's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core_samples import CATALOG, MODEL, STEADY, an_order
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Catalog, Limits, Team
from gateway.core.model import Order
from gateway.core.orders.fingerprint import claim_digest, fingerprint
from gateway.core.orders.spellings import LABELS, OPTIONAL, REQUIRED
from gateway.core.orders.validation import LABEL_CHARACTERS, read_order
from gateway.errors import InvalidRequest

WIDE = replace(
    MODEL,
    limits=Limits(
        sizes=frozenset({"auto", "1:1", "2:3", "1024x1024"}),
        qualities=frozenset({"low", "medium", "high"}),
        resolutions=frozenset({"1K", "2K", "4K"}),
    ),
)
GOOD = {"model": MODEL.name, "prompt": "a red bicycle"}


def order(**fields: Any) -> Order:
    return read_order({**GOOD, **fields}, Catalog({WIDE.name: WIDE}))


def same(one: Order, other: Order) -> bool:
    team = Team("alpha")
    return (
        fingerprint(one, team, WIDE) == fingerprint(other, team, WIDE)
        and claim_digest(one) == claim_digest(other)
        and one.body == other.body
    )


@pytest.mark.parametrize("nothing", [None, "", [], "  "])
@pytest.mark.parametrize("field", sorted(OPTIONAL))
def test_every_spelling_of_nothing_is_as_left_out(field: str, nothing: Any) -> None:
    assert same(order(**{field: nothing}), order())
    assert order(**{field: nothing}).labels == {}


@pytest.mark.parametrize("field", sorted(REQUIRED))
def test_what_is_required_is_not_left_out(field: str) -> None:
    for nothing in (None, "", []):
        with pytest.raises(InvalidRequest) as refused:
            order(**{field: nothing})
        assert refused.value.param == field


def test_fields_that_we_do_not_know_keep_what_they_say() -> None:
    assert same(order(other=None), order())
    for said in ("", [], {}, 0, False):
        assert order(other=said).body["other"] == said
        assert not same(order(other=said), order())
    assert order(image_urls=["https://a.test/a.png"], seed=0).body["seed"] == 0


@pytest.mark.parametrize(
    ("field", "written", "plain"),
    [
        ("size", "1024×1024", "1024x1024"),  # noqa: RUF001
        ("size", "1024X1024", "1024x1024"),
        ("size", " 1024 x 1024\t", "1024x1024"),
        ("size", " 1 : 1 ", "1:1"),
        ("quality", " Low", "low"),
        ("quality", "HIGH", "high"),
        ("resolution", "4k", "4K"),
        ("resolution", " 4K ", "4K"),
    ],
)
def test_documented_spellings_are_one_order(field: str, written: str, plain: str) -> None:
    assert same(order(**{field: written}), order(**{field: plain}))
    assert order(**{field: written}).body[field] == plain


@pytest.mark.parametrize("written", ["auto", "AUTO", " auto "])
@pytest.mark.parametrize("field", ["size", "quality"])
def test_auto_says_nothing(field: str, written: str) -> None:
    assert same(order(**{field: written}), order())
    listless = Catalog({MODEL.name: replace(MODEL, limits=Limits())})
    assert read_order({**GOOD, field: written}, listless).body == {"prompt": GOOD["prompt"]}


@pytest.mark.parametrize(
    "value", ["4", "4096", "UHD", "8K", 4, 4096, True, ["4K"], {"a": "4K"}, 4.0]
)
def test_a_resolution_that_is_not_listed_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        order(resolution=value)
    assert refused.value.param == "resolution"


def test_values_that_differ_by_case_alone_stay_apart() -> None:
    model = replace(MODEL, limits=Limits(qualities=frozenset({"low", "LOW"})))
    catalog = Catalog({model.name: model})
    assert read_order({**GOOD, "quality": "LOW"}, catalog).quality == "LOW"
    with pytest.raises(InvalidRequest):
        read_order({**GOOD, "quality": "Low"}, catalog)


@STEADY
@given(st.sampled_from(sorted(OPTIONAL | REQUIRED)), st.randoms(use_true_random=False))
def test_no_name_passes_by_in_another_case(name: str, random: Any) -> None:
    folds = {"k": "\N{KELVIN SIGN}", "s": "\N{LATIN SMALL LETTER LONG S}"}
    written = "".join(random.choice([one, one.upper(), folds.get(one, one)]) for one in name)
    if written == name:
        return
    with pytest.raises(InvalidRequest) as refused:
        read_order({**GOOD, written: 7}, CATALOG)
    assert refused.value.param == written and f"'{name}'" in refused.value.message


def test_labels_go_with_the_order_and_are_no_part_of_it() -> None:
    labels = {"user": "u-1", "safety_identifier": "s-1", "metadata": {"job": [1]}}
    assert tuple(labels) == LABELS
    labelled = order(**labels)
    assert same(labelled, order()) and labelled.labels == labels
    with pytest.raises(InvalidRequest) as refused:
        order(user="u", metadata={"text": "x" * LABEL_CHARACTERS})
    assert refused.value.param == "metadata"


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800", "x\udfffy"])
def test_text_that_cannot_be_kept_is_refused_by_name(text: str) -> None:
    places: list[tuple[str, dict[str, Any]]] = [
        ("prompt", {"prompt": text}),
        ("user", {"user": text}),
        ("other", {"other": text}),
        ("other.a[1].b", {"other": {"a": [0, {"b": text}]}}),
        ("image_urls[0]", {"image_urls": [text]}),
    ]
    for param, fields in places:
        with pytest.raises(InvalidRequest) as refused:
            an_order(**fields)
        assert refused.value.param == param
    with pytest.raises(InvalidRequest) as refused:
        an_order(other={text: 1})
    assert refused.value.message.encode() and (refused.value.param or "").startswith("other.")
