"""A house whose model has two routes, each to a sandbox of its own."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from house import FAST, ORGANISATION_KEY, House, opened

from gateway.sandbox import RunningSandbox, SandboxOptions, running_sandbox

CHEAP, DEAR = 50_000, 80_000
SPEND = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
HELD = 'gateway_budget_held_usd{team="blue",window="total"}'
TIMEOUTS = {"connect": "5s", "submit": "20s", "poll": "20s", "download": "20s"}


@dataclass
class TwoRoutes:
    """A house whose model has a cheap and a dear route, each with a sandbox of its own."""

    house: House
    cheap: RunningSandbox
    dear: RunningSandbox

    def completed(self) -> Counter[str]:
        """How many tasks have been completed, and so charged, for each prompt."""
        return Counter(
            task.wish.prompt
            for sandbox in (self.cheap, self.dear)
            for task in sandbox.state.tasks.values()
            if task.error_code is None
        )

    def charged(self) -> int:
        """What both upstreams have charged by the routes' prices, in micro-dollars."""
        counts = [
            sum(task.error_code is None for task in sandbox.state.tasks.values())
            for sandbox in (self.cheap, self.dear)
        ]
        return counts[0] * CHEAP + counts[1] * DEAR

    async def spent(self) -> int:
        return round((await self.house.metrics())[SPEND] * 1_000_000)

    async def held(self) -> int:
        return round((await self.house.metrics())[HELD] * 1_000_000)


@contextlib.asynccontextmanager
async def two_routes(
    folder: Path,
    *,
    cheap: SandboxOptions = FAST,
    dear: SandboxOptions = FAST,
    deadline: str = "60s",
    **changes: Any,
) -> AsyncIterator[TwoRoutes]:
    async with running_sandbox(cheap) as first, running_sandbox(dear) as second:
        one = await opened(first, folder, **routes_settings(second, deadline), **changes)
        try:
            yield TwoRoutes(one, first, second)
        finally:
            await one.stop()


def routes_settings(dear: RunningSandbox, deadline: str) -> dict[str, Any]:
    """Changes to the settings: a second upstream, and a route to it."""
    spare = {
        "base_url": dear.base_url,
        "api_key": ORGANISATION_KEY,
        "poll": {"first": "20ms", "every": "40ms", "max": "80ms"},
        "timeout": TIMEOUTS,
        "allow_private_addresses": True,
    }
    routes = [
        {"upstream": "spare", "model": "gpt-image-1.5", "price": DEAR / 1_000_000},
        {"upstream": "evolink", "model": "gpt-image-1.5", "price": CHEAP / 1_000_000},
    ]
    return {
        "upstreams": {"evolink": {"timeout": TIMEOUTS}, "spare": spare},
        "models": {"gpt-image-1.5": {"routes": routes, "deadline": deadline}},
    }
