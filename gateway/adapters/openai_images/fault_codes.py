"""The words of OpenAI, Azure and servers like them for a fault: codes, and texts without a code.

Data alone; `answers` says what follows from each. Codes are spelt as `said.code_of` spells them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

ABOUT_CONTENT: Final = frozenset(
    {
        "content_blocked",
        "content_filter",
        "content_filtered",
        "content_policy_violation",
        "contentfilter",
        "image_content_policy_violation",
        "data_inspection_failed",
        "input_moderation_failed",
        "moderation_blocked",
        "output_moderation_failed",
        "prompt_blocked",
        "responsibleaipolicyviolation",
        "safety_violation",
        "sensitive_words_detected",
    }
)
"""Also those of servers that speak it: new-api says its own with 500."""

CONTENT_WORDS: Final = re.compile(
    r"(?i)safety_violations|safety system|content policy|content management policy"
)
"""What texts without such a code say of content; without a doubt only beside `CONTENT_KIND`."""

CONTENT_KIND: Final = "image_generation_user_error"
"""The type of refusals for content, but of sizes and models too."""

BLOCKED: Final = re.compile(r"(?i)resource (has been|is) (temporarily )?blocked")
"""Azure's word for the whole account, though it speaks of content as well."""

INPUT_STAGE: Final = "input"
OUTPUT_STAGE: Final = "output"
"""Where it was refused: at the output, the pictures had been made by then."""

STAGE_BY_CODE: Final[Mapping[str, str]] = {
    "input_moderation_failed": INPUT_STAGE,
    "output_moderation_failed": OUTPUT_STAGE,
    "prompt_blocked": INPUT_STAGE,
    "sensitive_words_detected": INPUT_STAGE,
}
OUTPUT_WORDS: Final = re.compile(r"(?i)generated image was filtered")
"""How Azure says the same."""

OUR_KEY: Final = frozenset(
    {
        "access_denied",
        "account_deactivated",
        "deploymentnotfound",
        "forbidden",
        "invalid_api_key",
        "invalid_authentication",
        "invalid_model",
        "invalid_organization",
        "ip_not_authorized",
        "model_not_available",
        "model_not_found",
        "model_retired",
        "organization_not_verified",
        "permission_denied",
        "unauthorized",
        "unsupported_country_region_territory",
        "unsupported_model",
    }
)
OUR_BALANCE: Final = frozenset(
    {
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "insufficient_quota",
        "insufficient_user_quota",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
        "quota_exceeded",
    }
)
"""Money and not pace, though it comes with 429: waiting does not help."""

CROWDED: Final = frozenset(
    {
        "engine_overloaded",
        "overloaded",
        "rate_limit_error",
        "rate_limit_exceeded",
        "requests",
        "server_is_overloaded",
        "service_unavailable",
        "service_unavailable_error",
        "slow_down",
        "tokens",
        "too_many_requests",
        "toomanyrequests",
    }
)
CROWD_WORDS: Final = re.compile(r"(?i)rate.?limit|too many requests|overloaded")

SERVER: Final = frozenset(
    {
        "api_error",
        "image_generation_failed",
        "image_generation_server_error",
        "internal_error",
        "internal_server_error",
        "internalservererror",
        "server_error",
    }
)

ABOUT_A_FIELD: Final = re.compile(
    r"(unknown|unsupported|invalid|missing|duplicate|unrecognized)_"
    r"(parameter|value|type|file|input|image|mask|size|quality|field|required|request_field)"
    r"|(unsupported|missing)_file|.*_mimetype|string_above_max_length|array_above_max_length"
    r"|integer_(above|below)_.*|empty_(array|string)|required_parameter|missing_required_parameter"
)
"""Beginnings of codes that say that a field, or its value, is not for this model or server."""

MODEL_GONE: Final = re.compile(
    r"(?i)\bmodel:? ([`'\"]?[\w./:@-]{1,128}[`'\"]? )?(\([^()]{1,128}\) )?"
    r"(does not exist|(is|was|has been) (deprecated|retired|shut down))"
)
"""What is said right after the model or its name: "a model who is long retired" may be in a
picture."""
