"""A gateway that kills itself (SIGKILL) at one chosen point; run as a process of its own.

`operation` is one of the things the driver does (`submit@spare`: on that upstream), `when` is
`before` or `after`, `count` the how-manieth.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import Ready

from gateway.config import parse
from gateway.serving import InProcessServer
from gateway.wiring import Gateway


def armed(owner: object, name: str, when: str, count: int) -> None:
    """Makes the `count`-th call of `owner.name` the last thing this process does."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    async def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls
        if when == "before" and mine == count:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await real(*args, **kwargs)
        if when == "after" and mine == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, deadly)


async def serve(ready: Ready, settings: Path, port: int) -> None:
    """Until somebody else kills it."""
    gateway = Gateway(parse(settings.read_text(), {}))
    await gateway.start()
    async with InProcessServer(gateway.app, port=port).running() as http:
        gateway.bound(http.bound_port)
        ready()
        await asyncio.Event().wait()


async def main(
    ready: Ready, settings: Path, port: int, operation: str, when: str, count: int
) -> None:
    gateway = Gateway(parse(settings.read_text(), {}))
    adapters = gateway.adapters
    operation, _, upstream = operation.partition("@")
    owners = {
        "transact": adapters.ledger,
        "submit": adapters.connections.upstreams[upstream or "evolink"],
        "forget": adapters.connections.upstreams[upstream or "evolink"],
        "poll": adapters.connections.upstreams["evolink"],
        "keep": adapters.pictures,
        "readable": adapters.pictures,
        "put": adapters.cache,
    }
    await gateway.start()
    armed(owners[operation], operation, when, count)
    http = InProcessServer(gateway.app, port=port)
    await http.start()
    gateway.bound(http.bound_port)
    ready()
    await asyncio.sleep(60)
