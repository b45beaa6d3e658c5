"""Was this caller told a task id? What the POST of an order is answered with, decided once.

A run is told from its first moment upstream, or from when upstream is seen to be at work on it, or
from when it was left waiting for one: from then on whoever orders it is answered with a task,
whatever becomes of it, and is called back when it ends. Until then a POST waits for the outcome of
the submit, and a failure is its own answer: it has no task, is not called back, and its idempotency
key may be free again. The service, the outbox, the replay of keys and the ledger's checks ask here
and nowhere else.
"""

from __future__ import annotations

from enum import StrEnum

from gateway.core.copies import replace
from gateway.core.model import Run, RunState
from gateway.core.runs.showing import is_awaited


class Reply(StrEnum):
    """What a POST is answered with."""

    LATER = "later"  # nothing yet: the outcome of the submit is still to come
    TASK = "task"
    DOUBT = "doubt"  # an error: nobody knows what became of the submit
    FAILURE = "failure"  # an error: the failure itself


def reply(run: Run) -> Reply:
    """The answer to a POST of this run's order, as the run is now."""
    if run.told_at is not None:
        return Reply.TASK
    match run.state:
        case RunState.SUBMITTING:
            return Reply.TASK if is_awaited(run) else Reply.LATER
        case RunState.UNSURE:
            return Reply.LATER if is_sent_again(run) else Reply.DOUBT
        case RunState.FAILED:
            return Reply.FAILURE
        case _:
            return Reply.TASK


def noted(run: Run, now: float) -> Run:
    """The run after an event: told from now on, if that is what the event made it."""
    if run.told_at is None and reply(run) is Reply.TASK:
        return replace(run, told_at=now)
    return run


def is_sent_again(run: Run) -> bool:
    """Whether the outcome of a submit is unknown, and asking for it goes on."""
    return run.state is RunState.UNSURE and run.due_at < run.deadline_at
