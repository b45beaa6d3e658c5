"""`image-gateway serve`: runs the gateway until SIGTERM or SIGINT, reloads on SIGHUP.

Says one line when it is ready, says what it is waiting for when it stops, and exits 0 when
everything it had taken was ended or safely written down.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway.cli.check import (
    DEFAULT_PATH,
    EXIT_PROBLEMS,
    config_option,
    explain,
    load_settings,
    notices_of,
)
from gateway.config import Settings, SettingsError, with_address

if TYPE_CHECKING:
    import asyncio

    from gateway.serving import InProcessServer
    from gateway.wiring import Gateway

SANDBOX_FOLDER = Path("data/sandbox")
EXIT_CANNOT_START = 1
HANGUP = "SIGHUP"
"""Who reloads, in the audit, when no admin key did."""

COLLECT_AFTER: Final = 10_000
"""So many more new objects than gone ones, and circles are looked for. At Python's 700 that was a
fortieth of the cost of a cache hit, in some trials a twentieth."""


@click.command("serve", short_help="Run the gateway.")
@config_option
@click.option("--host", help="Address to listen on, instead of the settings' server.host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on, instead of server.port; 0 takes a free one.",
)
@click.option(
    "--sandbox",
    is_flag=True,
    help="Run against simulated upstreams inside: needs no key and no settings file.",
)
def serve_command(path: Path | None, host: str | None, port: int | None, sandbox: bool) -> None:
    """Run the gateway.

    Point a client at it by changing its base URL and its key; nothing else. SIGHUP reloads the
    settings file (all or nothing), SIGTERM stops: no new orders, then what is in flight ends.
    Calls that upstream is paid for by themselves are waited for; one more SIGTERM cuts them.
    Behind a balancer server.drain lets it go elsewhere before that.

    \b
    Try it without anything:
      image-gateway serve --sandbox
      curl http://127.0.0.1:8080/v1/images/generations \\
        -H 'Authorization: Bearer team-demo-key' \\
        -d '{"model": "gpt-image-1.5", "prompt": "a red bicycle", "quality": "low"}'
    """
    if sandbox and path is not None:
        raise click.UsageError("--sandbox brings its own settings; leave --config out.")
    # Until there is a gateway to reload, a SIGHUP would end the process, and must not be lost: the
    # settings may have been read before they were changed.
    hangups: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: hangups.append(number))
    from gateway import serving

    try:
        if sandbox:
            code = serving.run(_serve_sandbox(host, port, sandbox_links(host, port)))
        else:
            path = path or DEFAULT_PATH
            load = partial(_load, path, host, port)
            code = serving.run(_serve(load(), load, hangups=hangups))
    except SettingsError as error:
        click.echo(explain(error), err=True)
        raise SystemExit(EXIT_PROBLEMS) from None
    raise SystemExit(code)


def _load(path: Path, host: str | None, port: int | None) -> Settings:
    return with_address(load_settings(path), host=host, port=port)


def sandbox_links(host: str | None, port: int | None) -> str | None:
    """The sandbox's `public_url`; None where its own address will do.

    Beyond loopback it listens in a container or for a colleague: whoever tries it out has
    published the port on the machine where the browser is.
    """
    from gateway.config.schema import ServerSettings

    if host is None or ServerSettings(host=host).is_loopback:
        return None
    if port == 0:
        raise click.UsageError("with a --host beyond loopback name the --port: links contain it.")
    return f"http://127.0.0.1:{port or ServerSettings().port}"


async def _serve_sandbox(host: str | None, port: int | None, public_url: str | None) -> int:
    from gateway.config import sandbox_settings
    from gateway.sandbox import SandboxOptions, running_sandbox
    from gateway.sandbox.openai import running_openai

    async with running_sandbox(SandboxOptions()) as evolink, running_openai() as openai:
        settings = sandbox_settings(
            evolink.base_url, SANDBOX_FOLDER, public_url=public_url, openai_url=openai.api_url
        )
        upstreams = {"simulated EvoLink": evolink.base_url, "simulated OpenAI": openai.api_url}
        places = partial(_sandbox_places, upstreams)
        return await _serve(with_address(settings, host=host, port=port), None, places)


def _sandbox_places(upstreams: Mapping[str, str], base_url: str) -> list[str]:
    from gateway.config.sandbox import sandbox_places

    places = {**sandbox_places(base_url), **upstreams}
    return [f"{name}: {place}" for name, place in places.items()]


def _places(base_url: str) -> list[str]:
    """What is said behind the line of readiness: where a person looks next."""
    return [f"console: {base_url}/console"]


async def _serve(
    settings: Settings,
    load: Callable[[], Settings] | None,
    places: Callable[[str], list[str]] = _places,
    *,
    hangups: Sequence[int] = (),
) -> int:
    """Serves until told to stop; returns the exit status. `load` reads the settings again.

    `places` are the lines behind that of readiness, from the base of links. `hangups` came before
    there was anything to reload, and are made up for.
    """
    import asyncio

    from gateway import logs, serving
    from gateway.errors import Unavailable
    from gateway.wiring import Gateway

    server = settings.server
    _allow_many_connections()
    logs.configure(server.log.format, server.log.level)
    stop = serving.catch_stop_signals()
    for notice in notices_of(settings) if load else ():
        click.echo(f"notice: {notice}", err=True)
    gateway = Gateway(settings, load=load)
    try:
        await gateway.start()
    except Unavailable as error:
        click.echo(f"cannot start: {error.message}", err=True)
        return EXIT_CANNOT_START
    gc.freeze()  # a full collection over the tokenizer's vocabulary holds the loop for 60 ms
    gc.set_threshold(COLLECT_AFTER, 10, 10)
    http = serving.InProcessServer(gateway.app, host=server.host, port=server.port)
    try:
        await http.start()
        gateway.bound(http.bound_port)
        _reload_on_hangup(gateway, at_once=bool(hangups))
        ready = f"image-gateway is ready on {http.base_url}"
        _say(ready, *places(server.links_base(http.bound_port)))
        await stop.get()
        if server.drain_seconds:
            await _drain(gateway, http, stop, server.drain_seconds)
        gateway.stop_taking()
        _say("stopping: no new orders; ending what is in flight")
    except OSError as error:
        click.echo(f"cannot listen on {server.host}:{server.port}: {error.strerror}", err=True)
        return EXIT_CANNOT_START
    finally:
        impatience = asyncio.create_task(_stop_at_once(gateway, stop))
        await http.stop(server.shutdown_grace_seconds)
        await gateway.stop(server.shutdown_grace_seconds)
        impatience.cancel()
        logs.flush()
    return 0


async def _stop_at_once(gateway: Gateway, stop: asyncio.Queue[signal.Signals]) -> None:
    """One more signal: what the stop waits for beyond its grace is cut."""
    await stop.get()
    gateway.stop_at_once()


async def _drain(
    gateway: Gateway, http: InProcessServer, stop: asyncio.Queue[signal.Signals], seconds: float
) -> None:
    """Lets balancers and clients go elsewhere first; one more signal ends that."""
    import asyncio

    from gateway.config.units import show_seconds

    gateway.drain()
    http.drain()
    _say(
        f"draining for {show_seconds(seconds)}: /readyz says 503, orders are still taken;"
        " one more signal stops at once"
    )
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.get(), seconds)


def _say(*lines: str) -> None:
    """In one piece: whoever wants the first line alone may be gone behind it. No reason to end."""
    try:
        click.echo("\n".join(lines))
    except OSError:
        _speak_to_nobody()


def _speak_to_nobody() -> None:
    """What could not be said would be tried again at the end, and make the exit a failure."""
    with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nobody:
        os.dup2(nobody.fileno(), sys.stdout.fileno())


def _allow_many_connections() -> None:
    """Raises the soft limit on open files, often 1024, as far as the hard one and need go."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _reload_on_hangup(gateway: Gateway, *, at_once: bool) -> None:
    """SIGHUP reads the file again; a bad file changes nothing and is told in full."""
    import asyncio

    import structlog

    from gateway.core.teams.changes import Act
    from gateway.errors import Unavailable
    from gateway.ids import new_change_id

    log = structlog.get_logger("gateway.settings")

    async def reload() -> None:
        try:
            taken = await gateway.reread(Act(new_change_id(), time.time(), HANGUP))
        except (SettingsError, Unavailable) as error:
            said = explain(error) if isinstance(error, SettingsError) else error.message
            log.error("reload refused, the last good settings stay", problems=said)
            return
        if taken is None:
            log.warning("nothing to reload: the sandbox's settings are built in")
        else:
            log.info("settings reloaded", restart_needed_for=list(taken.waiting))

    reloads: set[asyncio.Task[None]] = set()

    def begin() -> None:
        task = asyncio.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, begin)
    if at_once:
        begin()
