"""The rendering of tasks when a run still held the vendor's own JSON: what clients have read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from gateway.core.model import Job, Run, RunState, Verdict
from gateway.core.runs.failures import task_error


def former_object(job: Job, run: Run, public_url: str) -> dict[str, Any]:
    """The task as the client sees it: upstream's last word, with our id and our links in it."""
    task: dict[str, Any] = {
        "object": "image.generation.task",
        "type": "image",
        **orjson.loads(run.task),
        "created": int(job.created_at),
        "id": job.id,
        "model": run.model,
    }
    task.setdefault("task_info", {"can_cancel": False})
    _show_state(task, run)
    if job.verdict is Verdict.HIT and isinstance(task["task_info"], dict):
        task["task_info"] = {**task["task_info"], "estimated_time": 0}  # else clients show a guess
    if job.verdict is not Verdict.STARTED:
        _show_free(task)
    links = {kept.link: f"{public_url}/pictures/{kept.picture.name}" for kept in run.kept}
    theirs = run.upstream_task_id or ""

    def ours(text: str) -> str:
        if text in links:
            return links[text]
        return text.replace(theirs, job.id) if len(theirs) >= 16 else text

    return {name: _rewritten(value, ours) for name, value in task.items()}


def _show_state(task: dict[str, Any], run: Run) -> None:
    if run.state is RunState.DONE:
        task.update(status="completed", progress=100)
        return
    for name in ("results", "result_data", "duration"):
        task.pop(name, None)
    if run.state is RunState.FAILED and run.failure is not None:
        error = task.get("error")
        task.update(status="failed", progress=0, task_info={"can_cancel": False})
        task["error"] = {**(error if isinstance(error, dict) else {}), **task_error(run.failure)}
        return
    task.pop("error", None)  # a task that goes on has none, whatever a former answer said
    if run.state is RunState.KEEPING:
        task.update(status="processing", progress=99)
    elif run.state is RunState.RUNNING:
        progress = task.get("progress")
        whole = progress if type(progress) is int else 0
        task["status"] = (
            "processing"
            if task.get("status") in ("processing", "running", "in_progress", "completed")
            else "pending"
        )
        task["progress"] = min(max(whole, 0), 99)
    else:
        task.update(status="pending", progress=0)


def _show_free(task: dict[str, Any]) -> None:
    """A hit or a joined task costs nothing; upstream's receipt belongs to the run's own job."""
    task.pop("billing", None)
    usage = task.get("usage")
    if isinstance(usage, dict):
        free = dict.fromkeys(
            usage.keys() & {"credits_used", "credits_reserved", "estimated_cost"}, 0
        )
        task["usage"] = {name: free.get(name, usage[name]) for name in usage if name != "cost"}


def _rewritten(value: Any, ours: Callable[[str], str]) -> Any:
    """The value with `ours` applied to every text in it."""
    if isinstance(value, str):
        return ours(value)
    if isinstance(value, list):
        return [_rewritten(one, ours) for one in value]
    if isinstance(value, dict):
        return {name: _rewritten(one, ours) for name, one in value.items()}
    return value
