"""Threads for work that blocks. An executor makes a future with locks of its own for every piece of
work, beside the loop's: a hop took the event loop 12 µs where eight went together and 28 alone, and
takes 3 and 14 here. Keeping a picture is five.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Work = tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]


class Threads:
    """So many of them, begun with the first work. What waits is done in its order."""

    def __init__(self, count: int, *, name: str) -> None:
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}_{number}", daemon=True)
            for number in range(count)
        ]
        self._begun = self._closed = False

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """What `work` answers or raises. Cancelled before it is begun, it is not done."""
        if self._closed:
            raise RuntimeError("no work is taken any more")
        if not self._begun:
            self._begun = True
            for thread in self._threads:
                thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._work.put((loop, future, work))
        return future

    def shutdown(self) -> None:
        """Returns when all that was asked for is done. Blocks; safe to call twice."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._work.put(None)
        if self._begun:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while (one := self._work.get()) is not None:
            loop, future, work = one
            if future.cancelled():
                continue
            answer, error = None, None
            try:
                answer = work()
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop was closed under us: nobody waits any more
                loop.call_soon_threadsafe(_tell, future, answer, error)
            del one, future, work, answer, error  # nothing is held on to while there is no work


def _tell(future: asyncio.Future[T], answer: T, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)
