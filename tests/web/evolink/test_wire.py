"""The wire: tasks, errors and caching headers as clients see them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from gateway.core.model import (
    Failure,
    FailureKind,
    Freshness,
    Job,
    Kept,
    Picture,
    Run,
    RunState,
    Verdict,
)
from gateway.core.money.accounts import NOTHING, Amounts, Windows
from gateway.core.orders.admission import Denied, Doubtful, Hit, Joined, Settled, Started
from gateway.core.orders.denials import Denial, Reason
from gateway.errors import (
    BudgetExhausted,
    GatewayError,
    InvalidRequest,
    Unauthorized,
    Unavailable,
    UpstreamRefusal,
)
from gateway.web.evolink import wire
from gateway.web.evolink.wire import (
    cache_status,
    error_body,
    error_headers,
    read_freshness,
    task_object,
    to_json,
)
from gateway.web.moulds import MOULDS, Moulds

STEADY = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow],
)
NOW = 1_767_312_000.7
BASE = "https://images.test"
THEIRS = "task-unified-1757156493-ab12cd34"
OURS = "task-unified-1767312000-zz99yy88"
LINKS = tuple(f"https://files.upstream.test/acc/{name}.png" for name in "ab")
S, V = RunState, Verdict
JOB_VERDICTS = (V.STARTED, V.JOINED, V.HIT)


def picture(index: int) -> Picture:
    return Picture(f"{index:064x}", "png", 1000, 16, 16)


KEPT = tuple(Kept(link, picture(index)) for index, link in enumerate(LINKS))
PERMANENT = [f"{BASE}/pictures/{index:064x}.png" for index in range(2)]

ACCEPTED = {
    "created": 1757156493,
    "id": THEIRS,
    "model": "gpt-image-1.5-beta",
    "object": "image.generation.task",
    "progress": 0,
    "status": "pending",
    "task_info": {"can_cancel": True, "estimated_time": 100},
    "type": "image",
    "usage": {"billing_rule": "per_call", "credits_reserved": 0.9, "user_group": "default"},
}
COMPLETED = {
    **ACCEPTED,
    "duration": 4,
    "progress": 100,
    "result_data": [{"url": link} for link in LINKS],
    "results": list(LINKS),
    "status": "completed",
    "task_info": {"can_cancel": False},
    "usage": {"credits_used": 1.8, "total_tokens": 1177},
}
FAILURE = Failure(FailureKind.TASK_FAILED, "content_policy_violation", "Blocked.")


def a_run(state: RunState, task: Any = None, **fields: Any) -> Run:
    if task is None:
        task = COMPLETED if state in (S.KEEPING, S.DONE) else ACCEPTED
    if state in (S.SUBMITTING, S.QUEUED, S.UNSURE):
        task = {}
    else:
        fields = {"upstream_task_id": THEIRS, "accepted_at": NOW, **fields}
    if state in (S.KEEPING, S.DONE):
        fields = {"links": LINKS, **fields}
    if state is S.DONE:
        fields = {"kept": KEPT, "spent": Amounts(26_000, 2, 1), **fields}
    if state is S.FAILED:
        fields = {"failure": FAILURE, **fields}
    base = Run(
        id="run_1",
        fingerprint="f" * 64,
        team="blue",
        model="gpt-image-1.5",
        quality="low",
        n=2,
        request="{}",
        upstream="evolink",
        upstream_model="gpt-image-1.5-beta",
        price_usd_micros=13_000,
        windows=Windows(0, 0, 0, 0, 0),
        hold=NOTHING if state in (S.DONE, S.FAILED) else Amounts(26_000, 2, 1),
        created_at=NOW,
        deadline_at=NOW + 900,
        due_at=NOW,
        state=state,
        task=orjson.dumps(task).decode(),
    )
    return replace(base, **fields)


def a_job(verdict: Verdict = V.STARTED) -> Job:
    return Job(OURS, "run_1", "blue", verdict, NOW)


def shown(run: Run, verdict: Verdict = V.STARTED) -> dict[str, Any]:
    """The task as it reads after a trip over the wire."""
    read: dict[str, Any] = orjson.loads(to_json(task_object(a_job(verdict), run, BASE, NOW)))
    return read


# --- tasks ---------------------------------------------------------------------------------------

SHOWN_STATE = {
    S.SUBMITTING: ("pending", 0),
    S.QUEUED: ("pending", 0),
    S.UNSURE: ("pending", 0),
    S.RUNNING: ("pending", 0),
    S.KEEPING: ("processing", 99),
    S.DONE: ("completed", 100),
    S.FAILED: ("failed", 0),
}


@pytest.mark.parametrize("verdict", JOB_VERDICTS)
@pytest.mark.parametrize("state", S)
def test_every_state_looks_like_a_task_of_upstream(state: RunState, verdict: Verdict) -> None:
    task = shown(a_run(state), verdict)
    assert task["object"] == "image.generation.task" and task["type"] == "image"
    assert (task["id"], task["model"], task["created"]) == (OURS, "gpt-image-1.5", int(NOW))
    assert (task["status"], task["progress"]) == SHOWN_STATE[state]
    assert isinstance(task["task_info"]["can_cancel"], bool)
    assert ("results" in task) == ("result_data" in task) == (state is S.DONE)
    assert ("error" in task) == (state is S.FAILED)


def test_a_completed_task_is_upstreams_with_our_links() -> None:
    assert shown(a_run(S.DONE)) == {
        **COMPLETED,
        "created": int(NOW),
        "id": OURS,
        "model": "gpt-image-1.5",
        "result_data": [{"url": link} for link in PERMANENT],
        "results": PERMANENT,
    }


def test_a_task_before_upstream_said_anything() -> None:
    assert shown(a_run(S.SUBMITTING)) == {
        "created": int(NOW),
        "id": OURS,
        "model": "gpt-image-1.5",
        "object": "image.generation.task",
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": False},
        "type": "image",
    }


@pytest.mark.parametrize(
    ("theirs", "status", "progress"),
    [
        ({"status": "processing", "progress": 45}, "processing", 45),
        ({"status": "in_progress", "progress": 45}, "processing", 45),
        ({"status": "queued"}, "pending", 0),
        ({"status": "completed", "progress": 100, "results": list(LINKS)}, "processing", 99),
        ({"status": "failed", "progress": -3}, "pending", 0),
        ({"status": ["?"], "progress": "45"}, "pending", 0),
        ({"status": None, "progress": True}, "pending", 0),
    ],
)
def test_a_running_task_never_looks_finished(
    theirs: dict[str, Any], status: str, progress: int
) -> None:
    task = shown(a_run(S.RUNNING, {"id": THEIRS, **theirs}))
    assert (task["status"], task["progress"]) == (status, progress)
    assert "results" not in task


def test_a_failed_task_says_why() -> None:
    theirs = {**ACCEPTED, "error": {"code": 7, "message": "x", "suggestion": "Try."}, "duration": 3}
    task = shown(a_run(S.FAILED, theirs))
    assert task["error"] == {
        "code": "content_policy_violation",
        "message": "Blocked.",
        "suggestion": "Try.",
        "type": "task_error",
    }
    assert task["task_info"] == {"can_cancel": False} and "duration" not in task
    odd = shown(a_run(S.FAILED, {"error": "boom"}))
    assert odd["error"]["code"] == "content_policy_violation"


@pytest.mark.parametrize("state", [S.QUEUED, S.SUBMITTING, S.RUNNING, S.KEEPING])
def test_a_task_that_goes_on_shows_no_error(state: S) -> None:
    """Clients that look for one would give up a task that may still be made."""
    theirs = {**ACCEPTED, "status": "failed", "error": {"code": "x", "message": "y"}}
    task = shown(a_run(state, theirs))
    assert "error" not in task and task["status"] in ("pending", "processing")


def test_pictures_that_were_lost_are_not_shown() -> None:
    lost = Failure(FailureKind.RESULT_LOST, "result_lost", "Gone.")
    task = shown(a_run(S.FAILED, COMPLETED, failure=lost, links=LINKS, kept=KEPT[:1]))
    assert task["error"]["code"] == "result_lost"
    assert not {"results", "result_data"} & task.keys()


@pytest.mark.parametrize("verdict", JOB_VERDICTS)
def test_only_the_runs_own_job_shows_what_it_cost(verdict: Verdict) -> None:
    usage = {"credits_used": 1.8, "credits_reserved": 2, "cost": {"usd": 0.1}, "total_tokens": 9}
    task = shown(a_run(S.DONE, {**COMPLETED, "usage": usage, "billing": {"x": 1}}), verdict)
    if verdict is V.STARTED:
        assert task["usage"] == usage and task["billing"] == {"x": 1}
    else:
        assert task["usage"] == {"credits_used": 0, "credits_reserved": 0, "total_tokens": 9}
        assert "billing" not in task


def test_odd_usage_is_left_alone() -> None:
    assert shown(a_run(S.DONE, {**COMPLETED, "usage": [1]}), V.HIT)["usage"] == [1]


def test_words_that_name_upstreams_task_name_ours() -> None:
    theirs = {**ACCEPTED, "request": f"see {THEIRS}", "error": {"request_id": THEIRS}}
    task = shown(a_run(S.FAILED, theirs))
    assert task["request"] == f"see {OURS}" and task["error"]["request_id"] == OURS


def test_a_short_task_id_is_not_searched_for() -> None:
    task = shown(a_run(S.RUNNING, {**ACCEPTED, "id": "image"}, upstream_task_id="image"))
    assert task["type"] == "image" and task["id"] == OURS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.sampled_from([*LINKS, THEIRS, "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["url", "id", "status", "a", "z"]), inner, max_size=3)
    ),
    max_leaves=10,
)
OTHER_FIELDS = ("billing", "error", "status", "progress", "usage", "task_info", "preview", "z")
theirs_any = st.fixed_dictionaries(
    {"result_data": json_values, "results": st.just(list(LINKS))},
    optional=dict.fromkeys(OTHER_FIELDS, json_values),
)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings(one)


@STEADY
@given(theirs_any, st.sampled_from(JOB_VERDICTS))
def test_no_link_and_no_id_of_upstream_comes_through(
    theirs: dict[str, Any], verdict: Verdict
) -> None:
    task = shown(a_run(S.DONE, {"id": THEIRS, **theirs}), verdict)
    assert not {*LINKS, THEIRS} & {*strings(task)}
    assert task["results"] == PERMANENT


@STEADY
@given(theirs_any, st.sampled_from([S.RUNNING, S.KEEPING, S.FAILED]), st.sampled_from(JOB_VERDICTS))
def test_no_result_is_shown_before_it_is_kept(
    theirs: dict[str, Any], state: RunState, verdict: Verdict
) -> None:
    only_results = {name: theirs[name] for name in ("results", "result_data")}
    task = shown(a_run(state, {"id": THEIRS, **only_results}), verdict)
    assert not {*LINKS, THEIRS} & {*strings(task)}


# --- bytes ---------------------------------------------------------------------------------------


def test_json_is_compact_and_sorted() -> None:
    body = to_json(task_object(a_job(), a_run(S.DONE), BASE, NOW))
    read = orjson.loads(body)
    assert list(read) == sorted(read) and list(read["usage"]) == sorted(read["usage"])
    assert body == orjson.dumps(read)
    assert f'"id":"{OURS}"'.encode() in body and b'"status":"completed"' in body
    assert to_json([{"b": 1, "a": "ü"}]) == '[{"a":"ü","b":1}]'.encode()


@STEADY
@given(theirs_any, st.sampled_from([S.RUNNING, S.DONE, S.FAILED]))
def test_a_grep_finds_the_tasks_own_id_and_status(theirs: dict[str, Any], state: RunState) -> None:
    task = task_object(a_job(), a_run(state, theirs), BASE, NOW)
    body = to_json(task)
    assert orjson.loads(body) == task
    for name in ("id", "status"):
        first = re.search(rf'"{name}":("[^"]*")?'.encode(), body)
        assert first and first[1] == orjson.dumps(task[name])


# --- errors --------------------------------------------------------------------------------------


def test_errors_have_upstreams_shape() -> None:
    body = error_body(InvalidRequest("No such size.", param="size"), "https://us.example.org")
    assert body == (
        b'{"error":{"code":"invalid_request",'
        b'"doc_url":"https://us.example.org/docs#invalid_request","message":"No such size.",'
        b'"param":"size","type":"invalid_request_error"}}'
    )
    error = BudgetExhausted("Empty.", extra={"limit_scope": "usd_total", "resets_at": None})
    assert orjson.loads(error_body(error, "https://us.example.org"))["error"] == {
        "code": "insufficient_quota",
        "doc_url": "https://us.example.org/docs#insufficient_quota",
        "message": "Empty.",
        "type": "insufficient_quota",
        "limit_scope": "usd_total",
        "resets_at": None,
    }


def test_upstreams_refusal_is_not_touched() -> None:
    raw = '{ "error": {"code": 400, "message": "ü"} }'
    assert error_body(UpstreamRefusal(400, raw), "https://us.example.org") == raw.encode()


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (InvalidRequest("x"), {}),
        (Unauthorized("x"), {"WWW-Authenticate": "Bearer"}),
        (Unavailable("x", retry_after_seconds=30), {"Retry-After": "30"}),
        (Unavailable("x", retry_after_seconds=0.2), {"Retry-After": "1"}),
        (Unavailable("x", retry_after_seconds=59.5), {"Retry-After": "60"}),
        (UpstreamRefusal(422, "{}"), {}),
    ],
)
def test_headers_of_errors(error: GatewayError, headers: dict[str, str]) -> None:
    assert error_headers(error) == headers


# --- caching headers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "freshness"),
    [
        ("", Freshness()),
        ("no-cache", Freshness(no_cache=True)),
        ("No-Cache", Freshness(no_cache=True)),
        ("no-store", Freshness(no_store=True)),
        ("only-if-cached", Freshness(only_if_cached=True)),
        ("max-age=60", Freshness(max_age_seconds=60)),
        ("MAX-AGE=60", Freshness(max_age_seconds=60)),
        ('max-age="60"', Freshness(max_age_seconds=60)),
        ("max-age = 60", Freshness(max_age_seconds=60)),
        ("max-age=0", Freshness(max_age_seconds=0)),
        ("max-age=007", Freshness(max_age_seconds=7)),
        ("max-age=99999999999", Freshness(max_age_seconds=2**31)),
        ("max-age=" + "9" * 6000, Freshness(max_age_seconds=2**31)),
        ("max-age=" + "0" * 6000 + "1", Freshness(max_age_seconds=1)),
        ("max-age=5, max-age=90", Freshness(max_age_seconds=5)),
        ("max-age", Freshness()),
        ("max-age=", Freshness()),
        ("max-age=-1", Freshness()),
        ("max-age=1.5", Freshness()),
        ("max-age=soon", Freshness()),
        ("max-age=\u0662", Freshness()),
        ("no-cache, no-store", Freshness(no_cache=True, no_store=True)),
        (",, no-cache ,,\tmax-age=1,", Freshness(no_cache=True, max_age_seconds=1)),
        ("only-if-cached,max-age=3", Freshness(only_if_cached=True, max_age_seconds=3)),
        ("min-fresh=5, max-stale, no-transform, x_y=1", Freshness()),
        ('ext="a, no-cache, b"', Freshness()),
        ('ext="a \\", no-store"', Freshness()),
        ('ext="a", no-store', Freshness(no_store=True)),
        ("not no-cache", Freshness()),
        ("x no-store, no-cache", Freshness(no_cache=True)),
        ("no-cachet", Freshness()),
        ("xno-cache", Freshness()),
        ("no-cache=1", Freshness(no_cache=True)),
        ('no-cache="set-cookie"', Freshness(no_cache=True)),
    ],
)
def test_what_a_request_asks_of_the_cache(value: str, freshness: Freshness) -> None:
    assert read_freshness({"cache-control": value}) == freshness


def test_several_lines_are_one_list() -> None:
    lines = [(b"cache-control", b"no-cache"), (b"accept", b"*/*"), (b"cache-control", b"max-age=4")]
    assert read_freshness(Headers(raw=lines)) == Freshness(no_cache=True, max_age_seconds=4)


def test_pragma_is_nothing_to_a_post() -> None:
    assert read_freshness({}) == Freshness()
    for value in ("no-cache", "No-Cache", "no-store", "other"):
        assert read_freshness({"pragma": value}) == Freshness()
    both = {"pragma": "no-cache", "cache-control": "max-age=9"}
    assert read_freshness(both) == Freshness(max_age_seconds=9)


@STEADY
@given(st.text(max_size=60) | st.text('nocahe-,="\\ 019', max_size=60))
def test_no_header_raises(value: str) -> None:
    freshness = read_freshness({"cache-control": value})
    assert freshness.max_age_seconds is None or 0 <= freshness.max_age_seconds <= 2**31


RUN = a_run(S.DONE)
NO_CACHE, NO_STORE = Freshness(no_cache=True), Freshness(no_store=True)


@pytest.mark.parametrize(
    ("decision", "freshness", "value"),
    [
        (Hit(a_job(V.HIT), RUN, 3599.9), Freshness(), "image-gateway; hit; ttl=3599"),
        (Joined(a_job(V.JOINED), RUN), Freshness(), "image-gateway; fwd=miss; collapsed"),
        (Started(a_job(), RUN, stored=True), Freshness(), "image-gateway; fwd=miss; stored"),
        (Started(a_job(), RUN, stored=True), NO_CACHE, "image-gateway; fwd=bypass; stored"),
        (Started(a_job(), RUN, stored=False), NO_STORE, "image-gateway; fwd=bypass"),
        (Denied(Denial(Reason.ROOM, "", "")), Freshness(), "image-gateway; fwd=miss"),
        (Doubtful(RUN), Freshness(), "image-gateway; fwd=miss"),
    ],
)
def test_the_answer_tells_what_the_cache_did(
    decision: Settled, freshness: Freshness, value: str
) -> None:
    assert cache_status(decision, freshness) == value
    token, *parameters = value.split("; ")
    assert re.fullmatch(r"[A-Za-z*][\w!#$%&'*+.^`|~:/-]*", token)
    allowed = {"hit": "", "ttl": r"-?\d{1,15}", "fwd": "miss|bypass", "stored": "", "collapsed": ""}
    for parameter in parameters:  # RFC 9211 on top of RFC 8941: bare keys are true
        key, equals, item = parameter.partition("=")
        assert bool(equals) == bool(allowed[key]) and re.fullmatch(allowed[key], item)
    keys = [parameter.partition("=")[0] for parameter in parameters]
    assert ("hit" in keys) != ("fwd" in keys) and len(set(keys)) == len(keys)


def test_a_run_that_is_told_differently_by_now_is_rendered_anew() -> None:
    """It is found by its id: what erased its words, or tried it again, made another one of it."""
    run = a_run(S.DONE)
    first = wire.task_body(a_job(V.HIT), run, BASE, NOW)
    assert wire.task_body(a_job(V.HIT), replace(run), BASE, NOW) == first
    for changed in (
        replace(run, model="another"),
        run,
        replace(run, kept=KEPT[:1]),
        a_run(S.FAILED),
    ):
        expected = to_json(task_object(a_job(V.HIT), changed, BASE, NOW))
        assert wire.task_body(a_job(V.HIT), changed, BASE, NOW) == expected


def test_as_many_runs_are_kept_rendered_as_many_clients_wait_for() -> None:
    moulds, made = Moulds(), list[str]()

    def told(run: Run) -> bytes:
        return moulds.of(run, "x", made=lambda: made.append(run.id) or b"")  # type: ignore[func-returns-value]

    runs = [replace(a_run(S.DONE), id=f"run_{number}") for number in range(MOULDS + 5)]
    for run in runs:
        told(run)
    assert len(moulds) == MOULDS and len(made) == len(runs)
    told(runs[5])
    assert len(made) == len(runs)
    told(runs[4])
    assert made[-1] == "run_4" and len(made) == len(runs) + 1
