"""What the ledger says of a run, as upstream's own record is held against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.core.instants import NEVER
from gateway.core.model import FailureKind, Run, RunState
from gateway.core.runs.doubts import is_confirmed, is_doubtful
from gateway.core.runs.history import Step

CLOCKS_SECONDS: Final = 120.0
"""Upstream's clock and ours may differ, and a request may be a while on its way."""

WORKS_ON_SECONDS: Final = 600.0
"""A whole work goes on upstream for so long after its request has left, whoever still waits."""

_ON_ITS_WAY: Final = frozenset({RunState.SUBMITTING, RunState.UNSURE})
_PERHAPS: Final = frozenset({FailureKind.REFUSED, FailureKind.TASK_FAILED})
_LOST: Final = "AnswerLost"


class Sureness(Enum):
    """What the ledger knows of whether upstream took a run's submit."""

    TAKEN = 1
    PERHAPS = 2  # refused, or failed at once: whether that is on record is upstream's to say
    DOUBTFUL = 3  # its answer was lost, and it is spent in full
    OPEN = 4  # on its way just now


@dataclass(frozen=True, slots=True)
class Work:
    """One run as it is compared: the last of its submits, which left at `began` at the earliest.

    By `ended` its outcome was known, or lost. `model` is the upstream's name. `credits` is what
    upstream charged as far as the ledger knows; None where it does not. `images` were delivered.
    """

    run_id: str
    team: str
    model: str
    sureness: Sureness
    began: float
    ended: float
    task_id: str | None = None
    credits: float | None = None
    images: int = 0
    spent_usd_micros: int = 0


def work_of(run: Run, steps: Sequence[Step] = ()) -> Work | None:
    """The run as it is compared; None where nothing of it can be on upstream's record.

    `steps` are wanted of doubtful ones alone: by them it is known when the request left.
    """
    sureness = _sureness(run)
    if sureness is None:
        return None
    began, ended = _span(run, sureness, steps)
    return Work(
        run_id=run.id,
        team=run.team,
        model=run.upstream_model,
        sureness=sureness,
        began=began,
        ended=max(began, ended),
        task_id=run.upstream_task_id,
        credits=_credits(run),
        images=len(run.links),
        spent_usd_micros=run.spent.usd_micros,
    )


def _sureness(run: Run) -> Sureness | None:
    if run.upstream_task_id is not None or run.links:
        return Sureness.TAKEN
    if run.state in _ON_ITS_WAY:
        return Sureness.OPEN
    if is_doubtful(run):
        return Sureness.DOUBTFUL
    if is_confirmed(run):
        return Sureness.TAKEN
    failure = run.failure
    return Sureness.PERHAPS if failure is not None and failure.kind in _PERHAPS else None


def _span(run: Run, sureness: Sureness, steps: Sequence[Step]) -> tuple[float, float]:
    began = run.accepted_at or run.created_at
    if sureness is Sureness.OPEN:
        return run.created_at, NEVER
    if sureness is not Sureness.DOUBTFUL and run.upstream_finished_at is not None:
        return began, run.upstream_finished_at
    ended = run.finished_at if run.finished_at is not None else NEVER
    if sureness is not Sureness.DOUBTFUL:
        return began, ended
    left = [step.at for step in steps if step.after == RunState.SUBMITTING]
    lost = [step.at for step in steps if step.event == _LOST]
    return max(left, default=run.created_at), max(lost, default=ended)


def _credits(run: Run) -> float | None:
    if run.credits_used is not None:
        return run.credits_used
    return None if run.spent.usd_micros or not run.is_final else 0.0
