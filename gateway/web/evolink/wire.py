"""The wire of our own API: core values to JSON and headers, headers to core values.

The task object is upstream's own where the upstream is of the kind that is mirrored, with our id,
our links and our state put in; work of other kinds is told in the same shape. JSON is compact with
sorted keys, as upstream's is: there are clients that read it with grep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from gateway.core.model import Freshness, Job, Run, RunState, Verdict
from gateway.core.orders.admission import Hit, Joined, Replayed, Settled, Started
from gateway.core.runs import docket, showing
from gateway.core.runs.docket import Docket, Tokens
from gateway.core.runs.failures import task_error
from gateway.errors import GatewayError, UnsupportedCoding, UpstreamRefusal
from gateway.web.moulds import Moulds
from gateway.web.remedies import doc_url

CACHE_NAME: Final = "image-gateway"
IGNORED: Final = "; detail=client-control-ignored"
"""Of a client whose `Cache-Control` would have passed the cache by, and may not."""

MIRRORED: Final = "evolink"
"""The kind of upstream whose API this is: what it says beyond our own words is told too."""

TASK_TYPE: Final = "image"
KEEPING_PROGRESS: Final = 99
"""Upstream is finished, our copy is not: the client must not take it for complete yet."""

STATES_OF_STATUS: Final[Mapping[str, Sequence[RunState]]] = {
    # A task's status → the states that its run is shown in (`showing`). We cancel nothing, and show
    # as failed what upstream cancelled. A run that upstream has taken is `processing` in lists from
    # its first moment; the task itself says `pending` for as long as upstream's own does.
    "pending": (RunState.SUBMITTING, RunState.QUEUED, RunState.UNSURE),
    "processing": (RunState.RUNNING, RunState.KEEPING),
    "completed": (RunState.DONE,),
    "failed": (RunState.FAILED,),
    "cancelled": (),
}
_STATUS: Final = {state: status for status, states in STATES_OF_STATUS.items() for state in states}

_RESULT_FIELDS: Final = ("results", "result_data", "duration")
_GREPPED: Final = ("id", "status")
_PAID: Final = ("credits_used", "credits_reserved", "estimated_cost")
_MIN_ID_LENGTH: Final = 16
"""A shorter task id may stand in a text by chance."""

_DIRECTIVE: Final = re.compile(
    # Possessive throughout: no text makes it go back and forth.
    r'(?:^|,)\s*+([\w-]++)\s*+(?:=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s",]*+)))?+\s*+(?=,|$)',
    re.ASCII,
)


def to_json(value: object) -> bytes:
    """Sorted, except that no nested `id` or `status` comes before the object's own."""
    if not isinstance(value, dict) or not any(_nested_before(value, name) for name in _GREPPED):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    plain_first = sorted(value, key=lambda name: (isinstance(value[name], dict | list), name))
    members = (
        orjson.dumps(name) + b":" + orjson.dumps(value[name], option=orjson.OPT_SORT_KEYS)
        for name in plain_first
    )
    return b"{" + b",".join(members) + b"}"


def _nested_before(value: Mapping[str, Any], name: str) -> bool:
    return name in value and any(_has_key(value[other], name) for other in value if other < name)


def _has_key(value: object, name: str) -> bool:
    if isinstance(value, dict):
        return name in value or any(_has_key(one, name) for one in value.values())
    return isinstance(value, list) and any(_has_key(one, name) for one in value)


# --- tasks -------------------------------------------------------------------------------------


def task_object(job: Job, run: Run, public_url: str, now: float) -> dict[str, Any]:
    """The task as the client sees it: upstream's last word, with our id and our links in it."""
    told = docket.read(run.task)
    task: dict[str, Any] = {
        "object": "image.generation.task",
        "type": TASK_TYPE,
        **(told.said if told.kind == MIRRORED else _in_its_shape(told, run)),
        "created": int(job.created_at),
        "id": job.id,
        "model": run.model,
    }
    task.setdefault("task_info", {"can_cancel": False})
    _show_state(task, run, told, now)
    if job.verdict is Verdict.HIT and isinstance(task["task_info"], dict):
        task["task_info"] = {**task["task_info"], "estimated_time": 0}  # else clients show a guess
    if job.verdict is not Verdict.STARTED:
        _show_free(task)
    links = {kept.link: f"{public_url}/pictures/{kept.picture.name}" for kept in run.kept}
    theirs = run.upstream_task_id or ""

    def ours(text: str) -> str:
        if text in links:
            return links[text]
        return text.replace(theirs, job.id) if len(theirs) >= _MIN_ID_LENGTH else text

    return {name: _rewritten(value, ours) for name, value in task.items()}


def task_body(job: Job, run: Run, public_url: str, now: float) -> bytes:
    """The task object as JSON. Of an ended run it is rendered once for all its jobs, whose
    answers differ in id and time alone."""
    if not run.is_final:
        return to_json(task_object(job, run, public_url, now))
    mould = _moulds.of(
        run, job.verdict, public_url, made=lambda: _mould(run, job.verdict, public_url)
    )
    created = b'"created":%d' % int(job.created_at)
    return mould.replace(_MOULD_CREATED, created, 1).replace(_MOULD_ID, job.id.encode())


_MOULD_JOB: Final = Job("task-unified-mould-5f0c8e1b7a64", "", "", Verdict.HIT, 2**53 - 1)
_MOULD_ID: Final = _MOULD_JOB.id.encode()
_MOULD_CREATED: Final = b'"created":%d' % int(_MOULD_JOB.created_at)
_moulds: Final = Moulds()


def _mould(run: Run, verdict: Verdict, public_url: str) -> bytes:
    job, at = replace(_MOULD_JOB, verdict=verdict), run.finished_at or run.created_at
    return to_json(task_object(job, run, public_url, at))


def task_row(job: Job, run: Run, now: float) -> dict[str, object]:
    """The task as one row of a list."""
    task, done = task_object(job, run, "", now), run.state is RunState.DONE
    usage = task.get("usage")
    spent = usage.get("credits_used") if done and isinstance(usage, dict) else 0
    return {
        "created_at": task["created"],
        "credits_used": spent if isinstance(spent, int | float) else 0,
        "has_error": run.state is RunState.FAILED,
        "has_results": done,
        "id": job.id,
        "model": run.model,
        "progress": task["progress"],
        "status": _STATUS[showing.shown_state(run)],
        "type": TASK_TYPE,
    }


def _in_its_shape(told: Docket, run: Run) -> dict[str, Any]:
    """What a finished task says of its work, of one whose vendor says it otherwise."""
    if not run.links:
        return {}
    shape: dict[str, Any] = {
        "results": list(run.links),
        "result_data": [{"url": link} for link in run.links],
        "usage": {"credits_used": 0, **(_tokens(told.tokens) if told.tokens else {})},
    }
    if run.accepted_at is not None and run.upstream_finished_at is not None:
        shape["duration"] = round(max(0.0, run.upstream_finished_at - run.accepted_at))
    return shape


def _tokens(tokens: Tokens) -> dict[str, int]:
    return {
        "image_input_tokens": tokens.image_in,
        "image_output_tokens": tokens.image_out,
        "text_input_tokens": tokens.text_in,
        "total_tokens": tokens.total,
    }


def _show_state(task: dict[str, Any], run: Run, told: Docket, now: float) -> None:
    if run.state is RunState.DONE:
        task.update(status="completed", progress=100)
        return
    for name in _RESULT_FIELDS:
        task.pop(name, None)
    if run.state is RunState.FAILED and run.failure is not None:
        error = task.get("error")
        task.update(status="failed", progress=0, task_info={"can_cancel": False})
        task["error"] = {**(error if isinstance(error, dict) else {}), **task_error(run.failure)}
        return
    task.pop("error", None)  # a task that goes on has none, whatever a former answer said
    if run.state is RunState.KEEPING:
        task.update(status="processing", progress=KEEPING_PROGRESS)
    elif run.state is RunState.RUNNING:
        task["status"] = "processing" if told.at_work else "pending"
        task["progress"] = min(told.progress, KEEPING_PROGRESS)
    elif showing.is_awaited(run):
        left = showing.seconds_left(run, now)
        task.update(status="processing", progress=showing.guessed_progress(run, now))
        task["task_info"] = {"can_cancel": False, "estimated_time": left}
    else:
        task.update(status="pending", progress=0)


def _show_free(task: dict[str, Any]) -> None:
    """A hit or a joined task costs nothing; upstream's receipt belongs to the run's own job."""
    task.pop("billing", None)
    usage = task.get("usage")
    if isinstance(usage, dict):
        free = dict.fromkeys(usage.keys() & _PAID, 0)
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


# --- errors --------------------------------------------------------------------------------------


def error_body(error: GatewayError, public_url: str) -> bytes:
    """`{"error": {...}}` in upstream's shape; upstream's own refusals as they came."""
    if isinstance(error, UpstreamRefusal):
        return error.body.encode()
    shown: dict[str, object] = {"code": error.code, "message": error.message, "type": error.type}
    if error.param:
        shown["param"] = error.param
    shown["doc_url"] = doc_url(error, public_url)
    return to_json({"error": {**shown, **error.extra}})


def error_headers(error: GatewayError) -> dict[str, str]:
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsupportedCoding):
        headers["Accept-Encoding"] = ", ".join(error.accepted)  # RFC 9110, section 15.5.16
    return headers


# --- caching headers -----------------------------------------------------------------------------


def read_freshness(headers: Mapping[str, str]) -> Freshness:
    """`Cache-Control` of the request (RFC 9111, 5.2.1); what we do not know is ignored.

    So is `Pragma`, which is deprecated (5.4), and which tools send with every request.
    """
    lines = [value for name, value in headers.items() if name.lower() == "cache-control"]
    if not lines:
        return Freshness()
    found = _directives(",".join(lines))
    return Freshness(
        no_cache="no-cache" in found,
        no_store="no-store" in found,
        only_if_cached="only-if-cached" in found,
        max_age_seconds=_delta_seconds(found.get("max-age")),
    )


def _directives(text: str) -> dict[str, str | None]:
    """Directives by lower-case name; of doubles the first counts (RFC 9111, 4.2.1)."""
    found: dict[str, str | None] = {}
    for match in _DIRECTIVE.finditer(text):
        found.setdefault(match[1].lower(), match[2] if match[3] is None else match[3])
    return found


def _delta_seconds(text: str | None) -> float | None:
    """RFC 9111, 1.2.2: whole seconds; what is not a number is no limit at all."""
    text = (text or "").strip()
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    return float(min(int(digits), 2**31)) if len(digits) <= 10 else float(2**31)


def cache_status(
    decision: Settled | Replayed, freshness: Freshness, *, ignored: bool = False
) -> str:
    """`Cache-Status` (RFC 9211) of the answer to an order.

    `freshness` is what was honoured of the client's wishes; `ignored`: that was not all of them.
    """
    match decision:
        case Hit(ttl_seconds=ttl):
            found = f"hit; ttl={int(ttl)}"
        case Joined():
            found = "fwd=miss; collapsed"
        case Started(stored=stored):
            why = "bypass" if freshness.no_cache or freshness.no_store else "miss"
            found = f"fwd={why}{'; stored' if stored else ''}"
        case _:
            found = "fwd=miss"
    return f"{CACHE_NAME}; {found}{IGNORED if ignored else ''}"
