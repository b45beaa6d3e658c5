"""Who waits for which run, in this process: the worker publishes, requests wait.

A waiter costs one future; a run nobody waits for costs nothing. What is published here is
already committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.core.model import Run


class Board:
    """Runs that have gone on, and the requests that wait for it."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Queue[Run]]] = {}

    def publish(self, run: Run) -> None:
        """Wakes everyone who waits for this run."""
        for queue in self._waiting.get(run.id, ()):
            queue.put_nowait(run)

    @contextmanager
    def watching(self, run_id: str) -> Iterator[Watch]:
        """Everything published about the run from now on. Watch first, then read the ledger."""
        queue: asyncio.Queue[Run] = asyncio.Queue()
        watchers = self._waiting.setdefault(run_id, set())
        watchers.add(queue)
        try:
            yield Watch(queue)
        finally:
            watchers.discard(queue)
            if not watchers:
                self._waiting.pop(run_id, None)


class Watch:
    """One waiter's view of a run's news."""

    def __init__(self, queue: asyncio.Queue[Run]) -> None:
        self._queue = queue

    async def until(self, reached: Callable[[Run], bool], timeout_seconds: float) -> Run | None:
        """The first news for which `reached` holds; None when the time is over before."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    run = await self._queue.get()
                    if reached(run):
                        return run
        except TimeoutError:
            return None
