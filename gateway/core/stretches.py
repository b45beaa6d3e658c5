"""Stretches of time as people write them: `yesterday`, `7d`, `last-month`, `2026-11`, a day.

What asks `from` one begins where it begins; what asks `to` one ends where it ends. Days, weeks and
months are those of the zone that is given, which is the gateway's, wherever the question is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Final

from gateway.core.money.budgets import midnight

_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_MONTH: Final = re.compile(r"([0-9]{4})-([0-9]{2})")
_DAY_CHARACTERS: Final = len("2026-01-31")
_UNIT_SECONDS: Final[Mapping[str, int]] = {"m": 60, "h": 3600}
_UNIT_DAYS: Final[Mapping[str, int]] = {"d": 1, "w": 7}
_YEARS: Final = range(1971, 9999)
"""Outside, no zone can tell when a day begins."""


@dataclass(frozen=True, slots=True)
class Days:
    """Whole days, the last one included."""

    first: date
    last: date

    def begin(self, zone: tzinfo) -> float:
        return midnight(self.first, zone)

    def end(self, zone: tzinfo) -> float:
        return midnight(self.last + timedelta(days=1), zone)


def read_days(text: str, *, now: float, zone: tzinfo) -> Days:
    """Raises `ValueError` for what names no days of years that there are."""
    today = datetime.fromtimestamp(now, zone).date()
    try:
        days = _days(text.strip().lower(), today)
    except OverflowError:
        raise ValueError(text) from None
    if days.first.year not in _YEARS or days.last.year not in _YEARS:
        raise ValueError(text)
    return days


def read_begin(text: str, *, now: float, zone: tzinfo) -> float:
    """Where it begins, in Unix seconds. Raises `ValueError`."""
    at = _instant(text.strip(), now, zone)
    return read_days(text, now=now, zone=zone).begin(zone) if at is None else at


def read_end(text: str, *, now: float, zone: tzinfo) -> float:
    """Where it ends, in Unix seconds. Raises `ValueError`."""
    at = _instant(text.strip(), now, zone)
    return read_days(text, now=now, zone=zone).end(zone) if at is None else at


def _instant(text: str, now: float, zone: tzinfo) -> float | None:
    """Of what names a single instant; None for everything else."""
    ago = _AGO.fullmatch(text.lower())
    if ago and (seconds := _UNIT_SECONDS.get(ago[2])):
        return max(0.0, now - int(ago[1]) * seconds)
    if len(text) <= _DAY_CHARACTERS or not text[0].isdigit():
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except OverflowError:
        raise ValueError(text) from None


def _days(text: str, today: date) -> Days:
    if named := _NAMED.get(text):
        return named(today)
    if (ago := _AGO.fullmatch(text)) and (unit := _UNIT_DAYS.get(ago[2])):
        day = today - timedelta(days=int(ago[1]) * unit)
        return Days(day, day)
    if month := _MONTH.fullmatch(text):
        return _month(date(int(month[1]), int(month[2]), 1))
    if len(text) != _DAY_CHARACTERS:
        raise ValueError(text)
    day = date.fromisoformat(text)
    return Days(day, day)


def _month(day: date) -> Days:
    """The month that the day is in."""
    following = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return Days(day.replace(day=1), following - timedelta(days=1))


def _week(day: date) -> Days:
    """The week that the day is in; it begins on Monday, as that of a budget does."""
    monday = day - timedelta(days=day.weekday())
    return Days(monday, monday + timedelta(days=6))


_NAMED: Final[Mapping[str, Callable[[date], Days]]] = {
    "today": lambda day: Days(day, day),
    "yesterday": lambda day: Days(day - timedelta(days=1), day - timedelta(days=1)),
    "this-week": _week,
    "last-week": lambda day: _week(day - timedelta(days=7)),
    "this-month": _month,
    "last-month": lambda day: _month(day.replace(day=1) - timedelta(days=1)),
}

NAMES: Final = tuple(_NAMED)
FORMS: Final = (
    f"a day like 2026-01-31, a month like 2026-01, {', '.join(NAMES)}, or 7d for the day seven days"
    " ago"
)
TIMES: Final = f"a time like 2026-01-31T12:00:00Z, 24h or 30m ago, {FORMS}"
