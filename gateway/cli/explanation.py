"""How `runs show` explains an order: the gateway's sentences, then the numbers behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from gateway.cli import formats
from gateway.cli.formats import (
    NOTHING,
    clock,
    counted,
    instant,
    lasting,
    listed,
    minute,
    money,
    plain,
)
from gateway.cli.tables import Column, Table, facts, screen_width

if TYPE_CHECKING:
    from gateway.web.admin.refusals import AskedShape, RefusalShape
    from gateway.web.admin.run_shapes import (
        ExplanationShape,
        RunTaskShape,
        StepShape,
        TimingsShape,
        WholeRunShape,
    )
    from gateway.web.shown import PictureShape, RouteOfferShape

READING_WIDTH: Final = 100
"""Sentences longer than this are hard to read, however wide the terminal."""

PROMPT_SHOWN: Final = 400
"""Characters: enough to know it again. `--json` has all of it."""

ERASED: Final = "(erased)"
"""In the place of a prompt: it is erased together with its picture."""


def explain(told: ExplanationShape) -> Iterator[str]:
    width = min(READING_WIDTH, screen_width())
    run, refusal, timings = told["run"], told["refusal"], told["timings"]
    for sentence in told["summary"].splitlines():
        yield from formats.wrapped(sentence, width)
    if run is not None:
        yield from _titled(f"run {run['id']}", facts(_of_run(run), width=width))
    for one in [*([] if refusal is None else [refusal]), *told["others"]]:
        yield from _titled(f"refusal {one['id']}", facts(_of_refusal(one), width=width))
    if timings is not None:
        yield from _titled("timings", facts(_of_timings(timings), width=width))
    if told["steps"]:
        yield from _titled("steps", _indented(Table(*STEPS, width=_inner()).lines(told["steps"])))
    if any(one["skipped"] for one in told["routes"]):
        yield from _titled(
            "routes", _indented(Table(*ROUTES, width=_inner()).lines(told["routes"]))
        )
    if told["tasks"]:
        yield from _tasks(told)
    if told["pictures"]:
        yield from _titled("pictures", _pictures(told["pictures"]))


def _tasks(told: ExplanationShape) -> Iterator[str]:
    shown, every = len(told["tasks"]), told["tasks_total"]
    title = counted(every, "task") if shown >= every else f"{shown} of {counted(every, 'task')}"
    yield from _titled(title, _indented(Table(*TASKS, width=_inner()).lines(told["tasks"])))


def _titled(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield ""
    yield click.style(plain(title), bold=True)
    yield from lines


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _inner() -> int:
    return screen_width() - 2


def _of_run(run: WholeRunShape) -> list[tuple[str, str | None]]:
    failure, used = run["failure"], run["credits_used"]
    tried = [route for route in run["tried"] if route != run["route"]]
    return [
        ("state", run["state"]),
        ("failure", f"{failure['code']}: {failure['message']}" if failure else None),
        ("team", run["team"]),
        ("order", f"{run['model']}, {run['quality']}, {run['size'] or 'no size'}, n={run['n']}"),
        ("prompt", formats.cut(plain(run["prompt"]), PROMPT_SHOWN) or ERASED),
        ("route", run["route"] + (f", after {listed(tried, NOTHING)}" if tried else "")),
        ("attempts", str(run["attempts"])),
        ("upstream task", run["upstream_task_id"]),
        ("cost", _cost(run)),
        ("credits", None if used is None else f"{used:g}"),
        ("joined", f"by {counted(run['joins'], 'order')}" if run["joins"] else None),
        ("shared", None if run["shared"] else "no: its order asked for a picture of its own"),
        ("created", instant(run["created_at"])),
        ("finished", instant(run["finished_at"]) if run["finished_at"] else None),
        ("deadline", None if run["finished_at"] else instant(run["deadline_at"])),
    ]


def _cost(run: WholeRunShape) -> str:
    held = f", {money(run['held_usd'])} held" if run["held_usd"] else ""
    return f"{money(run['spent_usd'])} spent{held}; at most {money(run['price_usd'])}"


def _of_asked(asked: AskedShape) -> Iterator[tuple[str, str | None]]:
    """What was ordered, as it was sent: what was not said is not told."""
    said = [f"{name} {asked[name]}" for name in ("size", "quality", "n") if name in asked]
    price = [f"at most {money(asked['price_usd'])}"] if "price_usd" in asked else []
    yield "ordered", ", ".join([*said, *price]) or None
    yield "prompt", asked.get("prompt", "")[:PROMPT_SHOWN] or None
    yield "key", " ".join(filter(None, (asked.get("key_label"), asked.get("key")))) or None


def _of_refusal(refusal: RefusalShape) -> list[tuple[str, str | None]]:
    went_on = refusal["mode"] == "shadow"
    return [
        ("verdict", f"{refusal['verdict']}{', in shadow mode: it went on' if went_on else ''}"),
        ("team", refusal["team"]),
        ("model", refusal["model"] or None),
        *_of_asked(refusal["asked"]),
        ("reason", refusal["reason"]),
        ("rule", refusal["rule"] or None),
        ("field", refusal["param"]),
        ("message", refusal["message"]),
        ("task", refusal["task"]),
        ("request", refusal["request_id"]),
        ("at", instant(refusal["at"])),
    ]


def _of_timings(timings: TimingsShape) -> list[tuple[str, str | None]]:
    named = [
        ("waiting", timings["waiting_seconds"]),
        ("upstream", timings["upstream_seconds"]),
        ("keeping", timings["keeping_seconds"]),
        ("total", timings["total_seconds"]),
    ]
    return [(name, None if seconds is None else lasting(seconds)) for name, seconds in named]


def _pictures(pictures: list[PictureShape]) -> Iterator[str]:
    for one in pictures:
        kept = one["url"] if one["erased_at"] is None else f"erased {minute(one['erased_at'])} UTC"
        measures = f"{one['width']}x{one['height']}, {formats.size(one['size_bytes'])}"
        yield f"  {plain(kept)}  {measures}"


def _most(route: RouteOfferShape) -> str:
    return NOTHING if route["price_usd"] is None else money(route["price_usd"])


STEPS: tuple[Column[StepShape], ...] = (
    Column("at (UTC)", lambda one: clock(one["at"])),
    Column("event", lambda one: one["event"]),
    Column("state", lambda one: one["after"]),
    Column("route", lambda one: one["route"], spare=1),
    Column("detail", lambda one: one["detail"], cut=True),
)

ROUTES: tuple[Column[RouteOfferShape], ...] = (
    Column("route", lambda one: one["name"]),
    Column("kind", lambda one: one["kind"], spare=1),
    Column("at most", _most, right=True),
    Column("skipped", lambda one: one["skipped"] or NOTHING, cut=True),
)

TASKS: tuple[Column[RunTaskShape], ...] = (
    Column("created (UTC)", lambda one: minute(one["created_at"])),
    Column("task", lambda one: one["id"]),
    Column("team", lambda one: one["team"]),
    Column("verdict", lambda one: one["verdict"]),
)
