"""How far a run is said to be, where nobody can know."""

from __future__ import annotations

import pytest
from core_samples import NOW, STEADY, a_run
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import RunState
from gateway.core.runs.showing import (
    MOST_GUESSED,
    TYPICAL_SECONDS,
    guessed_progress,
    is_awaited,
    seconds_left,
    shown_state,
)

BEGUN = a_run(accepted_at=NOW)


@pytest.mark.parametrize("state", RunState)
def test_only_a_request_that_has_left_is_shown_as_another_state(state: RunState) -> None:
    for accepted_at in (None, NOW):
        run = a_run(state=state, accepted_at=accepted_at)
        awaited = state is RunState.SUBMITTING and accepted_at is not None
        assert is_awaited(run) is awaited
        assert shown_state(run) is (RunState.RUNNING if awaited else state)


@STEADY
@given(st.floats(-1e6, 1e9), st.floats(0, 1e9))
def test_progress_goes_on_from_1_and_never_back(age: float, later: float) -> None:
    first, then = (guessed_progress(BEGUN, NOW + one) for one in (age, age + later))
    assert 1 <= first <= then <= MOST_GUESSED
    assert seconds_left(BEGUN, NOW + age) >= seconds_left(BEGUN, NOW + age + later) >= 1


def test_progress_is_most_of_it_when_most_pictures_are_there() -> None:
    assert guessed_progress(BEGUN, NOW) == 1
    assert 60 <= guessed_progress(BEGUN, NOW + TYPICAL_SECONDS) <= 85
    assert guessed_progress(BEGUN, NOW + 600) == MOST_GUESSED
