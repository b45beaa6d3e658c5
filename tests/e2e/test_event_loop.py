"""Our own code never holds the event loop for long, and memory stays flat."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from house import House, house
from pace import slowness

pytestmark = pytest.mark.alone

LONGEST_SECONDS = 0.010
"""At the usual pace."""


class LoopMonitor:
    """The CPU time of each callback of the loop, and where the long ones were.

    Thread CPU time and not the clock: on a busy machine a loop may be kept waiting by others.
    """

    def __init__(self) -> None:
        self.long: list[tuple[float, str]] = []
        self._longest = LONGEST_SECONDS * slowness()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        real = asyncio.Handle._run
        where: list[str] = []

        def look(_: int, frame: object) -> None:
            assert frame is None or isinstance(frame, FrameType)
            where.append("".join(traceback.format_stack(frame)[-8:]))

        def timed(handle: asyncio.Handle) -> None:
            where.clear()
            signal.setitimer(signal.ITIMER_VIRTUAL, self._longest)
            start = time.thread_time()
            real(handle)
            taken = time.thread_time() - start
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            if taken > self._longest:
                self.long.append((taken, "".join(where[-1:])))

        former = signal.signal(signal.SIGVTALRM, look)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.Handle, "_run", timed)
            yield
        signal.signal(signal.SIGVTALRM, former)


async def steadily(work: Callable[[int], Awaitable[object]], count: int, width: int) -> None:
    """`count` calls, `width` at a time."""
    numbers = iter(range(count))

    async def one() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(one() for _ in range(width)))


async def test_the_loop_is_never_held(tmp_path: Path) -> None:
    async with house(tmp_path) as one:
        await customer(one, 0)  # what is imported at its first use is
        gc.freeze()  # the test runner's own heap is not ours to walk
        # What is ours comes every time; what others do to the processor's caches does not.
        for first in (10, 110, 210):
            if not (long := await held(one, first)):
                break
        assert not long, "\n".join(f"{seconds:.3f} s\n{where}" for seconds, where in long)


async def held(one: House, first: int) -> list[tuple[float, str]]:
    """How long and where customers of these numbers make a callback of the loop last."""
    monitor = LoopMonitor()
    with monitor.watching():
        await steadily(lambda number: customer(one, first + number), 41, 8)
    return monitor.long


async def customer(one: House, number: int) -> None:
    """An order, its picture, a hit, a long prompt, a refusal, a scrape."""
    task = await one.made(f"steady {number}")
    await one.client.get(task["results"][0])
    await one.post(f"steady {number}")
    await one.post(f"a long one {number} " * 300)
    await one.post(f"refused {number} [sandbox:http=400]")
    if number % 10 == 0:
        await one.client.get("/metrics")
