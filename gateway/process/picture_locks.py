"""Who has a picture in hand: the run that is about to own it, or its erasure. One at a time.

Bytes that are equal have one name. Without this, an erasure could take away what a live run has
just kept, between the run's look at it and the commit that makes it the run's own. Where other
gateways share the pictures, their turns in the ledger come on top of this process's own locks.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final
from weakref import WeakValueDictionary

from gateway.errors import Unavailable, Unsettled
from gateway.ports.clock import Clock
from gateway.ports.replicas import Turns

TURN_SECONDS: Final = 28.0
"""Of a gateway that dies with a picture in hand the others wait so long: its runs are to go on
within 30 seconds."""

RENEW_SECONDS: Final = 3.0
"""One may be lost, and all that is decided is in time all the same."""

COMMIT_SECONDS: Final = 20.0
"""What is decided so long before a turn's end is committed, or never, before another has it."""

ASK_SECONDS: Final = 0.1
"""How often a picture that another gateway has in hand is asked for: it is brief."""


class TurnOver(Exception):
    """The turn ends too soon for what was to be written: it is to be begun anew."""


class Held:
    """What one has in hand; others cannot have it before `until`."""

    def __init__(self, clock: Clock, until: float) -> None:
        self._clock = clock
        self.until = until

    def check(self) -> None:
        """Inside a decision: raises `TurnOver` where its commit might come too late."""
        if self._clock() > self.until - COMMIT_SECONDS:
            raise TurnOver


FOR_EVER: Final = Held(lambda: 0.0, float("inf"))


class PictureLocks:
    """`turns`: those of the ledger, where other gateways share the pictures."""

    def __init__(self, turns: Turns | None = None, *, clock: Clock = time.time) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._turns = turns
        self._clock = clock
        self._in_doubt: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def of(self, digests: Iterable[str]) -> AsyncIterator[Held]:
        """Nobody else has any of these pictures in hand for the length of the block.

        Raises `Unavailable` when the ledger cannot give its turns.
        """
        wanted = sorted({*digests})  # always in one order: two never wait for each other
        async with AsyncExitStack() as stack:
            for digest in wanted:
                lock = self._locks.get(digest) or asyncio.Lock()
                self._locks[digest] = lock
                await stack.enter_async_context(lock)
            if self._turns is None or not wanted:
                yield FOR_EVER
            else:
                names = [f"picture/{digest}" for digest in wanted]
                yield await stack.enter_async_context(self._turn(self._turns, names))

    @asynccontextmanager
    async def _turn(self, turns: Turns, names: Sequence[str]) -> AsyncIterator[Held]:
        owner = f"pictures-{secrets.token_hex(8)}"
        held = await self._taken(turns, names, owner)
        renewing = asyncio.create_task(self._renew(turns, names, owner, held))
        try:
            yield held
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with suppress(Unavailable):  # then it runs out
                await turns.give_back_turns(names, owner)

    async def _taken(self, turns: Turns, names: Sequence[str], owner: str) -> Held:
        """What is given just as one is cancelled is given back."""
        try:
            while True:
                now = self._clock()
                until = now + TURN_SECONDS
                if await turns.take_turns(names, owner, now=now, until=until):
                    return Held(self._clock, until)
                await asyncio.sleep(ASK_SECONDS)
        except asyncio.CancelledError:
            with suppress(Unavailable):
                await turns.give_back_turns(names, owner)
            raise
        except Unsettled as doubt:
            task = asyncio.create_task(_let_go(turns, names, owner, doubt))
            self._in_doubt.add(task)
            task.add_done_callback(self._in_doubt.discard)
            raise

    async def _renew(self, turns: Turns, names: Sequence[str], owner: str, held: Held) -> None:
        """While it is in hand; one that was lost stays so."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            until = self._clock() + TURN_SECONDS
            with suppress(Unavailable):
                if not await turns.renew_turns(names, owner, until=until):
                    return
                held.until = until


async def _let_go(turns: Turns, names: Sequence[str], owner: str, doubt: Unsettled) -> None:
    """What may have been given to one who was told that nobody knows. Kept, it would be in the way
    of all until it runs out, also of whoever asked."""
    with suppress(Unavailable):
        await doubt.settled()
        await turns.give_back_turns(names, owner)
