"""`image-gateway check`: are the settings right, and what are they with all defaults filled in?

Prints every problem and exits 2, or prints the effective settings with secrets masked. Other
commands use `explain` to refuse bad settings in the same words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click
import yaml

from gateway.cli.store import store_notices
from gateway.config import Problem, Settings, SettingsError, load, load_listening
from gateway.config.notices import notices, proxy_notices
from gateway.config.schema import ServerSettings, Storage
from gateway.core.addresses import is_loopback

DEFAULT_PATH = Path("config.yaml")
EXIT_PROBLEMS = 2
FILES = ("ledger", "postgres", "pictures", "s3")
ALIVE_SECONDS = 2.0
ANSWER_BYTES = 1000

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help=f"The settings file.  [default: {DEFAULT_PATH}]",
)
"""The option of a command that goes on without a file, unless one is named."""

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="The data folder, ledger and pictures in it; alone it needs no settings file.",
)
"""Of a command that works on an installation's folder; `settings_of` reads both."""


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
@click.option("--quiet", is_flag=True, help="Print nothing but problems and notices.")
@click.option(
    "--ask", is_flag=True, help="Ask the upstreams too: do they take the keys, have the models?"
)
@click.option(
    "--alive", is_flag=True, help="Ask the gateway of these settings whether it runs, instead."
)
def check_command(path: Path, as_json: bool, quiet: bool, ask: bool, alive: bool) -> None:
    """Validate the settings file and show the effective settings.

    Every problem is listed with its line, column and path, and the exit status is 2. Without
    problems, all settings are printed as YAML with defaults filled in and secrets masked,
    then notices: what is allowed and yet worth a thought, and a picture folder that is not the
    one of its ledger. With --quiet the settings are left out, so that nothing is printed when all
    is well: for a service that checks before it starts.

    With --ask every upstream is asked once for what costs nothing, EvoLink for its credits, others
    for their models; what is wrong there, or could not be told, is a notice as well.

    With --alive it says nothing and exits 0 when a gateway answers at the port of the settings,
    else it says why and exits 1: for health checks of containers and services. Only a mistake
    that hides the port is a problem then: a gateway that runs keeps its last good settings.

    \b
      image-gateway check
      image-gateway check --config /etc/image-gateway/config.yaml --quiet && echo "all is well"
      image-gateway check --alive
    """
    try:
        if alive:
            # `serve --sandbox` needs no file.
            _ask(load_listening(path, os.environ) if path.exists() else ServerSettings())
            return
        settings = load_settings(path)
    except SettingsError as error:
        click.echo(_problems_json(error) if as_json else explain(error), err=not as_json)
        raise SystemExit(EXIT_PROBLEMS) from None
    found = [
        *notices_of(settings),
        *proxy_notices(settings, os.environ),
        *store_notices(settings),
        *(_asked(settings) if ask else ()),
    ]
    if as_json and not quiet:
        click.echo(_settings_json(settings, found))
        return
    if not quiet:
        click.echo(effective_yaml(settings), nl=False)
    for notice in found:
        click.echo(f"notice: {notice}", err=True)


def _asked(settings: Settings) -> Sequence[str]:
    from gateway import serving
    from gateway.wiring.looks import look

    return serving.run(look(settings))


def _ask(server: ServerSettings) -> None:
    """Exits 1 when nobody answers at the address of these settings."""
    host, port = address_of(server)
    connection = HTTPConnection(host, port, timeout=ALIVE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        status, body = answer.status, answer.read(ANSWER_BYTES)
    except (OSError, HTTPException) as error:
        raise SystemExit(f"nobody answers at {host}:{port}: {error}") from None
    finally:
        connection.close()
    if status != 200:
        raise SystemExit(f"what answers at {host}:{port} says {status}: no gateway")
    if b'"status"' not in body:
        raise SystemExit(f"what answers at {host}:{port} does not speak as a gateway does")


def address_of(server: ServerSettings) -> tuple[str, int]:
    """The host and port at which this machine reaches a gateway of these settings.

    It may have been told to listen on more than they say: then loopback answers as well.
    """
    everywhere = server.host in ("0.0.0.0", "::")  # noqa: S104
    host = "localhost" if everywhere or is_loopback(server.host) else server.host
    return host, server.port


def load_settings(path: Path) -> Settings:
    """The settings in `path`, read with the process's environment. Raises SettingsError."""
    if not path.exists():
        message = (
            "there is no such file; name the settings file with --config FILE, or have one written"
            " by 'image-gateway init'"
        )
        raise SettingsError([Problem((), message, str(path))])
    from gateway.wiring.kinds import KINDS

    return load(path, os.environ, KINDS)


def notices_of(settings: Settings) -> Sequence[str]:
    """What is worth a sentence of these settings today."""
    from gateway.wiring.kinds import KINDS

    return notices(settings, datetime.now(UTC).date(), KINDS)


def settings_of(path: Path | None, data_dir: Path | None) -> Settings:
    """Those of `--config` and `--data-dir`, of which either will do. Raises SettingsError."""
    if data_dir is not None and path is None:
        settings = Settings()
    else:
        settings = load_settings(path or DEFAULT_PATH)
    if data_dir is None:
        return settings
    # An installation in a folder, whatever stores the settings have for theirs.
    files = {name: field.default for name, field in Storage.model_fields.items() if name in FILES}
    storage = settings.storage.model_copy(update={**files, "data_dir": str(data_dir)})
    return settings.model_copy(update={"storage": storage})


def explain(error: SettingsError) -> str:
    """All problems, one a line, and their count."""
    count = len(error.problems)
    lines = [str(problem) for problem in error.problems]
    return "\n".join([*lines, f"{count} problem{'s' if count > 1 else ''}"])


def effective_yaml(settings: Settings) -> str:
    """The effective settings as YAML, secrets masked."""
    return yaml_of(settings.shown())


def yaml_of(shown: object) -> str:
    return yaml.dump(
        shown,
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
    problems = [
        {
            "file": problem.name,
            "line": problem.line,
            "column": problem.column,
            "path": problem.dotted,
            "message": problem.message,
        }
        for problem in error.problems
    ]
    return json.dumps({"ok": False, "problems": problems}, indent=2)
