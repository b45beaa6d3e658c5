"""Instants, which are Unix seconds everywhere, as they are written down: RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

NEVER: Final = float("inf")
"""The time of what does not come: the end of a key without one, the reset of a total."""

_MICROSECOND: Final = timedelta(microseconds=1)


def rfc3339(at: float, timespec: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """`2026-01-31T00:00:00Z`, cut to whole seconds, or to milliseconds where there are any.

    Never later than `at`: what is asked for from the time that it shows is found.
    """
    moment = datetime.fromtimestamp(at, UTC)
    if moment.timestamp() > at:  # it was rounded to a microsecond
        moment -= _MICROSECOND
    text = moment.isoformat(timespec=timespec)
    return f"{text.removesuffix('+00:00').removesuffix('.000')}Z"


def rfc3339_if_ever(at: float | None) -> str | None:
    """In whole seconds; None for no time and for never."""
    return None if at is None or at == NEVER else rfc3339(at)
