"""`image-gateway pictures`: what was made, and erasing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gateway.cli.formats import minute, plain, size
from gateway.cli.lists import SPAN, Listing, list_options
from gateway.cli.operator import Operator, confirm, confirmed, connected, path_of
from gateway.cli.tables import Column

if TYPE_CHECKING:
    from gateway.web.admin.unproven import SetAsideShape
    from gateway.web.shown import PictureShape


@click.group("pictures")
def pictures_command() -> None:
    """Pictures that are kept, by team, task, prompt or time.

    \b
      image-gateway pictures list --query bicycle
      image-gateway pictures erase 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    """


@pictures_command.command("list", short_help="Pictures, the newest first.")
@click.option(
    "--unproven", is_flag=True, help="Instead: paid bytes that are no picture, set aside."
)
@list_options(
    team="Only this team's.",
    task="Only of this task.",
    run="Only of this run.",
    query="Only with these words in their prompt.",
    **SPAN,
)
def list_command(operator: Operator, query: str | None, unproven: bool, **given: Any) -> None:
    """Pictures, the newest first, each with its digest, which is its name.

    \b
      image-gateway pictures list --team marketing --from 7d
      image-gateway pictures list --query 'red bicycle' --all --json
      image-gateway pictures list --unproven
    """
    if unproven:
        _list_unproven(operator, query, given)
        return
    listing = Listing("pictures", {**given, "q": query})
    listing.show(operator, PICTURES, nothing="no such picture.")


def _list_unproven(operator: Operator, query: str | None, given: dict[str, Any]) -> None:
    without = {"query": query, **{name: given.pop(name) for name in ("task", "from", "to")}}
    if named := [name for name, value in without.items() if value is not None]:
        raise click.UsageError(f"--unproven goes with --team and --run, not with --{named[0]}.")
    listing = Listing("pictures/unproven", given)
    listing.show(operator, UNPROVEN, nothing="nothing is set aside.")


@pictures_command.command("fetch", short_help="Fetch paid bytes that are no picture.")
@click.argument("name")
@connected
def fetch_command(operator: Operator, name: str) -> None:
    """Writes bytes that are set aside to standard output, as they came.

    NAME is that of a row of 'pictures list --unproven'.

    \b
      image-gateway pictures fetch run_0123456789abcdef0123456789abcdef-0 > picture.bin
    """
    path = f"pictures/unproven/{path_of(name)}"
    operator.copy(path, {}, media_type="application/octet-stream")


@pictures_command.command("erase", short_help="Erase a picture for ever.")
@click.argument("digest")
@confirmed
@connected
def erase_command(operator: Operator, digest: str, yes: bool) -> None:
    """Erases a picture: its bytes, its provenance file, its prompt, and the answers it is in.

    What it cost stays in the books. DIGEST may be the picture's whole link.

    \b
      image-gateway pictures erase 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      image-gateway pictures erase http://127.0.0.1:8080/pictures/9f86d0....png --yes
    """
    name = digest.rpartition("/")[2].partition(".")[0]
    path = f"pictures/{path_of(name)}"
    confirm(f"Erase picture {plain(name)} for ever?", yes=yes)
    operator.show(operator.send("DELETE", path), _erased)


def _erased(picture: PictureShape) -> str:
    return f"Picture {plain(picture['digest'])} is erased; its link answers 404."


def _prompt(picture: PictureShape) -> str:
    at = picture["erased_at"]
    return picture["prompt"] if at is None else f"(erased {minute(at)[:10]})"


PICTURES: tuple[Column[PictureShape], ...] = (
    Column("created (UTC)", lambda one: minute(one["created_at"]), spare=2),
    Column("digest", lambda one: one["digest"]),
    Column("team", lambda one: one["team"], spare=3),
    Column("pixels", lambda one: f"{one['width']}x{one['height']}", right=True, spare=4),
    Column("size", lambda one: size(one["size_bytes"]), right=True, spare=5),
    Column("prompt", _prompt, cut=True),
)

UNPROVEN: tuple[Column[SetAsideShape], ...] = (
    Column("at (UTC)", lambda one: minute(one["at"]), spare=2),
    Column("name", lambda one: one["name"]),
    Column("team", lambda one: one["team"], spare=3),
    Column("from", lambda one: one["host"], spare=4),
    Column("size", lambda one: size(one["size_bytes"]), right=True, spare=5),
    Column("reason", lambda one: one["reason"], cut=True),
)
