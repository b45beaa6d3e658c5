"""Errors in OpenAI's shape, such that its clients raise the right classes and retry what they may.

They retry 408, 409, 429 and 5xx by themselves, as new requests; `X-Should-Retry: false` keeps
them from it where that cannot help or might pay twice.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.core.model import Failure, FailureKind
from gateway.core.runs.failures import (
    BLOCKED,
    charged_all_the_same,
    submit_error,
    wants_another_request,
)
from gateway.errors import (
    BudgetExhausted,
    CallerError,
    GatewayError,
    GenerationTimeout,
    NotCached,
    OutcomeUnknown,
    RateLimited,
    ResultLost,
    Unauthorized,
    UpstreamError,
    UpstreamRefusal,
)
from gateway.web.openai.wire import MASK, parameter
from gateway.web.remedies import doc_url

USER_ERROR: Final = "image_generation_user_error"
PATIENCE_SECONDS: Final = 60.0
"""The longest `Retry-After` that OpenAI's clients wait for; a longer one they cut to seconds."""


class NotMakeable(CallerError):
    """Upstream took the request and could not make this picture."""

    type = USER_ERROR

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = "moderation_blocked" if code in BLOCKED else code


class TaskBroken(GatewayError):
    """Upstream's task failed through no fault of the request, and nothing was charged."""

    status, code = 502, "upstream_error"


class StillRunning(GatewayError):
    """The longest wait is over and the picture is not there yet."""

    status, code = 504, "still_running"


class StillRunningAlone(StillRunning):
    """The same of an order that no other can join: sent again, it is paid again."""


class WrongBaseUrl(CallerError):
    """A client of OpenAI's that would order a picture here and never find it in the answer."""

    code = "wrong_base_url"

    def __init__(self, public_url: str) -> None:
        super().__init__(f"Nothing was ordered. {right_base_url(public_url)}")


def right_base_url(public_url: str) -> str:
    return f"The base URL for OpenAI's clients is {public_url}/openai/v1."


class Relayed(CallerError):
    """Upstream's refusal, with its own status and code."""

    explained = False


class ModelNotFound(CallerError):
    status, code = 404, "model_not_found"


NEVER_AGAIN: Final = (
    BudgetExhausted,
    NotCached,
    OutcomeUnknown,
    ResultLost,
    StillRunningAlone,
    UpstreamError,
)
"""The clients would send these once more by themselves; that cannot help, or might cost."""


def failure_error(failure: Failure, *, charged: bool = False) -> GatewayError:
    """What a failed run is to the one who waited for its pictures; `charged`: it has cost money."""
    match failure.kind:
        case FailureKind.REFUSED | FailureKind.CREDENTIALS | FailureKind.UNAVAILABLE:
            return submit_error(failure)
        case FailureKind.OUTCOME_UNKNOWN:
            return OutcomeUnknown(failure.message)
        case FailureKind.TIMED_OUT:
            return GenerationTimeout(failure.message)
        case FailureKind.TASK_FAILED:
            if wants_another_request(failure):
                return NotMakeable(failure.code, failure.message)
            if charged:
                return ResultLost(charged_all_the_same(failure))
            return TaskBroken(failure.message)
        case _:
            return ResultLost(failure.message)


def error_body(error: GatewayError, public_url: str) -> bytes:
    """`{"error": {...}}` with OpenAI's four members, always."""
    shown: dict[str, object] = {
        "message": error.message,
        "type": error.type,
        "param": error.param and parameter(error.param),
        "code": "invalid_api_key" if isinstance(error, Unauthorized) else error.code,
    }
    if explained := doc_url(error, public_url):
        shown["doc_url"] = explained
    return orjson.dumps({"error": {**error.extra, **shown}})


def as_openai(error: GatewayError) -> GatewayError:
    """The error that OpenAI's clients understand: a refusal of upstream's is put in its words."""
    if isinstance(error, UpstreamRefusal):
        return _refusal(error)
    if isinstance(error, BudgetExhausted):
        error.status = 429  # theirs for `insufficient_quota`; they know no 402
    return error


def of_an_edit(error: GatewayError) -> GatewayError:
    """The same, which names the parts that came with the request and not the links that they are
    in its order."""
    shown = as_openai(error)
    shown.message = _named_as_sent(shown.message)
    shown.param = shown.param and _named_as_sent(shown.param)
    return shown


def _named_as_sent(text: str) -> str:
    return text.replace("image_urls", "image").replace("mask_url", MASK)


def error_headers(error: GatewayError) -> dict[str, str]:
    """`x-should-retry` overrules what the clients would do by the status alone."""
    too_long = isinstance(error, RateLimited) and (
        (error.retry_after_seconds or 0.0) > PATIENCE_SECONDS
    )
    if too_long or error.status == 409 or isinstance(error, NEVER_AGAIN):
        return {"X-Should-Retry": "false"}
    return {}


def _refusal(refused: UpstreamRefusal) -> GatewayError:
    try:
        parsed: Any = orjson.loads(refused.body)
    except orjson.JSONDecodeError:
        parsed = None
    body = parsed if isinstance(parsed, dict) else {}
    told = body.get("error", {"message": body.get("msg")})  # the file API's errors have a `msg`
    told = told if isinstance(told, dict) else {}
    code, message, param = (str(told.get(name) or "") for name in ("code", "message", "param"))
    error: GatewayError
    if code in BLOCKED:
        error = NotMakeable(code, message)
    else:
        error = Relayed(message or "The upstream provider refused the request.")
        error.status, error.code = refused.status, code or "invalid_request"
    error.param = param or None
    error.upstream_seconds = refused.upstream_seconds
    return error
