"""`image-gateway cache`: how the response cache does, and forgetting what it would answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gateway.cli.formats import counted, lasting, number, plain, size
from gateway.cli.names import unknown
from gateway.cli.operator import Operator, confirm, confirmed, connected
from gateway.cli.tables import facts, say

if TYPE_CHECKING:
    from gateway.web.admin.cache import CacheShape, PurgedShape


@click.group("cache")
def cache_command() -> None:
    """The response cache: finished pictures that answer identical orders for nothing.

    \b
      image-gateway cache stats
      image-gateway cache purge --team marketing
    """


@cache_command.command("stats", short_help="Its size, and how often it answers.")
@connected
def stats_command(operator: Operator) -> None:
    """Its size, and how often it had an answer since the gateway was started.

    \b
      image-gateway cache stats
      image-gateway cache stats --json
    """
    operator.show(operator.get("cache"), _stats)


@cache_command.command("purge", short_help="Let no old picture answer a new order.")
@click.option("--team", help="Only this team's answers.")
@confirmed
@connected
def purge_command(operator: Operator, team: str | None, yes: bool) -> None:
    """From now on identical orders are made, and paid, anew. Pictures and links stay.

    \b
      image-gateway cache purge --team marketing
      image-gateway cache purge --yes
    """
    whose = f"team {plain(team)}" if team else "all teams"
    confirm(f"Forget all answers of {whose}? Identical orders will be paid again.", yes=yes)
    body = {"team": team} if team else {}
    answer = operator.send("POST", "cache/purge", body)
    operator.show(answer, _purged)
    if not operator.read(answer).get("purged") and (why := unknown(operator, {"team": team})):
        say(why, err=True)


def _stats(cache: CacheShape) -> Iterator[str]:
    asked = cache["requests"]
    every = sum((asked["hit"], asked["miss"], asked["stale"]))
    share = f" ({asked['hit'] / every:.0%})" if every else ""
    limit = f"{size(cache['bytes'])} of at most {size(cache['size_limit_bytes'])}"
    pairs = [
        ("entries", number(cache["entries"])),
        ("size", limit),
        ("an answer lasts", lasting(cache["ttl_seconds"])),
        ("asked", number(every)),
        ("had an answer", f"{number(asked['hit'])}{share}"),
        ("had none", number(asked["miss"])),
        ("had one too old", number(asked["stale"])),
    ]
    return facts(pairs)


def _purged(answer: PurgedShape) -> str:
    return f"{counted(answer['purged'], 'answer')} forgotten."
