"""`image-gateway runs`: what was ordered, and why it went the way it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gateway.cli.explanation import ERASED, explain
from gateway.cli.formats import NOTHING, lasting, minute, number, plain
from gateway.cli.lists import SPAN, Listing, list_options
from gateway.cli.operator import Operator, confirm, confirmed, connected, path_of
from gateway.cli.tables import Column, money_column

if TYPE_CHECKING:
    from gateway.web.admin.refusals import RefusalShape
    from gateway.web.admin.run_shapes import RunShape


@click.group("runs")
def runs_command() -> None:
    """Runs: each is one paid piece of work upstream, however many orders share it.

    \b
      image-gateway runs list --team marketing --state failed
      image-gateway runs show task-unified-1767225600-a1b2c3d4
      image-gateway runs refusals --reason budget
    """


@runs_command.command("list", short_help="Runs, the newest first.")
@list_options(
    team="Only this team's.",
    model="Only of this model.",
    state="submitting, queued, unsure, running, keeping, done or failed.",
    verdict="Only those that an order started, joined or hit.",
    route="Only on this route, e.g. evolink/gpt-image-1.5.",
    **SPAN,
)
def list_command(operator: Operator, **given: Any) -> None:
    """Runs, the newest first.

    \b
      image-gateway runs list --team marketing --from last-week
      image-gateway runs list --state failed --limit 10
      image-gateway runs list --all --json
    """
    Listing("runs", given).show(operator, RUNS, nothing="no such run.")


@runs_command.command("show", short_help="Explain one run, task or refusal.")
@click.argument("id")
@connected
def show_command(operator: Operator, **given: str) -> None:
    """Explains how an order went: verdict, rule, route, attempts, timings, cost.

    ID is that of a run, of a task, of a refusal, or of its request (the X-Request-Id). Clients may
    give several requests the same: then all are shown.

    \b
      image-gateway runs show task-unified-1767225600-a1b2c3d4
      image-gateway runs show req_0123456789abcdef01234567
    """
    operator.show(operator.get(f"runs/{path_of(given['id'])}"), explain)


@runs_command.command("retry", short_help="Try to keep what was paid and lost.")
@click.argument("id")
@connected
def retry_command(operator: Operator, **given: str) -> None:
    """Tries once more to keep the pictures of a run that was paid and failed.

    Upstream is asked for fresh links, and what comes is kept. Nothing is ordered, held or paid
    again. A run that waits for a route is tried at once. ID is that of a run or of a task.

    \b
      image-gateway runs retry task-unified-1767225600-a1b2c3d4
    """
    path = f"runs/{path_of(given['id'])}/retry"
    operator.show(operator.send("POST", path), _tried)


def _tried(run: RunShape) -> str:
    return f"Run {plain(run['id'])} is {plain(run['state'])}: it is tried again now."


@runs_command.command("refusals", short_help="Refused orders, the newest first.")
@list_options(
    team="Only this team's.",
    verdict="denied (a limit), invalid (the order itself) or failed (at upstream).",
    reason="Only for this reason, e.g. budget or model_not_allowed.",
    **SPAN,
)
def refusals_command(operator: Operator, **given: Any) -> None:
    """Orders that were refused, or would have been if their team were not in shadow mode.

    \b
      image-gateway runs refusals --team marketing
      image-gateway runs refusals --verdict denied --from 24h
    """
    Listing("refusals", given).show(operator, REFUSALS, nothing="nothing was refused.")


@runs_command.command("erase", short_help="Erase what was said of a run for ever.")
@click.argument("id")
@confirmed
@connected
def erase_command(operator: Operator, yes: bool, **given: str) -> None:
    """Erases the words of a run that has ended: its prompt, upstream's answers, its pictures.

    Also those of a run that failed. What it cost stays in the books. ID is that of a run or of
    one of its tasks.

    \b
      image-gateway runs erase task-unified-1767225600-a1b2c3d4
    """
    name = given["id"]
    confirm(f"Erase the words and the pictures of {plain(name)} for ever?", yes=yes)
    operator.show(operator.send("DELETE", f"runs/{path_of(name)}"), _erased)


def _erased(run: RunShape) -> str:
    return f"Run {plain(run['id'])} is erased."


def _verdict(refusal: RefusalShape) -> str:
    return f"{refusal['verdict']}{', shadow' if refusal['mode'] == 'shadow' else ''}"


RUNS: tuple[Column[RunShape], ...] = (
    Column("created (UTC)", lambda one: minute(one["created_at"])),
    Column("run", lambda one: one["id"]),
    Column("team", lambda one: one["team"], spare=1),
    Column("model", lambda one: one["model"], spare=5),
    Column("state", lambda one: one["state"], coloured=True),
    money_column("spent", lambda one: one["spent_usd"]),
    Column("took", lambda one: lasting(one["seconds"]), right=True, spare=3),
    Column("joins", lambda one: number(one["joins"]), right=True, spare=4),
    Column("prompt", lambda one: one["prompt"] or ERASED, cut=True, spare=2),
)

REFUSALS: tuple[Column[RefusalShape], ...] = (
    Column("at (UTC)", lambda one: minute(one["at"])),
    Column("request", lambda one: one["request_id"]),
    Column("team", lambda one: one["team"]),
    Column("verdict", _verdict, spare=1),
    Column("reason", lambda one: one["reason"] or NOTHING, spare=2),
    Column("message", lambda one: one["message"], cut=True, spare=3),
)
