"""The table of what an answer without pictures means, row by row."""

from __future__ import annotations

import json
import time
from typing import Any

import orjson
import pytest
from core_samples import STEADY
from hypothesis import given
from hypothesis import strategies as st
from openai_upstream import error

from gateway.adapters.openai_images.answers import Heard, read_refusal
from gateway.adapters.openai_images.fault_codes import (
    ABOUT_CONTENT,
    INPUT_STAGE,
    OUR_BALANCE,
    STAGE_BY_CODE,
)
from gateway.adapters.outbound.said import VendorAnswer
from gateway.core.runs import docket
from gateway.core.runs.events import (
    AnswerLost,
    CredentialsRefused,
    NotNow,
    Refused,
    SubmitEvent,
    TaskFailed,
    Why,
)

USER, REQUEST = "image_generation_user_error", "invalid_request_error"
BLOCK = (
    "Your resource has been temporarily blocked because we detected behavior that may violate "
    "our content policy."
)
VERIFY = "Your organization must be verified to use the model `gpt-image-2`."
SAFETY = "Your request was rejected by the safety system. safety_violations=[sexual]."
HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"


def orjson_or_nothing(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a number that is too large for it, or half a character
        return b""


def hear(
    status: int, body: Any = b"", *, slow: bool = True, prompt: str = "", **headers: str
) -> SubmitEvent:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_refusal(Heard(VendorAnswer(status, raw, named), slow, prompt))


def of(code: Any = None, message: str = "words", **more: Any) -> dict[str, Any]:
    return error(code, message, **more)


DOWN: list[tuple[int, Any]] = [
    (400, of("invalid_value", "The model 'dall-e-3' does not exist.", type=USER, param="model")),
    (400, of(None, "The model `gpt-image-1` has been deprecated", type=USER)),
    (401, of("invalid_api_key", type=REQUEST)),
    (401, b""),
    (401, HTML),
    (401, of(None, "Your IP is not allowed")),
    (402, of("insufficient_user_quota", type="new_api_error")),
    (403, of(None, VERIFY, type=REQUEST)),
    (403, of("unsupported_country_region_territory")),
    (403, of("Forbidden", BLOCK)),
    (403, HTML),
    (404, of("model_not_found", type=REQUEST)),
    (404, of("DeploymentNotFound")),
    (404, {"error": {"code": "404", "message": "Resource not found"}}),
    (404, b"not found"),
    *((429, of(code, type="insufficient_quota")) for code in sorted(OUR_BALANCE)),
    (429, of(None, type="insufficient_quota")),
    (400, of("billing_hard_limit_reached", "Billing hard limit has been reached", type=USER)),
    (400, of(None, "Model: gpt-image-1 was shut down on 2026-10-23")),
    (422, {"detail": "The model `gpt-image-1` (ours) is retired."}),
]


@pytest.mark.parametrize(("status", "body"), DOWN, ids=lambda value: str(value)[:70])
def test_a_route_that_is_down(status: int, body: Any) -> None:
    assert isinstance(hear(status, body), CredentialsRefused)


OLD_MODEL = "portrait of a fashion model who is long retired"
NO_SUCH = "Saint Cecilia. The model `gpt-image-2` does not exist, so paint her from memory"


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    ("status", "body", "prompt"),
    [
        (422, {"detail": f"cannot draw: {OLD_MODEL}"}, OLD_MODEL),
        (422, {"detail": "cannot draw: a model who is long retired"}, "x"),
        (422, {"detail": [{"msg": f"bad prompt {NO_SUCH}"}]}, NO_SUCH),
        (422, {"detail": "a model, deprecated by fashion, that was shut down"}, "x"),
        (422, {"detail": f"cut: {NO_SUCH[:60]}"}, NO_SUCH),
        (400, of("invalid_value", "The model is retired, says the prompt", param="prompt"), "x"),
        (400, of(None, f"no: {json.dumps(NO_SUCH)}"), NO_SUCH),
        (400, of(None, f"no: {OLD_MODEL}", type=USER), OLD_MODEL),
        (400, of(None, f"no: {BLOCK}"), BLOCK),
    ],
)
def test_words_of_a_prompt_close_no_route(
    status: int, body: Any, prompt: str, *, slow: bool
) -> None:
    """The next order has other words."""
    assert not isinstance(hear(status, body, slow=slow, prompt=prompt), CredentialsRefused)


CONTENT: list[tuple[int, Any]] = [
    (400, of("moderation_blocked", type=USER)),
    (400, of("moderation_blocked", type=USER,
             moderation_details={"moderation_stage": "input", "categories": ["sexual"]})),
    (400, of("moderation_blocked", "… contact us with an Azure support ticket")),
    (400, {"created": 1, "error": {"code": "contentFilter", "message": "Your task failed"}}),
    (400, of("content_filter", innererror={"content_filter_result": {}})),
    (400, of(None, SAFETY, type=USER)),
    (400, of(None, SAFETY)),
    (400, of("400", f"litellm.BadRequestError: {SAFETY}")),
    (403, of("content_policy_violation")),
    (500, of("moderation_blocked")),
    (500, of("sensitive_words_detected", type="new_api_error")),
    (403, of("prompt_blocked", type="new_api_error")),
    (400, {"detail": SAFETY}),
    (200, of("moderation_blocked")),
    (200, {"created": 1, "error": {"code": "contentFilter", "message": "m"}, "data": []}),
    *((400, of(code)) for code in sorted(ABOUT_CONTENT - {"output_moderation_failed"})),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), CONTENT, ids=lambda value: str(value)[:70])
def test_a_refusal_for_content_is_final_and_relayed(status: int, body: Any) -> None:
    event = hear(status, body, slow=False)
    assert isinstance(event, Refused) and 400 <= event.status < 500
    told = json.loads(event.body)["error"]
    assert {"code", "message", "type", "param"} <= told.keys()
    wanted = body["error"]["message"] if "error" in body else body["detail"]
    assert told["message"] == event.message == wanted
    assert told["code"] == event.code != ""


def test_it_keeps_what_the_vendor_adds() -> None:
    details = {"moderation_stage": "input", "categories": ["violence"]}
    event = hear(400, of("moderation_blocked", "no", type=USER, moderation_details=details))
    assert isinstance(event, Refused)
    assert json.loads(event.body) == {
        "error": {
            "code": "moderation_blocked", "message": "no", "type": USER, "param": None,
            "moderation_details": details,
        }
    }  # fmt: skip


@pytest.mark.parametrize(("status", "body"), CONTENT, ids=lambda value: str(value)[:70])
def test_one_that_took_as_long_as_pictures_may_be_charged(status: int, body: Any) -> None:
    """Older answers do not say at which stage it was, and what is refused at its input is so at
    once. It goes nowhere else either way."""
    event = hear(status, body, slow=True)
    code = body["error"]["code"] if "error" in body else ""
    if "moderation_details" in str(body) or STAGE_BY_CODE.get(code) == INPUT_STAGE:
        assert isinstance(event, Refused), "it says itself that nothing was made"
        return
    assert isinstance(event, TaskFailed)
    assert event.charged and not event.is_providers and not event.is_free


MADE = {"moderation_stage": "output", "categories": ["violence"]}
FILTERED = "Generated image was filtered as a result of our safety system."


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (of("moderation_blocked", "no", type=USER, moderation_details=MADE), "moderation_blocked"),
        (
            {"created": 1, "error": {"code": "contentFilter", "message": FILTERED}},
            "moderation_blocked",
        ),
        (of("output_moderation_failed"), "moderation_blocked"),
    ],
)
@pytest.mark.parametrize("status", [400, 200])
def test_a_refusal_after_the_pictures_were_made_may_be_charged(
    status: int, body: Any, code: str
) -> None:
    event = hear(status, body, slow=False)
    assert isinstance(event, TaskFailed)
    assert (event.code, event.message) == (code, body["error"]["message"])
    assert event.charged and not event.is_providers and not event.is_free


MISFITS: list[tuple[int, Any]] = [
    (400, of("invalid_value", "Supported values are: '1024x1024'", type=USER, param="size")),
    (400, of("unknown_parameter", type=REQUEST, param="seed")),
    (400, of("unknown_parameter", type=REQUEST)),
    (400, of("invalid_type", type=REQUEST, param="image[0]")),
    (400, of("unsupported_file_mimetype", type=REQUEST)),
    (400, of("missing_file_mimetype", type=REQUEST)),
    (400, of("invalid_input_fidelity_model", type=REQUEST)),
    (400, of("invalid_value", "Error while downloading file. Upstream status code: 404")),
    (400, of("unsupported_value", param="quality")),
    (400, of("string_above_max_length", param="prompt")),
    (400, of(None, "Duplicate parameter: 'image'", param="image")),
    (400, of(None, "x", param="quality")),
    (413, HTML),
    (413, of(None)),
    (415, b""),
    (422, {"detail": [{"loc": ["body", "size"], "msg": "bad size"}]}),
    (422, {"detail": "size"}),
]


@pytest.mark.parametrize(("status", "body"), MISFITS, ids=lambda value: str(value)[:70])
def test_what_does_not_fit_goes_on_and_says_nothing_of_the_route(status: int, body: Any) -> None:
    event = hear(status, body)
    assert isinstance(event, NotNow) and event.its_own and event.why is Why.MISFIT


PASSING: list[tuple[int, Any]] = [
    (429, of("rate_limit_exceeded", type="requests")),
    (429, of("slow_down", type="rate_limit_error")),
    (429, of("429", "Requests … exceeded call rate limit. Please retry after 7 seconds.")),
    (429, b""),
    (429, HTML),
    (503, of("server_is_overloaded", type="service_unavailable_error")),
    (503, of(None, "busy")),
    (503, {"detail": "overloaded"}),
    (503, of("503", "Service Unavailable")),
    (503, of(None, "The limit resets at noon")),
    (503, of(None, "connection refused")),
    (500, of("server_is_overloaded")),
]


@pytest.mark.parametrize(("status", "body"), PASSING, ids=lambda value: str(value)[:70])
def test_not_now_for_any_order(status: int, body: Any) -> None:
    event = hear(status, body, slow=status < 500)
    assert isinstance(event, NotNow) and not event.its_own and event.why is Why.PASSING


@pytest.mark.parametrize(("status", "body"), [one for one in PASSING if one[0] >= 500], ids=str)
def test_a_crowd_that_is_told_of_late_may_be_charged(status: int, body: Any) -> None:
    """Whoever says so after seconds may have begun."""
    event = hear(status, body, slow=True)
    assert isinstance(event, TaskFailed) and event.charged and event.is_providers


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after_ms": "250", "retry_after": "2"}, 0.25),
        ({"retry_after": "2"}, 2.0),
        ({"retry_after_ms": "soon", "retry_after": "2"}, 2.0),
        ({"retry_after_ms": "-1", "retry_after": "3"}, 3.0),
        ({"retry_after_ms": "nan"}, None),
        ({}, None),
        ({"retry_after": "Sun, 29 Nov 2026 12:00:07 GMT",
          "date": "Sun, 29 Nov 2026 12:00:00 GMT"}, 7.0),
    ],
)  # fmt: skip
def test_how_long_to_wait(headers: dict[str, Any], seconds: float | None) -> None:
    event = hear(429, of("rate_limit_exceeded"), **headers)
    assert isinstance(event, NotNow) and event.retry_after_seconds == seconds


BROKEN: list[tuple[int, Any]] = [
    (500, of("server_error", "retry; request id req_1", type="server_error")),
    (500, of(None, type=REQUEST)),
    (500, {"error": {"message": "m"}}),
]


@pytest.mark.parametrize(("status", "body"), BROKEN, ids=lambda value: str(value)[:70])
def test_a_failure_may_be_charged_when_it_was_slow(status: int, body: Any) -> None:
    fast = hear(status, body, slow=False)
    assert isinstance(fast, NotNow) and fast.why is Why.DECLINED and not fast.its_own
    slow = hear(status, body, slow=True, x_request_id="req_1")
    assert isinstance(slow, TaskFailed) and slow.charged and slow.is_providers
    kept = docket.read(slow.task)
    assert kept.kind == "openai" and kept.request_id == "req_1" and kept.said == body


IN_A_200: list[Any] = [
    of("invalid_api_key"),
    of("credit_balance_exhausted"),
    of(401),
    of("404", "Resource not found"),
    of("organization_not_verified", VERIFY),
    of(None, "The model `gpt-image-1` has been deprecated"),
    of("Forbidden", BLOCK),
    of("unknown_parameter"),
    of("invalid_value", param="size"),
    of(422),
    of("rate_limit_exceeded"),
    of(None, "Rate limit reached for gpt-image-2"),
    of(429),
    of("503"),
    {"error": "rate_limit_exceeded"},
    {"code": 429, "msg": "slow down"},
    of("server_error"),
    of("image_generation_failed", type="image_generation_server_error"),
]


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("body", IN_A_200, ids=str)
def test_an_error_in_a_200_goes_nowhere_else(status: int, body: Any) -> None:
    """Whoever says 200 has taken the order: that nothing was made is not certain, and after so long
    it was worked on."""
    fast = hear(status, body, slow=False)
    assert isinstance(fast, AnswerLost) and fast.heard
    slow = hear(status, body, slow=True)
    assert isinstance(slow, TaskFailed) and slow.charged and not slow.is_free


LOST = [
    "upstream connect error or disconnect/reset before headers. "
    "reset reason: connection termination",
    "Backend request timed out after 230000 ms",
    "litellm.InternalServerError: Connection reset by peer while reading the response",
    "litellm.Timeout: Connection timed out after None seconds.",
    "do request failed: Post https://a.test: context deadline exceeded",
    "stream reset by the server",
    "read tcp 10.0.0.1: read: connection reset by peer",
    "Error: socket hang up",
    "connect ETIMEDOUT; read ECONNRESET",
    "unexpected EOF",
    "Server disconnected without sending a response.",
    "peer closed connection without sending complete message body (incomplete chunked read)",
    "Remote end closed connection without response",
    "upstream prematurely closed connection while reading response header",
    "[Errno 32] Broken pipe",
    "The operation was aborted",
    "The backend did not respond",
    "litellm.APIConnectionError: Connection error.",
]


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("message", LOST)
def test_a_lost_answer_told_in_words_is_unknown(status: int, message: str, *, slow: bool) -> None:
    """A relay passes on what its proxy, its balancer or its library has said to it."""
    bodies = (
        of(str(status), message),
        of("server_is_overloaded", message, type="server_error"),
        of("ServiceUnavailable", message),
        {"detail": message},
        {"error": message},
        {"code": status, "msg": message},
    )
    for body in bodies:
        assert isinstance(hear(status, body, slow=slow), AnswerLost), body
    said = {"error": {"message": message, "code": status}}
    assert isinstance(hear(status, said, slow=slow, prompt=message), AnswerLost)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, of("504", "words")),
        (500, of(524)),
        (500, of("502", "Bad Gateway")),
        (500, of("408")),
        (503, of("gateway_timeout")),
        (500, of(None, type="timeout_error")),
        (500, of("DEADLINE_EXCEEDED")),
        (400, of("upstream_timeout")),
        (404, of("request_timed_out")),
        (422, of("connection_reset")),
    ],
)
def test_a_lost_answer_told_by_a_code_is_unknown(status: int, body: Any, *, slow: bool) -> None:
    assert isinstance(hear(status, body, slow=slow), AnswerLost)


UNKNOWN: list[tuple[int, Any]] = [
    *((status, body) for status in (502, 504, 520, 522, 524, 408, 499, 409)
      for body in (HTML, b"", of("server_error"))),
    (500, HTML),
    (500, b""),
    (503, HTML),
    (503, b""),
    (501, of("server_error")),
    (301, b""),
    (307, of(None)),
    (200, {}),
    (200, {"data": []}),
    (200, {"created": 1, "data": [{}]}),
    (200, of("a_word_that_nobody_knows")),
    (200, of(None, "unheard of")),
    (200, {"error": "unheard of"}),
    (200, b"data: x\n\n"),
    (204, b""),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), UNKNOWN, ids=lambda value: str(value)[:70])
@pytest.mark.parametrize("slow", [False, True])
def test_what_may_have_been_made_is_unknown(status: int, body: Any, slow: bool) -> None:
    event = hear(status, body, slow=slow)
    assert isinstance(event, AnswerLost) and event.heard


REFUSED: list[tuple[int, Any]] = [
    (400, of(None, "no", type=REQUEST)),
    (400, of("invalid_prompt", "no")),
    (400, HTML),
    (400, b""),
    (405, b""),
    (418, of("teapot")),
]


@pytest.mark.parametrize(("status", "body"), REFUSED, ids=lambda value: str(value)[:70])
def test_another_refusal_is_final_too(status: int, body: Any) -> None:
    """It may be one for content in words that are not known here."""
    event = hear(status, body)
    assert isinstance(event, Refused) and event.status == status
    assert json.loads(event.body)["error"]["message"] == event.message != ""


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n "])
def test_a_mark_before_the_json_hides_nothing(mark: bytes) -> None:
    event = hear(400, mark + orjson.dumps(of("moderation_blocked", "no", type=USER)), slow=False)
    assert isinstance(event, Refused) and (event.code, event.message) == (
        "moderation_blocked",
        "no",
    )


def test_the_prompt_is_left_out_of_what_is_written_down() -> None:
    event = hear(
        400, of(None, "no 'a red bicycle in the rain' here"), prompt="a red bicycle in the rain"
    )
    assert isinstance(event, Refused) and event.words == "no '[prompt]' here"


@pytest.mark.alone
@pytest.mark.parametrize(
    "piece", ["a red bicycl ", "a model ", "model x ", "connection ", "reset "]
)
@pytest.mark.parametrize("status", [200, 400, 503])
def test_no_message_makes_it_slow(status: int, piece: str) -> None:
    start = time.perf_counter()
    hear(status, of("x", piece * (1_000_000 // len(piece))), prompt="a red bicycle in the rain")
    assert time.perf_counter() - start < 4


WORDS = st.text(max_size=12) | st.sampled_from(
    ["moderation_blocked", "rate_limit_exceeded", "server_error", "invalid_value", "429", "model"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda one: st.lists(one, max_size=3) | st.dictionaries(WORDS, one, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["code", "message", "type", "param", "moderation_details", "detail", "msg"])
ERROR = st.dictionaries(KEYS, ANYTHING, max_size=6) | ANYTHING
BODY = st.fixed_dictionaries({"error": ERROR}) | ERROR


@STEADY
@given(st.integers(100, 599), BODY.map(orjson_or_nothing) | st.binary(max_size=30), st.booleans())
def test_no_answer_raises_and_none_of_a_doubt_is_free(status: int, body: bytes, slow: bool) -> None:
    event = hear(status, body, slow=slow)
    if isinstance(event, Refused):
        assert 400 <= event.status < 500 and json.loads(event.body)["error"]["message"]
    if status in (408, 499, 502, 504, 520, 524) or 300 <= status < 400:
        assert isinstance(event, AnswerLost | Refused | TaskFailed | CredentialsRefused)
    if status in (408, 499) or 300 <= status < 400:
        assert isinstance(event, AnswerLost)
