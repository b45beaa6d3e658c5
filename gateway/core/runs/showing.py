"""How far a run is, for whoever waits for it, where its upstream does not say.

An upstream whose submit is the whole work tells nothing until the pictures are there. From when
its request has left the run is shown as one that upstream is at work on, in every list and count;
for the lifecycle it is still being submitted, since nobody can ask after it.
"""

from __future__ import annotations

from math import exp
from typing import Final

from gateway.core.model import Run, RunState

TYPICAL_SECONDS: Final = 60.0
"""What pictures take, more or less."""

MOST_GUESSED: Final = 95
"""In percent: however long it takes, nothing says that it is nearly over."""


def is_awaited(run: Run) -> bool:
    """Whether its request has left, and the answer to it will be the pictures themselves."""
    return run.state is RunState.SUBMITTING and run.accepted_at is not None


def shown_state(run: Run) -> RunState:
    return RunState.RUNNING if is_awaited(run) else run.state


def guessed_progress(run: Run, now: float) -> int:
    """From 1 up, slower and slower, and never back."""
    age = _age(run, now)
    return min(1 + int(MOST_GUESSED * (1 - exp(-1.5 * age / TYPICAL_SECONDS))), MOST_GUESSED)


def seconds_left(run: Run, now: float) -> int:
    """As it is told to clients, who take 0 for an end."""
    return max(1, round(TYPICAL_SECONDS - _age(run, now)))


def _age(run: Run, now: float) -> float:
    began = run.created_at if run.accepted_at is None else run.accepted_at
    return max(0.0, now - began)
