"""How a failed run looks to the one who asked for it.

A run that failed before upstream accepted it is an HTTP error of the POST; for those who were
already told a task id, and for everything later, it is the `error` of a failed task.
"""

from __future__ import annotations

import json
from typing import Final

from gateway.core.model import Failure, FailureKind
from gateway.errors import (
    GatewayError,
    OutcomeUnknown,
    ResultLost,
    Unavailable,
    UpstreamError,
    UpstreamRefusal,
)

BLOCKED: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "input_moderation_failed",
        "moderation_blocked",
        "sensitive_content",
    }
)
"""Codes that speak of what the picture would show. A failure for that reason bears one of them,
whichever upstream it came from: its adapter puts other words of its vendor's into one of these."""

CALLERS_TO_MEND: Final = frozenset(
    {
        "generation_failed_no_content",
        "image_dimension_mismatch",
        "image_processing_error",
        "invalid_parameters",
    }
)
"""The same of failed tasks that only another request can mend."""


_USER_ERROR: Final = "image_generation_user_error"


def submit_error(failure: Failure, *, charged: bool = False) -> GatewayError:
    """The answer to the POST whose submit ended in this failure; `charged`: it has cost money.

    What was charged is never told in a way that makes clients send it again by themselves.
    """
    if failure.kind is FailureKind.REFUSED and failure.status and failure.body is not None:
        return UpstreamRefusal(failure.status, failure.body)
    if failure.kind is FailureKind.CREDENTIALS:
        return UpstreamError(
            f"{failure.message} Nothing was charged. Your request is fine: tell the platform team."
        )
    if failure.kind is FailureKind.OUTCOME_UNKNOWN:
        return OutcomeUnknown(failure.message)
    if failure.kind is FailureKind.TASK_FAILED:
        if wants_another_request(failure):
            return not_makeable(failure.code, failure.message)
        if charged:
            return ResultLost(charged_all_the_same(failure))
    return Unavailable(failure.message, retry_after_seconds=30)


def wants_another_request(failure: Failure) -> bool:
    """Of a failed task: whether it failed for what was asked for."""
    return failure.code in BLOCKED | CALLERS_TO_MEND


def not_makeable(code: str, message: str) -> UpstreamRefusal:
    """Of a task that failed for what was asked for: only another request can help."""
    error = {"code": code, "message": message, "type": _USER_ERROR, "param": None}
    return UpstreamRefusal(400, json.dumps({"error": error}))


def charged_all_the_same(failure: Failure) -> str:
    return f"The task failed upstream and was charged all the same: {failure.message}"


def task_error(failure: Failure) -> dict[str, object]:
    """The `error` object of a failed task."""
    return {"code": failure.code, "message": failure.message, "type": "task_error"}
