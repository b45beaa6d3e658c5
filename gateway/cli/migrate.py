"""`image-gateway migrate`: an installation into other stores: PostgreSQL and S3, or back to files.

How it is done is told in `wiring/moves.py`; here it is asked for, shown while it lasts, and said.
Exit status 0: all of it is there. 1: so is it, but not all was whole. 2: not done. 3: the bulk is
there, and the rest when the gateway has stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from gateway.cli.check import DEFAULT_PATH, EXIT_PROBLEMS, explain, load_settings, settings_of
from gateway.cli.formats import counted, lasting, size
from gateway.cli.stages import Stages
from gateway.config import Problem, Settings, SettingsError, parse_storage
from gateway.config.store_words import show_ledger
from gateway.core.money.usd import show_usd
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.wiring.moves import Moved

EXIT_NOT_WHOLE: Final = 1
EXIT_SERVING: Final = 3
TO_VARIABLE: Final = "IMAGE_GATEWAY_MIGRATE_TO"


@click.command("migrate", short_help="Move to PostgreSQL and S3, or back to files.")
@click.option(
    "--to",
    metavar="PLACE",
    envvar=TO_VARIABLE,
    help="Where the ledger goes: postgresql://…, sqlite, or @FILE, the settings that are to be. "
    f" [env: {TO_VARIABLE}]",
)
@click.option(
    "--pictures",
    metavar="PLACE",
    help="Where the pictures go: s3://bucket/prefix or folder. Left out, they stay, or go where"
    " @FILE says.",
)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The settings of today: where ledger and pictures are.  [default: {DEFAULT_PATH}]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Instead of --config: the data folder that is carried over, as one that was restored.",
)
@click.option("--undo", is_flag=True, help="Instead: the ledger was not moved after all.")
@click.option("--yes", is_flag=True, help="With --undo: do not ask.")
@click.option("--json", "says", flag_value="json", help="Print one JSON object instead.")
@click.option("--quiet", "says", flag_value="nothing", help="Show no progress.")
def migrate_command(
    to: str | None, pictures: str | None, path: Path | None, says: str | None, **given: Any
) -> None:
    """Move the installation to another ledger, and its pictures with it.

    Run it twice. While the gateway serves it carries over the bulk, which may take long; the
    gateway does not notice. Stop the gateway and run the same command again: it carries over what
    has come since, proves that every row, sum and picture is the same there, audits the new
    ledger, and marks the old one, so that no gateway starts on it by accident. Then put the new
    place into the settings and start. What is cut goes on when it is run again.

    The old place is only read until it is marked. To come back, run the command with the new
    settings and '--to sqlite'. If nothing was ever served from the new place, '--undo' with the
    old settings takes the mark away.

    A password on the command line can be read by everybody on the machine. Write ${NAME} in quotes
    for a variable of the environment, or name the file of the new settings: --to @FILE.

    Exits 0 when all is moved, 1 when it is but a picture is missing or the ledger does not add up,
    2 when it was not moved, 3 when the gateway still serves and the bulk is there.

    \b
      image-gateway migrate --to @config.new.yaml
      image-gateway migrate --to '${DATABASE_URL}' --pictures s3://bucket/gateway
      image-gateway migrate --config config.new.yaml --to sqlite --pictures folder
    """
    try:
        settings = settings_of(path, given["data_dir"])
        if given["undo"]:
            _undone(settings, yes=given["yes"])
            return
        target = _target(settings, to, pictures)
        if (moved := _moved(settings, target, silent=says is not None)) is None:
            return
    except SettingsError as error:
        click.echo(explain(error), err=True)
        raise SystemExit(EXIT_PROBLEMS) from None
    except Unavailable as error:
        click.echo(f"not moved: {error.message}", err=True)
        raise SystemExit(EXIT_PROBLEMS) from None
    except KeyboardInterrupt:
        click.echo("not moved: it was cut; run it again, it goes on.", err=True)
        raise SystemExit(EXIT_PROBLEMS) from None
    _say(moved, target, to=to or "", says=says)


def _moved(settings: Settings, target: Settings, *, silent: bool) -> Moved | None:
    """None where a run before this one, whose end nobody saw, had done it all."""
    from gateway.wiring import AlreadyMoved, Move

    try:
        with Stages(silent=silent) as tell:
            return Move(settings, target, tell=tell).run()
    except AlreadyMoved as done:
        click.echo(done.message)
        return None


# --- asking --------------------------------------------------------------------------------------


def _target(settings: Settings, to: str | None, pictures: str | None) -> Settings:
    """The settings that are to be, as far as stores are concerned. Raises SettingsError."""
    if to is None:
        raise click.UsageError(
            "say where the ledger goes: --to postgresql://…, --to sqlite or --to @FILE; see --help."
        )
    if to.startswith("@"):
        target = load_settings(Path(to[1:]))
        given = {} if pictures is None else {"pictures": _read("pictures", pictures)}
    else:
        if _shows_password(to):
            click.echo(
                "notice: a password on the command line can be read by everybody on this machine;"
                " see --help for other ways.",
                err=True,
            )
        target, given = settings, {"ledger": _read("ledger", to)}
        given["postgres"] = type(settings.storage.postgres)()  # that of the old place is not its
        if pictures is not None:
            given["pictures"] = _read("pictures", pictures)
    storage = target.storage.model_copy(update=given)
    return target.model_copy(update={"storage": storage})


def _read(name: str, text: str) -> Any:
    """The value as the settings' file would have it, `${NAME}` and all."""
    option = "--to" if name == "ledger" else f"--{name}"
    try:
        storage = parse_storage(json.dumps({"storage": {name: text}}), os.environ, option)
    except SettingsError as error:
        raise SettingsError([Problem((), one.message, option) for one in error.problems]) from None
    return getattr(storage, name)


def _shows_password(to: str) -> bool:
    """Whether it stands there itself, and was typed."""
    if os.environ.get(TO_VARIABLE) == to:
        return False
    try:
        password = urlsplit(to).password
    except ValueError:
        return False
    return bool(password) and not str(password).startswith("${")


def _undone(settings: Settings, *, yes: bool) -> None:
    from gateway.wiring import come_back

    place = show_ledger(settings.storage.ledger)
    if not yes:
        click.confirm(
            f"The ledger ({place}) shall be served from again. Orders that were taken at the place"
            " it was moved to are not in it: was nothing served from there?",
            abort=True,
            err=True,
        )
    left = come_back(settings)
    if left is None:
        click.echo("The ledger was not moved: nothing was changed.")
        return
    click.echo(
        f"The ledger is served from again. Empty {left} before anything is moved there, and start"
        " no gateway on it."
    )


# --- saying --------------------------------------------------------------------------------------


def _say(moved: Moved, target: Settings, *, to: str, says: str | None) -> None:
    if says == "json":
        click.echo(json.dumps(_as_json(moved, target), indent=2))
    else:
        click.echo(_serving_text(moved) if moved.serving else _moved_text(moved, target, to))
        for problem in moved.problems:
            click.echo(problem, err=True)
    if moved.serving:
        raise SystemExit(EXIT_SERVING)
    if moved.problems:
        raise SystemExit(EXIT_NOT_WHOLE)


def _carried(moved: Moved) -> str:
    written = moved.written
    found = [f"{counted(written.new, 'row')} new"]
    if written.changed:
        found.append(f"{written.changed:,} changed")
    if written.removed:
        found.append(f"{written.removed:,} taken away")
    if moved.pictures is not None:
        found.append(
            f"{counted(moved.pictures.new, 'picture')} new ({size(moved.pictures.new_bytes)})"
        )
    return ", ".join(found)


def _serving_text(moved: Moved) -> str:
    return "\n".join(
        [
            f"The bulk is at {moved.target}: {_carried(moved)}, in {lasting(moved.seconds)}.",
            f"{moved.serving}",
            "Nothing is moved yet: what the gateway does from now on is not there. Stop it, every"
            " one of it, and run the same command again: it carries over the rest and proves all"
            " of it. Until then change no settings.",
        ]
    )


def _moved_text(moved: Moved, target: Settings, to: str) -> str:
    pictures = moved.pictures
    lines = [
        f"Moved to {moved.target} in {lasting(moved.seconds)}: {_carried(moved)}.",
        f"Proven: {counted(moved.rows, 'row')} in {len(moved.proofs)} tables are the same there,"
        f" {_money(moved)}; the audit of the new ledger"
        f" {'is silent' if not moved.problems else 'is not silent'}.",
    ]
    if pictures is not None:
        lines.append(
            f"{counted(pictures.pictures, 'picture')} ({size(pictures.picture_bytes)}) were read"
            " back there, each with the digest that names it."
        )
    if nul := sum(moved.written.nul.values()):
        lines.append(
            f"{counted(nul, 'text')} had a U+0000, which PostgreSQL cannot keep: it became U+FFFD."
        )
    new = to[1:] if to.startswith("@") else None
    lines.append(
        f"Start the gateway with {new}. {moved.source} is marked: none starts on it any more."
        if new
        else f"Now say so in the settings, and start the gateway: storage.ledger:"
        f" {_shown_ledger(target)}, storage.pictures: {target.storage.pictures}. {moved.source} is"
        " marked: none starts on it any more."
    )
    return "\n".join(lines)


def _money(moved: Moved) -> str:
    spent = next(
        (one.sums.get("spent_usd_micros", 0) for one in moved.proofs if one.table == "usage"), 0
    )
    return f"{show_usd(spent, thousands=',')} spent in both"


def _shown_ledger(target: Settings) -> str:
    return show_ledger(target.storage.ledger) or ""


def _as_json(moved: Moved, target: Settings) -> Any:
    written, pictures = moved.written, moved.pictures
    return {
        "ok": not moved.problems and moved.serving is None,
        "moved": moved.serving is None,
        "serving": moved.serving,
        "from": moved.source,
        "to": moved.target,
        "pictures_at": target.storage.pictures,
        "rows": {"new": written.new, "changed": written.changed, "removed": written.removed},
        "texts_with_nul": sum(written.nul.values()),
        "tables": [
            {"table": one.table, "rows": one.rows, "sha256": one.digest, "sums": dict(one.sums)}
            for one in moved.proofs
        ],
        "pictures": None if pictures is None else _pictures_json(pictures),
        "seconds": round(moved.seconds, 3),
        "problems": list(moved.problems),
    }


def _pictures_json(pictures: Any) -> Any:
    names: Sequence[str] = (
        "pictures", "picture_bytes", "new", "new_bytes", "set_aside", "removed",
    )  # fmt: skip
    return {name: getattr(pictures, name) for name in names}
