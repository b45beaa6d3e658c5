"""A gateway that stands still (SIGSTOP) in the middle of its work; run as a process of its own.

Leases are short in it, so that a test need not wait, and its machine's clock is `ahead` seconds.
It writes its number to the file `pid` of the folder where it runs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

from processes import Ready

from gateway.background import turn, webhooks
from gateway.background.runs import leases, loop
from gateway.config import parse
from gateway.core.model import Run
from gateway.services import orders
from gateway.serving import InProcessServer
from gateway.wiring import Gateway, Outside

LEASE_SECONDS: Final = 4.0
POINTS: Final = ("before", "sure", "after", "polled", "kept")
"""Before a submit is begun, when nothing but its bytes is left to send, when it was answered and
nothing recorded; the same of a poll, and of the keeping of pictures."""


def prompt(point: str) -> str:
    return f"stands still: {point}"


async def main(ready: Ready, settings: Path, port: int, ahead: float, freezes: bool) -> None:
    """`freezes`: it stands still as soon as it has an order at each of the points."""
    shorten()
    gateway = Gateway(
        parse(settings.read_text("utf-8"), os.environ),
        clock=lambda: time.time() + ahead,
        outside=Outside(skewed=True),
    )
    await gateway.start()
    if freezes:
        arm(gateway)
    http = InProcessServer(gateway.app, port=port)
    await http.start()
    gateway.bound(http.bound_port)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    Path("pid").write_text(str(os.getpid()), "utf-8")
    ready()
    await ended.wait()
    await http.stop(2)
    await gateway.stop(2)


def shorten() -> None:
    short: dict[Any, dict[str, float]] = {
        leases: {"RUN_LEASE_SECONDS": LEASE_SECONDS, "SURE_SECONDS": 0.6},
        orders: {"RUN_LEASE_SECONDS": LEASE_SECONDS},
        loop: {"RENEW_SECONDS": 0.7},
        turn: {"TURN_SECONDS": LEASE_SECONDS, "RENEW_SECONDS": 0.7},
        webhooks: {"LEASE_SECONDS": LEASE_SECONDS, "RENEW_SECONDS": 0.7, "ATTEMPT_SECONDS": 1.0},
    }
    for module, values in short.items():
        for name, value in values.items():
            assert hasattr(module, name), name
            setattr(module, name, value)


class Stop:
    """Whoever comes to its point waits there for the others; the last one stops the process."""

    def __init__(self) -> None:
        self._there: set[str] = set()
        self._thawed = asyncio.Event()

    async def at(self, point: str, run: Run) -> None:
        if prompt(point) not in run.request or point in self._there:
            return
        self._there.add(point)
        if len(self._there) == len(POINTS):
            os.kill(os.getpid(), signal.SIGSTOP)
            self._thawed.set()
        await self._thawed.wait()


def arm(gateway: Gateway) -> None:
    stop, worker = Stop(), gateway.worker
    upstream: Any = gateway.adapters.connections.upstreams["evolink"]
    submit, poll, keep = upstream.submit, worker._asker.poll, worker._keeper.keep

    async def submitted(run: Run, *, sure: Any) -> Any:
        async def made_sure() -> None:
            await sure()
            await stop.at("sure", run)

        await stop.at("before", run)
        event = await submit(run, sure=made_sure)
        await stop.at("after", run)
        return event

    async def polled(run: Run) -> Any:
        event = await poll(run)
        await stop.at("polled", run)
        return event

    async def kept(run: Run) -> Any:
        event = await keep(run)
        await stop.at("kept", run)
        return event

    upstream.submit = submitted
    parts: Any = worker
    parts._asker.poll, parts._keeper.keep = polled, kept
