"""Tokens as they are counted in answers, and what they come to."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from core_samples import STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.openai_images.bill import MOST_IN, MOST_OUT, counted, worth
from gateway.core.kinds import Rates
from gateway.core.runs.docket import Tokens

SECOND = Rates(text_in=5, image_in=8, image_out=30)
FIRST = Rates(text_in=5, image_in=8, image_out=32, text_out=10)
MINI = Rates(text_in=2, image_in=2.5, image_out=8)


def details(text: Any, image: Any) -> dict[str, Any]:
    return {"text_tokens": text, "image_tokens": image}


@pytest.mark.parametrize(
    ("tokens", "rates", "usd_micros"),
    [
        (Tokens(18, 0, 196), SECOND, 5_970),
        (Tokens(17, 0, 14_272), SECOND, 428_245),
        (Tokens(1, 2, 3, 4), FIRST, 5 + 16 + 96 + 40),
        (Tokens(0, 1, 0), MINI, 3),
        (Tokens(0, 2, 0), MINI, 5),
        (Tokens(10, 0, 0), Rates(text_in=1.1, image_in=0, image_out=0), 11),
        (Tokens(3, 0, 0), Rates(text_in=0.1, image_in=0, image_out=0), 1),
    ],
)
def test_bills(tokens: Tokens, rates: Rates, usd_micros: int) -> None:
    assert worth(tokens, rates) == usd_micros


COUNTS = st.integers(0, 10**6)
RATES = st.decimals(0, 100, places=3)


@STEADY
@given(COUNTS, COUNTS, COUNTS, COUNTS, RATES, RATES)
def test_a_bill_is_exact_and_rounded_up_once(
    text: int, image: int, made: int, said: int, one: Any, two: Any
) -> None:
    rates = Rates(text_in=float(one), image_in=float(two), image_out=float(one), text_out=1.0)
    exact = Fraction(one) * text + Fraction(two) * image + Fraction(one) * made + said
    found = worth(Tokens(text, image, made, said), rates)
    assert exact <= found < exact + 1


@pytest.mark.parametrize(
    ("usage", "references", "tokens"),
    [
        ({"input_tokens": 18, "input_tokens_details": details(18, 0), "output_tokens": 196,
          "output_tokens_details": details(0, 196)}, False, Tokens(18, 0, 196)),
        ({"input_tokens": 18, "input_tokens_details": details(18, 0), "output_tokens": 196},
         False, Tokens(18, 0, 196)),
        ({"input_tokens": 400, "input_tokens_details": details(48, 352), "output_tokens": 196,
          "output_tokens_details": details(20, 176)}, True, Tokens(48, 352, 176, 20)),
        ({"input_tokens": 18, "output_tokens": 196}, False, Tokens(18, 0, 196)),
        ({"input_tokens": 400, "output_tokens": 196}, True, Tokens(0, 400, 196)),
        ({"input_tokens": 18, "output_tokens": 196,
          "output_tokens_details": details(0, 0)}, False, Tokens(18, 0, 196)),
        ({"input_tokens": 18, "output_tokens": 196,
          "output_tokens_details": details(None, "x")}, False, Tokens(18, 0, 196)),
        ({"input_tokens": 0, "output_tokens": 1}, False, Tokens(0, 0, 1)),
        ({"input_tokens": 18, "output_tokens": 196,
          "output_tokens_details": {"text_tokens": 20}}, False, Tokens(18, 0, 176, 20)),
        ({"input_tokens": MOST_IN, "output_tokens": MOST_OUT}, False,
         Tokens(MOST_IN, 0, MOST_OUT)),
    ],
)  # fmt: skip
def test_usage_is_read(usage: Any, references: bool, tokens: Tokens) -> None:
    assert counted({"usage": usage}, references=references, pictures=1) == tokens


@pytest.mark.parametrize(
    "wrong",
    [details(10**9, 0), details(0, 10**9), details(10**30, 1), details(19, 0), details(10, 9),
     details(-1, 19), details(18.5, 19), details("18", 19), details(None, 19), details(True, 19)],
    ids=str,
)  # fmt: skip
def test_details_that_do_not_fit_their_sum_are_not_told(wrong: Any) -> None:
    coming = {"input_tokens": 18, "input_tokens_details": wrong, "output_tokens": 196}
    found = counted({"usage": coming}, references=False, pictures=1)
    assert found == Tokens(18, 0, 196)
    found = counted({"usage": coming}, references=True, pictures=1)
    assert found == Tokens(0, 18, 196)
    going = {"input_tokens": 18, "output_tokens": 18, "output_tokens_details": wrong}
    found = counted({"usage": going}, references=False, pictures=1)
    assert found == Tokens(18, 0, 18)


def test_each_picture_may_take_as_much() -> None:
    usage = {"input_tokens": 18, "output_tokens": 3 * MOST_OUT}
    assert counted({"usage": usage}, references=False, pictures=2) is None
    found = counted({"usage": usage}, references=False, pictures=3)
    assert found == Tokens(18, 0, 3 * MOST_OUT)


@pytest.mark.parametrize(
    "usage",
    [
        None, [], "x", {}, {"input_tokens": 18}, {"output_tokens": 196},
        {"input_tokens": 18, "output_tokens": 0}, {"input_tokens": -1, "output_tokens": 5},
        {"input_tokens": 18, "output_tokens": 196.5}, {"input_tokens": True, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 10**12}, {"input_tokens": "18", "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": MOST_OUT + 1},
        {"input_tokens": 1, "output_tokens": -1},
        {"input_tokens": MOST_IN + 1, "output_tokens": 1},
        {"input_tokens": 10, "output_tokens": 196, "output_tokens_details": details(196, 0)},
        {"input_tokens": 10, "output_tokens": 196, "output_tokens_details": details(195, 0)},
        {"input_tokens": 10, "output_tokens": 196, "output_tokens_details": details(196, -5)},
        {"input_tokens": 10, "output_tokens": 196, "output_tokens_details": details(196, None)},
    ],
)  # fmt: skip
def test_usage_that_counts_no_picture_is_none(usage: Any) -> None:
    """So nothing is ever settled at zero for pictures that came."""
    assert counted({"usage": usage}, references=False, pictures=1) is None
    assert counted({}, references=False, pictures=1) is None


@STEADY
@given(st.integers(0, MOST_IN // 2), st.integers(0, MOST_IN // 2), COUNTS, COUNTS, st.booleans())
def test_a_true_report_is_read_as_it_is(
    text: int, image: int, made: int, said: int, references: bool
) -> None:
    usage = {
        "input_tokens": text + image,
        "input_tokens_details": details(text, image),
        "output_tokens": made + said + 1,
        "output_tokens_details": details(said, made + 1),
    }
    tokens = counted({"usage": usage}, references=references, pictures=30)
    assert tokens == Tokens(text, image, made + 1, said)
