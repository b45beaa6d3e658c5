"""A report of usage as JSON or CSV, for operators and teams: the same columns, the same rows."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Final, Literal, NotRequired, cast

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway.core.model import Usage
from gateway.core.money.usd import dollars, exact_usd
from gateway.errors import InvalidRequest
from gateway.ports.ledger import UsagePart
from gateway.services.usage import Period, UsageReport, period
from gateway.web.evolink import wire
from gateway.web.query import Query
from gateway.web.schema import STRING, Shape

CSV: Final = "text/csv"
JSON: Final = "application/json"
AS_CSV: Final[Mapping[str, Shape | None]] = {CSV: STRING}

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes a cell that begins so for something to be computed."""


class CountersShape(TypedDict):
    """Of the orders that were let in: `hits` were answered from the cache, `joined` by one that was
    under way, and `started` are new: of these `done` got their pictures and are paid, `failed`
    did not and cost `failed_usd` all the same, and the rest is under way.

    `images_generated` are pictures made, `images_cache` pictures reused. `bypassed` are those of
    `started` whose clients passed the cache by.
    """

    hits: int
    joined: int
    started: int
    failed: int
    images_generated: int
    images_cache: int
    spent_usd: float
    saved_usd: float
    saved_hit_usd: float
    saved_joined_usd: float
    bypassed: int
    bypassed_usd: float
    done: int
    failed_usd: float


class UsageRowShape(CountersShape):
    """One row of the report; of `day`, `team`, `model` those that it was asked by."""

    day: NotRequired[str]
    team: NotRequired[str]
    model: NotRequired[str]


UsageShape = TypedDict(
    "UsageShape",
    {
        "from": str,
        "to": str,
        "timezone": str,
        "by": list[str],
        "data": list[UsageRowShape],
        "totals": CountersShape,
    },
)


COLUMNS: Final = tuple(CountersShape.__annotations__)


class UsageAsked(Query):
    """Which days, and as what. Days are those of the operator's time zone."""

    since: str | None = Field(
        None,
        alias="from",
        description="The first day, as `2026-01-31`, `7d` (seven days ago), `yesterday`, or the "
        "first of `2026-01`, `last-week`, `last-month`; without it the first of the month.",
    )
    until: str | None = Field(
        None, alias="to", description="The last day, itself included; without it today."
    )
    model: str | None = Field(None, description="Only this model, by its public name.")
    format: Literal["json", "csv"] | None = Field(
        None, description="Without it what `Accept` prefers, else JSON."
    )

    def period(self, now: float, zone: tzinfo) -> Period:
        """The days that are asked for. Raises `InvalidRequest`."""
        return period(self.since, self.until, now=now, zone=zone)


def read_by(text: str, parts: Sequence[UsagePart]) -> tuple[UsagePart, ...]:
    """What the rows are told apart by, such as `day,model`. Raises `InvalidRequest`."""
    named = [name.strip() for name in text.split(",")]
    known = {part.value: part for part in parts}
    found = tuple(known[name] for name in named if name in known)
    if len(found) != len(named) or len(set(found)) != len(found):
        some = ", ".join(parts)
        raise InvalidRequest(f"'by' must name some of {some}, each once.", param="by")
    return found


async def answer(request: Request, asked: UsageAsked, report: UsageReport) -> Response:
    """The report in the form that was asked for; it is written on another thread."""
    if asked.format == "csv" or (asked.format is None and _prefers_csv(request)):
        body = await asyncio.to_thread(as_csv, report)
        name = f"usage-{report.period.first}-to-{report.period.last}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(body, headers=headers, media_type=CSV)
    return Response(await asyncio.to_thread(_as_json, report), media_type=JSON)


def _prefers_csv(request: Request) -> bool:
    """Whether CSV is accepted, and JSON is not named before it."""
    named = [one.partition(";")[0].strip() for one in request.headers.get("accept", "").split(",")]
    return next((one for one in named if one in (CSV, JSON)), JSON) == CSV


def _as_json(report: UsageReport) -> bytes:
    return wire.to_json(shape(report))


def shape(report: UsageReport) -> UsageShape:
    return {
        "from": report.period.first.isoformat(),
        "to": report.period.last.isoformat(),
        "timezone": str(report.period.zone),
        "by": _names(report),
        "data": [
            cast(UsageRowShape, {**line.told_by(report.by), **counters(line.usage)})
            for line in report.lines
        ],
        "totals": counters(report.totals),
    }


def counters(usage: Usage) -> CountersShape:
    return cast(CountersShape, _counters(usage, dollars))


def _counters(usage: Usage, money: Callable[[int], float | str]) -> dict[str, float | str]:
    """The counters by their names; `money` shows micro-dollars."""
    return {
        "hits": usage.hits,
        "joined": usage.joined,
        "started": usage.started,
        "failed": usage.failed,
        "images_generated": usage.images_generated,
        "images_cache": usage.images_cache,
        "spent_usd": money(usage.spent_usd_micros),
        "saved_usd": money(usage.saved_hit_usd_micros + usage.saved_joined_usd_micros),
        "saved_hit_usd": money(usage.saved_hit_usd_micros),
        "saved_joined_usd": money(usage.saved_joined_usd_micros),
        "bypassed": usage.bypassed,
        "bypassed_usd": money(usage.spent_bypassed_usd_micros),
        "done": usage.done,
        "failed_usd": money(usage.spent_failed_usd_micros),
    }


def as_csv(report: UsageReport) -> str:
    """A header line and the rows; dollars with six decimals, so that nothing is lost."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*_names(report), *COLUMNS])
    for line in report.lines:
        parts = [harmless(part) for part in line.told_by(report.by).values()]
        writer.writerow([*parts, *_counters(line.usage, exact_usd).values()])
    return text.getvalue()


def harmless(cell: str) -> str:
    """The text as a spreadsheet shows it, and does not compute it."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _names(report: UsageReport) -> list[str]:
    return [part.value for part in report.by]
