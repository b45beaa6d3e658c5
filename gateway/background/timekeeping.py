"""Keeps this gateway's time the ledger's, where several gateways write to it.

It is measured before anything is written, and then again and again: a clock may be set at any
time. A small difference is corrected and told of. One of half a minute says that the machine is
set up wrong: such a gateway takes no order, though its time is corrected all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from gateway.errors import Unavailable
from gateway.ports.replicas import LedgerClock
from gateway.process.common_clock import CommonClock
from gateway.process.unexpected import Unexpected

log = structlog.get_logger("gateway.clock")

MEASURE_SECONDS: Final = 2.0
WARN_SECONDS: Final = 1.0
REFUSE_SECONDS: Final = 30.0


class Timekeeper:
    """`tell` gets each new offset."""

    def __init__(
        self, ledger: LedgerClock, clock: CommonClock, *, tell: Callable[[float], None]
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._tell = tell
        self._warned_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    def problem(self) -> str | None:
        """Why no order can be taken: the clock is far off."""
        off = self._clock.offset_seconds
        return _far_off(off) if abs(off) > REFUSE_SECONDS else None

    async def start(self) -> None:
        """Measures once, and goes on in the background. Raises `Unavailable` where the clock is too
        far off for a start."""
        await self._measure()
        if problem := self.problem():
            raise Unavailable(f"{problem[0].upper()}{problem[1:]}.")
        self._task = asyncio.create_task(self._repeat(), name="time")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _repeat(self) -> None:
        unexpected = Unexpected("time")
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            try:
                await self._measure()
            except Unavailable:
                continue  # that the ledger is away, others tell; the last offset is what there is
            except Exception as error:
                unexpected.met(error)

    async def _measure(self) -> None:
        ahead = await self._ledger.clock_offset(self._clock.own)
        if ahead is None:
            return
        self._clock.note(ahead)
        off = self._clock.offset_seconds
        self._tell(off)
        if abs(off) <= WARN_SECONDS:
            self._warned_at = None
        elif self._warned_at is None or abs(off - self._warned_at) > WARN_SECONDS:
            self._warned_at = off
            log.warning("this machine's clock is wrong", reason=_far_off(off))


def _far_off(ahead_seconds: float) -> str:
    way = "behind" if ahead_seconds > 0 else "ahead of"
    return (
        f"this machine's clock is {abs(ahead_seconds):.1f} seconds {way} that of the ledger's"
        " server: set both by NTP"
    )
