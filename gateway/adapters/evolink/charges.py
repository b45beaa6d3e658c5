"""What a task says of its own charge, wherever the vendor writes it.

Credits stand in `usage.credits_used`, in `usage.cost.credits` of newer answers, or in a `billing`
object that also tells of refunds. The most that any of them says counts, less what was paid back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

MOST: Final = 1e9
"""No task costs so many credits: such a number is not believed, but it says that some were paid."""


def credits_used(task: Mapping[str, Any]) -> float | None:
    """The credits that it counts, or None where it counts none that can be read."""
    told = [sane for one in _told(task) if (sane := sane_number(one)) is not None]
    return max(0.0, max(told) - _paid_back(task)) if told else None


def is_charged(task: Mapping[str, Any]) -> bool:
    """Whether it says that it was paid, though perhaps not how much in a number to count with."""
    used = credits_used(task)
    if used:
        return True
    billing = _part(task, "billing")
    if _word(billing, "charge_status") == "charged" and not _is_refunded(billing):
        return True
    unread = (one for one in _told(task) if sane_number(one) is None)
    return any(map(_is_some, (*unread, _part(_part(task, "usage"), "cost").get("usd"))))


def sane_number(value: object) -> float | None:
    """A sane, non-negative number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < MOST else None


def _told(task: Mapping[str, Any]) -> Iterator[object]:
    usage = _part(task, "usage")
    yield usage.get("credits_used")
    yield _part(usage, "cost").get("credits")
    yield _part(task, "billing").get("charged_credits")


def _paid_back(task: Mapping[str, Any]) -> float:
    billing = _part(task, "billing")
    if not _is_refunded(billing):
        return 0.0
    return sane_number(billing.get("refunded_credits")) or 0.0


def _is_refunded(billing: Mapping[str, Any]) -> bool:
    return _word(billing, "refund_status") == "completed"


def _is_some(value: object) -> bool:
    """Whether it is a number above zero, be it as text or beyond what is believed."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return float(value) > 0
    except (ValueError, OverflowError):
        return False


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = whole.get(name)
    return part if isinstance(part, dict) else {}


def _word(whole: Mapping[str, Any], name: str) -> str:
    word = whole.get(name)
    return word.strip().lower() if isinstance(word, str) else ""
