"""The sandbox's HTTP answers: JSON as the real service writes it, its errors, and broken answers.

The only place that knows the shapes of errors. Bodies are compact with sorted keys, because the
real ones are, and a client that greps them must work here as well.
"""

from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.http_protocol import ABORT_EXTENSION

_JSON = "application/json; charset=utf-8"
_TOP_UP = "Insufficient quota. Please top up your account."
_NO_CHANNEL = "No available channel for the requested model"

# status → (code, type, message) of a submit's refusal.
_REFUSALS = {
    400: ("invalid_request", "invalid_request_error", "Invalid request parameters"),
    401: ("unauthorized", "authentication_error", "Invalid or expired token"),
    402: ("insufficient_quota", "insufficient_quota", _TOP_UP),
    403: ("model_access_denied", "invalid_request_error", "Token does not have access to model"),
    404: ("resource_not_found", "invalid_request_error", "The requested resource was not found"),
    409: ("idempotency_conflict", "invalid_request_error",
          "This Idempotency-Key was used with another request body"),
    413: ("request_too_large", "invalid_request_error", "Request body is too large"),
    422: ("invalid_parameters", "invalid_request_error", "Unprocessable request parameters"),
    429: ("rate_limit_exceeded", "rate_limit_error", "Too many requests, please try again later"),
    500: ("internal_error", "api_error", "Internal server error"),
    502: ("upstream_error", "api_error", "Bad gateway"),
    503: ("service_unavailable", "api_error", _NO_CHANNEL),
}  # fmt: skip
# status → (code, type, message) where reading a task differs from submitting one.
_POLL_REFUSALS = {
    **_REFUSALS,
    401: ("unauthorized", "authentication_error", "Authentication required"),
    402: ("quota_exceeded", "insufficient_quota", _TOP_UP),
    403: ("permission_denied", "invalid_request_error", "No permission to access this task"),
    404: ("task_not_found", "invalid_request_error", "The requested task could not be found"),
    429: ("rate_limit_exceeded", "evo_api_error", "Rate limit exceeded"),
    500: ("internal_error", "api_error", "Failed to retrieve task status"),
}
# status → type in the older shape, whose code is the status.
_OLD_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "insufficient_quota_error",
    403: "permission_error", 404: "not_found_error", 413: "request_too_large_error",
    429: "rate_limit_error", 500: "internal_server_error", 502: "upstream_error",
    503: "service_unavailable_error",
}  # fmt: skip
_CONTENT_CODES = frozenset({"moderation_blocked", "input_moderation_failed", "content_filter"})
GARBAGE = b"<html><body>upstream said: {not json"


class RefusedError(Exception):
    """An error answer, raised anywhere below a route and turned into its JSON at the boundary.

    `code` and `message` None take what the documents give for the status; `of_task` chooses the
    table for reading tasks, `old_shape` the older shape with an integer code.
    """

    def __init__(  # noqa: PLR0913 - the members of one error object
        self,
        status: int,
        *,
        code: str | None = None,
        message: str | None = None,
        param: str | None = None,
        of_task: bool = False,
        old_shape: bool = False,
    ) -> None:
        super().__init__(message or code or status)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.of_task = of_task
        self.old_shape = old_shape

    def answer(self) -> Response:
        # Only 429 and 503 promise that waiting helps; one second keeps tests and demos brisk.
        headers = {"Retry-After": "1"} if self.status in (429, 503) else None
        return json_answer({"error": self._error()}, self.status, headers)

    def _error(self) -> dict[str, Any]:
        table = _POLL_REFUSALS if self.of_task else _REFUSALS
        fallback = ("invalid_request", "invalid_request_error", "The request was refused")
        if self.status >= 500:
            fallback = ("service_error", "api_error", f"Upstream service error {self.status}")
        code, kind, message = table.get(self.status, fallback)
        error: dict[str, Any] = {"message": self.message or message}
        if self.param is not None:
            error["param"] = self.param
        if self.old_shape:
            kind = _OLD_TYPES.get(self.status, "upstream_error")
            return {**error, "code": self.status, "type": kind}
        if self.code in _CONTENT_CODES:
            kind = "image_generation_user_error"
        return {**error, "code": self.code or code, "type": kind}


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer as the real service writes it."""
    body = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return Response(body, status_code=status, headers=headers, media_type=_JSON)


def no_channel() -> Response:
    """What the service answers while nothing can serve the model."""
    error = {"code": "no_available_channel", "message": _NO_CHANNEL, "type": "api_error"}
    return json_answer({"error": error}, 503, {"Retry-After": "1"})


def invalid_url(method: str, path: str) -> Response:
    """A route that does not exist, in the words of the relay software behind the service."""
    error = {
        "code": "",
        "message": f"Invalid URL ({method} {path})",
        "param": "",
        "type": "invalid_request_error",
    }
    return json_answer({"error": error}, 404)


def garbage() -> Response:
    """200 with a body that is not JSON, although its content type says so."""
    return Response(GARBAGE, media_type=_JSON)


class Cut(Response):
    """Cuts the connection without a byte of answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await cut_connection(scope, receive)


class Silence(Response):
    """Never answers; ends when the client goes away."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await client_gone(receive)


async def cut_connection(scope: Scope, receive: Receive) -> None:
    """Aborts the transport. Raises ConnectionAbortedError where the server offers no handle."""
    extension = scope.get("extensions", {}).get(ABORT_EXTENSION)
    if extension is None:
        raise ConnectionAbortedError("the sandbox cut this connection on purpose")
    extension["abort"]()
    await client_gone(receive)


async def client_gone(receive: Receive) -> None:
    """Returns when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
