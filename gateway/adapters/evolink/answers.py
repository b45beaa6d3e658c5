"""What the vendor's answers to polls and about credits mean, and where all answers are read.

What an answer to a submit means is a table of its own, in `submitted`; how the vendor says
something is in `said`. The result is always an event of the lifecycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.adapters.evolink.charges import credits_used, is_charged, sane_number
from gateway.adapters.evolink.fault_codes import is_providers_fault
from gateway.adapters.evolink.submitted import read_submit
from gateway.adapters.outbound.said import VendorAnswer, error_object
from gateway.core.links import is_link, is_path
from gateway.core.runs import docket
from gateway.core.runs.events import Finished, PollEvent, Progressed, TaskFailed, Unreachable

__all__ = ["MAX_LINKS", "VendorAnswer", "read_credits", "read_poll", "read_submit"]

DONE: Final = frozenset({"completed", "complete", "succeeded", "success", "finished", "done"})
"""The first is the vendor's; what its suppliers and relays say for it means paid pictures too."""

FAILED: Final = frozenset({"failed", "cancelled", "canceled"})
WAITING: Final = frozenset({"pending", "processing", "queued", "running", "in_progress"})

MAX_LINKS: Final = 64
"""At most ten pictures are ordered at once; an answer with far more links is not about them."""


TOLD: Final = (200, 203)
"""203 is what a proxy says that has changed something on the way (RFC 9110, 15.3.4)."""


def is_anothers(answer: VendorAnswer, task_id: str) -> bool:
    """Whether the answer to a poll names another task than was asked for."""
    task = answer.json_object()
    return task is not None and task.get("id", task_id) != task_id


def read_poll(answer: VendorAnswer) -> PollEvent:
    """The meaning of the answer to a poll."""
    task = answer.json_object()
    if answer.status not in TOLD or task is None or not isinstance(task.get("status"), str):
        return Unreachable(
            f"HTTP {answer.status} without a task",
            answer.retry_after_seconds(),
            gone=answer.status in (400, 404) and error_object(task) is not None,
        )
    text, status = docket.written(docket.of_task(task)), task["status"].lower()
    if status in DONE:
        links = tuple(dict.fromkeys(_links(task)))
        if not 0 < len(links) <= MAX_LINKS:  # asked again until the deadline: it may come yet
            return Unreachable(f"a completed task with {len(links)} links", gone=True)
        return Finished(text, links, credits_used(task))
    if status in FAILED:
        problem = error_object(task)
        usual = "request_cancelled" if status != "failed" else "unknown_error"
        code = problem.code if problem and problem.code else usual
        return TaskFailed(
            text,
            code,
            problem.message if problem and problem.message else "The task failed upstream.",
            credits_used(task),
            charged=is_charged(task),
            is_providers=is_providers_fault(code),
        )
    if status not in WAITING:
        return Unreachable(f"unknown task status {status[:32]!r}", gone=True)
    info = task.get("task_info")
    estimated = info.get("estimated_time") if isinstance(info, dict) else None
    return Progressed(text, _whole(task.get("progress")), sane_number(estimated))


def read_credits(answer: VendorAnswer) -> float | None:
    """The credits that the key has used, or None when the answer does not say."""
    told = answer.json_object() if answer.status == 200 else None
    data = told.get("data") if told else None
    token = data.get("token") if isinstance(data, dict) else None
    return sane_number(token.get("used_credits")) if isinstance(token, dict) else None


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


def _whole(value: object) -> int:
    return min(100, int(sane_number(value) or 0))
