"""A lane: one thread that does blocking work for the event loop, in order and in batches.

Work that waits is served together, so that whoever serves can share a commit among it, and the
loop is woken once per batch. The queue is bounded. A caller that goes away takes nothing back:
its work is done all the same.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from gateway.errors import Unavailable

T = TypeVar("T")

RETRY_AFTER_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class WorkOutcome:
    """What a piece of work came to: an answer, or what it raised."""

    answer: Any = None
    error: BaseException | None = None


Work = Callable[[Any], Any]
"""Takes the server's connection, gives the answer."""


class Server(Protocol):
    """Serves a lane; both methods are called in the lane's own thread only."""

    def serve(self, batch: Sequence[Work]) -> Sequence[WorkOutcome]:
        """Does the work in order; one outcome for each. Never raises."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Ticket:
    work: Work
    future: asyncio.Future[WorkOutcome]


class Lane:
    """Runs from `start` to `stop`; belongs to the event loop that started it."""

    def __init__(self, name: str, server: Server, *, max_waiting: int, max_batch: int) -> None:
        self._server = server
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._queue: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._waiting = 0
        self._open = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._stopped: asyncio.Future[None]

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = self._loop.create_future()
        self._open = True
        self._thread.start()

    async def stop(self) -> None:
        """Finishes all that waits, then ends the thread. Safe to call twice."""
        if self._open:
            self._open = False
            self._queue.put(None)
        await asyncio.shield(self._stopped)

    async def call(self, work: Callable[[Any], T]) -> T:
        """The answer of `work`, or what it raised."""
        if not self._open:
            raise Unavailable("The gateway's ledger is closed: the gateway is stopping.")
        if self._waiting >= self._max_waiting:
            raise Unavailable(
                "The gateway's ledger is overloaded: try again shortly.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        ticket = _Ticket(work, self._loop.create_future())
        self._waiting += 1
        self._queue.put(ticket)
        outcome = await ticket.future
        if outcome.error is not None:
            raise outcome.error
        answer: T = outcome.answer
        return answer

    # --- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        """Where the loop was closed under it (`RuntimeError`) nobody is waiting any more."""
        while batch := self._next_batch():
            outcomes = self._server.serve([ticket.work for ticket in batch])
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._resolve, batch, outcomes)
        self._server.close()
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._finish)

    def _next_batch(self) -> list[_Ticket]:
        """At least one; empty when the lane is to stop, which is the last thing queued."""
        batch: list[_Ticket] = []
        ticket = self._queue.get()
        while ticket is not None:
            batch.append(ticket)
            if len(batch) == self._max_batch:
                break
            try:
                ticket = self._queue.get_nowait()
            except queue.Empty:
                break
        if ticket is None and batch:
            self._queue.put(None)
        return batch

    # --- back on the loop ----------------------------------------------------------------------

    def _resolve(self, batch: Sequence[_Ticket], outcomes: Sequence[WorkOutcome]) -> None:
        self._waiting -= len(batch)
        for ticket, outcome in zip(batch, outcomes, strict=True):
            if not ticket.future.done():
                ticket.future.set_result(outcome)

    def _finish(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(None)
