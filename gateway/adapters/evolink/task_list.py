"""The vendor's list of an account's tasks, read page by page back to a time.

    {"data": [{"id", "status", "model", "created_at", "credits_used", ...}], "total", "page"}

The newest come first, and what is new while pages are read only moves rows on to the next page: so
a task may come twice and none is passed over. It tells neither prompts nor keys.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.adapters.evolink.answers import DONE, FAILED
from gateway.adapters.evolink.charges import sane_number
from gateway.adapters.outbound.said import VendorAnswer, any_error
from gateway.core.reconciling.evidence import Evidence, ListedTask, NoEvidence, TaskList

PAGE_SIZE: Final = 50
"""The most that the vendor gives at a time."""

MOST_PAGES: Final = 400
"""Twenty thousand tasks, some megabytes here."""

MOST_SECONDS: Final = 25.0
"""Whoever asked waits for it. What was read until then is told."""

ReadPage = Callable[[int], Awaitable[VendorAnswer | None]]
"""Page by number, from 1; None where no answer came."""


@dataclass(slots=True)
class _Read:
    """What came so far."""

    tasks: dict[str, ListedTask] = field(default_factory=dict)
    oldest: float = float("inf")


async def read_task_list(
    read_page: ReadPage,
    since: float,
    until: float,
    *,
    seconds: Callable[[], float] = time.monotonic,
) -> Evidence:
    """The tasks made in [since, until); where there are too many, the later part of them."""
    found, end = _Read(), seconds() + MOST_SECONDS
    for number in range(1, MOST_PAGES + 1):
        answer = await read_page(number)
        if answer is None:
            return NoEvidence("Upstream's list of tasks could not be asked for: no answer came.")
        rows = _rows(answer)
        if rows is None:
            return NoEvidence(f"Upstream does not give its list of tasks: {_why(answer)}.")
        before = len(found.tasks)
        for row in rows:
            task = _task(row)
            if task is None:
                return NoEvidence("Upstream's list of tasks has a row that cannot be understood.")
            found.oldest = min(found.oldest, task.at)
            found.tasks.setdefault(task.id, task)
        if not rows or found.oldest < since:
            return _list(found, since, since, until)
        if len(found.tasks) == before or seconds() >= end:  # it goes round, or takes too long
            break
    return _list(found, found.oldest + 1, since, until)  # its second may go on on the next page


def _list(found: _Read, reached: float, since: float, until: float) -> TaskList:
    """Those of before `since` stay, few as they are: they show how far back the list goes."""
    begin = max(reached, since)
    wanted = tuple(task for task in found.tasks.values() if task.at < until)
    return TaskList(wanted, begin)


def _rows(answer: VendorAnswer) -> list[Any] | None:
    told = answer.json_object() if answer.status == 200 else None
    rows = told.get("data") if told else None
    return rows if isinstance(rows, list) else None


def _task(row: object) -> ListedTask | None:
    if not isinstance(row, Mapping):
        return None
    name, status, model = (row.get(key) for key in ("id", "status", "model"))
    at = row.get("created_at")
    if not (isinstance(name, str) and isinstance(status, str) and isinstance(at, int | float)):
        return None
    status = status.lower()
    return ListedTask(
        id=name,
        at=float(at),
        model=model if isinstance(model, str) else "",
        is_over=status in DONE or status in FAILED,
        is_failed=status in FAILED,
        credits=sane_number(row.get("credits_used")),
    )


def _why(answer: VendorAnswer) -> str:
    problem = any_error(answer.json_object())
    code = f" {problem.code}" if problem and problem.code else ""
    return f"it answered {answer.status}{code}"
