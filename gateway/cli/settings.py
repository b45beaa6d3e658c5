"""`image-gateway settings`: what is in force in a running gateway, and its file read again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.formats import plain
from gateway.cli.operator import Operator, connected
from gateway.cli.tables import say

if TYPE_CHECKING:
    from gateway.web.admin.settings import ReloadedShape


@click.command("settings", short_help="The settings in force, or read them again.")
@click.option(
    "--reload", "anew", is_flag=True, help="Let the gateway read its file again, all or nothing."
)
@connected
def settings_command(operator: Operator, anew: bool) -> None:
    """Shows the settings that the running gateway has in force, with secrets masked.

    'check' looks at a file; this asks the gateway. With --reload it reads its file again, as a
    SIGHUP makes it do: a file with a problem changes nothing, every problem is told, and the exit
    status is 1.

    \b
      image-gateway settings
      image-gateway settings --json | jq .settings.cache
      image-gateway settings --reload
    """
    if anew:
        answer = operator.send("POST", "settings/reload", {})
        operator.show(answer, _reloaded)
    else:
        answer = operator.get("settings")
        operator.show(answer, lambda _: _yaml(answer))
    if not operator.as_json:
        with operator.understood():
            _tell(operator.read(answer)["notices"])


def _yaml(answer: bytes) -> str:
    from gateway.cli.check import yaml_of

    # Amounts of money stay what they are: no number of JSON passes through a float.
    value: Any = json.loads(answer, parse_float=Decimal)
    return yaml_of(value["settings"]).rstrip("\n")


def _reloaded(answer: ReloadedShape) -> Iterator[str]:
    taken, waiting = answer["taken_over"], answer["restart_needed"]
    if not (taken or waiting):
        yield "The settings file was read again; nothing in it has changed."
        return
    yield "The settings file was read again."
    yield from _listed("in force now:", taken)
    yield from _listed("only after a restart:", waiting)


def _listed(title: str, paths: Sequence[str]) -> Iterator[str]:
    if paths:
        yield title
        yield from (f"  {plain(path)}" for path in paths)


def _tell(notices: Sequence[str]) -> None:
    for notice in notices:
        say(f"notice: {plain(notice)}", err=True)
