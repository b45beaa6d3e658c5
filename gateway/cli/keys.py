"""`image-gateway keys`: the teams' keys. A secret is printed once, alone on standard output."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.formats import NOTHING, instant, minute, plain
from gateway.cli.operator import Operator, connected, path_of
from gateway.cli.tables import Column, NotShown, Table, say

if TYPE_CHECKING:
    from gateway.web.admin.keys import IssuedShape, KeyShape, KeysShape, RotatedShape

WHOLE_KEY: Final = re.compile(r"igw_([a-z0-9]+)_[\w-]+")


@click.group("keys")
def keys_command() -> None:
    """Keys of teams: what their clients send as 'Authorization: Bearer ...'.

    The gateway keeps digests only: a key is shown when it is made, and never again.

    \b
      image-gateway keys issue marketing --label website
      image-gateway keys rotate marketing 3f9a0c1b --grace 24h
      image-gateway keys revoke marketing 3f9a0c1b
    """


@keys_command.command("list", short_help="A team's keys, without their secrets.")
@click.argument("team")
@connected
def list_command(operator: Operator, team: str) -> None:
    """A team's keys, those that open nothing any more included.

    \b
      image-gateway keys list marketing
    """
    operator.show(operator.get(f"teams/{path_of(team)}/keys"), _table)


@keys_command.command("issue", short_help="A new key.")
@click.argument("team")
@click.option("--label", default="", help="What it is for, so that people know it again.")
@connected
def issue_command(operator: Operator, team: str, label: str) -> None:
    """A new key. It is alone on standard output, so that a script can take it.

    \b
      image-gateway keys issue marketing --label website
      image-gateway keys issue marketing --label ci > ci.key
    """
    _check_it_can_be_shown()
    body = {"label": label} if label else {}
    answer = operator.send("POST", f"teams/{path_of(team)}/keys", body)
    _show_once(operator, answer, _issued)


@keys_command.command("rotate", short_help="A new key in the place of another.")
@click.argument("team")
@click.argument("key_id", metavar="KEY")
@click.option("--grace", help="How long the old one still works, e.g. 24h; 0s: not at all.")
@click.option("--label", help="Another label than that of the old one.")
@connected
def rotate_command(operator: Operator, team: str, key_id: str, **given: str | None) -> None:
    """A new key in the place of KEY, which works on until its grace period is over.

    KEY is a key's id, as 'image-gateway keys list TEAM' shows it; of a whole key only the id in
    it is sent. The new key is alone on standard output.

    \b
      image-gateway keys rotate marketing 3f9a0c1b --grace 24h
    """
    _check_it_can_be_shown()
    body = {name: value for name, value in given.items() if value is not None}
    answer = operator.send("POST", f"teams/{path_of(team)}/keys/{_id(key_id)}/rotate", body)
    _show_once(operator, answer, _rotated)


@keys_command.command("revoke", short_help="End a key at once.")
@click.argument("team")
@click.argument("key_id", metavar="KEY")
@connected
def revoke_command(operator: Operator, team: str, key_id: str) -> None:
    """Ends a key: the next request with it is answered 401. What is being made is finished.

    KEY is a key's id, or a whole key that has got about: only the id in it is sent.

    \b
      image-gateway keys revoke marketing 3f9a0c1b
    """
    answer = operator.send("DELETE", f"teams/{path_of(team)}/keys/{_id(key_id)}")
    operator.show(answer, _revoked)


def _id(key: str) -> str:
    """The part of a path for a key that is named by its id, or by itself: that stays here."""
    whole = WHOLE_KEY.fullmatch(key)
    return path_of(whole[1] if whole else key)


def _check_it_can_be_shown() -> None:
    if sys.stdout is None:
        raise click.UsageError("standard output is closed: there is nowhere to show the new key.")


def _show_once(operator: Operator, answer: bytes, words: Callable[[Any], str]) -> None:
    """The secret to standard output, the words about it to standard error."""
    if operator.as_json:
        operator.show_json(answer)
        return
    with operator.understood():
        issued = operator.read(answer)
        secret, told = str(issued["key"]), words(issued)
    say(told, err=True)
    try:
        say(secret)
    except (NotShown, BrokenPipeError):
        revoke = f"image-gateway keys revoke {plain(issued['team'])} {plain(issued['id'])}"
        raise NotShown(
            f"the key was made and could not be shown. End it, and issue another: {revoke}"
        ) from None


def _issued(key: IssuedShape) -> str:
    label = f", {plain(key['label'])}" if key["label"] else ""
    return (
        f"Key {plain(key['id'])} of team {plain(key['team'])}{label}. It is shown this once:"
        " keep it where secrets are kept."
    )


def _rotated(key: RotatedShape) -> str:
    old = key["replaced"]
    if old["state"] == "expiring":
        end = f"works until {instant(old['expires_at'])}"
    else:
        end = "opens nothing any more"
    return f"{_issued(key)}\nKey {plain(old['id'])}, which it replaces, {end}."


def _revoked(key: KeyShape) -> str:
    return f"Key {plain(key['id'])} of team {plain(key['team'])} opens nothing any more."


def _table(answer: KeysShape) -> Iterator[str]:
    nothing = "no keys yet: 'image-gateway keys issue TEAM' makes one."
    return Table(*KEYS).lines_or(answer["data"], nothing)


def _end(key: KeyShape) -> str:
    return minute(key["revoked_at"] or key["expires_at"])


KEYS: tuple[Column[KeyShape], ...] = (
    Column("id", lambda one: one["id"]),
    Column("state", lambda one: one["state"], coloured=True),
    Column("label", lambda one: one["label"] or NOTHING, cut=True),
    Column("created (UTC)", lambda one: minute(one["created_at"])),
    Column("ends (UTC)", _end),
    Column("replaces", lambda one: one["replaces"] or NOTHING, spare=2),
    Column("made in", lambda one: "settings" if one["provisioned"] else "API", spare=1),
)
