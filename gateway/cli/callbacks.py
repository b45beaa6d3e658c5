"""`image-gateway callbacks`: the calls that were owed, how they went, and making one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gateway.cli.formats import NOTHING, minute, number, plain
from gateway.cli.lists import Listing, list_options
from gateway.cli.operator import Operator, connected, path_of
from gateway.cli.tables import Column

if TYPE_CHECKING:
    from gateway.web.admin.callbacks import CallbackShape


@click.group("callbacks")
def callbacks_command() -> None:
    """Callbacks: calls that tell a team's server that a task has ended, and alerts.

    \b
      image-gateway callbacks list --state failed
      image-gateway callbacks redeliver msg_task-unified-1767225600-a1b2c3d4
    """


@callbacks_command.command("list", short_help="Callbacks, the newest first.")
@list_options(
    team="Only this team's.",
    task="Only of this task.",
    state="Only in this state, e.g. pending, delivered or failed.",
)
def list_command(operator: Operator, **given: Any) -> None:
    """Callbacks and alerts, the newest first, each with the last answer of its receiver.

    \b
      image-gateway callbacks list --team marketing
      image-gateway callbacks list --state failed --all
    """
    Listing("callbacks", given).show(operator, CALLBACKS, nothing="no such callback.")


@callbacks_command.command("redeliver", short_help="Make a call again.")
@click.argument("id")
@connected
def redeliver_command(operator: Operator, **given: str) -> None:
    """Makes a call again, at once and with its retries, under the same id.

    \b
      image-gateway callbacks redeliver msg_task-unified-1767225600-a1b2c3d4
    """
    path = f"callbacks/{path_of(given['id'])}/redeliver"
    operator.show(operator.send("POST", path, {}), _again)


def _again(callback: CallbackShape) -> str:
    call = f"{plain(callback['id'])} is {plain(callback['state'])}"
    return f"{call}: {plain(callback['host'])} is called again."


def _answer(callback: CallbackShape) -> str:
    status = NOTHING if callback["status"] is None else str(callback["status"])
    return callback["error"] or status


CALLBACKS: tuple[Column[CallbackShape], ...] = (
    Column("created (UTC)", lambda one: minute(one["created_at"]), spare=2),
    Column("id", lambda one: one["id"]),
    Column("team", lambda one: one["team"], spare=4),
    Column("host", lambda one: one["host"], spare=3),
    Column("state", lambda one: one["state"], coloured=True),
    Column("tries", lambda one: number(one["attempts"]), right=True, spare=1),
    Column("answer", _answer, cut=True),
)
