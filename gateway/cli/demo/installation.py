"""What the demo shows: a gateway in front of two simulated vendors, all on free loopback ports."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import logs
from gateway.config import Settings, sandbox_settings
from gateway.config.sandbox import UPSTREAM, digest_of
from gateway.config.schema import TeamEntry
from gateway.config.upstream_entry import PollSettings
from gateway.core.catalog import CacheScope
from gateway.errors import Unavailable
from gateway.sandbox import RunningSandbox, SandboxOptions, running_sandbox
from gateway.sandbox.openai import OpenAIOptions, RunningOpenAI, running_openai
from gateway.serving import InProcessServer
from gateway.wiring import Gateway

STUDIO: Final = "studio"
MARKETING: Final = "marketing"
BUDGETS_USD: Final = {STUDIO: "0.40", MARKETING: "1.00"}
"""A day's. The studio's lets two pictures of medium quality pass and then not one of high, and not
one either where the other team pays for the second."""

PACE: Final = {"first": "200ms", "every": "200ms", "max": "500ms"}
"""Quicker than one would ask a real upstream, so that the progress bar moves."""

GRACE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Installation:
    """What is running: the gateway at `base_url`, its settings, and the two vendors behind it."""

    base_url: str
    settings: Settings
    sandbox: RunningSandbox
    openai: RunningOpenAI


def key_of(team: str) -> str:
    """A key that opens nothing but the demo's gateway."""
    return f"{team}-demo-key"


@contextlib.asynccontextmanager
async def open_house(data_dir: Path, log: Path, *, seconds: float) -> AsyncIterator[Installation]:
    """Gateway and sandboxes for the length of the block; all state is in `data_dir`.

    The gateway's log goes to the file `log`. Raises OSError when ports, folder or log cannot be
    had.
    """
    evolink = running_sandbox(SandboxOptions(seconds_per_picture=seconds))
    second = running_openai(OpenAIOptions(seconds_per_picture=seconds))
    with log.open("w", encoding="utf-8") as file:
        logs.configure("json", "info", file)
        try:
            async with evolink as sandbox, second as openai:
                settings = _settings(sandbox.base_url, openai.api_url, data_dir)
                async with _running(settings) as base_url:
                    yield Installation(base_url, settings, sandbox, openai)
        finally:
            logs.flush()


@contextlib.asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[str]:
    gateway = Gateway(settings)
    try:
        await gateway.start()
    except Unavailable as error:
        raise OSError(error.message) from error
    http = InProcessServer(gateway.app)
    try:
        await http.start()
        gateway.bound(http.bound_port)
        yield http.base_url
    finally:
        await http.stop(GRACE_SECONDS)
        await gateway.stop(GRACE_SECONDS)


def _settings(base_url: str, openai_url: str, data_dir: Path) -> Settings:
    """Those of `serve --sandbox` with two teams that share their results."""
    settings = sandbox_settings(base_url, data_dir, port=0, openai_url=openai_url)
    upstream = settings.upstreams[UPSTREAM].model_copy(
        update={"poll": PollSettings.model_validate(PACE)}
    )
    teams = {name: _team(name, usd) for name, usd in BUDGETS_USD.items()}
    upstreams = {**settings.upstreams, UPSTREAM: upstream}
    return settings.model_copy(update={"upstreams": upstreams, "teams": teams})


def _team(name: str, usd: str) -> TeamEntry:
    return TeamEntry.model_validate(
        {
            "keys": [digest_of(key_of(name))],
            "budgets": [{"usd": usd, "per": "day"}],
            "cache": {"scope": CacheScope.ORGANIZATION.value},
        }
    )
