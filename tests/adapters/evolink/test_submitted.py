"""The table of what the answer to a submit means, row by row, and neighbours of each row."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.adapters.evolink.answers import VendorAnswer, read_submit
from gateway.adapters.evolink.fault_codes import CROWDED, NOBODY_TOOK_IT, OUR_BALANCE, OUR_KEY
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    NotNow,
    Refused,
    SubmitEvent,
    Why,
)

TASK = {"id": "task-unified-1", "status": "pending"}
CDN = {"server": "cloudflare", "cf-ray": "8f0a1b2c3d4e5f60-FRA"}
UNKNOWN, KEY, REFUSED, ACCEPTED = AnswerLost, CredentialsRefused, Refused, Accepted
PASSING, DECLINED = Why.PASSING, Why.DECLINED
BODIES: tuple[Any, ...] = (
    b"", None, b"<html>", b"error code: 522", {}, {"error": {}}, {"error": []}, {"error": "gone"},
    {"error": {"code": "internal_error", "message": "m"}}, {"error": {"code": 500}},
    {"error": {"code": "gateway_timeout", "message": "upstream request timeout"}},
    {"error": {"code": "insufficient_quota"}}, {"error": {"code": "invalid_request"}},
    {"error": {"message": "m"}}, {"code": 503, "msg": "busy"}, {"message": "Service Unavailable"},
)  # fmt: skip


def answer(status: int, body: Any = b"", **headers: str) -> VendorAnswer:
    raw = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
    return VendorAnswer(
        status, raw, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def error(code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "words", **more}}


def said(message: str) -> dict[str, Any]:
    return error("supplier_error", message=message)


def kind(event: SubmitEvent) -> object:
    """The event's type; of `NotNow`, why."""
    return event.why if isinstance(event, NotNow) else type(event)


# --- statuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize("status", [500, 501, 502, 504, 505, 507, 520, 524, 527, 529, 561, 599])
@pytest.mark.parametrize("signs", [{}, CDN], ids=["", "cdn"])
def test_whatever_may_have_arrived_is_unknown(status: int, body: Any, signs: Any) -> None:
    event = read_submit(
        VendorAnswer(status, answer(status, body).body, {**signs, "retry-after": "1"})
    )
    assert isinstance(event, AnswerLost) and event.heard


@pytest.mark.parametrize("body", BODIES[:5], ids=str)
@pytest.mark.parametrize("status", [521, 522, 523, 525, 526, 530])
def test_what_the_cdn_never_delivered_needs_its_signs(status: int, body: Any) -> None:
    raw = answer(status, body).body
    assert kind(read_submit(VendorAnswer(status, raw, CDN))) is PASSING
    shout = {"server": "Cloudflare", "cf-ray": "1-A"}
    assert kind(read_submit(VendorAnswer(status, raw, shout))) is PASSING
    for signs in (
        {},
        {"server": "cloudflare"},
        {"cf-ray": "8f-FRA"},
        {"server": "cloudflare", "cf-ray": " "},
        {"server": "nginx", "cf-ray": "8f-FRA"},
    ):
        assert kind(read_submit(VendorAnswer(status, raw, signs))) is UNKNOWN


@pytest.mark.parametrize(
    ("page", "means"),
    [
        ("<html>503 Service Temporarily Unavailable</html>", PASSING),
        ("<h1>503 Service Unavailable</h1>\nNo server is available to handle this", PASSING),
        ("no healthy upstream", PASSING),
        ("The server is temporarily unable to service your request", PASSING),
        ("HTTP Error 503. The service is unavailable.", PASSING),
        ("<h1>Closed for maintenance</h1>", PASSING),
        ("", UNKNOWN),
        ("oops", UNKNOWN),
        ("Service unavailable: connection closed", UNKNOWN),
        ("upstream connect error or disconnect/reset before headers", UNKNOWN),
        ("503 Service Unavailable: reset reason: connection termination", UNKNOWN),
        ("<title>503 Backend fetch failed</title>Guru Meditation", UNKNOWN),
        ("<h1>Error 503 Service Unavailable</h1><h3>Guru Meditation:</h3>", UNKNOWN),
        ("503 first byte timeout", UNKNOWN),
        ("Service Unavailable: upstream request timed out", UNKNOWN),
    ],
)
def test_a_proxys_page_with_503(page: str, means: object) -> None:
    """Proxies that say so had nobody to hand it to; others say 503 after they lost the answer."""
    assert kind(read_submit(answer(503, page.encode()))) is means


@pytest.mark.parametrize(
    ("body", "means"),
    [
        (error("service_unavailable"), DECLINED),
        (error(503, type="service_unavailable_error"), DECLINED),
        (error("anything"), DECLINED),
        (error(), DECLINED),
        ({"code": 503, "msg": "later"}, DECLINED),
        (error("rate_limit_exceeded"), PASSING),
        ({"error": "Service Unavailable"}, DECLINED),
        ({"error": "down"}, UNKNOWN),
        ({"message": "Service Unavailable"}, UNKNOWN),  # some gateways, after a time-out too
        (error("gateway_timeout"), UNKNOWN),
        (error("upstream_timed_out"), UNKNOWN),
        (error("DEADLINE_EXCEEDED"), UNKNOWN),
        (error(504), UNKNOWN),
        (error("500"), UNKNOWN),
        (error("paid_outcome_unknown"), UNKNOWN),
        (said("The limit resets at noon"), DECLINED),
        (said("no connection to any supplier"), DECLINED),
        (said("upstream request timeout"), UNKNOWN),
        (said("the supplier's answer timed out"), UNKNOWN),
        (said("upstream connect error or disconnect/reset before headers"), UNKNOWN),
        (said("reset reason: connection termination"), UNKNOWN),
        ({"code": 503, "msg": "Connection was closed"}, UNKNOWN),
        (said("read: connection reset by peer"), UNKNOWN),
        (said("Remote end closed connection without response"), UNKNOWN),
        (said("unexpected EOF"), UNKNOWN),
        (said("Server closed for maintenance"), DECLINED),
        (said("The quota is reset by midnight; aborted orders are free"), DECLINED),
        (said("context deadline exceeded"), UNKNOWN),
        (error(type="timeout_error"), UNKNOWN),
        ({**error("service_unavailable"), "id": "task-unified-7"}, UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_a_503_that_can_be_read(body: Any, means: object) -> None:
    assert kind(read_submit(answer(503, body))) is means


@pytest.mark.parametrize(
    ("got", "means"),
    [
        (answer(408), PASSING),
        (answer(408, error("request_timeout")), PASSING),
        (answer(429, b"<html>"), PASSING),
        (answer(429, error("anything")), PASSING),
        (answer(429, error("duplicate_request")), UNKNOWN),
        (answer(429, {"id": "task-unified-7", "status": "pending"}), UNKNOWN),
        (answer(301), PASSING),
        (answer(307), PASSING),
        (answer(308), PASSING),
        (answer(302), UNKNOWN),
        (answer(303), UNKNOWN),
        (answer(304), UNKNOWN),
        (answer(409, b"<html>"), UNKNOWN),
        (answer(409, error("conflict")), REFUSED),
        (answer(499), UNKNOWN),
        (answer(402, {"id": "task-unified-7", **error("insufficient_quota")}), UNKNOWN),
        (answer(418), REFUSED),
        (answer(451, error("x")), REFUSED),
        (answer(400, error("insufficient_user_quota")), KEY),
        (answer(400, error("invalid_api_key")), KEY),
        (answer(400, error("insufficient_prompt", param="prompt")), REFUSED),
        (answer(404, error("model_not_found", param="model")), REFUSED),
    ],
)
def test_other_statuses(got: VendorAnswer, means: object) -> None:
    assert kind(read_submit(got)) is means


@pytest.mark.parametrize("code", [*sorted(OUR_KEY), *sorted(OUR_BALANCE), "key_anything", "403"])
@pytest.mark.parametrize("body", ["object", "flat"])
def test_a_403_is_of_our_key_only_when_its_code_says_so(code: str, body: str) -> None:
    told = error(code) if body == "object" else {"code": code, "msg": "words"}
    assert kind(read_submit(answer(403, told))) is (REFUSED if code == "403" else KEY)
    if body == "object":
        assert kind(read_submit(answer(403, error(code, param="prompt")))) is REFUSED
    assert kind(read_submit(answer(403, error(None, param="model")))) is KEY


# --- codes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", [200, 400, 401, 402, 403, 404, 409, 422, 500, 502, 503, 504, 524]
)
@pytest.mark.parametrize("code", sorted(NOBODY_TOOK_IT))
def test_a_code_that_says_that_nobody_took_it_counts_at_any_status(status: int, code: str) -> None:
    why = PASSING if code in CROWDED else DECLINED
    for told in (error(code), error(code.upper()), error(code.replace("_", "-"))):
        assert kind(read_submit(answer(status, told, retry_after="3"))) is why
    flat = read_submit(answer(status, {"code": code, "msg": "m"}, retry_after="3"))
    assert isinstance(flat, NotNow) and flat.retry_after_seconds == 3.0


def test_an_operator_may_name_more_codes() -> None:
    theirs = {"pool_is_dry", "40017"}
    for status in (200, 400, 403, 500, 504):
        for told in (
            error("Pool-is-dry"),
            error("40017"),
            error(40017),
            {"code": 40017, "msg": ""},
        ):
            got = answer(status, told)
            assert kind(read_submit(got, not_taken=theirs)) is DECLINED
            assert kind(read_submit(got)) is not DECLINED
    open_still = answer(409, error("paid_outcome_unknown"))
    assert kind(read_submit(open_still, not_taken={"paid_outcome_unknown"})) is UNKNOWN


# --- an error in a 200 ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "means", "status"),
    [
        (error("insufficient_quota"), KEY, 402),
        ({"error": {"code": "insufficient_quota", "message": "top up"}}, KEY, 402),
        ({"code": 402, "msg": "no credits", "data": None}, KEY, 402),
        ({"code": "402", "msg": "no credits", "data": {}}, KEY, 402),
        ({"code": 402.0, "message": "no credits"}, KEY, 402),
        (error(401), KEY, 401),
        (error("unauthorized"), KEY, 401),
        (error(None, type="authentication_error"), KEY, 401),
        (error("", type="insufficient_quota_error"), KEY, 402),
        (error("model_access_denied"), KEY, 403),
        (error("key_disabled"), KEY, 401),
        (error(400), REFUSED, 400),
        (error("invalid_request"), REFUSED, 400),
        (error("content_policy_violation"), REFUSED, 400),
        (error("unsupported_parameters"), REFUSED, 400),
        (error("weird", type="invalid_request_error"), REFUSED, 400),
        (error(404), REFUSED, 404),
        (error("request_too_large"), REFUSED, 413),
        ({"code": 422, "msg": "no such size"}, REFUSED, 422),
        ({"error": True, "code": 400, "message": "no"}, REFUSED, 400),
        ({"error": "busy"}, DECLINED, None),
        ({"error": "Rate limit exceeded"}, PASSING, None),
        (error(429), PASSING, None),
        ({"code": 503, "msg": "later"}, DECLINED, None),
        (error("service_unavailable"), DECLINED, None),
        (error(500), UNKNOWN, None),
        (error(502), UNKNOWN, None),
        (error(504), UNKNOWN, None),
        (error(522), UNKNOWN, None),
        ({"code": 524, "msg": "m"}, UNKNOWN, None),
        (error("internal_error"), UNKNOWN, None),
        (error("request_timeout"), UNKNOWN, None),
        (error("service_error"), UNKNOWN, None),
        (error(), UNKNOWN, None),
        (error(200), UNKNOWN, None),
        (error(True), UNKNOWN, None),
        (error([402]), UNKNOWN, None),
        (error({"code": 402}), UNKNOWN, None),
        (error(1e300), UNKNOWN, None),
        (error(-402), UNKNOWN, None),
        (error("9" * 5000), UNKNOWN, None),
        ({"error": ["busy"]}, UNKNOWN, None),
        ({"error": "what a day"}, UNKNOWN, None),
        ({"error": None}, UNKNOWN, None),
        ({"errors": [{"code": 402}]}, UNKNOWN, None),
        ({"code": 200, "msg": "success", "data": {"id": "task-unified-1"}}, UNKNOWN, None),
        ({"code": 402, "msg": "no", "data": {"id": "task-unified-1"}}, UNKNOWN, None),
        ({"code": 402, "msg": "no", "data": ["task-unified-1"]}, UNKNOWN, None),
        ({"task_id": "task-unified-1", **error(402)}, UNKNOWN, None),
        ({"id": 7, **error(402)}, UNKNOWN, None),
        ({"id": {}, **error(402)}, KEY, 402),
        ({"id": None, **error(402)}, KEY, 402),
    ],
)
@pytest.mark.parametrize("http", [200, 202])
def test_an_error_in_a_200_is_read_like_the_same_error(
    http: int, body: Any, means: object, status: int | None
) -> None:
    event = read_submit(answer(http, body, **CDN))
    assert kind(event) is means
    if isinstance(event, Refused | CredentialsRefused):
        assert event.status == status
    if isinstance(event, Refused):
        assert isinstance(orjson.loads(event.body)["error"], dict)  # as clients know it


def test_a_task_id_is_accepted_whatever_else_is_said() -> None:
    """Its polls tell what became of it; to send it again could only cost more."""
    for more in (error("insufficient_quota"), {"status": "failed", **error(503)}, {"code": 402}):
        assert isinstance(read_submit(answer(200, {**TASK, **more})), Accepted)


# --- the answer to the same key ------------------------------------------------------------------


def test_only_upstreams_own_error_with_the_sign_is_the_answer_to_the_same_key() -> None:
    replay = {"idempotency_replayed": "true"}
    for status in (400, 403, 404, 422):
        event = read_submit(answer(status, error("invalid_request"), **replay))
        assert isinstance(event, Refused) and event.replayed
    for got in (
        answer(404, b"<html>no backend</html>", **replay),
        answer(400, {"detail": "no"}, **replay),
        answer(400, error("invalid_request")),
        answer(400, error("invalid_request"), idempotency_replayed="false"),
    ):
        event = read_submit(got)
        assert isinstance(event, Refused) and not event.replayed


# --- upstream's words ----------------------------------------------------------------------------


def words(got: VendorAnswer, prompt: str = "") -> str:
    event = read_submit(got, prompt=prompt)
    assert not isinstance(event, Accepted)
    return event.words


def test_the_first_of_what_upstream_said_is_kept_in_one_line() -> None:
    assert words(answer(503, {"error": {"code": "x", "message": "later,\n\tplease"}})) == (
        "later, please"
    )
    assert words(answer(200, {"code": 402, "msg": "top up"})) == "top up"
    assert words(answer(200, {"error": "busy"})) == "busy"
    assert words(answer(502, b"<html>\r\n<h1>502</h1>\x1b[31m")) == "<html> <h1>502</h1> [31m"
    assert words(answer(500, {"error": {}})) == '{"error":{}}'
    assert words(answer(400, {"error": {"code": "x", "message": "é" * 500}})) == "é" * 200
    assert words(answer(500, b"y" * 900_000)) == "y" * 200
    assert words(answer(500, None)) == words(answer(500)) == ""


@pytest.mark.parametrize("prompt", ["cat", 'a "red" bicycle\nby the sea', "é" * 50, "x" * 4000])
def test_a_prompt_that_upstream_repeats_is_left_out(prompt: str) -> None:
    told = {"error": {"code": "x", "message": f"Not this: {prompt}!"}}
    assert words(answer(400, told), prompt) == "Not this: [prompt]!"
    cut = prompt[: max(20, len(prompt) // 2)]
    assert prompt[:9] not in words(answer(400, {"error": {"message": f"No {cut}..."}}), prompt)
    raw = words(answer(500, b"<pre>" + orjson.dumps({"prompt": prompt})), prompt)
    assert raw == '<pre>{"prompt":"[prompt]"}'


def test_a_short_prompt_does_not_garble_the_words() -> None:
    told = {"error": {"message": "a category is missing"}}
    assert words(answer(400, told), "cat") == "a category is missing"
