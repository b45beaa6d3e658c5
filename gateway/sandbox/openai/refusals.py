"""What is refused, and how it is said: the only place that knows the shapes of errors.

`FAILURES` has the failures that a magic word can ask for, by their code; what is wrong with a
request is refused by the functions beneath. Azure says the same in fewer members.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import orjson
from starlette.responses import HTMLResponse, Response

_BAD_REQUEST = "invalid_request_error"
_USER_ERROR = "image_generation_user_error"
_NO_MONEY = "insufficient_quota"


class Style(Enum):
    """By which of its addresses the API was called."""

    OPENAI = "openai"
    AZURE = "azure"
    AZURE_V1 = "azure_v1"

    @property
    def is_azure(self) -> bool:
        return self is not Style.OPENAI


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error answer.

    `azure` is its shape at Azure: `same` members as at OpenAI, `short` for code and message alone,
    `status` for those with the status as the code.
    """

    status: int
    type: str | None
    code: str | None = None
    param: str | None = None
    message: str
    retry_after_seconds: float | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    around: Mapping[str, Any] = field(default_factory=dict)
    azure: str = "same"

    def error(self, style: Style) -> dict[str, Any]:
        """The object under `error`."""
        if style.is_azure and self.azure != "same":
            code = str(self.status) if self.azure == "status" else self.code
            return {"code": code, "message": self.message, **self.beside}
        members = {"message": self.message, "type": self.type, "param": self.param}
        return {**members, "code": self.code, **self.beside}

    def body(self, style: Style, *, is_detail: bool = False) -> dict[str, Any]:
        """The whole JSON; `is_detail` gives the shape of a compatible server."""
        if is_detail:
            return {"detail": self.message}
        return {**self.around, "error": self.error(style)}

    def waiting(self, seconds: float | None) -> "Refusal":
        """The same with another time to wait, where it names one; None leaves it."""
        if seconds is None or self.retry_after_seconds is None:
            return self
        return replace(self, retry_after_seconds=seconds)

    def answer(self, style: Style, *, is_detail: bool = False) -> Response:
        body = orjson.dumps(self.body(style, is_detail=is_detail))
        headers = {}
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(-int(-self.retry_after_seconds // 1))
            headers["retry-after-ms"] = str(round(self.retry_after_seconds * 1000))
        return Response(body, self.status, headers, "application/json")


class RefusedError(Exception):
    """A refusal, raised anywhere below a route and turned into HTTP at the boundary."""

    def __init__(self, refusal: Refusal, *, is_detail: bool = False) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.is_detail = is_detail


def _moderation(stage: str) -> dict[str, Any]:
    return {"moderation_details": {"moderation_stage": stage, "categories": ["violence"]}}


def _no_money(code: str) -> Refusal:
    return Refusal(status=429, type=_NO_MONEY, code=code, azure="short",
                   message="No more can be spent. See your plan and billing details.")  # fmt: skip


_FILTERED = "Your task failed as a result of our safety system."
FAILURES: Mapping[str, Refusal] = {
    "moderation_blocked": Refusal(
        status=400, type=_USER_ERROR, code="moderation_blocked",
        message="Your request was rejected by the safety system. safety_violations=[violence].",
    ),
    "contentFilter": Refusal(
        status=400, type=None, code="contentFilter", message=_FILTERED, azure="short",
        around={"created": 1_795_870_000},
    ),
    "content_filter": Refusal(
        status=400, type=None, code="content_filter", param="prompt", azure="same",
        message="The content management policy filtered this prompt.",
        beside={"innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result":
                               {"violence": {"filtered": True, "severity": "high"}}}},
    ),
    "invalid_api_key": Refusal(
        status=401, type=_BAD_REQUEST, code="invalid_api_key", azure="status",
        message="Incorrect API key provided.",
    ),
    "ip_not_authorized": Refusal(
        status=401, type=_BAD_REQUEST, code="ip_not_authorized", azure="status",
        message="Your IP address is not allowed for this project.",
    ),
    "unverified": Refusal(
        status=403, type=_BAD_REQUEST,
        message="Your organization must be verified to use the model. If you have just verified, "
                "it can take up to 15 minutes until access is given.",
    ),
    "unsupported_country_region_territory": Refusal(
        status=403, type="request_forbidden", code="unsupported_country_region_territory",
        message="Country, region, or territory not supported",
    ),
    "Forbidden": Refusal(
        status=403, type=None, code="Forbidden", azure="short",
        message="Your resource has been temporarily blocked because we detected behavior that "
                "may violate our content policy.",
    ),
    "model_not_found": Refusal(
        status=404, type=_BAD_REQUEST, code="model_not_found", param="model",
        message="The model does not exist or you do not have access to it.",
    ),
    "model_retired": Refusal(
        status=400, type=_USER_ERROR, code="invalid_value", param="model",
        message="The model does not exist.",
    ),
    "DeploymentNotFound": Refusal(
        status=404, type=None, code="DeploymentNotFound", azure="short",
        message="The API deployment for this resource does not exist.",
    ),
    "resource_not_found": Refusal(
        status=404, type=_BAD_REQUEST, azure="status", message="Resource not found",
    ),
    "missing_scope": Refusal(
        status=403, type=_BAD_REQUEST,
        message="You have insufficient permissions for this operation. Missing scopes: "
                "api.usage.read.",
    ),
    "unknown_parameter": Refusal(
        status=400, type=_BAD_REQUEST, code="unknown_parameter", param="quality",
        message="Unknown parameter: 'quality'.",
    ),
    "invalid_value": Refusal(
        status=400, type=_USER_ERROR, code="invalid_value", param="size",
        message="Invalid size. Supported sizes are others.",
    ),
    "timeout": Refusal(
        status=408, type=None, code="Timeout", azure="short",
        message="The operation was timeout.",
    ),
    "rate_limit_exceeded": Refusal(
        status=429, type="requests", code="rate_limit_exceeded", retry_after_seconds=1.0,
        azure="status",
        message="Rate limit reached: exceeded call rate limit. Please retry after 1 second.",
    ),
    "slow_down": Refusal(
        status=429, type="rate_limit_error", code="slow_down", retry_after_seconds=1.0,
        message="Requests grew too fast. Slow down and raise your rate gradually.",
    ),
    **{
        code: _no_money(code)
        for code in (
            "credit_balance_exhausted", "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded", "organization_usage_limit_exceeded",
            "insufficient_quota",
        )
    },
    "server_error": Refusal(
        status=500, type="server_error",
        message="An error occurred while processing your request. You can retry it, and name the "
                "request id to support if it persists.",
    ),
    "server_is_overloaded": Refusal(
        status=503, type="service_unavailable_error", code="server_is_overloaded",
        message="The servers are overloaded. Please try again later.",
    ),
}  # fmt: skip
_BY_STATUS = {
    401: "invalid_api_key", 403: "unverified", 404: "model_not_found", 408: "timeout",
    429: "rate_limit_exceeded", 500: "server_error", 503: "server_is_overloaded",
}  # fmt: skip
STREAM_FAILURE = Refusal(
    status=500, type="image_generation_server_error", code="image_generation_failed",
    message="Image generation failed.",
)  # fmt: skip
PAGE_STATUSES = frozenset({502, 504, *range(520, 528)})
"""Statuses that come from a proxy in between, as a page of HTML."""


def failure(code: str, *, is_late: bool = False) -> Refusal:
    """The failure of that code; one that is not known is a 400. `is_late`: after the work."""
    found = FAILURES.get(code)
    if found is None:
        found = Refusal(status=400, type=_USER_ERROR, code=code, message=f"Refused: {code}.")
    if code == "moderation_blocked":
        found = replace(found, beside=_moderation("output" if is_late else "input"))
    if code == "contentFilter" and is_late:
        found = replace(found, message="Generated image was filtered by our safety system.")
    return found


def of_status(status: int, code: str | None) -> Refusal:
    """What a status usually says, with `code` if one is given."""
    known = FAILURES.get(code or _BY_STATUS.get(status, ""))
    if known is None:
        kind = "server_error" if status >= 500 else _BAD_REQUEST
        known = Refusal(status=status, type=kind, code=code, message=f"Refused with {status}.")
    wait = known.retry_after_seconds or (1.0 if status == 429 else None)
    money = known.type == _NO_MONEY
    return replace(known, status=status, code=code or known.code,
                   retry_after_seconds=None if money else wait)  # fmt: skip


def page(status: int) -> Response:
    """What a proxy that gave up shows."""
    title = {502: "Bad gateway", 504: "Gateway time-out", 524: "A timeout occurred"}
    text = title.get(status, "Web server is returning an unknown error")
    return HTMLResponse(f"<!doctype html><title>{status}</title><h1>{text}</h1>", status)


# --- what is wrong with a request -------------------------------------------------------------


def invalid(param: str | None, code: str | None, message: str) -> RefusedError:
    """400 `invalid_request_error` about `param`."""
    refusal = Refusal(status=400, type=_BAD_REQUEST, code=code, param=param, message=message)
    return RefusedError(refusal)


def unknown(param: str) -> RefusedError:
    return invalid(param, "unknown_parameter", f"Unknown parameter: '{param}'.")


def missing(param: str) -> RefusedError:
    return invalid(param, "missing_required_parameter", f"Missing required parameter: '{param}'.")


def wrong_type(param: str, expected: str) -> RefusedError:
    return invalid(param, "invalid_type", f"Invalid type for '{param}': expected {expected}.")


def wrong_value(param: str, allowed: str) -> RefusedError:
    return invalid(param, "invalid_value", f"Invalid value for '{param}'. Allowed: {allowed}.")


def duplicate(param: str) -> RefusedError:
    more = f" To send several, call each of them '{param}[]'." if param == "image" else ""
    return invalid(param, "duplicate_parameter", f"Duplicate parameter: '{param}'.{more}")


def wrong_size(asked: str, allowed: str) -> RefusedError:
    message = f"Invalid size '{asked}'. Supported sizes are {allowed}."
    return RefusedError(replace(FAILURES["invalid_value"], message=message))


def no_model(name: str) -> RefusedError:
    message = f"The model '{name}' does not exist."
    return RefusedError(replace(FAILURES["model_retired"], message=message))


def content_type(found: str, taken: str) -> RefusedError:
    message = f"Unsupported content type: '{found}'. This method takes {taken} only."
    return invalid(None, "unsupported_content_type", message)


def no_route(method: str, path: str) -> RefusedError:
    message = f"Invalid URL ({method} {path}): resource not found"
    return RefusedError(Refusal(status=404, type=_BAD_REQUEST, azure="status", message=message))


def too_large() -> RefusedError:
    return RefusedError(Refusal(status=413, type=_BAD_REQUEST, message="The body is too large."))
