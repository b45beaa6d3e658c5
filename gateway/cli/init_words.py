"""What `image-gateway init` says once it is done: what to mind, and what to type next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.cli.typed import typed
from gateway.config.first_settings import KEY_VARIABLE, METRICS_KEY_NAME, FirstSettings
from gateway.config.schema import ServerSettings
from gateway.core.addresses import is_loopback

FIRST_TEAM: Final = "marketing"
FIRST_BUDGET: Final = "50/month"


@dataclass(frozen=True, slots=True)
class Done:
    """The file that was written, and what was chosen for it."""

    path: Path
    chosen: FirstSettings
    compose: bool


def warnings(chosen: FirstSettings) -> Iterator[str]:
    parts = urlsplit(chosen.public_url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        yield "warning: with http:// everybody on the way reads keys and pictures: use https://"
    if parts.path:
        yield (
            f"warning: the proxy has to take {parts.path} off what it passes on:"
            " the gateway serves /v1, /pictures and the rest at its root"
        )
    if chosen.rehearsal:
        yield f"a rehearsal: upstream is {_whereabouts(chosen.upstream_url)}"


def _whereabouts(upstream_url: str) -> str:
    if is_loopback(urlsplit(upstream_url).hostname or ""):
        return "on this machine, and nothing is paid"
    return f"{upstream_url}; make sure that it is a simulator, for it gets the key in plain text"


def what_next(done: Done) -> Iterator[str]:
    """What was written, then three commands."""
    yield f"written: {done.path}"
    yield "The line on standard output is the admin key. Keep it now: it is written nowhere else."
    yield ""
    yield "Next:"
    lines = _of_compose(done) if done.compose else _of_machine(done)
    yield from (f"  {line}" for line in lines)


def _of_compose(done: Done) -> Iterator[str]:
    yield f"${{EDITOR:-vi}} {shlex.quote(str(done.path))}    # {KEY_VARIABLE}: the vendor's key"
    yield "docker compose up --detach"
    yield f"open {done.chosen.public_url}/console    # with the admin key"


def _of_machine(done: Done) -> Iterator[str]:
    chosen = done.chosen
    yield from _before(chosen.api_key)
    yield typed("serve", "--config", str(done.path))
    yield "# and in another terminal, with the admin key in GATEWAY_ADMIN_KEY:"
    where = [] if chosen.port == ServerSettings().port else ["--url", _local(chosen)]
    yield typed("teams", "create", FIRST_TEAM, "--budget", FIRST_BUDGET, *where)
    yield typed("keys", "issue", FIRST_TEAM, *where)
    yield f"# or in a browser: {chosen.public_url}/console"
    yield f"# Prometheus: its key is in {done.path.with_name(METRICS_KEY_NAME)}"


def _before(api_key: str) -> Iterator[str]:
    """How the vendor's key gets where the settings look for it, if it is not there."""
    source = api_key.removeprefix("${").removesuffix("}")
    if source.startswith("file:"):
        if not Path(source.removeprefix("file:")).exists():
            yield f"# first put the vendor's key into {source.removeprefix('file:')}"
    elif not os.environ.get(source):
        yield f"read -rs {source} && export {source}    # the vendor's key: paste it, Enter"


def _local(chosen: FirstSettings) -> str:
    return f"http://{ServerSettings().host}:{chosen.port}"
