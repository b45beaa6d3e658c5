"""The wire of our own API: core values to JSON and headers, headers to core values.

The task object is upstream's own, with our id, our links and our state put in. JSON is compact
with sorted keys, as upstream's is: there are clients that read it with grep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.core.admission import Hit, Joined, Settled, Started
from gateway.core.model import Freshness, Job, Run, RunState, Verdict
from gateway.errors import GatewayError, UpstreamRefusal
from gateway.failures import task_error

CACHE_NAME: Final = "image-gateway"
KEEPING_PROGRESS: Final = 99
"""Upstream is finished, our copy is not: the client must not take it for complete yet."""

_RESULT_FIELDS: Final = ("results", "result_data", "duration")
_DIRECTIVE: Final = re.compile(r'\s*([A-Za-z-]+)\s*(?:=\s*"?([^",]*)"?)?\s*')


def to_json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


# --- tasks -------------------------------------------------------------------------------------


def task_object(job: Job, run: Run, public_url: str) -> dict[str, Any]:
    """The task as the client sees it: upstream's last word, made ours."""
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
    if job.verdict is not Verdict.STARTED:
        _show_free(task)
    links = {kept.link: f"{public_url}/pictures/{kept.picture.name}" for kept in run.kept}
    return {name: _rewritten(value, links) for name, value in task.items()}


def _show_state(task: dict[str, Any], run: Run) -> None:
    if run.state is RunState.DONE:
        task.update(status="completed", progress=100)
        return
    for name in _RESULT_FIELDS:
        task.pop(name, None)
    if run.state is RunState.FAILED and run.failure is not None:
        error = task.get("error")
        task.update(status="failed", progress=0, task_info={"can_cancel": False})
        task["error"] = {**(error if isinstance(error, dict) else {}), **task_error(run.failure)}
    elif run.state is RunState.KEEPING:
        task.update(status="processing", progress=KEEPING_PROGRESS)
    elif run.state is RunState.RUNNING:
        task.setdefault("status", "pending")
        task.setdefault("progress", 0)
    else:
        task.update(status="pending", progress=0)


def _show_free(task: dict[str, Any]) -> None:
    """A hit or a joined task costs nothing; upstream's receipt belongs to the run's own job."""
    task.pop("billing", None)
    usage = task.get("usage")
    if isinstance(usage, dict):
        free = {name: 0 for name in ("credits_used", "credits_reserved") if name in usage}
        task["usage"] = {**usage, **free}


def _rewritten(value: Any, links: Mapping[str, str]) -> Any:
    """The value with every result link in it replaced by its permanent one."""
    if isinstance(value, str):
        return links.get(value, value)
    if isinstance(value, list):
        return [_rewritten(one, links) for one in value]
    if isinstance(value, dict):
        return {name: _rewritten(one, links) for name, one in value.items()}
    return value


# --- errors --------------------------------------------------------------------------------------


def error_body(error: GatewayError) -> bytes:
    """`{"error": {...}}` in upstream's shape; upstream's own refusals as they came."""
    if isinstance(error, UpstreamRefusal):
        return error.body.encode()
    shown: dict[str, object] = {"code": error.code, "message": error.message, "type": error.type}
    if error.param:
        shown["param"] = error.param
    return to_json({"error": {**shown, **error.extra}})


def error_headers(error: GatewayError) -> dict[str, str]:
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


# --- caching headers -----------------------------------------------------------------------------


def read_freshness(headers: Mapping[str, str]) -> Freshness:
    """`Cache-Control` of the request (RFC 9111, 5.2.1); what we do not know is ignored."""
    value = headers.get("cache-control")
    if value is None:
        return Freshness(no_cache=headers.get("pragma", "").strip().lower() == "no-cache")
    found = {
        match[1].lower(): match[2]
        for part in value.split(",")
        if (match := _DIRECTIVE.fullmatch(part))
    }
    return Freshness(
        no_cache="no-cache" in found,
        no_store="no-store" in found,
        only_if_cached="only-if-cached" in found,
        max_age_seconds=_delta_seconds(found.get("max-age")),
    )


def _delta_seconds(text: str | None) -> float | None:
    """RFC 9111, 1.2.2: whole seconds; what is not a number is no limit at all."""
    text = (text or "").strip()
    return float(min(int(text), 2**31)) if text.isascii() and text.isdigit() else None


def cache_status(decision: Settled, freshness: Freshness) -> str:
    """`Cache-Status` (RFC 9211) of the answer to an order."""
    match decision:
        case Hit(ttl_seconds=ttl):
            return f"{CACHE_NAME}; hit; ttl={int(ttl)}"
        case Joined():
            return f"{CACHE_NAME}; fwd=miss; collapsed"
        case Started(stored=stored):
            bypassed = freshness.no_cache or freshness.no_store
            why = "bypass" if bypassed else "miss"
            return f"{CACHE_NAME}; fwd={why}{'; stored' if stored else ''}"
        case _:
            return f"{CACHE_NAME}; fwd=miss"
