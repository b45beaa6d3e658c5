"""Keeps the time: the ledger's, where several gateways write to it, and else the machine's.

It is measured before anything is written, and then again and again: a clock may be set at any
time. What is under way feels nothing of that: it keeps the time that it has left.

Where there are several, a small difference is corrected and told of. One of half a minute says that
the machine is set up wrong: such a gateway takes no order, though its time is corrected all the
same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from gateway.errors import Unavailable
from gateway.ports.replicas import LedgerClock
from gateway.process.common_clock import CommonClock
from gateway.process.steady_clock import SteadyClock
from gateway.process.unexpected import Unexpected

log = structlog.get_logger("gateway.clock")

MEASURE_SECONDS: Final = 2.0
WARN_SECONDS: Final = 1.0
STEP_SECONDS: Final = 1.0
"""More is no correction of a clock that goes a little wrong: it was set."""

REFUSE_SECONDS: Final = 30.0


class Timekeeper:
    """`tell` gets each new offset; `stepped` is called when the time has jumped."""

    def __init__(
        self,
        ledger: LedgerClock,
        clock: CommonClock,
        *,
        tell: Callable[[float], None],
        stepped: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._tell = tell
        self._stepped = stepped
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
        own = self._clock.own
        ahead = await self._ledger.clock_offset(own)
        lead = own.lead()
        if ahead is None:
            await self._follow(own, lead)
            return
        self._clock.note(ahead, lead)
        off = self._clock.offset_seconds
        self._tell(off)
        if abs(off) <= WARN_SECONDS:
            self._warned_at = None
        elif self._warned_at is None or abs(off - self._warned_at) > WARN_SECONDS:
            self._warned_at = off
            log.warning("this machine's clock is wrong", reason=_far_off(off))

    async def _follow(self, own: SteadyClock, lead: float) -> None:
        """The machine's clock is the only one. Raises `Unavailable` where it cannot be followed."""
        if abs(lead) <= STEP_SECONDS:
            own.step(lead)
            return
        log.warning("this machine's clock was set", seconds=round(lead, 1))
        before = own.steps
        try:
            await self._ledger.clock_set(lead, lambda: own.step(lead))
        except Unavailable:
            if own.steps != before:
                own.step(-lead)
            raise
        self._stepped()


def _far_off(ahead_seconds: float) -> str:
    way = "behind" if ahead_seconds > 0 else "ahead of"
    return (
        f"this machine's clock is {abs(ahead_seconds):.1f} seconds {way} that of the ledger's"
        " server: set both by NTP"
    )
