"""What an answer counts in tokens, and what tokens come to.

Pure. A rate is micro-dollars per token, so a bill is a sum of products; it is added up exactly and
rounded up once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from gateway.core.kinds import Rates
from gateway.core.runs.docket import Tokens

MOST: Final = 10**9
"""Of tokens in one answer: a larger number is not believed."""


def worth(tokens: Tokens, rates: Rates) -> int:
    """Micro-dollars."""
    parts = (
        (tokens.text_in, rates.text_in),
        (tokens.image_in, rates.image_in),
        (tokens.image_out, rates.image_out),
        (tokens.text_out, rates.text_out),
    )
    # As the rate is written: a third of a cent in binary would round up what is whole.
    return math.ceil(sum(count * Decimal(str(rate)) for count, rate in parts))


def counted(said: Mapping[str, Any], *, references: bool) -> Tokens | None:
    """The tokens in `usage`; None where it is not there, cannot be read, or counts no picture.

    Where the details are missing, or do not make up the whole, what is not told of is taken for
    the dearer: pictures, but for the input of an order without `references`.
    """
    usage = said.get("usage")
    if not isinstance(usage, dict):
        return None
    came, went = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if came is None or not went:
        return None
    text_in, image_in = _details(usage.get("input_tokens_details"))
    text_out, image_out = _details(usage.get("output_tokens_details"))
    rest = max(0, came - text_in - image_in)
    return Tokens(
        text_in=text_in + (0 if references else rest),
        image_in=image_in + (rest if references else 0),
        image_out=max(image_out, went - text_out),
        text_out=text_out,
    )


def _details(value: object) -> tuple[int, int]:
    """Text and picture tokens; 0 where they are not told."""
    told = value if isinstance(value, dict) else {}
    return _count(told.get("text_tokens")) or 0, _count(told.get("image_tokens")) or 0


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MOST else None
