"""What the vendor's answers mean: the only place that knows its JSON.

Everything is read defensively: `code` may be a string or an integer, fields may be missing or
new, a body may not be JSON at all. The result is always an event of the lifecycle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from gateway.core.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    Finished,
    NotNow,
    PollEvent,
    Progressed,
    Refused,
    SubmitEvent,
    TaskFailed,
    Unreachable,
)
from gateway.core.links import is_link, is_path

NO_CHANNEL: Final = frozenset(
    {"no_available_channel", "model_unavailable", "channel_selection_failed"}
)
"""Codes that mean "nobody to make it at the moment", whatever the status."""

ABOUT_CONTENT: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "sensitive_content",
        "moderation_blocked",
        "input_moderation_failed",
    }
)
ABOUT_PARAMETERS: Final = ("invalid_", "unsupported_")
ABOUT_KEY: Final = frozenset({"invalid_token", "invalid_api_key"})
"""A 403 about content or parameters speaks of the request; any other speaks of the key."""

OUTCOME_OPEN: Final = frozenset({"paid_outcome_unknown", "idempotency_conflict"})
FAILED: Final = frozenset({"failed", "cancelled", "canceled"})
WAITING: Final = frozenset({"pending", "processing", "queued", "running", "in_progress"})

MAX_LINKS: Final = 64
"""At most ten pictures are ordered at once; an answer with far more links is not about them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `body` is None when it was too large to be one of the vendor's."""

    status: int
    body: bytes | None
    headers: Mapping[str, str]

    def json_object(self) -> dict[str, Any] | None:
        if self.body is None:
            return None
        try:
            parsed = orjson.loads(self.body)
            orjson.dumps(parsed)  # what is nested too deeply to be written down again is no task
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return None
        return parsed if isinstance(parsed, dict) else None

    def retry_after_seconds(self) -> float | None:
        """`Retry-After` as seconds from now; a date is read against the answer's own `Date`."""
        value = self.headers.get("retry-after", "")
        try:
            seconds = float(value)
        except ValueError:
            seconds = self._seconds_until(value)
        return seconds if math.isfinite(seconds) and seconds >= 0 else None

    def _seconds_until(self, value: str) -> float:
        try:
            then = parsedate_to_datetime(value)
            return (then - parsedate_to_datetime(self.headers.get("date", ""))).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return math.nan


@dataclass(frozen=True, slots=True)
class Problem:
    """An error object of the vendor, whichever of its shapes it came in."""

    code: str
    message: str
    param: str | None

    @property
    def about_request(self) -> bool:
        """Whether it is the caller's to mend. Which models the key may use is not."""
        if self.code in ABOUT_KEY or self.param == "model":
            return False
        return (
            self.param is not None
            or self.code in ABOUT_CONTENT
            or self.code.startswith(ABOUT_PARAMETERS)
        )


def read_submit(answer: Answer) -> SubmitEvent:
    """The meaning of the answer to a submit (the table in the contract)."""
    if 200 <= answer.status < 300:
        return _read_acceptance(answer)
    if 300 <= answer.status < 400:
        return NotNow(f"HTTP {answer.status}: a redirect, which is not followed")
    problem = _problem(answer.json_object())
    if problem and problem.code in OUTCOME_OPEN:
        return AnswerLost(f"HTTP {answer.status} {problem.code}")
    if problem and problem.code in NO_CHANNEL:
        return NotNow(f"HTTP {answer.status} {problem.code}", answer.retry_after_seconds())
    if answer.status in (408, 429):
        return NotNow(f"HTTP {answer.status}", answer.retry_after_seconds())
    if answer.status >= 500:
        if problem is None:
            return AnswerLost(f"HTTP {answer.status} without a readable error")
        return NotNow(f"HTTP {answer.status} {problem.code}", answer.retry_after_seconds())
    if answer.status in (401, 402) or (
        answer.status == 403 and not (problem and problem.about_request)
    ):
        return CredentialsRefused(answer.status, problem.code if problem else "")
    return _refusal(answer, problem)


def read_poll(answer: Answer) -> PollEvent:
    """The meaning of the answer to a poll."""
    task = answer.json_object()
    if answer.status != 200 or task is None or not isinstance(task.get("status"), str):
        return Unreachable(
            f"HTTP {answer.status} without a task",
            answer.retry_after_seconds(),
            gone=answer.status in (400, 404) and _problem(task) is not None,
        )
    text, status = orjson.dumps(task).decode(), task["status"].lower()
    if status == "completed":
        links = tuple(dict.fromkeys(_links(task)))
        if not 0 < len(links) <= MAX_LINKS:  # asked again until the deadline: it may come yet
            return Unreachable(f"a completed task with {len(links)} links", gone=True)
        return Finished(text, links, _credits_used(task))
    if status in FAILED:
        problem = _problem(task)
        code = "request_cancelled" if status != "failed" else "unknown_error"
        return TaskFailed(
            text,
            problem.code if problem and problem.code else code,
            problem.message if problem and problem.message else "The task failed upstream.",
        )
    if status not in WAITING:
        return Unreachable(f"unknown task status {status[:32]!r}", gone=True)
    info = task.get("task_info")
    estimated = info.get("estimated_time") if isinstance(info, dict) else None
    return Progressed(text, _whole(task.get("progress")), _number(estimated))


def read_credits(answer: Answer) -> float | None:
    """The credits that the key has used, or None when the answer does not say."""
    told = answer.json_object() if answer.status == 200 else None
    data = told.get("data") if told else None
    token = data.get("token") if isinstance(data, dict) else None
    return _number(token.get("used_credits")) if isinstance(token, dict) else None


def _read_acceptance(answer: Answer) -> SubmitEvent:
    task = answer.json_object()
    task_id = task.get("id") if task else None
    if not task or not isinstance(task_id, str) or not 0 < len(task_id) <= 256:
        return AnswerLost(f"HTTP {answer.status} without a readable task")
    return Accepted(task_id, orjson.dumps(task).decode())


def _refusal(answer: Answer, problem: Problem | None) -> Refused:
    """Upstream's JSON as it came; what clients could not read is put into words of our own."""
    code = (problem and problem.code) or "invalid_request"
    message = (problem and problem.message) or (
        f"The upstream provider refused the request (HTTP {answer.status}) without a reason."
    )
    body = answer.body
    if body is None or answer.json_object() is None:
        error = {"code": code, "message": message, "type": "invalid_request_error"}
        body = orjson.dumps({"error": error})
    return Refused(answer.status, body.decode(), code, message)


def _problem(parsed: Mapping[str, Any] | None) -> Problem | None:
    error = parsed.get("error") if parsed else None
    if not isinstance(error, dict):
        return None
    code, message, param = error.get("code"), error.get("message"), error.get("param")
    if not code and not message:
        return None
    return Problem(
        code=str(code) if isinstance(code, str | int) else "",
        message=message if isinstance(message, str) else "",
        param=param if isinstance(param, str) and param else None,
    )


def _links(task: Mapping[str, Any]) -> Sequence[str]:
    """The URLs of the pictures in their order: those in `results`, else those in `result_data`.

    `result_data` may hold more than the pictures (a source page, say); what is no picture must
    not spoil those that are.
    """
    results, data = task.get("results"), task.get("result_data")
    return _urls(results) or _urls(data) or _paths(results)


def _urls(value: object) -> Sequence[str]:
    if isinstance(value, str) and is_link(value):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [url for one in value for url in _urls(one)] if isinstance(value, list) else []


def _paths(results: object) -> Sequence[str]:
    """Where nothing else is a link, `results` may name pictures on upstream's own host."""
    found = results if isinstance(results, list) else [results]
    return [one for one in found if isinstance(one, str) and is_path(one)]


def _credits_used(task: Mapping[str, Any]) -> float | None:
    usage = task.get("usage")
    return _number(usage.get("credits_used")) if isinstance(usage, dict) else None


def _number(value: object) -> float | None:
    """A sane, non-negative number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e9 else None


def _whole(value: object) -> int:
    return min(100, int(_number(value) or 0))
