"""One task of the sandbox: its record, where it stands at a given time, and its JSON.

Pure: the time is always handed in. The only place that knows the shape of a task object.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.sandbox.billing import Bill
from gateway.sandbox.magic import Magic
from gateway.sandbox.models import CREDITS_PER_USD, Wish

ID_PREFIX = "task-unified-"
_ALPHANUMERICS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ACCOUNT_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_PENDING_SHARE = 0.1
_ENDINGS = {"png": "png", "jpeg": "jpg", "webp": "webp"}

TASK_ERRORS = {
    "content_policy_violation":
        "Content policy violation.\nYour request was blocked by safety filters.",
    "invalid_parameters": "Invalid parameters.\nPlease check the request and try again.",
    "image_processing_error": "Image processing failed.\nPlease check the reference images.",
    "image_dimension_mismatch": "Image dimensions do not match the requested size.",
    "request_cancelled": "The request was cancelled.",
    "generation_failed_no_content": "No content was generated.\nPlease try another prompt.",
    "service_error": "Service error.\nPlease try again later.",
    "generation_timeout": "Generation timed out.\nPlease try again later.",
    "resource_exhausted": "Resources are exhausted.\nPlease try again later.",
    "quota_exceeded": "Quota exceeded.\nPlease try again later.",
    "service_unavailable": "Service temporarily unavailable.\nPlease try again later.",
    "resource_not_found": "The resource was not found or has expired.",
    "unknown_error": "Unknown error.\nPlease contact support.",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Task:
    """A task that was accepted. Everything that will become of it is known from the start."""

    id: str
    serial: int
    wish: Wish
    magic: Magic
    created: float
    ready_at: float | None
    """Unix seconds; None for a task that never ends."""
    estimated_seconds: int
    error_code: str | None
    pictures: int
    reserved: Bill
    used: Bill
    link_name: str
    """32 hex digits: the name that its result links share."""
    settled: bool = False
    polls: int = 0
    downloads: dict[int, int] = field(default_factory=dict)

    def status(self, now: float) -> str:
        if self.ready_at is not None and now >= self.ready_at:
            return "completed" if self.error_code is None else "failed"
        return "processing" if self._share(now) >= _PENDING_SHARE else "pending"

    def progress(self, now: float) -> int:
        status = self.status(now)
        if status == "processing":
            return min(95, 5 + int(90 * self._share(now)))
        return 100 if status == "completed" else 0

    def finished(self, now: float) -> bool:
        return self.ready_at is not None and now >= self.ready_at

    def link_path(self, account: str, index: int) -> str:
        """The path of picture `index`, as the vendor's file host names it."""
        day = datetime.fromtimestamp(self.ready_at or self.created, UTC).strftime("%Y/%m/%d")
        ending = _ENDINGS[self.wish.output_format]
        return f"/{account}/images/{day}/{self.link_name}_{index}.{ending}"

    def _share(self, now: float) -> float:
        """How much of the way is done, 0..1; a task that never ends goes as far as 0.5."""
        whole = (
            self.estimated_seconds or 1 if self.ready_at is None else self.ready_at - self.created
        )
        share = (now - self.created) / whole if whole > 0 else 1.0
        return min(max(share, 0.0), 0.5 if self.ready_at is None else 1.0)


def task_json(task: Task, now: float, links: list[str]) -> dict[str, Any]:
    """The task object of a poll or a callback; `links` are its absolute result links."""
    status = task.status(now)
    body: dict[str, Any] = {
        "created": int(task.created),
        "id": task.id,
        "model": task.wish.model.serves,
        "object": "image.generation.task",
        "progress": task.progress(now),
        "status": status,
        "task_info": {"can_cancel": False},
        "type": "image",
    }
    if status in ("pending", "processing"):
        body["task_info"] = {"can_cancel": True, "estimated_time": task.estimated_seconds}
    elif status == "failed":
        body["error"] = _error(task)
    else:
        body["results"] = links
        if not task.magic.acts("old-shape"):
            body |= _finished_details(task, links)
    return body


def accepted_json(task: Task) -> dict[str, Any]:
    """The task object that answers a submit."""
    body = task_json(task, task.created, []) | {
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": True, "estimated_time": task.estimated_seconds},
    }
    for later in ("results", "result_data", "duration", "error"):
        body.pop(later, None)
    usage: dict[str, Any] = {
        "billing_rule": task.wish.model.billing_rule,
        "credits_reserved": plain(task.reserved.credits),
        "user_group": "default",
    }
    if task.magic.acts("old-shape"):
        usage["estimated_cost"] = round(task.reserved.credits / CREDITS_PER_USD, 6)
    return body | {"usage": usage}


def listed_json(task: Task, now: float) -> dict[str, Any]:
    """One row of the task list."""
    status = task.status(now)
    return {
        "created_at": int(task.created),
        "credits_used": plain(task.used.credits) if status == "completed" else 0,
        "has_error": status == "failed",
        "has_results": status == "completed",
        "id": task.id,
        "model": task.wish.model.serves,
        "progress": task.progress(now),
        "status": status,
        "type": "image",
    }


def new_task_id(created: float, chance: random.Random) -> str:
    return f"{ID_PREFIX}{int(created)}-{''.join(chance.choices(_ALPHANUMERICS, k=8))}"


def account_name(seed: int) -> str:
    """The first part of the path of all result links: 18 upper-case letters and digits."""
    return "".join(random.Random(f"{seed}:account").choices(_ACCOUNT_LETTERS, k=18))


def plain(number: float) -> float:
    """Writes 2.0 as 2, as the real service's encoder does."""
    return int(number) if float(number).is_integer() else number


def _error(task: Task) -> dict[str, str]:
    code = task.error_code or "unknown_error"
    message = TASK_ERRORS.get(code, f"The task failed: {code}")
    return {"code": code, "message": message, "type": "task_error"}


def _finished_details(task: Task, links: list[str]) -> dict[str, Any]:
    used = task.used
    total = used.image_input_tokens + used.image_output_tokens + used.text_input_tokens
    took = (task.ready_at or task.created) - task.created
    return {
        "duration": round(took),
        "result_data": [{"url": link} for link in links],
        "usage": {
            "credits_used": plain(used.credits),
            "image_cached_input_tokens": 0,
            "image_input_tokens": used.image_input_tokens,
            "image_output_tokens": used.image_output_tokens,
            "text_cached_input_tokens": 0,
            "text_input_tokens": used.text_input_tokens,
            "total_tokens": total,
        },
    }
