"""Polling pace and retry back-off."""

from __future__ import annotations

from core_samples import STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Pace
from gateway.core.runs.schedule import (
    MOST_POLLS,
    RETRY_AFTER_MAX_SECONDS,
    backoff,
    crowded,
    poll_delay,
)

seconds = st.floats(0.01, 1e5)
seeds = st.integers(0, 2**128 - 1).map(lambda number: f"run_{number:032x}")


@STEADY
@given(
    st.builds(Pace, seconds, seconds, seconds),
    st.floats(0, 1e6),
    st.none() | st.floats(0, 1e9),
    st.integers(0, 100),
)
def test_a_poll_always_comes_and_never_too_soon(
    pace: Pace, age: float, estimated: float | None, progress: int
) -> None:
    delay = poll_delay(pace, age_seconds=age, estimated_seconds=estimated, progress=progress)
    assert pace.every_seconds <= delay <= max(pace.max_seconds, pace.every_seconds)


@STEADY
@given(st.builds(Pace, seconds, seconds, seconds), st.integers(0, 10**6))
def test_a_crowd_is_asked_after_so_often_in_all_and_nobody_more_often(
    pace: Pace, running: int
) -> None:
    now = crowded(pace, running)
    assert now.first_seconds == pace.first_seconds
    assert now.every_seconds >= pace.every_seconds and now.max_seconds >= pace.max_seconds
    delay = poll_delay(now, age_seconds=1, estimated_seconds=None, progress=0)
    assert running / delay <= MOST_POLLS * 1.000001
    few = int(pace.every_seconds * MOST_POLLS)
    assert crowded(pace, min(running, few)) is pace


def test_polls_are_seldom_far_from_the_end_and_often_near_it() -> None:
    pace = Pace(3, 4, 15)

    def delay(age: float, estimated: float | None = None, progress: int = 0) -> float:
        return poll_delay(pace, age_seconds=age, estimated_seconds=estimated, progress=progress)

    assert delay(3) == delay(500) == 4  # nothing is known
    assert delay(3, estimated=100) == 15
    assert delay(60, estimated=100) == 10
    assert delay(98, estimated=100) == 4
    assert delay(140, estimated=100) == 10  # overdue: ever more seldom
    assert delay(400, estimated=100) == 15
    assert delay(20, estimated=1000, progress=50) == 5  # the nearer guess counts
    assert delay(20, progress=100) == 4


@STEADY
@given(st.integers(-3, 10**6), seconds, seconds, seeds, st.none() | st.floats(0, 1e9))
def test_a_retry_waits_at_least_and_at_most(
    tries: int, first: float, most: float, seed: str, asked: float | None
) -> None:
    delay = backoff(
        tries, first_seconds=first, max_seconds=most, seed=seed, retry_after_seconds=asked
    )
    assert delay >= 0.75 * min(first, most)
    assert delay >= min(asked or 0, RETRY_AFTER_MAX_SECONDS)
    assert delay <= max(1.25 * most, RETRY_AFTER_MAX_SECONDS)


@STEADY
@given(seeds)
def test_retries_back_off_until_the_longest_wait(seed: str) -> None:
    waits = [backoff(t, first_seconds=1, max_seconds=30, seed=seed) for t in range(1, 12)]
    assert waits[1] == 2 * waits[0] and waits[2] == 2 * waits[1]
    assert waits == sorted(waits)
    assert waits[-1] == waits[5]


def test_those_who_failed_together_do_not_come_back_together() -> None:
    waits = {
        backoff(3, first_seconds=1, max_seconds=30, seed=f"run_{number:032x}")
        for number in range(0, 65_536, 1_000)
    }
    assert len(waits) == 66
    assert min(waits) < 3.1 < 4.9 < max(waits)
