"""`image-gateway usage`: where the money went, by day, team and model, as a table, CSV or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import click

from gateway.cli.formats import number, plain
from gateway.cli.lists import SPAN, filters
from gateway.cli.names import unknown
from gateway.cli.operator import Operator, connected
from gateway.cli.tables import Column, Table, money_column, say

if TYPE_CHECKING:
    from gateway.web.usage_reports import UsageRowShape, UsageShape


FOR_PEOPLE = "team"
"""A table by day, team and model has thousands of lines before anybody has narrowed it down."""


@click.command("usage")
@filters(
    **SPAN,
    team="Only this team.",
    model="Only this model.",
    by="What to tell apart: day, team, model, or several with commas.  "
    "[default: team; all three with --csv and --json]",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, exactly as the API gives it.")
@connected
def usage_command(operator: Operator, as_csv: bool, **given: str | None) -> None:
    """Orders, pictures, money spent and money saved; without --from, of this month.

    Of orders, 'new' ones were sent upstream ('failed' of them got no pictures), others were
    answered 'from cache' or 'joined' one that was under way. Of pictures, some were 'made' and
    some 'reused'. 'bypassed' is what of it was spent because a client passed the cache by
    (Cache-Control).

    Days are those of the gateway's time zone (server.timezone), also 'yesterday'. The totals are
    the ledger's.

    \b
      image-gateway usage --by team
      image-gateway usage --from last-month --to last-month --by team,model
      image-gateway usage --from 2026-01 --to 2026-01 --csv > january.csv
    """
    if as_csv and operator.as_json:
        raise click.UsageError("--csv or --json, not both.")
    if as_csv:
        operator.copy("usage", {**given, "format": "csv"}, media_type="text/csv")
    elif operator.as_json:
        operator.copy("usage", given, media_type="application/json")
    else:
        answer = operator.get("usage", {**given, "by": given["by"] or FOR_PEOPLE})
        operator.show(answer, _table)
        if not operator.read(answer)["data"] and (why := unknown(operator, given)):
            say(why, err=True)


def _table(usage: UsageShape) -> Iterator[str]:
    yield f"{plain(usage['from'])} to {plain(usage['to'])}, days in {plain(usage['timezone'])}"
    yield ""
    if not usage["data"]:
        yield "nothing was ordered."
        return
    by = usage["by"]
    named: list[Column[UsageRowShape]] = [
        Column(name, _namer(name, first=number == 0)) for number, name in enumerate(by)
    ]
    total = cast("UsageRowShape", usage["totals"])
    counters = (*COUNTERS, BYPASSED) if total["bypassed"] else COUNTERS
    if not named:
        yield from Table(*counters).lines([total])
        return
    yield from Table(*named, *counters).lines(usage["data"], total)


def _namer(name: str, *, first: bool) -> Any:
    """The cell of a row's name; the row of totals has none, and says so in its first cell."""
    otherwise = "total" if first else ""
    return lambda row: row.get(name, otherwise)


COUNTERS: tuple[Column[UsageRowShape], ...] = (
    Column("new", lambda row: number(row["started"]), right=True, spare=2),
    Column("from cache", lambda row: number(row["hits"]), right=True, spare=3),
    Column("joined", lambda row: number(row["joined"]), right=True, spare=4),
    Column("failed", lambda row: number(row["failed"]), right=True, spare=5),
    Column("made", lambda row: number(row["images_generated"]), right=True),
    Column("reused", lambda row: number(row["images_cache"]), right=True, spare=1),
    money_column("spent", lambda row: row["spent_usd"]),
    money_column("saved", lambda row: row["saved_usd"]),
)
BYPASSED: Column[UsageRowShape] = money_column("bypassed", lambda row: row["bypassed_usd"], spare=6)
"""Shown where anybody passed the cache by."""
