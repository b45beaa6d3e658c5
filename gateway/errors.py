"""The fault tree: whose fault an error is, and what the outside is told.

Every error that may reach a client is a `GatewayError`; the class alone gives status, code and
type, so there is one table and it is this file. Anything else that is raised is a defect of
ours: it is logged in full and shown as a bare 500.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any


class GatewayError(Exception):
    """An error with a public face. `message` says what happened and what to do about it.

    `upstream_seconds` is how long upstream was waited for before it came to this.
    """

    status = 500
    code = "internal_error"
    type = "api_error"
    explained = True
    """Whether the code is ours, so that `/docs` has a chapter on it."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.extra = dict(extra or {})
        self.upstream_seconds = 0.0


# --- the caller's fault ----------------------------------------------------------------------


class CallerError(GatewayError):
    """The request must change before it can succeed."""

    status, code, type = 400, "invalid_request", "invalid_request_error"


class InvalidRequest(CallerError):
    """A field is missing, malformed or not allowed; `param` names it."""


class InvalidTaskId(CallerError):
    code = "invalid_task_id"


class Unauthorized(CallerError):
    status, code, type = 401, "unauthorized", "authentication_error"


class BudgetExhausted(CallerError):
    """A money budget would be exceeded; `extra` carries `limit_scope` and `resets_at`."""

    status, code, type = 402, "insufficient_quota", "insufficient_quota"


class ModelAccessDenied(CallerError):
    status, code = 403, "model_access_denied"


class TaskNotFound(CallerError):
    status, code = 404, "task_not_found"


class NotFound(CallerError):
    status, code = 404, "not_found"


class TeamNotFound(NotFound):
    code = "team_not_found"


class KeyNotFound(NotFound):
    code = "key_not_found"


class Conflict(CallerError):
    """What is asked does not go with how things are; the request itself is in order."""

    status = 409


class TeamExists(Conflict):
    code = "team_exists"


class Provisioned(Conflict):
    code = "provisioned"


class KeyNotActive(Conflict):
    code = "key_not_active"


class RotationUnderWay(Conflict):
    code = "rotation_under_way"


class MethodNotAllowed(CallerError):
    status, code = 405, "method_not_allowed"


class IdempotencyConflict(CallerError):
    """An `Idempotency-Key` came again, with another order."""

    status, code = 409, "idempotency_conflict"


class RequestTooLarge(CallerError):
    status, code = 413, "request_too_large"


class UnsupportedCoding(CallerError):
    """The body's `Content-Encoding` is none that is undone here; `accepted` are those that are."""

    status, code = 415, "unsupported_media_type"

    def __init__(self, message: str, *, accepted: Sequence[str]) -> None:
        super().__init__(message)
        self.accepted = tuple(accepted)


class RateLimited(CallerError):
    status, code, type = 429, "rate_limit_exceeded", "rate_limit_error"


# --- upstream's fault --------------------------------------------------------------------------


class ResultLost(GatewayError):
    """No picture came, and the order counts as spent: sent again it might be paid again.

    A status that no client sends again by itself, as many do after 5xx.
    """

    status, code = 424, "result_lost"


class GenerationTimeout(ResultLost):
    """The same: upstream took the order and did not finish it in time."""

    code = "generation_timeout"


class UpstreamError(GatewayError):
    status, code = 502, "upstream_error"


class OutcomeUnknown(GatewayError):
    """A submit was sent and its answer lost. Nothing is ever sent again by itself."""

    status, code = 504, "outcome_unknown"


class UpstreamRefusal(GatewayError):
    """Upstream's own refusal of the request: status and body go to the client unchanged."""

    code = "refused"
    explained = False

    def __init__(self, status: int, body: str) -> None:
        super().__init__("refused by upstream")
        self.status = status
        self.body = body


# --- the gateway's own condition ---------------------------------------------------------------


class Unavailable(GatewayError):
    """The gateway cannot take this now (store down, disk floor, stopping); try again later."""

    status, code = 503, "service_unavailable"


class Unsettled(Unavailable):
    """Whether it was written is not known yet: the ledger stopped answering at its commit.

    `settled` waits until it is known: then it gives the answer as if nothing had been, or raises
    what came of it; `Unavailable` says that nothing was written.
    """

    def __init__(self, settled: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(
            "The gateway's ledger stopped answering while this was written; whether it was is not"
            " known yet. Look, or send the same again: an identical order joins the first one, and"
            " with its Idempotency-Key it gets that one's task.",
            retry_after_seconds=5.0,
        )
        self.settled = settled


class NotCached(GatewayError):
    """`only-if-cached` was asked and there is no stored answer (RFC 9111, section 5.2.1.7)."""

    status, code = 504, "not_cached"
