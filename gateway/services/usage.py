"""The report of usage: what the ledger's roll-up says, by day, team and model, and its totals.

Integers are summed and nothing is converted here, so that the totals are exactly the ledger's.
Days are those of the operator's time zone; a row of the roll-up belongs to the day that its
window begins in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta, tzinfo
from operator import add, attrgetter
from typing import Final

from gateway.core.model import Usage
from gateway.core.money.budgets import midnight
from gateway.core.stretches import FORMS, Days, read_days
from gateway.errors import InvalidRequest
from gateway.ports.ledger import Reports, UsagePart

MOST_ROWS: Final = 100_000
"""A file of about ten megabytes; what is larger is asked for in parts."""

MOST_DAYS: Final = 3660
"""Ten years."""

SPAN_DAYS: Final = 31

COUNTERS: Final = tuple(one.name for one in fields(Usage))[3:]
"""All but team, model and day."""

_counters: Final[Callable[[Usage], tuple[int, ...]]] = attrgetter(*COUNTERS)
NO_USAGE: Final = Usage("", "", 0)


@dataclass(frozen=True, slots=True)
class Period:
    """Days of the zone, the last one included."""

    first: date
    last: date
    zone: tzinfo

    @property
    def since(self) -> int:
        return midnight(self.first, self.zone)

    @property
    def until(self) -> int:
        return midnight(self.last + timedelta(days=1), self.zone)


@dataclass(frozen=True, slots=True)
class Line:
    """One row: the day where it is asked by, and the counters; what it is not by is empty."""

    day: date | None
    usage: Usage

    def told_by(self, by: Iterable[UsagePart]) -> dict[str, str]:
        """What tells it apart from the other rows, in this order."""
        parts = {
            UsagePart.DAY: self.day.isoformat() if self.day else "",
            UsagePart.TEAM: self.usage.team,
            UsagePart.MODEL: self.usage.model,
        }
        return {part.value: parts[part] for part in by}


@dataclass(frozen=True, slots=True)
class UsageReport:
    period: Period
    by: tuple[UsagePart, ...]
    lines: Sequence[Line]
    totals: Usage


async def saved_usd_micros(ledger: Reports, team: str) -> int:
    """What the team ever saved over all its models. Raises `Unavailable`."""
    ever = await ledger.usage(team=team)
    return sum(one.saved_hit_usd_micros + one.saved_joined_usd_micros for one in ever)


async def report(
    ledger: Reports,
    period: Period,
    by: tuple[UsagePart, ...],
    *,
    team: str | None = None,
    model: str | None = None,
) -> UsageReport:
    """The report of these days. Raises `InvalidRequest` when it is too long, `Unavailable`."""
    rows: list[Usage] = []
    for part in _spans(period) if UsagePart.DAY in by else [period]:
        rows += await ledger.usage_by_day(
            since_day=part.since, until_day=part.until, team=team, model=model, by=by
        )
        if len(rows) > MOST_ROWS:
            raise _too_long()
    return await asyncio.to_thread(grouped, rows, period, by)  # there may be very many


def period(first: str | None, last: str | None, *, now: float, zone: tzinfo) -> Period:
    """The days asked for (`core.stretches`); without them this month up to today.

    Raises `InvalidRequest`.
    """
    ends, begins = _days("to", last, now, zone), _days("from", first, now, zone)
    until = ends.last if ends else datetime.fromtimestamp(now, zone).date()
    since = begins.first if begins else until.replace(day=1)
    if since > until:
        raise InvalidRequest(
            f"'from' ({since}) is after 'to' ({until}): there are no such days.", param="from"
        )
    if (until - since).days >= MOST_DAYS:
        message = f"There may be at most {MOST_DAYS} days between 'from' and 'to'."
        raise InvalidRequest(message, param="from")
    return Period(since, until, zone)


def grouped(rows: Iterable[Usage], days: Period, by: tuple[UsagePart, ...]) -> UsageReport:
    """The rows summed by these parts and sorted by them, in their order."""
    dates: dict[int, date] = {}
    sums: dict[tuple[date | None, str, str], tuple[int, ...]] = {}
    by_day, by_team, by_model = (part in by for part in UsagePart)
    for row in rows:
        day = None
        if by_day and (day := dates.get(row.day)) is None:
            day = dates[row.day] = datetime.fromtimestamp(row.day, days.zone).date()
        key = (day, row.team if by_team else "", row.model if by_model else "")
        amounts = _counters(row)
        found = sums.get(key)
        sums[key] = amounts if found is None else _added(found, amounts)
    totals = tuple(map(sum, zip(*sums.values(), strict=True))) or _counters(NO_USAGE)
    lines = [Line(key[0], _usage(key[1], key[2], found)) for key, found in sums.items()]
    lines.sort(key=lambda line: tuple(line.told_by(by).values()))
    return UsageReport(days, by, lines, _usage("", "", totals))


def _spans(whole: Period) -> Iterator[Period]:
    """The period in parts, so that no question keeps the ledger from its other work for long."""
    first = whole.first
    while first <= whole.last:
        last = min(first + timedelta(days=SPAN_DAYS - 1), whole.last)
        yield Period(first, last, whole.zone)
        first = last + timedelta(days=1)


def _too_long() -> InvalidRequest:
    return InvalidRequest(
        f"The report would have more than {MOST_ROWS} rows. Narrow it: fewer days, one team or "
        "model, or a shorter 'by'.",
        param="from",
    )


def _added(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(map(add, one, other))


def _usage(team: str, model: str, sums: Sequence[int]) -> Usage:
    return Usage(team, model, 0, *sums)


def _days(name: str, text: str | None, now: float, zone: tzinfo) -> Days | None:
    if text is None:
        return None
    try:
        return read_days(text, now=now, zone=zone)
    except ValueError:
        raise InvalidRequest(f"'{name}' must be {FORMS}.", param=name) from None
