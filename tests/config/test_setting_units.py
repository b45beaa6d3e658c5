"""Durations, sizes and money: exact, and back to the same text's meaning."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import units, words
from gateway.config.document import Scalar

MICROS = st.integers(0, 999_999_999_999_999)
MILLIS = st.integers(0, 10**14)
SIZES = st.integers(0, 10**14)


@given(MICROS)
def test_money_survives_the_way_to_text_and_back(micros: int) -> None:
    assert units.usd_micros(str(units.show_usd(micros))) == micros


@given(st.decimals(0, 999_999_999, places=6))
def test_money_is_exact_at_six_decimals(amount: Decimal) -> None:
    assert units.usd_micros(format(amount, "f")) == amount * 1_000_000


@given(MILLIS)
def test_durations_survive_the_way_to_text_and_back(millis: int) -> None:
    shown = units.show_seconds(millis / 1000)
    assert round(units.seconds(shown) * 1000) == millis


@given(SIZES)
def test_sizes_survive_the_way_to_text_and_back(size: int) -> None:
    assert units.size_bytes(units.show_size(size)) == size


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    for reader in (
        units.seconds,
        units.size_bytes,
        units.usd_micros,
        units.whole,
    ):
        try:
            value = reader(text)
        except ValueError as error:
            assert str(error).startswith("must ")
        else:
            assert value >= 0
            assert text[0] in "0123456789"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3s", 3), ("250ms", 0.25), ("15m", 900), ("1.5h", 5400), ("30d", 2_592_000), ("7", 7)],
)
def test_durations(text: str, expected: float) -> None:
    assert units.seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "s", "-3s", "3 s", "3S", "12:30:00", "1h30m", "010s", "1e3", "0.1ms", ".5s", "٣s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as"):
        units.seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1GB", 10**9), ("500MB", 5 * 10**8), ("1MiB", 2**20), ("1.5KiB", 1536), ("12", 12)],
)
def test_sizes(text: str, expected: int) -> None:
    assert units.size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "1gb", "1 GB", "-1GB", "1G", "0.5B", "1e9", "1_000"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="must be a size such as"):
        units.size_bytes(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0.013", 13_000), ("50", 50_000_000), ("0", 0), ("0.000001", 1)]
)
def test_money(text: str, expected: int) -> None:
    assert units.usd_micros(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "$5", "1,5", "1e-3", "-1", "0.0000001", "0.0130000", "01", "5.", "NaN", "Infinity", "1_0"],
)
def test_what_is_no_money(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        units.usd_micros(text)


def test_numbers_are_not_truths() -> None:
    for reader in (
        units.seconds,
        units.size_bytes,
        units.usd_micros,
        units.whole,
    ):
        with pytest.raises(ValueError, match="must"):
            reader(True)
    with pytest.raises(ValueError, match="true or false"):
        words.boolean(1)


def test_text_from_outside_is_never_repeated() -> None:
    with pytest.raises(ValueError, match="NAME") as caught:
        units.seconds(Scalar("hunter2", outside=True))
    assert "hunter2" not in str(caught.value)
