"""`image-gateway check`: are the settings right, and what are they with all defaults filled in?

Prints every problem and exits 2, or prints the effective settings with secrets masked. Other
commands use `explain` to refuse bad settings in the same words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

import click
import yaml

from gateway.cli.store import store_notices
from gateway.config import Problem, Settings, SettingsError, load

DEFAULT_PATH = Path("config.yaml")
EXIT_PROBLEMS = 2


@click.command("check", short_help="Validate the settings and show them.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="The settings file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def check_command(path: Path, as_json: bool) -> None:
    """Validate the settings file and show the effective settings.

    Every problem is listed with its line, column and path, and the exit status is 2. Without
    problems, all settings are printed as YAML with defaults filled in and secrets masked,
    then notices: what is allowed and yet worth a thought, and a picture folder that is not the
    one of its ledger.
    """
    try:
        settings = load_settings(path)
    except SettingsError as error:
        click.echo(_problems_json(error) if as_json else explain(error), err=not as_json)
        raise SystemExit(EXIT_PROBLEMS) from None
    notices = [*settings.notices(), *store_notices(settings)]
    if as_json:
        click.echo(_settings_json(settings, notices))
        return
    click.echo(effective_yaml(settings), nl=False)
    for notice in notices:
        click.echo(f"notice: {notice}", err=True)


def load_settings(path: Path) -> Settings:
    """The settings in `path`, read with the process's environment. Raises SettingsError."""
    if not path.exists():
        message = "there is no such file; name the settings file with --config FILE"
        raise SettingsError([Problem((), message, str(path))])
    return load(path, os.environ)


def explain(error: SettingsError) -> str:
    """All problems, one a line, and their count."""
    count = len(error.problems)
    lines = [str(problem) for problem in error.problems]
    return "\n".join([*lines, f"{count} problem{'s' if count > 1 else ''}"])


def effective_yaml(settings: Settings) -> str:
    """The effective settings as YAML, secrets masked."""
    return yaml.dump(
        settings.shown(),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=100,
    )


class _Dumper(yaml.SafeDumper):
    """Writes amounts of money as plain numbers."""


def _write_decimal(dumper: yaml.SafeDumper, amount: Decimal) -> yaml.ScalarNode:
    kind = "float" if "." in str(amount) else "int"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{kind}", str(amount))


_Dumper.add_representer(Decimal, _write_decimal)


def _settings_json(settings: Settings, notices: Sequence[str]) -> str:
    answer = {"ok": True, "settings": settings.shown(), "notices": list(notices)}
    return json.dumps(answer, indent=2, default=float)


def _problems_json(error: SettingsError) -> str:
    return json.dumps({"ok": False, "problems": list(_plain(error.problems))}, indent=2)


def _plain(problems: Iterable[Problem]) -> Iterable[dict[str, object]]:
    for problem in problems:
        yield {
            "file": problem.name,
            "line": problem.line,
            "column": problem.column,
            "path": problem.dotted,
            "message": problem.message,
        }
