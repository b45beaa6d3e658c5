"""Micro-dollars in dollars: nothing is lost, and no decimal is there for nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money.usd import decimals_of, exact_usd, show_usd

MICROS = st.integers(-(10**15), 10**15)


@pytest.mark.parametrize(
    ("micros", "shown", "in_columns"),
    [
        (0, "$0.00", "$0.000"),
        (12_500_000, "$12.50", "$12.500"),
        (13_000, "$0.013", "$0.013"),
        (20_000, "$0.02", "$0.020"),
        (1, "$0.000001", "$0.000001"),
        (1_234_567_800, "$1,234.5678", "$1,234.5678"),
        (-2_000_000, "-$2.00", "-$2.000"),
    ],
)
def test_as_people_write_it(micros: int, shown: str, in_columns: str) -> None:
    assert show_usd(micros, thousands=",") == shown
    assert show_usd(micros) == shown.replace(",", "")
    assert show_usd(micros, thousands=",", decimals=3) == in_columns


@given(MICROS)
def test_nothing_is_lost(micros: int) -> None:
    for text in (exact_usd(micros), show_usd(micros), show_usd(micros, decimals=4)):
        assert Decimal(text.replace("$", "")) * 1_000_000 == micros
    assert len(exact_usd(micros).partition(".")[2]) == 6


@given(st.lists(MICROS))
def test_a_column_has_one_number_of_decimals(column: list[int]) -> None:
    decimals = decimals_of(column)
    shown = [show_usd(micros, decimals=decimals) for micros in column]
    assert {len(text.partition(".")[2]) for text in shown} <= {decimals}
    assert decimals_of([]) == decimals_of([12_500_000]) == 2
