"""A lane: one thread that does blocking work for the event loop, in order and in batches.

Work that waits is served together, so that whoever serves can share a commit among it, and the
loop is woken once per batch. The queue is bounded. A caller that goes away takes nothing back:
its work is done all the same.

A lane whose server is another machine has a `patience`: no caller waits longer. Work that was not
being committed by then is not done any more, so that `Unavailable` is true; of the other nobody
knows yet, which `Unsettled` says. While the server hangs, new work fails at once.

Work that may rightly take long has a long patience, and a `pulse`: whoever waits for more than a
moment has another lane asked whether the server answers at all, and goes when it does not.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeVar

from gateway.errors import Unavailable, Unsettled

T = TypeVar("T")

RETRY_AFTER_SECONDS: Final = 1.0
AWAY_SECONDS: Final = 5.0

AGAIN_SECONDS: Final = 0.05
"""How soon work that was put back is offered again where nothing else is."""

GATHER_SECONDS: Final = 0.002
"""How long work may wait for more that comes turn by turn; what comes alone waits for two turns."""

PULSE_SECONDS: Final = 1.0
"""How often the pulse is felt while somebody waits."""

BEAT_SECONDS: Final = 4.0
"""A server that answers a small question later than this is away."""


@dataclass(frozen=True, slots=True)
class WorkOutcome:
    """What a piece of work came to: an answer, or what it raised.

    `again`: nothing was done, as something is in its way; it is to be offered again.
    """

    answer: Any = None
    error: BaseException | None = None
    again: bool = False


Work = Callable[[Any], Any]
"""Takes the server's connection, gives the answer."""


class _Stage(Enum):
    WAITING = auto()
    COMMITTING = auto()
    GONE = auto()
    DOUBTED = auto()


class Ticket:
    """A piece of work on its way, and whether its caller still waits for it."""

    def __init__(self, work: Work, future: asyncio.Future[WorkOutcome]) -> None:
        self.work = work
        self.future = future
        self.tries = 0
        """How often it was tried by itself, in vain: its server's to count."""
        self.held_up: BaseException | None = None
        self._stage = _Stage.WAITING
        self._changing = threading.Lock()

    def __call__(self, connection: Any) -> Any:
        return self.work(connection)

    @property
    def is_gone(self) -> bool:
        """Its caller was told that nothing was done."""
        return self._stage is _Stage.GONE

    def take(self) -> bool:
        """Before its commit is sent; False: its caller is gone, it must not be committed."""
        with self._changing:
            if self._stage is _Stage.WAITING:
                self._stage = _Stage.COMMITTING
            return self._stage is not _Stage.GONE

    def release(self) -> None:
        """It is known not to be committed. A caller who was told of a doubt is told so now, and
        it is not tried again for him."""
        with self._changing:
            doubted = self._stage is _Stage.DOUBTED
            self._stage = _Stage.GONE if doubted else _Stage.WAITING

    def abandon(self) -> bool:
        """The caller waits no longer. True: it will not be done; False: nobody knows yet."""
        with self._changing:
            waited = self._stage is _Stage.WAITING
            self._stage = _Stage.GONE if waited else _Stage.DOUBTED
            return waited


class Server(Protocol):
    """Serves a lane; both methods are called in the lane's own thread only."""

    def serve(self, batch: Sequence[Ticket]) -> Sequence[WorkOutcome]:
        """Does the work in order; one outcome for each. Never raises."""

    def close(self) -> None: ...


class Lane:
    """Runs from `start` to `stop`; belongs to the event loop that started it."""

    def __init__(
        self,
        name: str,
        server: Server,
        *,
        max_waiting: int,
        max_batch: int,
        patience: Patience | None = None,
    ) -> None:
        self._server = server
        self._patience = patience
        self._busy_since: float | None = None
        self._hanging_since: float | None = None
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._gathered: list[Ticket] = []
        self._queue: queue.SimpleQueue[Sequence[Ticket] | None] = queue.SimpleQueue()
        self._fresh: deque[Ticket] = deque()
        self._ended = False
        self._put_back: deque[Ticket] = deque()
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

    async def stop(self, seconds: float | None = None) -> None:
        """Finishes all that waits, then ends the thread. Safe to call twice.

        One that hangs is left behind after so many seconds.
        """
        if self._open:
            self._open = False
            self._hand_over()
            self._queue.put(None)
        await asyncio.wait([self._stopped], timeout=seconds)

    async def call(self, work: Callable[[Any], T]) -> T:
        """The answer of `work`, or what it raised."""
        if not self._open:
            raise Unavailable("The gateway's ledger is closed: the gateway is stopping.")
        patience = self._patience
        if self.hangs() or (patience is not None and patience.is_vain()):
            raise _away()
        if self._waiting >= self._max_waiting:
            raise Unavailable(
                "The gateway's ledger is overloaded: try again shortly.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        ticket = Ticket(work, self._loop.create_future())
        self._waiting += 1
        if not self._gathered:
            self._loop.call_soon(self._gather, (0, 0), self._loop.time() + GATHER_SECONDS)
        self._gathered.append(ticket)
        outcome = await (ticket.future if patience is None else self._within(patience, ticket))
        if outcome.error is not None:
            raise outcome.error
        answer: T = outcome.answer
        return answer

    def _gather(self, before: tuple[int, int], until: float) -> None:
        """Hands over what has come once two turns of the loop brought no more: what is read from a
        connection in one turn is work in the next.

        Alone a hit costs the thread 210 µs, and 57 with 15 others; the first of 16 were always
        alone, as the thread was quicker than the loop that read the others.
        """
        count = len(self._gathered)
        if before[0] == count or count >= self._max_batch or self._loop.time() >= until:
            self._hand_over()
        else:
            self._loop.call_soon(self._gather, (before[1], count), until)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._queue.put(gathered)

    def hangs(self) -> bool:
        """Whether its server has not answered for so long that nobody is to wait for it."""
        since, patience = self._busy_since, self._patience
        if since is None or patience is None:
            return False
        return since == self._hanging_since or time.monotonic() - since > patience.seconds

    async def _within(self, patience: Patience, ticket: Ticket) -> WorkOutcome:
        waiting = ticket.future
        try:
            async with asyncio.timeout(patience.seconds):
                return await patience.answered(waiting)
        except TimeoutError:
            if waiting.done() and not waiting.cancelled():
                return waiting.result()
            self._note_hanging(patience)
            if ticket.abandon():
                raise ticket.held_up or _away() from None
            ticket.future = self._loop.create_future()
            raise Unsettled(_settled(ticket.future)) from None

    def _note_hanging(self, patience: Patience) -> None:
        """One that has answered others meanwhile does not hang: what was waited for is in the way
        of this caller alone, or there is too much to do."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > patience.seconds / 2:
            self._hanging_since = since

    # --- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        """Where the loop was closed under it (`RuntimeError`) nobody is waiting any more."""
        while (fresh := self._next_batch()) is not None:
            former = min(len(self._put_back), self._max_batch)
            batch = [*fresh, *(self._put_back.popleft() for _ in range(former))]
            self._busy_since = time.monotonic()
            outcomes = self._server.serve(batch)
            self._busy_since = None
            self._tell([*zip(batch, outcomes, strict=True)])
        self._tell([(ticket, WorkOutcome(error=ticket.held_up)) for ticket in self._put_back])
        self._server.close()
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._finish)

    def _tell(self, served: Sequence[tuple[Ticket, WorkOutcome]]) -> None:
        """Those that are to be offered again stay here."""
        done = [one for one in served if not self._is_put_back(*one)]
        if done:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._resolve, done)

    def _is_put_back(self, ticket: Ticket, outcome: WorkOutcome) -> bool:
        if not outcome.again or ticket.is_gone:
            return False
        ticket.held_up = outcome.error
        self._put_back.append(ticket)
        return True

    def _next_batch(self) -> list[Ticket] | None:
        """None when the lane is to stop, which is the last thing queued. Not without any, unless
        there are some that were put back: they are offered behind those that are new."""
        fresh = self._fresh
        while len(fresh) < self._max_batch and not self._ended:
            timeout = AGAIN_SECONDS if self._put_back else None
            try:
                handed = self._queue.get(block=not fresh, timeout=timeout)
            except queue.Empty:
                break
            if handed is None:
                self._ended = True
            else:
                fresh.extend(handed)
        if self._ended and not fresh:
            return None
        return [fresh.popleft() for _ in range(min(len(fresh), self._max_batch))]

    # --- back on the loop ----------------------------------------------------------------------

    def _resolve(self, done: Sequence[tuple[Ticket, WorkOutcome]]) -> None:
        self._waiting -= len(done)
        for ticket, outcome in done:
            if not ticket.future.done():
                ticket.future.set_result(outcome)

    def _finish(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(None)


@dataclass(frozen=True, slots=True)
class Pulse:
    """Another, quick lane to the same server, and a small question for it."""

    lane: Lane
    question: Work

    async def feel(self) -> None:
        """Raises `TimeoutError` where the server does not answer."""
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                await self.lane.call(self.question)
        except Unavailable as away:
            raise TimeoutError from away


@dataclass(frozen=True, slots=True)
class Patience:
    """For how long a caller of a lane waits, and by what he knows earlier that it is in vain."""

    seconds: float
    pulse: Pulse | None = None

    def is_vain(self) -> bool:
        return self.pulse is not None and self.pulse.lane.hangs()

    async def answered(self, waiting: asyncio.Future[WorkOutcome]) -> WorkOutcome:
        """Raises `TimeoutError` as soon as the server is known to be away."""
        while self.pulse is not None and not waiting.done():
            await asyncio.wait((waiting,), timeout=PULSE_SECONDS)
            if not waiting.done():
                await self.pulse.feel()
        return await waiting


def _away() -> Unavailable:
    return Unavailable(
        "The gateway's ledger cannot be used now: its server does not answer. Nothing was written.",
        retry_after_seconds=AWAY_SECONDS,
    )


async def _told(outcome: asyncio.Future[WorkOutcome]) -> Any:
    found = await asyncio.shield(outcome)
    if found.error is not None:
        raise found.error
    return found.answer


def _settled(outcome: asyncio.Future[WorkOutcome]) -> Callable[[], Awaitable[Any]]:
    """How to wait for what came of it."""
    return lambda: _told(outcome)
