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

MOST_IN: Final = 1_048_576
"""Tokens: the largest context that any model of the vendor has. More cannot have been read."""

MOST_OUT: Final = 100_000
"""Tokens for each picture: four times those of the dearest that is known (2880x2880 at `high`:
23,719), for models to come. More is not believed."""


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


def counted(said: Mapping[str, Any], *, references: bool, pictures: int) -> Tokens | None:
    """The tokens in `usage` for so many pictures; None where it is not there, cannot be read,
    counts no picture, or more than is possible.

    Where the details are missing, or do not make up the whole, what is not told of is taken for
    the dearer: pictures, but for the input of an order without `references`. Details of more than
    the whole are not told.
    """
    usage = said.get("usage")
    if not isinstance(usage, dict):
        return None
    came, went = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if came is None or came > MOST_IN or not went or went > pictures * MOST_OUT:
        return None
    text_in, image_in = _details(usage.get("input_tokens_details"), came)
    text_out, image_out = _details(usage.get("output_tokens_details"), went)
    made = went - text_out
    if not made or (text_out and image_out == 0):
        return None
    rest = came - text_in - (image_in or 0)
    return Tokens(
        text_in=text_in + (0 if references else rest),
        image_in=(image_in or 0) + (rest if references else 0),
        image_out=made,
        text_out=text_out,
    )


def _details(value: object, whole: int) -> tuple[int, int | None]:
    """Text tokens, 0 where they are not told, and picture tokens, None where they are not."""
    told = value if isinstance(value, dict) else {}
    text, image = _count(told.get("text_tokens")) or 0, _count(told.get("image_tokens"))
    return (text, image) if text + (image or 0) <= whole else (0, None)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value >= 0 else None
