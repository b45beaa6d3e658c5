"""Draws pictures off the event loop and keeps the latest few.

A picture is drawn when it is first asked for and can be drawn again, byte for byte, at any time:
that is why ten thousand tasks need no more memory than the cache's bound.
"""

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from gateway.sandbox.drawing import Picture, draw


class Studio:
    """A bounded pool of drawing threads and a cache bounded in bytes."""

    def __init__(self, *, threads: int, cache_bytes: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sandbox-drawing")
        self._cache: OrderedDict[Picture, bytes] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._held_bytes = 0
        self._drawing: dict[Picture, asyncio.Future[bytes]] = {}

    async def picture(self, wanted: Picture) -> bytes:
        """The encoded picture; callers that want the same one at once share the drawing."""
        known = self._cache.get(wanted)
        if known is not None:
            self._cache.move_to_end(wanted)
            return known
        drawing = self._drawing.get(wanted)
        if drawing is None:
            loop = asyncio.get_running_loop()
            drawing = loop.run_in_executor(self._pool, draw, wanted)
            self._drawing[wanted] = drawing
            drawing.add_done_callback(lambda done: self._finish(wanted, done))
        # A client that goes away must not cancel the drawing for the others.
        return await asyncio.shield(drawing)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _finish(self, wanted: Picture, done: asyncio.Future[bytes]) -> None:
        del self._drawing[wanted]
        if done.cancelled() or done.exception() is not None:
            return
        self._cache[wanted] = done.result()
        self._held_bytes += len(done.result())
        while self._held_bytes > self._cache_bytes:
            _, dropped = self._cache.popitem(last=False)
            self._held_bytes -= len(dropped)
