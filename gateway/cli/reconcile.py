"""`image-gateway reconcile`: the ledger held against what upstream has on record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.connection import EXIT_REFUSED, EXIT_UNANSWERED
from gateway.cli.formats import NOTHING, counted, instant, listed, minute, number, plain
from gateway.cli.operator import Operator, connected
from gateway.cli.tables import Column, Table, money_column

if TYPE_CHECKING:
    from gateway.web.admin.reconciling import (
        DifferentShape,
        DoubtShape,
        ExtraShape,
        MissingShape,
        ReconciledShape,
        ReconcileShape,
        SumsShape,
    )

BECAME: Final = {
    "freed": "freed",
    "confirmed": "confirmed",
    "fetching": "confirmed, its pictures are fetched",
    "changed": "changed meanwhile",
}
"""What was done about a doubt, in the words of the table."""

WOULD: Final = {"not_taken": "can be freed", "taken": "can be confirmed", "unknown": "stays spent"}


@click.command("reconcile", short_help="Compare the ledger with upstream.")
@click.option("--upstream", help="Only this one, by its name in the settings.")
@click.option(
    "--since",
    help="From when on, at most 31 days ago: 24h, 7d, yesterday, a day or a time.  [default: 24h]",
)
@click.option(
    "--older-than",
    help="How old a loss must be for upstream's silence about it to be believed.  [default: 1h]",
)
@click.option(
    "--apply", is_flag=True, help="Free or confirm what is certain; else nothing is changed."
)
@connected
def reconcile_command(operator: Operator, apply: bool, **given: str | None) -> None:
    """Compares the ledger with what upstream has on record, and settles what was in doubt.

    EvoLink lists tasks: each is looked for by its id, and its credits are compared. OpenAI counts
    requests by the minute (upstreams.*.usage_key opens its report). Told is what is missing there,
    what is extra (somebody else uses the key, or a lost answer was taken after all), and what
    costs something else.

    A run whose answer was lost (outcome_unknown) is spent in full. With --apply it is freed where
    upstream certainly did not take it, and confirmed where it did; what is not certain stays spent.
    Both are written down with your name (teams changes). Doing it twice changes nothing more.

    The exit status is 1 when something differs, and 2 when an upstream could not be compared.

    \b
      image-gateway reconcile
      image-gateway reconcile --upstream evolink --since 7d
      image-gateway reconcile --since 7d --apply
      image-gateway reconcile --json
    """
    asked = {name: value for name, value in given.items() if value is not None}
    if apply:
        answer = operator.send("POST", "reconcile", asked)
    else:
        answer = operator.get("reconcile", asked)
    operator.show(answer, _told)
    with operator.understood():
        found: ReconcileShape = operator.read(answer)
        differs, problems = found["differs"], [one["problem"] for one in found["upstreams"]]
    if differs:
        raise SystemExit(EXIT_REFUSED)
    if any(problems):
        raise SystemExit(EXIT_UNANSWERED)


def _told(found: ReconcileShape) -> Iterator[str]:
    for place, one in enumerate(found["upstreams"]):
        if place:
            yield ""
        yield from _upstream(one, applied=found["applied"])
    certain = [
        doubt
        for one in found["upstreams"]
        for doubt in one["doubts"]
        if doubt["conclusion"] != "unknown"
    ]
    if certain and not found["applied"]:
        yield ""
        yield f"{counted(len(certain), 'doubtful run')} can be settled: --apply does it."


def _upstream(one: ReconciledShape, *, applied: bool) -> Iterator[str]:
    name = click.style(plain(one["upstream"]), bold=True)
    if one["problem"] is not None:
        yield f"{name}: not compared. {plain(one['problem'])}"
        return
    yield f"{name}: {counted(one['compared'], 'run')} compared, from {instant(one['since'])} on."
    parts = _parts(one, applied=applied)
    if one["sums"]:
        yield from (f"  {line}" for line in Table(*SUMS).lines(one["sums"]))
    if not any(rows for _, _, rows in parts):
        yield "Nothing differs."
    for title, columns, rows in parts:
        if rows:
            yield ""
            yield title
            yield from (f"  {line}" for line in Table(*columns).lines(rows))


def _parts(
    one: ReconciledShape, *, applied: bool
) -> Sequence[tuple[str, Sequence[Column[Any]], Sequence[Any]]]:
    became: Column[DoubtShape] = Column("so it", lambda doubt: _became(doubt, applied=applied))
    return (
        ("missing: the ledger has it, upstream has not", MISSING, one["missing"]),
        ("extra: upstream has it, the ledger has not", EXTRA, one["extra"]),
        ("different: upstream counts other credits", DIFFERENT, one["different"]),
        (
            "in doubt: the answer was lost, and it counts as spent",
            (*DOUBTS, became, WHY),
            one["doubts"],
        ),
    )


def _became(doubt: DoubtShape, *, applied: bool) -> str:
    if doubt["became"] is not None:
        return BECAME.get(doubt["became"], doubt["became"])
    if applied:
        return "stays spent"
    return WOULD.get(doubt["conclusion"], doubt["conclusion"])


def _may_be(extra: ExtraShape) -> str:
    return listed(extra["may_be"], "somebody else's")


MISSING: tuple[Column[MissingShape], ...] = (
    Column("sent (UTC)", lambda one: minute(one["at"])),
    Column("run", lambda one: one["run"] or NOTHING),
    Column("team", lambda one: one["team"] or NOTHING, spare=2),
    Column("model", lambda one: one["model"], spare=1),
    Column("requests", lambda one: number(one["requests"]), right=True, spare=3),
    Column("task", lambda one: one["task"] or NOTHING),
)

EXTRA: tuple[Column[ExtraShape], ...] = (
    Column("made (UTC)", lambda one: minute(one["at"])),
    Column("task", lambda one: one["task"] or NOTHING),
    Column("model", lambda one: one["model"], spare=1),
    Column("requests", lambda one: number(one["requests"]), right=True, spare=3),
    Column("credits", lambda one: _credits(one["credits"]), right=True, spare=2),
    Column("may be", _may_be, cut=True),
)

DIFFERENT: tuple[Column[DifferentShape], ...] = (
    Column("run", lambda one: one["run"]),
    Column("team", lambda one: one["team"], spare=1),
    Column("task", lambda one: one["task"], spare=2),
    Column("ours", lambda one: _credits(one["ours"]), right=True),
    Column("upstream's", lambda one: _credits(one["theirs"]), right=True),
)

SUMS: tuple[Column[SumsShape], ...] = (
    Column("model", lambda one: one["model"]),
    Column("requests here", lambda one: number(one["our_requests"]), right=True),
    Column("upstream's", lambda one: number(one["their_requests"]), right=True),
    Column("pictures here", lambda one: number(one["our_images"]), right=True),
    Column("of upstream", lambda one: number(one["their_images"]), right=True),
)

DOUBTS: tuple[Column[DoubtShape], ...] = (
    Column("sent (UTC)", lambda one: minute(one["sent_at"])),
    Column("run", lambda one: one["run"]),
    Column("team", lambda one: one["team"], spare=1),
    money_column("spent", lambda one: one["spent_usd"]),
)

WHY: Column[DoubtShape] = Column("since", lambda one: one["reason"], cut=True)


def _credits(credits_used: float | None) -> str:
    return NOTHING if credits_used is None else f"{credits_used:g}"
