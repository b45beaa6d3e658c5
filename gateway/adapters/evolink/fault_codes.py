"""The vendor's words for a fault, and those of the proxies on the way: codes, statuses, pages.

Data alone but for the faults of tasks; `submitted` says what follows from each of the others. Codes
are spelt as `said.code_of` spells them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.core.runs.failures import BLOCKED

CROWDED: Final = frozenset(
    {
        "concurrency_limit_exceeded",
        "concurrent_limit_exceeded",
        "rate_limit",
        "rate_limit_error",
        "rate_limit_exceeded",
        "rate_limit_reached",
        "rate_limited",
        "rate_limits_exceeded",
        "request_limit_exceeded",
        "slow_down",
        "throttled",
        "throttling",
        "throttling_exception",
        "too_many_requests",
    }
)
"""Codes that mean "too much at once": never the fault of what was asked for."""

NOBODY_TOOK_IT: Final = CROWDED | {
    "at_capacity",
    "busy",
    "capacity_exceeded",
    "channel_selection_failed",
    "engine_overloaded",
    "insufficient_capacity",
    "maintenance",
    "model_overloaded",
    "model_unavailable",
    "no_available_channel",
    "no_available_channels",
    "no_capacity",
    "over_capacity",
    "overloaded",
    "overloaded_error",
    "queue_full",
    "resource_exhausted",
    "server_busy",
    "server_overloaded",
    "service_busy",
    "service_overloaded",
    "service_temporarily_unavailable",
    "service_unavailable",
    "service_unavailable_error",
    "system_busy",
    "temporarily_unavailable",
    "under_maintenance",
}
"""Codes that mean "nobody to make it at the moment", whatever the status."""

OUTCOME_OPEN: Final = frozenset(
    {
        "duplicate_request",
        "idempotency_conflict",
        "idempotency_key_in_use",
        "paid_outcome_unknown",
        "request_in_progress",
    }
)

ABOUT_CONTENT: Final = BLOCKED | {"image_generation_user_error"}
ABOUT_PARAMETERS: Final = ("invalid_", "unsupported_", "missing_")

OUR_KEY: Final = frozenset(
    {
        "authentication_error",
        "invalid_api_key",
        "invalid_token",
        "ip_restricted",
        "key_disabled",
        "key_expired",
        "key_model_not_allowed",
        "model_access_denied",
        "token_disabled",
        "token_expired",
        "unauthorized",
        "user_disabled",
    }
)
OUR_BALANCE: Final = frozenset(
    {
        "account_balance_insufficient",
        "insufficient_quota_error",
        "payment_required",
        "quota_exceeded",
        "quota_not_enough",
        "token_daily_quota_exceeded",
    }
)
OUR_ACCOUNT: Final = ("account_", "billing_", "insufficient_", "key_")
"""Codes that begin so speak of our account too."""

STATUS_OF: Final[Mapping[str, int]] = {
    "image_generation_user_error": 400,
    "internal_error": 500,
    "internal_server_error": 500,
    "invalid_request_error": 400,
    "model_not_found": 404,
    "not_found": 404,
    "not_found_error": 404,
    "permission_denied": 403,
    "permission_error": 403,
    "request_too_large": 413,
    "request_too_large_error": 413,
    "resource_not_found": 404,
    "upstream_error": 502,
}
"""What status other codes, and types, stand for where an error comes in a 200."""

NEVER_ARRIVED: Final = frozenset({521, 522, 523, 525, 526, 530})
"""Its CDN found no origin: refused, timed out, unreachable, TLS failed, no address."""

SAME_REQUEST_ELSEWHERE: Final = frozenset({301, 307, 308})
CLIENT_LEFT: Final = 499

NOBODY_THERE: Final = re.compile(
    r"(?i)service (is )?(temporarily )?unavailable|temporarily unavailable"
    r"|no server is available|no healthy upstream|no endpoints available"
    r"|temporarily unable to service|(down|closed) for maintenance"
)
"""What proxies' pages say when they had nobody to hand a request to."""

ANSWER_WAS_LOST: Final = re.compile(
    r"(?i)time-?d?[ -]?out|reset|disconnect|fetch failed|guru meditation|read error|terminat"
    r"|closed(?! for maintenance)"
)
"""What the pages of others say, also with 503, that had sent it and then heard nothing."""

# --- faults of tasks -----------------------------------------------------------------------------

PROVIDERS_FAULT: Final = frozenset(
    {
        "generation_timeout",
        "model_unavailable",
        "quota_exceeded",
        "rate_limited",
        "resource_exhausted",
        "service_error",
        "service_unavailable",
        "unknown_error",
        "upstream_error",
    }
)
"""Codes of failed tasks that say nothing about the request: another route may succeed.

Any other code (content, parameters, references, a cancelled task, or one we do not know) would
most likely be the same elsewhere.
"""

PROVIDERS_CHANNELS: Final = "channel_"
"""The vendor's internal codes for its own suppliers begin so."""


def is_providers_fault(code: str) -> bool:
    return code in PROVIDERS_FAULT or code.startswith(PROVIDERS_CHANNELS)
