"""What EvoLink answers: to a submit, to a poll, about credits and in its list of tasks.

Whatever it says, the run goes on by it, can be shown to whoever asks, and can be erased.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from core_samples import NOW, a_run, some_rules

from gateway.adapters.evolink.answers import read_credits, read_poll, read_submit
from gateway.adapters.evolink.task_list import read_task_list
from gateway.adapters.outbound.said import VendorAnswer
from gateway.core.model import Job, Run, RunState, Verdict
from gateway.core.runs.events import Event
from gateway.core.runs.lifecycle import advance
from gateway.core.runs.redaction import wordless
from gateway.web.evolink import wire

RULES: Final = some_rules()
SUBMITTED: Final = a_run(NOW, state=RunState.SUBMITTING)
RUNNING: Final = a_run(NOW, state=RunState.RUNNING, upstream_task_id="task-of-theirs-1")
STATUSES: Final = (200, 201, 302, 307, 400, 401, 403, 404, 408, 409, 429, 499, 500, 503, 522)
PROMPT: Final = "a red bicycle on a wooden table"
TASK: Final[dict[str, Any]] = {
    "id": "task-unified-1757156493-imcg5zqt",
    "object": "image.generation.task",
    "model": "gpt-image-1.5",
    "status": "completed",
    "progress": 100,
    "created": 1757156493,
    "results": ["https://files.example/a.png"],
    "result_data": [{"url": "https://files.example/a.png", "b64_json": None}],
    "task_info": {"can_cancel": False, "estimated_time": 5},
    "usage": {"credits_used": 1.5, "cost": {"credits": 1.5, "usd": 0.1}, "total_tokens": 3},
    "billing": {"charge_status": "charged", "refund_status": "completed", "refunded_credits": 1},
}
ERROR: Final = {"code": "no_available_channel", "message": f"None for {PROMPT}", "type": "x"}
ROW: Final = {"id": "t", "status": "failed", "model": "m", "created_at": 1.0, "credits_used": 2}
BODIES: Final = (
    TASK,
    {**TASK, "status": "failed", "error": {**ERROR, "param": "prompt"}},
    {**TASK, "status": "processing", "results": None},
    {"error": ERROR},
    {"error": "timeout"},
    {"code": 429, "msg": "too many"},
    {"data": {"token": {"used_credits": 12.5}}},
    {"data": [ROW, {**ROW, "id": "u"}], "total": 2, "page": 1},
)


def seeds() -> Iterator[bytes]:
    """A digit for the status, the value of `Retry-After`, and the body."""
    for number, body in enumerate(BODIES):
        for status in (0, number % len(STATUSES)):
            yield bytes([status]) + b"12\n" + json.dumps(body).encode()
    yield b"\x0dFri, 31 Dec 9999 23:59:59 GMT\n<html>Service Unavailable</html>"


def give(data: bytes) -> None:
    head, _, body = data.partition(b"\n")
    status = STATUSES[head[0] % len(STATUSES)] if head else 200
    wait = head[1:].decode("latin-1")
    headers = {"retry-after": wait, "date": "Sun, 29 Nov 2026 12:00:00 GMT", "server": wait}
    answer = VendorAnswer(status, body, headers)
    _goes_on(SUBMITTED, read_submit(answer, not_taken={"busy"}, prompt=PROMPT))
    _goes_on(RUNNING, read_poll(answer))
    read_credits(answer)

    async def page(_: int) -> VendorAnswer:
        return answer

    asyncio.run(read_task_list(page, 0.0, NOW))


def _goes_on(run: Run, event: Event) -> None:
    after = advance(run, event, NOW + 1, RULES)
    for one in (after, wordless(after), replace(after, state=RunState.RUNNING)):
        for verdict in Verdict:
            job = Job("task-unified-1-1", one.id, one.team, verdict, NOW)
            json.loads(wire.task_body(job, one, "https://gateway.example", NOW))
        _keepable(one)


def _keepable(run: Run) -> None:
    """Every text of it can be written down."""
    failure = run.failure
    told = [run.task, *run.links, run.upstream_task_id or ""]
    if failure is not None:
        told += [failure.code, failure.message, failure.body or ""]
    "".join(told).encode()
