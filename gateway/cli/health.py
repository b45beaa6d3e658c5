"""`image-gateway health`: whether a running gateway can take orders, and why not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from gateway.cli.connection import EXIT_REFUSED, Connection, Unanswered
from gateway.cli.formats import instant, plain
from gateway.cli.operator import KEY_VARIABLE, Operator
from gateway.cli.tables import say
from gateway.cli.unanswered import DEFAULT_URL, URL_VARIABLE

if TYPE_CHECKING:
    from gateway.web.admin.replicas import ReplicasShape
    from gateway.web.monitoring import ReadyShape

READY: Final = "ready"
CLOCK_SECONDS: Final = 1.0
"""More is worth a word."""


@click.command("health", short_help="Can the gateway take orders, and why not.")
@click.option(
    "--url",
    envvar=URL_VARIABLE,
    show_envvar=True,
    help=f"Where the gateway is.  [default: the port of the settings, else {DEFAULT_URL}]",
)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="Ask the port of this settings file.  [default: config.yaml, where there is one]",
)
@click.option(
    "--replicas", is_flag=True, help="List the gateways that share its ledger; wants an admin key."
)
@click.option("--key", envvar=KEY_VARIABLE, show_envvar=True, help="The admin key.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's JSON as it is.")
def health_command(
    *, url: str | None, path: Path | None, replicas: bool, key: str | None, as_json: bool
) -> None:
    """Asks a running gateway whether it can take orders, and says why not.

    Without --replicas it needs no key. The exit status is 0 when it is ready, 1 when it is not,
    and 2 when nobody answers. 'check --alive' only asks whether it runs: use that to restart it,
    and this to send it work.

    \b
      image-gateway health
      image-gateway health --url https://images.example.org
      image-gateway health --json || systemctl status image-gateway
      image-gateway health --replicas
    """
    ctx = click.get_current_context()
    if path is not None and ctx.get_parameter_source("url") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--url or --config, not both.")
    if replicas:
        _tell_replicas(_where(url, path), key=key, as_json=as_json)
        return
    with Connection(url=_where(url, path)) as gateway:
        with gateway.opened("GET", "/readyz", fine=(200, 503)) as response:
            answer = gateway.whole(response)
        with gateway.understood():
            found: Any = gateway.read(answer)
            lines = list(_told(gateway.url, found))
    say(answer.decode("utf-8", "replace") if as_json else "\n".join(lines))
    if found["status"] != READY:
        raise SystemExit(EXIT_REFUSED)


def _tell_replicas(url: str, *, key: str | None, as_json: bool) -> None:
    with Operator(url=url, key=key, as_json=as_json) as operator:
        operator.show(operator.get("replicas"), _replicas_told)


def _replicas_told(found: ReplicasShape) -> Iterator[str]:
    alive = [one for one in found["data"] if one["alive"]]
    yield f"{len(alive)} of {len(found['data'])} gateways live."
    for one in found["data"]:
        seen = "lives" if one["alive"] else f"silent since {instant(one['seen_at'])}"
        what = " (asked)" if one["this"] else ""
        yield f"  {plain(one['name'])}{what}: {seen}, started {instant(one['started_at'])}"
    if len({one["settings"] for one in alive}) > 1:
        yield "They do not run by the same settings: restart or reload those with the old ones."
    if abs(off := found["clock_offset_seconds"]) > CLOCK_SECONDS:
        yield f"The clock of the one that was asked is off by {off:+.1f} s, which is corrected."


def _told(url: str, answer: ReadyShape) -> Iterator[str]:
    if answer["status"] not in (READY, "unready"):
        raise ValueError(answer["status"])
    if answer["status"] == READY:
        yield f"ready: {url} takes orders."
        return
    yield f"not ready: {url} runs and takes no orders."
    yield from (f"  {plain(reason)}" for reason in answer["reasons"])


def _where(url: str | None, path: Path | None) -> str:
    """The address that is asked; a settings file that is named goes before the environment."""
    from gateway.cli.check import DEFAULT_PATH, address_of, explain
    from gateway.config import SettingsError, load_listening

    if path is None and (url or not DEFAULT_PATH.exists()):
        return url or DEFAULT_URL
    try:
        host, port = address_of(load_listening(path or DEFAULT_PATH, os.environ))
    except SettingsError as error:
        raise Unanswered(explain(error)) from None
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
