"""What waits for a thread, done there together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.process.together import Together


async def test_what_comes_while_a_thread_is_busy_is_served_at_once_behind_it() -> None:
    served: list[Sequence[int]] = []
    gate = threading.Event()

    def serve(asked: Sequence[int]) -> Sequence[int]:
        served.append(asked)
        gate.wait(5)
        return [one * 2 for one in asked]

    with ThreadPoolExecutor(1) as executor:
        together = Together(executor, serve)
        first = asyncio.create_task(together.ask(1))
        while not served:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(together.ask(number)) for number in range(2, 6)]
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10]
    assert served == [[1], [2, 3, 4, 5]]


async def test_behind_the_end_nobody_waits_for_ever() -> None:
    executor = ThreadPoolExecutor(1)
    together = Together(executor, lambda asked: asked)
    executor.shutdown()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            async with asyncio.timeout(5):
                await together.ask(1)
