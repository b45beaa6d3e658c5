"""What waits for a thread, done there together: a hop costs more than a read, and a transaction for
each more than a write.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Together(Generic[A, B]):
    """`serve` answers each of what it is given, in order, in a thread of the executor, and never
    raises. For one event loop."""

    def __init__(
        self, executor: ThreadPoolExecutor, serve: Callable[[Sequence[A]], Sequence[B]]
    ) -> None:
        self._executor = executor
        self._serve = serve
        self._lock = threading.Lock()
        self._asked: list[tuple[A, asyncio.Future[B]]] = []

    async def ask(self, one: A) -> B:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[B] = loop.create_future()
        with self._lock:
            self._asked.append((one, answer))
            first = len(self._asked) == 1
        if first:
            self._begin(loop)
        return await answer

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._executor.submit(self._serve_asked, loop)
        except RuntimeError as closed:
            with self._lock:
                asked, self._asked = self._asked, []
            for _, future in asked:
                if not future.done():
                    future.set_exception(closed)

    def _serve_asked(self, loop: asyncio.AbstractEventLoop) -> None:
        """All that were asked for so far."""
        with self._lock:
            asked, self._asked = self._asked, []
        answers = self._serve([one for one, _ in asked])
        told = [(future, answer) for (_, future), answer in zip(asked, answers, strict=True)]
        try:
            loop.call_soon_threadsafe(_tell, told)
        except RuntimeError:  # the loop was closed under us: nobody is waiting any more
            return


def _tell(answers: Sequence[tuple[asyncio.Future[B], B]]) -> None:
    for future, answer in answers:
        if not future.done():
            future.set_result(answer)
