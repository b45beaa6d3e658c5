"""The ledger beside upstream's bill, run by run and task by task: every difference is a sentence.

Pure, and independent of how the gateway counts: what a task was charged comes from upstream, what a
credit costs and what an order may cost from the settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

SPENT_IN_FULL: Final = frozenset({"outcome_unknown", "timed_out", "result_lost"})
"""Why a run failed that upstream may have charged: nothing is given back then."""


@dataclass(frozen=True, slots=True)
class Billed:
    """A task that upstream took; `credits` is 0 where it charged nothing."""

    id: str
    prompt: str
    credits: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run of the ledger. `most_micros`: the price of all its pictures; `why` it failed, if so."""

    id: str
    prompt: str
    task: str | None
    state: str
    why: str
    spent_micros: int
    held_micros: int
    most_micros: int


def differences(
    runs: Sequence[Recorded], tasks: Sequence[Billed], *, micros_per_credit: int
) -> list[str]:
    """What is not as it has to be; empty when books and bill agree to the micro-dollar."""
    billed = {one.id: one for one in tasks}
    found = [
        sentence
        for run in runs
        for sentence in _of_run(run, billed.get(run.task or ""), micros_per_credit)
    ]
    return [*found, *_unrecorded(runs, tasks), *_taken_twice(runs)]


def _of_run(run: Recorded, task: Billed | None, micros_per_credit: int) -> Iterable[str]:
    if run.state not in ("done", "failed"):
        yield f"{run.id} has not ended: {run.state}"
        return
    if run.held_micros:
        yield f"{run.id} has ended and holds {run.held_micros} micro-dollars"
    if run.state == "done" and task is None:
        yield f"{run.id} is done, and upstream knows nothing of its task {run.task}"
        return
    cost = 0 if task is None else round(task.credits * micros_per_credit)
    expected = min(cost, run.most_micros)
    if run.state == "failed" and run.why in SPENT_IN_FULL:
        expected = run.most_micros
    if run.spent_micros != expected:
        told = f"{run.state} {run.why}".strip()
        yield f"{run.id} ({told}) has spent {run.spent_micros} micro-dollars, not {expected}"


def _unrecorded(runs: Sequence[Recorded], tasks: Sequence[Billed]) -> Iterable[str]:
    """Tasks that no run has, beyond one for each run whose answer was lost: an order that went out
    twice shows here, whether it cost something or not."""
    known = {run.task for run in runs}
    in_doubt = Counter(
        run.prompt for run in runs if run.task is None and run.why == "outcome_unknown"
    )
    for task in tasks:
        if task.id not in known:
            in_doubt[task.prompt] -= 1
            if in_doubt[task.prompt] < 0:
                yield f"{task.id} is no run's ({task.credits} credits, {task.prompt!r})"


def _taken_twice(runs: Sequence[Recorded]) -> Iterable[str]:
    for task, count in Counter(run.task for run in runs if run.task is not None).items():
        if count > 1:
            yield f"{count} runs say that {task} is theirs"
