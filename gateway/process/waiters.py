"""Who waits for which run, in this process: the worker publishes, requests wait.

A waiter costs one future: one timer keeps the time for all of them, and it is the publisher who
asks whether the news are what a waiter waits for. Waiters are woken in batches, so that thousands
of them never hold the loop. A run nobody waits for costs nothing. What is published here is
already committed; a run of another process is looked up in the ledger when there is news of it,
and now and then without.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from gateway.core.model import Run
from gateway.errors import Unavailable
from gateway.ports.replicas import News
from gateway.process.shares import may_take
from gateway.process.unexpected import Unexpected

WAKE_BATCH: Final = 50
"""Waiters woken in one turn of the loop: each then takes up to 0.1 ms to answer its client."""

TICK_SECONDS: Final = 0.1
"""Waiting ends on the tick after its time is over: one timer serves all that end together."""

SILENCE_SECONDS: Final = 15.0
"""A watched run without news for so long is looked up, so that nobody waits for what is over."""

SHARED_SILENCE_SECONDS: Final = 1.5
"""The same where other processes drive runs too, and their news may be lost."""

LOOK_BATCH: Final = 200
"""Runs looked up at once: some milliseconds of the ledger's, however many are waited for."""

Reached = Callable[[Run], bool]
Look = Callable[[Sequence[str]], Awaitable[Sequence[Run]]]
"""Run ids → those runs as the ledger has them now. May raise `Unavailable`."""


class Waiters:
    """Runs that have gone on, and the requests that wait for it."""

    def __init__(self, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._silence_seconds = silence_seconds
        self._watched: dict[str, _Audience] = {}
        self._patient: dict[Waiter, str] = {}  # the team that each is of
        self._patient_of: Counter[str] = Counter()
        self._wheel = _Wheel(self._wake)
        self._to_wake: deque[Waiter] = deque()
        self._waking: asyncio.Handle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._asked: set[str] = set()
        self._look_now = asyncio.Event()
        self._released = False

    def publish(self, run: Run) -> None:
        """Wakes everyone who waits for this of the run."""
        audience = self._watched.get(run.id)
        if audience is not None:
            audience.heard_at = asyncio.get_running_loop().time()
            self._wake([watch for watch in audience.watches if watch.hear(run)])

    @contextmanager
    def watching(self, run_id: str, *, patient: str | None = None) -> Iterator[Waiter]:
        """Everything published about the run from now on. Watch first, then read the ledger.

        `patient` names the team of a client that asked to wait: it is counted, and let go by
        `release`.
        """
        watch = Waiter(self._wheel)
        audience = self._watched.get(run_id)
        if audience is None:
            audience = self._watched[run_id] = _Audience(asyncio.get_running_loop().time())
        audience.watches[watch] = None
        if patient is not None:
            self._patient[watch] = patient
            self._patient_of[patient] += 1
        try:
            yield watch
        finally:
            if patient is not None:
                del self._patient[watch]
                self._patient_of[patient] -= 1
                if not self._patient_of[patient]:
                    del self._patient_of[patient]
            del audience.watches[watch]
            if not audience.watches:
                del self._watched[run_id]

    def takes_patient(self, team: str, limit: int) -> bool:
        """Whether one more client of the team may wait, when at most `limit` of all may."""
        return not self._released and may_take(limit, self._patient_of, team)

    def release(self) -> None:
        """Ends all patient waiting now and for good: the gateway stops."""
        self._released = True
        for watch in self._patient:
            watch.let_go()
        self._wake(self._patient)

    # --- runs of other processes -----------------------------------------------------------------

    def start(self, look: Look) -> None:
        """From now on runs are looked up: those that were heard of, and those without news."""
        self._looking = asyncio.create_task(self._look_after_silent_runs(look), name="waiters")

    def heard(self, news: News) -> None:
        """What another process wrote: whoever waits for one of its runs is told at once."""
        self._asked |= self._watched.keys() if news.missed else self._watched.keys() & news.runs
        if self._asked:
            self._look_now.set()

    async def stop(self) -> None:
        self.release()
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def _look_after_silent_runs(self, look: Look) -> None:
        unexpected = Unexpected("waiters")
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._silence_seconds / 3):
                    await self._look_now.wait()
            self._look_now.clear()
            asked, self._asked = self._asked & self._watched.keys(), set()
            wanted = list(asked.union(self._silent_runs()))
            for at in range(0, len(wanted), LOOK_BATCH):
                try:
                    runs = await look(wanted[at : at + LOOK_BATCH])
                except Unavailable:
                    self._asked |= asked
                    break  # the store is away; the next round comes soon
                except Exception as error:
                    self._asked |= asked
                    unexpected.met(error)
                    break
                for run in runs:
                    self.publish(run)

    def _silent_runs(self) -> list[str]:
        before = asyncio.get_running_loop().time() - self._silence_seconds
        return [run_id for run_id, one in self._watched.items() if one.heard_at <= before]

    # --- waking ----------------------------------------------------------------------------------

    def _wake(self, watches: Iterable[Waiter]) -> None:
        self._to_wake.extend(watches)
        if self._to_wake and self._waking is None:
            self._waking = asyncio.get_running_loop().call_soon(self._wake_some)

    def _wake_some(self) -> None:
        """One batch in each turn of the loop; between them everyone else has a turn."""
        self._waking = None
        for _ in range(min(WAKE_BATCH, len(self._to_wake))):
            self._to_wake.popleft().go_on()
        self._wake(())


class Waiter:
    """One waiter's view of a run's news."""

    __slots__ = ("_future", "_let_go", "_news", "_reached", "_wheel")

    def __init__(self, wheel: _Wheel) -> None:
        self._wheel = wheel
        self._news: Run | None = None
        self._reached: Reached | None = None
        self._future: asyncio.Future[None] | None = None
        self._let_go = False

    async def until(self, reached: Reached, timeout_seconds: float) -> Run | None:
        """The first news for which `reached` holds; None when the time is over before."""
        if self._news is not None and reached(self._news):
            return self._news
        if self._let_go:
            return None
        self._reached, self._news = reached, None
        self._future = asyncio.get_running_loop().create_future()
        tick = self._wheel.add(self, max(timeout_seconds, 0.0))
        try:
            await self._future
        finally:
            self._wheel.remove(self, tick)
            self._reached = self._future = None
        return self._news

    def hear(self, run: Run) -> bool:
        """Takes the news in; True when they are what is waited for."""
        if self._reached is None:  # not waiting yet: remember the latest
            self._news = run
            return False
        if self._news is not None or not self._reached(run):
            return False
        self._news = run
        return True

    def let_go(self) -> None:
        """No waiting any more, not even if it has yet to begin."""
        self._let_go = True

    def go_on(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class _Audience:
    """Those who watch one run, and when there was news of it last (the loop's time)."""

    __slots__ = ("heard_at", "watches")

    def __init__(self, now: float) -> None:
        self.heard_at = now
        self.watches: dict[Waiter, None] = {}


class _Wheel:
    """The time of all waiters: one timer, set for the next tick in which someone's time is over."""

    def __init__(self, wake: Callable[[Iterable[Waiter]], None]) -> None:
        self._wake = wake
        self._ticks: dict[int, dict[Waiter, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0

    def add(self, watch: Waiter, seconds: float) -> int:
        """Returns the tick, which `remove` wants to know."""
        now = asyncio.get_running_loop().time()
        tick = math.ceil((now + seconds) / TICK_SECONDS)
        self._ticks.setdefault(tick, {})[watch] = None
        if self._timer is None or tick < self._next:
            self._set(tick)
        return tick

    def remove(self, watch: Waiter, tick: int) -> None:
        waiting = self._ticks.get(tick)
        if waiting is None:
            return
        waiting.pop(watch, None)
        if not waiting:
            del self._ticks[tick]
        if not self._ticks and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = tick
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(tick * TICK_SECONDS, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = int(asyncio.get_running_loop().time() / TICK_SECONDS)
        due = max(now, self._next)  # a timer may ring a little before its time
        for tick in sorted(one for one in self._ticks if one <= due):
            self._wake(self._ticks.pop(tick))
        if self._ticks:
            self._set(min(self._ticks))
