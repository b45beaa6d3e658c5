"""How the vendor's answers are read: the table of the contract, and anything a line can carry."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.evolink.answers import (
    MAX_LINKS,
    VendorAnswer,
    is_anothers,
    read_poll,
    read_submit,
)
from gateway.core.runs import docket
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    Event,
    Finished,
    NotNow,
    Progressed,
    Refused,
    TaskFailed,
    Unreachable,
    Why,
)

STEADY = settings(
    derandomize=True,
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow],
)
TASK_ID = "task-unified-1757156493-ab12cd34"
HTML = b"<html><title>502 Bad Gateway</title></html>"
A, B, C = (f"https://files.test/account/{name}.png" for name in "abc")


def answer(status: int, body: Any = b"", **headers: str) -> VendorAnswer:
    raw = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
    return VendorAnswer(
        status, raw, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def problem(code: Any, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "words", "type": "some_error", **more}}


# --- the answer to a submit ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_task_id_means_accepted(status: int) -> None:
    task = {"id": TASK_ID, "status": "pending", "new": {"field": None}, "progress": "odd"}
    event = read_submit(answer(status, task))
    assert isinstance(event, Accepted) and event.task_id == TASK_ID
    assert docket.read(event.task) == docket.of_task(task)


@pytest.mark.parametrize(
    ("got", "kind"),
    [
        # accepted, and no task that can be read: it may be paid
        (answer(200), AnswerLost),
        (answer(200, HTML), AnswerLost),
        (answer(200, None), AnswerLost),  # larger than any task
        (answer(200, {"id": ""}), AnswerLost),
        (answer(200, {"id": 7}), AnswerLost),
        (answer(200, {"id": "x" * 257}), AnswerLost),
        (answer(200, {"status": "pending"}), AnswerLost),
        (answer(200, [TASK_ID]), AnswerLost),
        (answer(200, problem("service_error")), AnswerLost),
        (answer(200, b'{"id":"' + TASK_ID.encode()), AnswerLost),
        (answer(204), AnswerLost),
        # upstream's refusal of this request
        (answer(400, problem("invalid_request")), Refused),
        (answer(400, problem("moderation_blocked")), Refused),
        (answer(400, problem(400)), Refused),
        (answer(400, HTML), Refused),
        (answer(404, problem(404, param="model")), Refused),
        (answer(413, problem(413, param="image_urls")), Refused),
        (answer(413, HTML), Refused),
        (answer(422, {"detail": []}), Refused),
        (answer(409, problem("conflict")), Refused),
        (answer(403, problem("content_policy_violation")), Refused),
        (answer(403, problem("sensitive_content")), Refused),
        (answer(403, problem("invalid_parameters")), Refused),
        (answer(403, problem("unsupported_parameters")), Refused),
        (answer(403, problem(403, param="size")), Refused),
        # ... also one that says nothing known: it may be about this prompt alone
        (answer(403, problem(403)), Refused),
        (answer(403, problem("forbidden")), Refused),
        (answer(403, problem("permission_denied")), Refused),
        (answer(403, HTML), Refused),
        (answer(403), Refused),
        # our key or balance
        (answer(401, problem("unauthorized")), CredentialsRefused),
        (answer(401, HTML), CredentialsRefused),
        (answer(402, problem("insufficient_quota")), CredentialsRefused),
        (answer(402, problem(402)), CredentialsRefused),
        (answer(403, problem("model_access_denied")), CredentialsRefused),
        (answer(403, problem(403, param="model")), CredentialsRefused),
        (answer(403, problem("key_disabled")), CredentialsRefused),
        (answer(403, problem("ip_restricted")), CredentialsRefused),
        (answer(403, problem("invalid_token")), CredentialsRefused),
        # not now
        (answer(408), NotNow),
        (answer(429, problem("rate_limit_exceeded")), NotNow),
        (answer(429, HTML), NotNow),
        (answer(503, problem("service_unavailable")), NotNow),
        (answer(400, problem("no_available_channel")), NotNow),
        (answer(403, problem("channel_selection_failed")), NotNow),
        (answer(404, problem("model_unavailable")), NotNow),
        (answer(301), NotNow),
        (answer(307), NotNow),
        # nobody knows
        (answer(500), AnswerLost),
        (answer(500, problem("internal_error")), AnswerLost),
        (answer(502, problem(502)), AnswerLost),
        (answer(502, HTML), AnswerLost),
        (answer(503, None), AnswerLost),
        (answer(503, {"error": "down"}), AnswerLost),
        (answer(503, {"error": {}}), AnswerLost),
        (answer(503, {"error": {"code": None, "message": []}}), AnswerLost),
        (answer(504, HTML), AnswerLost),
        (answer(524, HTML), AnswerLost),
        (answer(409, problem("idempotency_conflict")), AnswerLost),
        (answer(409, problem("paid_outcome_unknown")), AnswerLost),
        (answer(500, problem("paid_outcome_unknown")), AnswerLost),
    ],
)
def test_how_the_answer_to_a_submit_is_read(got: VendorAnswer, kind: type[Event]) -> None:
    assert type(read_submit(got)) is kind


def test_a_refusal_goes_on_word_for_word() -> None:
    raw = b'{ "error" : {"code":"invalid_request","message":"\xc3\xbc bad","extra":1} }'
    event = read_submit(answer(400, raw))
    assert event == Refused(400, raw.decode(), "invalid_request", "ü bad")
    other = read_submit(answer(422, b'{"detail":"no"}'))
    assert isinstance(other, Refused) and other.body == '{"detail":"no"}'
    old = read_submit(answer(400, problem(400)))
    assert isinstance(old, Refused) and (old.code, old.message) == ("400", "words")


@pytest.mark.parametrize("body", [HTML, b"", None, b"\xff\xfe", b"[]"])
def test_a_refusal_that_clients_cannot_read_is_put_into_words(body: bytes | None) -> None:
    event = read_submit(answer(400, body))
    assert isinstance(event, Refused)
    error = orjson.loads(event.body)["error"]
    assert (error["code"], error["type"]) == ("invalid_request", "invalid_request_error")
    assert "HTTP 400" in error["message"] == event.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": " 1.5 "}, 1.5),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": ""}, None),
        (
            {
                "retry_after": "Fri, 02 Jan 2026 00:00:30 GMT",
                "date": "Fri, 02 Jan 2026 00:00:10 GMT",
            },
            20.0,
        ),
        (
            {
                "retry_after": "Fri, 02 Jan 2026 00:00:10 GMT",
                "date": "Fri, 02 Jan 2026 00:00:30 GMT",
            },
            None,
        ),
        ({"retry_after": "Fri, 02 Jan 2026 00:00:30 GMT"}, None),
        ({"retry_after": "Fri, 02 Jan 2026 00:00:30 -0000", "date": "x"}, None),
        ({"retry_after": f"Fri, 02 Jan {'9' * 30} 00:00:30 GMT"}, None),
        ({"retry_after": "9" * 400}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert read_submit(answer(429, **headers)) == NotNow("HTTP 429", seconds, Why.PASSING)
    poll = read_poll(answer(503, problem("x"), **headers))
    assert isinstance(poll, Unreachable) and poll.retry_after_seconds == seconds


# --- the answer to a poll ------------------------------------------------------------------------


def completed(**fields: Any) -> dict[str, Any]:
    return {"id": TASK_ID, "status": "completed", "progress": 100, **fields}


@pytest.mark.parametrize(
    ("fields", "links"),
    [
        ({"results": [A, B]}, (A, B)),
        ({"results": [A, B], "result_data": [{"url": A}, {"url": B}]}, (A, B)),
        ({"result_data": [{"url": A}, {"url": B, "thumb": {"url": C}}]}, (A, B, C)),
        ({"result_data": {"url": A}}, (A,)),
        ({"results": A}, (A,)),
        ({"results": [A, A, B, A]}, (A, B)),
        ({"results": [{"url": A}, [B]]}, (A, B)),
        ({"results": [A], "result_data": [{"url": A, "source": B}]}, (A,)),
        ({"results": [], "result_data": [{"url": A}]}, (A,)),
        ({"results": ["http://files.test/plain.jpg"]}, ("http://files.test/plain.jpg",)),
    ],
)
def test_a_completed_task_gives_its_links(fields: dict[str, Any], links: tuple[str, ...]) -> None:
    event = read_poll(answer(200, completed(**fields)))
    assert isinstance(event, Finished) and event.links == links
    told = docket.read(event.task)
    assert (told.kind, told.said, told.at_work) == ("evolink", completed(**fields), True)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"results": []},
        {"results": None, "result_data": None},
        {"results": [1, True, None, "", "no link", "ftp://x/y", "javascript:x"]},
        {"callback": A, "result_data": [{"id": "7"}]},
    ],
)
def test_a_completed_task_without_links_is_asked_again(fields: dict[str, Any]) -> None:
    event = read_poll(answer(200, completed(**fields)))
    assert isinstance(event, Unreachable) and event.gone


@pytest.mark.parametrize("status", ["Completed", "SUCCESS", "succeeded", "complete", "done"])
def test_paid_pictures_are_fetched_by_whatever_word_a_task_is_done(status: str) -> None:
    event = read_poll(answer(200, completed(status=status, results=[A])))
    assert isinstance(event, Finished) and event.links == (A,)


def test_a_flood_of_links_is_not_believed() -> None:
    links = [f"https://files.test/{number}" for number in range(MAX_LINKS + 1)]
    assert isinstance(read_poll(answer(200, completed(results=links[1:]))), Finished)
    assert isinstance(read_poll(answer(200, completed(results=links))), Unreachable)


@pytest.mark.parametrize(
    ("usage", "credits_used"),
    [
        ({"credits_used": 1.783, "total_tokens": 5}, 1.783),
        ({"credits_used": 2}, 2.0),
        ({"credits_used": 0}, 0.0),
        ({"credits_used": -1}, None),
        ({"credits_used": True}, None),
        ({"credits_used": "1.7"}, None),
        ({"credits_used": 1e300}, None),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)
def test_credits_are_believed_when_they_are_sane(usage: Any, credits_used: float | None) -> None:
    event = read_poll(answer(200, completed(results=[A], usage=usage)))
    assert isinstance(event, Finished) and event.credits_used == credits_used


@pytest.mark.parametrize(
    ("task", "code", "message"),
    [
        (
            {"status": "failed", "error": {"code": "service_error", "message": "sorry"}},
            "service_error",
            "sorry",
        ),
        ({"status": "failed", "error": {"code": 500, "message": "sorry"}}, "500", "sorry"),
        ({"status": "failed"}, "unknown_error", "The task failed upstream."),
        ({"status": "failed", "error": "boom"}, "unknown_error", "The task failed upstream."),
        ({"status": "FAILED", "error": {"message": "m"}}, "unknown_error", "m"),
        ({"status": "cancelled"}, "request_cancelled", "The task failed upstream."),
        ({"status": "canceled", "error": {}}, "request_cancelled", "The task failed upstream."),
    ],
)
def test_a_failed_task(task: dict[str, Any], code: str, message: str) -> None:
    event = read_poll(answer(200, task))
    assert isinstance(event, TaskFailed) and (event.code, event.message) == (code, message)


@pytest.mark.parametrize(
    ("code", "providers"),
    [
        *((code, True) for code in ("service_error", "generation_timeout", "resource_exhausted")),
        *((code, True) for code in ("quota_exceeded", "service_unavailable", "unknown_error")),
        *((code, True) for code in ("model_unavailable", "upstream_error", "rate_limited")),
        *((code, True) for code in ("channel_dead", "channel_no_credit", "")),
        *((code, False) for code in ("content_policy_violation", "invalid_parameters")),
        *((code, False) for code in ("image_processing_error", "image_dimension_mismatch")),
        *((code, False) for code in ("request_cancelled", "generation_failed_no_content")),
        *((code, False) for code in ("resource_not_found", "invalid_audio", "channel")),
    ],
)
def test_whose_fault_a_failed_task_is(code: str, providers: bool) -> None:
    event = read_poll(answer(200, {"status": "failed", **problem(code)}))
    assert isinstance(event, TaskFailed) and event.is_providers is providers


@pytest.mark.parametrize(
    ("fields", "progress", "estimated"),
    [
        ({"progress": 45, "task_info": {"estimated_time": 60}}, 45, 60.0),
        ({"progress": 45.9}, 45, None),
        ({"progress": 250}, 100, None),
        ({"progress": -5}, 0, None),
        ({"progress": "45"}, 0, None),
        ({"progress": None, "task_info": None}, 0, None),
        ({"task_info": {"estimated_time": "60"}}, 0, None),
        ({"task_info": []}, 0, None),
    ],
)
@pytest.mark.parametrize("status", ["pending", "processing", "queued", "Running"])
def test_a_task_that_goes_on(
    status: str, fields: dict[str, Any], progress: int, estimated: float | None
) -> None:
    event = read_poll(answer(200, {"status": status, **fields}))
    assert isinstance(event, Progressed)
    assert (event.progress, event.estimated_seconds) == (progress, estimated)


def test_a_poll_that_a_proxy_has_changed() -> None:
    event = read_poll(answer(203, {"status": "completed", "results": [A]}))
    assert isinstance(event, Finished) and event.links == (A,)


@pytest.mark.parametrize(
    ("got", "gone"),
    [
        (answer(404, problem("task_not_found")), True),
        (answer(400, problem("invalid_task_id")), True),
        (answer(404, HTML), False),
        (answer(404), False),
        (answer(403, problem("permission_denied")), False),
        (answer(401, problem("unauthorized")), False),
        (answer(429, problem("rate_limit_exceeded")), False),
        (answer(500, problem("internal_error")), False),
        (answer(502, HTML), False),
        (answer(302), False),
        (answer(200), False),
        (answer(200, HTML), False),
        (answer(200, None), False),
        (answer(200, []), False),
        (answer(200, {}), False),
        (answer(200, {"status": None}), False),
        (answer(200, {"status": "dreaming"}), True),
        (answer(200, {"status": ["completed"], "results": [A]}), False),
        (answer(202, {"status": "completed", "results": [A]}), False),
        (answer(200, problem("task_not_found")), False),
    ],
)
def test_a_poll_that_makes_no_sense(got: VendorAnswer, gone: bool) -> None:
    event = read_poll(got)
    assert isinstance(event, Unreachable) and event.gone is gone


# --- anything at all -----------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=20)
links = st.sampled_from([A, B, C])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts | links,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
STATUSES = ["completed", "failed", "cancelled", "pending", "processing", "?"]
tasks = st.fixed_dictionaries(
    {},
    optional={
        "id": texts | values,
        "status": st.sampled_from(STATUSES) | values,
        "progress": values,
        "results": st.lists(links | texts) | values,
        "result_data": st.lists(st.dictionaries(texts, links | values)) | values,
        "error": st.dictionaries(st.sampled_from(["code", "message", "param"]), values) | values,
        "usage": st.fixed_dictionaries({"credits_used": values}) | values,
        "task_info": st.fixed_dictionaries({"estimated_time": values}) | values,
    },
)
bodies = (tasks | values).map(orjson.dumps) | st.binary(max_size=60) | st.none()
headers = st.dictionaries(st.sampled_from(["retry-after", "date"]), texts)
SUBMIT_EVENTS = (Accepted, Refused, NotNow, CredentialsRefused, AnswerLost)
POLL_EVENTS = (Progressed, Finished, TaskFailed, Unreachable)


@STEADY
@given(st.integers(200, 599), bodies, headers)
def test_no_answer_raises(status: int, body: bytes | None, some: dict[str, str]) -> None:
    got = VendorAnswer(status, body, some)
    submitted, polled = read_submit(got), read_poll(got)
    assert isinstance(submitted, SUBMIT_EVENTS) and isinstance(polled, POLL_EVENTS)
    if isinstance(submitted, Accepted):
        assert status < 300 and docket.read(submitted.task).said["id"] == submitted.task_id
    if isinstance(submitted, Refused):
        assert 400 <= submitted.status < 500 and (status < 300 or submitted.status == status)
        assert isinstance(orjson.loads(submitted.body), dict) and submitted.code
    assert 200 <= status < 300 or not isinstance(submitted, Accepted)


@STEADY
@given(tasks)
def test_completed_tasks_give_sane_links(task: dict[str, Any]) -> None:
    event = read_poll(answer(200, {**task, "status": "completed"}))
    if isinstance(event, Unreachable):
        assert event.gone
        return
    assert isinstance(event, Finished)
    assert event.links and len(set(event.links)) == len(event.links)
    assert all(link.startswith(("http://", "https://")) for link in event.links)
    shown = docket.read(event.task).said
    raw = orjson.dumps(shown.get("results"))
    if not any(orjson.dumps(link) in raw for link in event.links):
        raw = orjson.dumps(shown.get("result_data"))
    assert all(orjson.dumps(link) in raw for link in event.links)
    assert {link for link in (A, B, C) if orjson.dumps(link) in raw} <= {*event.links, *_keys(task)}
    assert event.credits_used is None or 0 <= event.credits_used < 1e9


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(key for one in value.values() for key in _keys(one))}
    return {key for one in value for key in _keys(one)} if isinstance(value, list) else set()


@STEADY
@given(st.sampled_from(["retry-after", "date"]), st.text(max_size=60))
def test_no_header_raises(name: str, value: str) -> None:
    date = "Fri, 02 Jan 2026 00:00:30 GMT"
    event = read_submit(VendorAnswer(429, b"", {"retry-after": date, "date": date, name: value}))
    assert isinstance(event, NotNow)


@pytest.mark.parametrize("depth", [200, 300, 900, 5_000, 200_000])
def test_depth_is_no_trap(depth: int) -> None:
    raw = b'{"id":"' + TASK_ID.encode() + b'","status":"completed","results":'
    raw += b"[" * depth + b'"' + A.encode() + b'"' + b"]" * depth + b"}"
    shallow = depth < 250
    assert isinstance(read_poll(answer(200, raw)), Finished if shallow else Unreachable)
    assert isinstance(read_submit(answer(200, raw)), Accepted if shallow else AnswerLost)
    assert isinstance(read_submit(answer(400, raw)), Refused)


@pytest.mark.parametrize(
    ("told", "anothers"),
    [({"id": "task-1"}, False), ({"id": "task-2"}, True), ({}, False), ({"id": 3}, True)],
)
def test_whose_answer_it_is(told: dict[str, Any], anothers: bool) -> None:
    got = VendorAnswer(200, orjson.dumps({**told, "status": "completed"}), {})
    assert is_anothers(got, "task-1") is anothers
