"""A run whose answer was lost for good, and what upstream's own record shows of it later.

It has ended and is spent in full. What is found out changes that, or keeps it, once; when it ended
stays as it was. For the lifecycle, and whoever holds that record against the ledger.
"""

from __future__ import annotations

from typing import Final

from gateway.core.copies import replace
from gateway.core.model import Failure, FailureKind, Run, RunState
from gateway.core.money.accounts import NOTHING
from gateway.core.runs.redaction import ERASED, is_erased

NOT_TAKEN: Final = (
    "The request was sent upstream and its answer was lost. Upstream's own record shows that "
    "it was not taken. Nothing was charged; try again."
)


def is_doubtful(run: Run) -> bool:
    """Whether nobody knows if upstream took it: it counts as spent until that is found out."""
    unknown = run.failure is not None and run.failure.kind is FailureKind.OUTCOME_UNKNOWN
    return run.state is RunState.FAILED and unknown


def is_confirmed(run: Run) -> bool:
    """Whether upstream has counted it, and that is all that was found: nothing names its task."""
    lost = run.failure is not None and run.failure.kind is FailureKind.RESULT_LOST
    return run.state is RunState.FAILED and lost and not (run.links or run.upstream_task_id)


def is_freed(run: Run) -> bool:
    """Whether upstream's record has shown that it was not taken."""
    return run.failure is not None and run.failure.message == NOT_TAKEN


def freed(run: Run) -> Run:
    """It was not taken: from now on it is as what nobody took, and costs nothing."""
    failure = Failure(FailureKind.UNAVAILABLE, "service_unavailable", NOT_TAKEN)
    return replace(run, failure=_still_erased(run, failure), spent=NOTHING)


def confirmed(run: Run, task_id: str | None) -> Run:
    """It was taken, and stays spent; with its task it may be tried again, as any that is lost."""
    message = (
        "Upstream made and charged the pictures, but its answer was lost, and they could not be "
        "kept."
    )
    failure = Failure(FailureKind.RESULT_LOST, "result_lost", message)
    return replace(run, failure=_still_erased(run, failure), upstream_task_id=task_id)


def _still_erased(run: Run, failure: Failure) -> Failure:
    return replace(failure, message=ERASED) if is_erased(run) else failure
