"""OpenAI's words and ours: requests, answers and errors, translated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.core.catalog import Catalog, ImageModel, PriceRule, Route
from gateway.core.model import Failure, FailureKind, Kept, Picture, Run, RunState
from gateway.core.money.accounts import NOTHING, Amounts, Windows
from gateway.core.orders.validation import read_order
from gateway.core.runs import docket
from gateway.core.runs.docket import Docket, Tokens
from gateway.errors import (
    BudgetExhausted,
    GatewayError,
    InvalidRequest,
    NotCached,
    OutcomeUnknown,
    RateLimited,
    Unauthorized,
    Unavailable,
    UpstreamError,
    UpstreamRefusal,
)
from gateway.web.openai import wire
from gateway.web.openai.errors import (
    StillRunning,
    StillRunningAlone,
    as_openai,
    error_body,
    error_headers,
    failure_error,
)
from gateway.web.openai.wire import facts, read_fields, read_wish


def model(name: str, *upstream_models: str) -> ImageModel:
    prices = (PriceRule(10),)
    routes = tuple(Route("evolink", one, prices) for one in upstream_models)
    return ImageModel(name, routes, deadline_seconds=900.0)


OLD = model("gpt-image-1.5", "gpt-image-1.5-beta", "gpt-image-1.5")
NEW = model("gpt-image-2.5-flare", "gpt-image-2.5-flare")
CATALOG = Catalog(
    {one.name: one for one in (OLD, NEW)},
    {"quick": OLD.name, "dall-e-3": OLD.name, "dall-e-2": OLD.name},
)
LEAST = {"model": OLD.name, "prompt": "a bicycle"}

RUN = Run(
    id="run_" + "a" * 32,
    fingerprint="f" * 64,
    team="blue",
    model=OLD.name,
    quality="low",
    n=2,
    request="{}",
    upstream="evolink",
    upstream_model=OLD.name,
    price_usd_micros=10,
    windows=Windows(0, 0, 0, 0, 0),
    hold=NOTHING,
    created_at=1_800_000_000.0,
    deadline_at=1_800_000_900.0,
    due_at=1_800_000_000.0,
    state=RunState.DONE,
    spent=Amounts(20, 2, 1),
    finished_at=1_800_000_020.7,
    kept=tuple(
        Kept(f"https://files.example.org/{name}.png", Picture(name * 64, "png", 10, 1024, 1536))
        for name in "ab"
    ),
)


# --- requests ------------------------------------------------------------------------------------


def test_the_body_is_that_of_our_own_order() -> None:
    wish = read_wish({**LEAST, "n": 2, "size": "1024x1024", "quality": "low"}, CATALOG)
    assert wish.body == {**LEAST, "n": 2, "size": "1024x1024", "quality": "low"}
    assert not wish.as_links


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", "auto"),
        ("quality", "auto"),
        ("size", ""),
        ("quality", "Auto "),
        ("user", "somebody"),
        ("safety_identifier", "somebody"),
        ("metadata", {"job": 7}),
        ("moderation", "low"),
        ("moderation", ""),
        ("background", "auto"),
        ("background", "opaque"),
        ("output_format", "png"),
        ("output_compression", 100),
        ("input_fidelity", "low"),
        ("partial_images", 0),
        ("stream", False),
        ("response_format", "b64_json"),
        ("response_format", ""),
        ("style", None),
        ("style", "vivid"),
        ("mask", ""),
        ("image", []),
    ],
)
def test_what_asks_for_nothing_more_is_the_same_order(name: str, value: object) -> None:
    for named in (OLD.name, NEW.name):
        least = {**LEAST, "model": named}
        order = read_order(read_wish({**least, name: value}, CATALOG).body, CATALOG)
        assert {"model": order.model, **order.body} == least


def test_whom_it_is_for_goes_with_the_order_and_not_upstream() -> None:
    labels = {"user": "somebody", "safety_identifier": "s-1", "metadata": {"job": 7}}
    order = read_order(read_wish({**LEAST, **labels}, CATALOG).body, CATALOG)
    assert order.labels == labels and not order.body.keys() & labels.keys()


@pytest.mark.parametrize("name", ["dall-e-3", "dall-e-2"])
def test_a_dall_e_name_is_answered_as_dall_e_did(name: str) -> None:
    asked = {**LEAST, "model": name, "style": "vivid"}
    wishes = {
        quality: read_wish({**asked, "quality": quality}, CATALOG)
        for quality in ("standard", "hd", "HD", "low")
    }
    assert all(wish.as_links and "style" not in wish.body for wish in wishes.values())
    assert {quality: wish.body.get("quality") for quality, wish in wishes.items()} == {
        "standard": None, "hd": "high", "HD": "high", "low": "low",
    }  # fmt: skip
    assert read_wish(asked, CATALOG).as_links
    assert not read_wish({**asked, "response_format": "b64_json"}, CATALOG).as_links
    other = read_wish({**LEAST, "quality": "hd"}, CATALOG)
    assert other.body["quality"] == "hd" and not other.as_links  # other models never knew the word


@pytest.mark.parametrize("part", ["image", "image[0]", "images[]", "images"])
def test_a_picture_in_the_wrong_place_is_told_its_right_one(part: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_wish({**LEAST, part: "one.png"}, CATALOG)
    assert "'image' or several as 'image[]'" in refused.value.message
    assert refused.value.param == part.partition("[")[0]


def test_models_are_listed_under_every_name() -> None:
    listed: Any = wire.model_list([OLD, NEW], CATALOG.aliases)["data"]
    assert [one["id"] for one in listed] == [
        OLD.name, "quick", "dall-e-3", "dall-e-2", NEW.name,
    ]  # fmt: skip
    assert all(one["created"] > 1_700_000_000 for one in listed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("background", "transparent"),
        ("output_format", "webp"),
        ("output_compression", 50),
        ("input_fidelity", "high"),
        ("partial_images", 2),
        ("stream", True),
        ("mask", "https://example.org/mask.png"),
        ("image", "https://example.org/one.png"),
        ("complexity", "high"),
        ("svg", {"model": "any"}),
        ("background", ["auto"]),
    ],
)
def test_what_would_be_missed_is_refused_by_name(name: str, value: object) -> None:
    for named in (OLD.name, "quick"):
        with pytest.raises(InvalidRequest) as refused:
            read_wish({**LEAST, "model": named, name: value}, CATALOG)
        assert refused.value.param == name


def test_later_models_have_formats_and_backgrounds() -> None:
    more = {"background": "transparent", "output_format": "webp"}
    body = {**LEAST, "model": NEW.name, **more}
    assert read_wish(body, CATALOG).body == body
    assert wire.takes_mask(NEW) and not wire.takes_mask(OLD)


def test_unknown_parameters_are_forwarded() -> None:
    assert read_wish({**LEAST, "resolution": "2K"}, CATALOG).body["resolution"] == "2K"


def test_links_are_given_when_asked_for() -> None:
    wish = read_wish({**LEAST, "response_format": "url"}, CATALOG)
    assert wish.as_links and wish.body == LEAST
    with pytest.raises(InvalidRequest) as refused:
        read_wish({**LEAST, "response_format": "gif"}, CATALOG)
    assert refused.value.param == "response_format"


@pytest.mark.parametrize("body", [None, [], "text", 3])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(InvalidRequest):
        read_wish(body, CATALOG)


def test_fields_of_a_form_get_the_types_of_json() -> None:
    fields = read_fields(
        [("n", "2"), ("prompt", "7"), ("stream", "false"), ("partial_images", "0")]
    )
    assert fields == {"n": 2, "prompt": "7", "stream": False, "partial_images": 0}
    assert read_fields([("n", "two"), ("output_compression", "-1")]) == {
        "n": "two",
        "output_compression": "-1",
    }
    with pytest.raises(InvalidRequest) as refused:
        read_wish(read_fields([("svg[model]", "any")]), CATALOG)
    assert refused.value.param == "svg"


# --- answers -------------------------------------------------------------------------------------


def test_the_answer_tells_what_is_known() -> None:
    assert facts(RUN) == {
        "created": 1_800_000_020,
        "background": "opaque",
        "output_format": "png",
        "quality": "low",
        "size": "1024x1536",
    }
    jpeg = replace(RUN.kept[0], picture=replace(RUN.kept[0].picture, extension="jpg"))
    other = facts(replace(RUN, kept=(jpeg,), quality="", request='{"background":"transparent"}'))
    assert other["output_format"] == "jpeg" and other["background"] == "transparent"
    assert "quality" not in other


def usage(upstream: Any) -> Any:
    return facts(replace(RUN, task=orjson.dumps({"usage": upstream}).decode())).get("usage")


def test_usage_is_upstreams_count_of_tokens() -> None:
    counts = {"image_input_tokens": 5, "text_input_tokens": 57, "image_output_tokens": 1120}
    told = {
        "input_tokens": 62,
        "input_tokens_details": {"image_tokens": 5, "text_tokens": 57},
        "output_tokens": 1120,
        "total_tokens": 1182,
    }
    assert usage(counts) == told
    assert usage({**counts, "total_tokens": 1200}) == {**told, "total_tokens": 1200}


def test_usage_of_another_kind_is_what_its_docket_counts() -> None:
    told = Docket("openai", tokens=Tokens(text_in=18, image_in=5, image_out=196, text_out=4))
    assert facts(replace(RUN, task=docket.written(told)))["usage"] == {
        "input_tokens": 23,
        "input_tokens_details": {"image_tokens": 5, "text_tokens": 18},
        "output_tokens": 200,
        "output_tokens_details": {"image_tokens": 196, "text_tokens": 4},
        "total_tokens": 223,
    }
    silent = replace(RUN, task=docket.written(replace(told, tokens=None)))
    assert "usage" not in facts(silent)


@pytest.mark.parametrize(
    "upstream",
    [
        None,
        [],
        {"credits_used": 1.5},
        {"image_input_tokens": 5, "text_input_tokens": "57", "image_output_tokens": 9},
        {"image_input_tokens": -5, "text_input_tokens": 57, "image_output_tokens": 9},
        {"image_input_tokens": True, "text_input_tokens": 57, "image_output_tokens": 9},
    ],
)
def test_usage_is_left_out_unless_it_is_known(upstream: object) -> None:
    assert usage(upstream) is None


# --- errors --------------------------------------------------------------------------------------


def shown(error: GatewayError) -> tuple[int, dict[str, Any], bool]:
    """Status, the error object, and whether the clients may retry by themselves."""
    error = as_openai(error)
    body = orjson.loads(error_body(error, "https://us.example.org"))["error"]
    return error.status, body, error_headers(error).get("X-Should-Retry") != "false"


@pytest.mark.parametrize(
    ("error", "status", "code", "retried"),
    [
        (InvalidRequest("no", param="size"), 400, "invalid_request", True),
        (Unauthorized("no"), 401, "invalid_api_key", True),
        (BudgetExhausted("no", retry_after_seconds=3), 429, "insufficient_quota", False),
        (RateLimited("no", retry_after_seconds=3), 429, "rate_limit_exceeded", True),
        (RateLimited("no", retry_after_seconds=7200), 429, "rate_limit_exceeded", False),
        (UpstreamError("no"), 502, "upstream_error", False),
        (OutcomeUnknown("no"), 504, "outcome_unknown", False),
        (NotCached("no"), 504, "not_cached", False),
        (Unavailable("no"), 503, "service_unavailable", True),
        (StillRunning("no"), 504, "still_running", True),
        (StillRunningAlone("no"), 504, "still_running", False),
        (GatewayError("no"), 500, "internal_error", True),
    ],
)
def test_errors_have_openais_four_members(
    error: GatewayError, status: int, code: str, retried: bool
) -> None:
    told = shown(error)
    assert (told[0], told[1]["code"], told[2]) == (status, code, retried)
    assert {"message", "type", "param", "code"} <= told[1].keys()
    assert told[1]["param"] == error.param
    assert told[1]["doc_url"] == f"https://us.example.org/docs#{error.code}"


def test_a_refusal_of_upstreams_has_its_own_code_and_leads_nowhere() -> None:
    body = '{"error": {"code": "model_access_denied", "message": "not in your plan"}}'
    assert shown(UpstreamRefusal(403, body))[1] == {
        "message": "not in your plan",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_access_denied",
    }


K = FailureKind
FAILED = {
    # What failed: status, code, and whether the clients may order once more by themselves.
    Failure(K.TASK_FAILED, "content_policy_violation", "no"): (400, "moderation_blocked", True),
    Failure(K.TASK_FAILED, "image_processing_error", "no"): (400, "image_processing_error", True),
    Failure(K.TASK_FAILED, "service_error", "no"): (502, "upstream_error", True),
    Failure(K.UNAVAILABLE, "service_unavailable", "no"): (503, "service_unavailable", True),
    Failure(K.CREDENTIALS, "upstream_error", "no", status=401): (502, "upstream_error", False),
    Failure(K.TIMED_OUT, "generation_timeout", "no"): (424, "generation_timeout", False),
    Failure(K.RESULT_LOST, "result_lost", "no"): (424, "result_lost", False),
    Failure(K.OUTCOME_UNKNOWN, "outcome_unknown", "no"): (504, "outcome_unknown", False),
    Failure(K.REFUSED, "moderation_blocked", "no", 400, "{}"): (400, "invalid_request", True),
}


@pytest.mark.parametrize("failure", FAILED, ids=lambda one: f"{one.kind}-{one.code}")
def test_a_failed_run_is_an_error_and_is_never_ordered_again_if_it_was_paid(
    failure: Failure,
) -> None:
    status, error, retried = shown(failure_error(failure))
    assert (status, error["code"], retried) == FAILED[failure]


@pytest.mark.parametrize(
    ("code", "status", "shown_code"),
    [
        ("service_error", 424, "result_lost"),
        ("unknown_error", 424, "result_lost"),
        ("content_policy_violation", 400, "moderation_blocked"),
    ],
)
def test_a_failed_task_that_was_charged_is_sent_again_by_no_client(
    code: str, status: int, shown_code: str
) -> None:
    """Clients that look at the status alone do so after 5xx."""
    failed = failure_error(Failure(K.TASK_FAILED, code, "sorry"), charged=True)
    told, error, _ = shown(failed)
    assert (told, error["code"]) == (status, shown_code) and "sorry" in error["message"]


def test_every_kind_of_failure_has_an_answer() -> None:
    assert {failure.kind for failure in FAILED} == set(FailureKind)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (
            422,
            '{"error":{"code":"bad_thing","message":"not so","param":"size"}}',
            (422, "invalid_request_error", "bad_thing", "not so", "size"),
        ),
        (
            403,
            '{"error":{"code":"content_filter","message":"not so"}}',
            (400, "image_generation_user_error", "moderation_blocked", "not so", None),
        ),
        (
            400,
            '{"error":{"code":400,"message":"not so"}}',
            (400, "invalid_request_error", "400", "not so", None),
        ),
        (
            400,
            '{"success":false,"code":40003,"msg":"file quota exceeded"}',
            (400, "invalid_request_error", "invalid_request", "file quota exceeded", None),
        ),
        (
            404,
            "<html>",
            (
                404,
                "invalid_request_error",
                "invalid_request",
                "The upstream provider refused the request.",
                None,
            ),
        ),
    ],
)
def test_upstreams_refusals_are_put_into_openais_words(
    status: int, body: str, told: tuple[object, ...]
) -> None:
    status_shown, error, _ = shown(UpstreamRefusal(status, body))
    members = (error["type"], error["code"], error["message"], error["param"])
    assert (status_shown, *members) == told
