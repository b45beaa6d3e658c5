"""Whose turn it is to do what is done once, however many gateways there are.

The turn is a lease in the ledger: whoever has it says so again and again, and when it dies another
takes over. What is done under it can do no harm when two do it at once: one that stood still may
go on where it was, after another has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from gateway.errors import Unavailable
from gateway.ports.clock import Clock
from gateway.ports.replicas import Turns
from gateway.process.unexpected import Unexpected

log = structlog.get_logger("gateway.housekeeping")

NAME: Final = "chores"
TURN_SECONDS: Final = 15.0
RENEW_SECONDS: Final = 4.0
"""Two may be lost."""


class ChoresTurn:
    """`passed_on` is told when the turn was ours and is so no more."""

    def __init__(
        self, ledger: Turns, owner: str, *, clock: Clock, passed_on: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._owner = owner
        self._clock = clock
        self._passed_on = passed_on
        self._ours = asyncio.Event()
        self._had_it = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_ours(self) -> bool:
        """As far as was known a moment ago."""
        return self._ours.is_set()

    async def ours(self) -> None:
        """Returns while it is ours."""
        await self._ours.wait()

    async def start(self) -> None:
        """Asks for it once, and goes on asking in the background."""
        await self._ask()
        self._task = asyncio.create_task(self._repeat(), name="turn of the chores")

    async def stop(self) -> None:
        """Another one may have it at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.is_ours:
            self._ours.clear()
            with contextlib.suppress(Unavailable):  # then it runs out
                await self._ledger.give_back_turns((NAME,), self._owner)

    async def _repeat(self) -> None:
        unexpected = Unexpected("turn of the chores")
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._ask()
            except Exception as error:
                unexpected.met(error)
                self._ours.clear()

    async def _ask(self) -> None:
        """While the ledger cannot tell, nobody begins anything."""
        now = self._clock()
        try:
            ours = await self._ledger.take_turns(
                (NAME,), self._owner, now=now, until=now + TURN_SECONDS
            )
        except Unavailable as error:
            log.warning("chores wait for the ledger", reason=error.message)
            self._ours.clear()
            return
        if ours:
            self._had_it = True
            self._ours.set()
            return
        self._ours.clear()
        if self._had_it:
            self._had_it = False
            self._passed_on()
