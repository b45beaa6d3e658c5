"""Instants as they are written down."""

from __future__ import annotations

import math
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.instants import rfc3339

YEARS = {"min_value": 0.0, "max_value": 4e9}


def read(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@given(st.floats(**YEARS))
def test_what_is_shown_is_never_later(at: float) -> None:
    assert at - 0.001001 < read(rfc3339(at, "milliseconds")) <= at
    assert at - 1.000001 < read(rfc3339(at)) <= at


@given(st.integers(0, 4_000_000_000_000))
def test_just_before_a_millisecond_is_the_one_before(milliseconds: int) -> None:
    at = milliseconds / 1000
    assert read(rfc3339(at, "milliseconds")) == at
    before = math.nextafter(at, 0.0)
    assert read(rfc3339(before, "milliseconds")) <= before


def test_whole_seconds_have_no_milliseconds() -> None:
    assert rfc3339(1_769_817_600.0, "milliseconds") == "2026-01-31T00:00:00Z"
    assert rfc3339(1_769_817_600.25, "milliseconds") == "2026-01-31T00:00:00.250Z"
    assert rfc3339(1_769_817_600.9) == "2026-01-31T00:00:00Z"
