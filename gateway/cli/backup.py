"""`image-gateway backup` and `restore`: an installation into a folder, and back from it.

What they do is told in `wiring/backups.py` and `wiring/restores.py`; here it is asked for, shown
while it lasts, and said. Exit status 0: all of it. 1: done, but not all was whole. 2: not done.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from gateway.cli.check import (
    EXIT_PROBLEMS,
    config_option,
    data_dir_option,
    explain,
    settings_of,
)
from gateway.cli.formats import counted, lasting, size
from gateway.config import Settings, SettingsError
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.wiring.backups import BackupMade, Tell
    from gateway.wiring.restores import BackupRestored

EXIT_NOT_WHOLE: Final = 1
T = TypeVar("T")

folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
json_option = click.option(
    "--json", "says", flag_value="json", help="Print one JSON object instead."
)
quiet_option = click.option(
    "--quiet", "says", flag_value="nothing", help="Print nothing when all is well: for cron."
)


@click.command("backup", short_help="Back up the ledger and the pictures.")
@folder_argument
@config_option
@data_dir_option
@click.option(
    "--verify",
    type=click.Choice(["new", "full"]),
    default="new",
    show_default=True,
    help="Whose digests are read: of pictures that are new in DIR, or of all.",
)
@json_option
@quiet_option
def backup_command(
    folder: Path,
    path: Path | None,
    data_dir: Path | None,
    verify: str,
    says: str | None,
) -> None:
    """Back up an installation into the folder DIR, while its gateway runs or not.

    Takes the ledger, the pictures and what else of the data folder a gateway needs to go on, and
    checks all of it. Pictures are linked where the file system allows, else copied. Into the same
    DIR again it adds what is new, and takes away what was erased meanwhile; what is cut goes on
    when it is run again, and until it ends the former backup stays whole.

    The settings file and the secrets that it reads from the environment are not in it.

    Exits 0 when all of it is there, 1 when a picture is missing or the ledger does not add up, 2
    when no backup was made.

    \b
      image-gateway backup /mnt/backup/gateway             the installation of ./config.yaml
      image-gateway backup --quiet /mnt/backup/gateway     for cron: speaks only of trouble
      image-gateway audit --data-dir /mnt/backup/gateway   a backup is laid out as a data folder
    """

    def make(settings: Settings, tell: Tell) -> BackupMade:
        from gateway.wiring import Backup, origin

        return Backup(origin(settings), folder, verify_all=verify == "full", tell=tell).make()

    made = _done("no backup was made", path, data_dir, make, silent=says is not None)
    for notice in () if says == "json" else made.notices:
        click.echo(f"notice: {notice}", err=True)
    if says == "json":
        click.echo(json.dumps(_backup_json(made, folder), indent=2))
    elif says is None:
        click.echo(_backup_text(made, folder))
    _end(made.problems, silent=says == "json")


@click.command("restore", short_help="Make a backup an installation again.")
@folder_argument
@config_option
@data_dir_option
@json_option
@quiet_option
def restore_command(
    folder: Path, path: Path | None, data_dir: Path | None, says: str | None
) -> None:
    """Restore the backup in the folder DIR into a data folder that is empty or not there.

    Checks the backup first, every picture on the way, and the whole afterwards. A restore that is
    cut goes on when it is run again; no gateway starts on the half of one. Nothing is overwritten.

    What happened after the backup was made is not in it: orders of that time are unknown, and
    what was erased since is there again.

    Exits 0 when all is restored, 1 when a picture is missing or the ledger does not add up, 2
    when nothing was restored or the restore was cut.

    \b
      image-gateway restore /mnt/backup/gateway                  to where ./config.yaml says
      image-gateway restore /mnt/backup/gateway --data-dir new   to look at it
    """

    def run(settings: Settings, tell: Tell) -> tuple[BackupRestored, Settings, Sequence[str]]:
        from gateway.wiring import Restore

        _require_files(settings, folder)
        done = Restore(folder, _data_dir(settings), tell=tell).run()
        return done, settings, [*done.problems, *_audited(settings, done)]

    done, settings, problems = _done("not restored", path, data_dir, run, silent=says is not None)
    if says == "json":
        click.echo(json.dumps(_restore_json(done, settings, problems), indent=2))
    elif says is None:
        click.echo(_restore_text(done, settings))
    _end(problems, silent=says == "json")


# --- doing ---------------------------------------------------------------------------------------


def _data_dir(settings: Settings) -> Path:
    return Path(settings.storage.data_dir)


def _require_files(settings: Settings, folder: Path) -> None:
    """A backup is of files: into other stores it is carried on from there."""
    if settings.storage.postgres_url is not None or settings.storage.bucket is not None:
        backup = shlex.quote(str(folder))
        raise Unavailable(
            "these settings have the ledger or the pictures in other stores. Restore into a folder"
            f" first: 'image-gateway restore {backup} --data-dir restored'; then carry that over:"
            " 'image-gateway migrate --data-dir restored --to @config.yaml'."
        )


def _done(
    failing: str,
    path: Path | None,
    data_dir: Path | None,
    work: Callable[[Settings, Tell], T],
    *,
    silent: bool,
) -> T:
    try:
        settings = settings_of(path, data_dir)
        with _progress(silent=silent) as tell:
            return work(settings, tell)
    except SettingsError as error:
        click.echo(explain(error), err=True)
    except Unavailable as error:
        click.echo(f"{failing}: {error.message}", err=True)
    except KeyboardInterrupt:
        click.echo(f"{failing}: it was cut; run again, it goes on.", err=True)
    raise SystemExit(EXIT_PROBLEMS)


@contextmanager
def _progress(*, silent: bool) -> Iterator[Tell]:
    """A line on a terminal that says how far it is; elsewhere nothing."""
    if silent or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("")
        yield lambda what, at, of: shown.update(
            task, description=what, completed=at, total=max(of, 1)
        )


def _audited(settings: Settings, done: BackupRestored) -> Sequence[str]:
    """What an audit of the restored installation finds; an older ledger is migrated first."""
    if not done.is_current:
        return []
    from gateway import serving
    from gateway.cli.audit import IN_FOLDER, examine

    report = serving.run(examine(settings, deep=False))
    return [
        said
        for finding in report.findings
        for said in finding.violations
        if finding.invariant != IN_FOLDER  # the restore has told
    ]


def _end(problems: Sequence[str], *, silent: bool) -> None:
    for problem in () if silent else problems:
        click.echo(problem, err=True)
    if problems:
        raise SystemExit(EXIT_NOT_WHOLE)


# --- saying --------------------------------------------------------------------------------------


def _backup_text(made: BackupMade, folder: Path) -> str:
    tally, manifest = made.tally, made.manifest
    new = f", {tally.new:,} of them new" if tally.new != tally.pictures else ""
    lines = [
        f"{counted(tally.pictures, 'picture')} ({size(tally.picture_bytes)}){new}, and a ledger of"
        f" {counted(manifest.runs, 'run')} ({size(made.ledger_bytes)}), backed up in"
        f" {lasting(made.seconds)}.",
        f"Restore it with: image-gateway restore {shlex.quote(str(folder.resolve()))}",
    ]
    if tally.set_aside:
        lines.insert(1, f"With it {counted(tally.set_aside, 'file')} of bytes set aside.")
    return "\n".join(lines)


def _backup_json(made: BackupMade, folder: Path) -> Any:
    tally, manifest = made.tally, made.manifest
    return {
        "ok": not made.problems,
        "folder": str(folder),
        "at": manifest.began_at,
        "version": manifest.version,
        "schema": manifest.schema,
        "runs": manifest.runs,
        "ledger_bytes": made.ledger_bytes,
        "pictures": tally.pictures,
        "picture_bytes": tally.picture_bytes,
        "new_pictures": tally.new,
        "new_bytes": tally.new_bytes,
        "set_aside": tally.set_aside,
        "removed_files": len(tally.doomed),
        "seconds": round(made.seconds, 3),
        "problems": list(made.problems),
        "notices": list(made.notices),
    }


def _restore_text(done: BackupRestored, settings: Settings) -> str:
    tally, manifest = done.tally, done.manifest
    then = "and its ledger adds up" if done.is_current else "its ledger is of an older version"
    lines = [
        f"{counted(tally.pictures, 'picture')} ({size(tally.picture_bytes)}) and a ledger of"
        f" {counted(manifest.runs, 'run')} restored to {_data_dir(settings)} in"
        f" {lasting(done.seconds)}, {then}.",
        f"It is as of {manifest.began_at}: later orders are unknown to it, and what was erased"
        " later is there again.",
    ]
    if not done.is_current:
        lines.append("The next start brings the ledger up to date; audit it then.")
    return "\n".join(lines)


def _restore_json(done: BackupRestored, settings: Settings, problems: Sequence[str]) -> Any:
    tally, manifest = done.tally, done.manifest
    return {
        "ok": not problems,
        "folder": str(_data_dir(settings)),
        "at": manifest.began_at,
        "version": manifest.version,
        "schema": manifest.schema,
        "runs": manifest.runs,
        "pictures": tally.pictures,
        "picture_bytes": tally.picture_bytes,
        "set_aside": tally.set_aside,
        "seconds": round(done.seconds, 3),
        "problems": list(problems),
    }
