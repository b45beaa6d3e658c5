"""Tokens and money: the published readings, the published tables, and what follows from them."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.models import are_legal
from gateway.sandbox.openai.models import MODELS, STANDARD_SIZES, Prices
from gateway.sandbox.openai.tokens import (
    Tokens,
    picture_tokens,
    prompt_tokens,
    reference_tokens,
)

SECOND = MODELS["gpt-image-2"]
FIRST = MODELS["gpt-image-1.5"]

READINGS = [
    # quality, then tokens for each of these sizes
    ("low", 196, 158, 158, 397, 371),
    ("medium", 1756, 1372, 1372, 3568, 3336),
    ("high", 7024, 5488, 5488, 14272, 13342),
]
SIZES = ((1024, 1024), (1536, 1024), (1024, 1536), (2048, 2048), (3840, 2160))
LEGAL = st.builds(
    lambda width, height: (16 * width, 16 * height), st.integers(1, 240), st.integers(1, 240)
).filter(lambda pixels: are_legal(*pixels))


@pytest.mark.parametrize(("quality", "expected"), [(row[0], row[1:]) for row in READINGS])
def test_the_published_readings_of_the_second_generation(
    quality: str, expected: tuple[int, ...]
) -> None:
    assert tuple(picture_tokens(SECOND, quality, pixels) for pixels in SIZES) == expected


def test_the_published_table_of_the_first_generation() -> None:
    found = {
        quality: [picture_tokens(FIRST, quality, pixels) for pixels in STANDARD_SIZES.values()]
        for quality in FIRST.qualities
    }
    assert found == {
        "low": [272, 408, 400],
        "medium": [1056, 1584, 1568],
        "high": [4160, 6240, 6208],
    }


@pytest.mark.parametrize(
    ("quality", "expected"),
    [("low", 196), ("medium", 439), ("high", 1756), ("xhigh", 3122), ("max", 7024)],
)
def test_the_same_word_is_less_work_at_flare(quality: str, expected: int) -> None:
    assert picture_tokens(MODELS["gpt-image-2.5-flare"], quality, (1024, 1024)) == expected


def test_two_real_bills() -> None:
    assert Tokens(18, 0, 196).usd_micros(SECOND.prices) == 5_970
    assert Tokens(17, 0, 14_272).usd_micros(SECOND.prices) == 428_245


@given(pixels=LEGAL, quality=st.sampled_from(SECOND.qualities))
def test_no_legal_size_is_dearer_than_the_dearest(pixels: tuple[int, int], quality: str) -> None:
    tokens = picture_tokens(SECOND, quality, pixels)
    assert 0 < tokens <= picture_tokens(SECOND, quality, (2880, 2880))
    assert tokens == picture_tokens(SECOND, quality, pixels[::-1])


@given(pixels=LEGAL)
def test_a_better_quality_never_takes_fewer_tokens(pixels: tuple[int, int]) -> None:
    for model in MODELS.values():
        if model.edges is not None:
            counts = [picture_tokens(model, quality, pixels) for quality in model.qualities]
            assert counts == sorted(counts)


@given(
    counts=st.tuples(*[st.integers(0, 10_000_000)] * 4),
    name=st.sampled_from(sorted(MODELS)),
)
def test_money_is_rounded_up_once(counts: tuple[int, int, int, int], name: str) -> None:
    prices = MODELS[name].prices
    rates = (prices.text_in, prices.image_in, prices.image_out, prices.text_out)
    exact = sum(count * Fraction(rate) for count, rate in zip(counts, rates, strict=True))
    assert Tokens(*counts).usd_micros(prices) == ceil(exact)


def test_parts_of_a_micro_dollar_are_added_before_they_are_rounded() -> None:
    prices = Prices(Decimal("0.3"), Decimal("0.3"), Decimal("0.3"), Decimal(0))
    assert Tokens(1, 1, 1).usd_micros(prices) == 1


@pytest.mark.parametrize(
    ("name", "pixels", "fidelity", "expected"),
    [
        ("gpt-image-2", (1024, 1024), "low", 1024),
        ("gpt-image-2", (64, 64), "low", 64),
        ("gpt-image-2", (9000, 9000), "low", 4096),
        ("gpt-image-1.5", (1024, 1024), "low", 65 + 129),
        ("gpt-image-1.5", (1536, 1024), "low", 65 + 2 * 129),
        ("gpt-image-1.5", (1024, 1024), "high", 65 + 129 + 4160),
        ("gpt-image-1.5", (1024, 1536), "high", 65 + 2 * 129 + 6240),
    ],
)
def test_references(name: str, pixels: tuple[int, int], fidelity: str, expected: int) -> None:
    assert reference_tokens(MODELS[name], pixels, fidelity) == expected


def test_a_prompt_is_worth_something() -> None:
    assert [prompt_tokens(text) for text in ("a", "a red bicycle")] == [1, 3]
