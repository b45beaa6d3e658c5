"""Who has a picture in hand: the run that is about to own it, or its erasure. One at a time.

Bytes that are equal have one name. Without this, an erasure could take away what a live run has
just kept, between the run's look at it and the commit that makes it the run's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary


class PictureLocks:
    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, digests: Iterable[str]) -> AsyncIterator[None]:
        """Nobody else has any of these pictures in hand for the length of the block."""
        async with AsyncExitStack() as stack:
            for digest in sorted({*digests}):  # always in one order: two never wait for each other
                lock = self._locks.get(digest) or asyncio.Lock()
                self._locks[digest] = lock
                await stack.enter_async_context(lock)
            yield
