"""The threads of the picture store: what is asked for is done in its order, and told."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from gateway.adapters.pictures.threads import Threads


async def test_answers_and_errors_come_to_whom_they_belong() -> None:
    threads = Threads(3, name="test")

    def work(number: int) -> str:
        if number % 2:
            raise OSError(number)
        return threading.current_thread().name

    calls = [threads.call(partial(work, number)) for number in range(100)]
    told = await asyncio.gather(*calls, return_exceptions=True)
    names = {one for one in told[::2] if isinstance(one, str)}
    assert names <= {"test_0", "test_1", "test_2"} and names
    assert [str(one) for one in told[1::2]] == [str(number) for number in range(1, 100, 2)]
    await asyncio.to_thread(threads.shutdown)


async def test_work_that_nobody_waits_for_any_more_is_not_begun() -> None:
    threads, go, done = Threads(1, name="test"), threading.Event(), list[int]()
    under_way = threads.call(go.wait)
    calls = [threads.call(partial(done.append, number)) for number in range(3)]
    calls[1].cancel()
    under_way.cancel()  # it has begun, and goes on to its end
    go.set()
    await asyncio.gather(calls[0], calls[2])
    assert done == [0, 2]
    await asyncio.to_thread(threads.shutdown)


async def test_at_the_end_all_is_done_and_nothing_is_taken() -> None:
    threads, done = Threads(2, name="test"), list[int]()
    calls = [threads.call(partial(done.append, number)) for number in range(50)]
    await asyncio.gather(*(asyncio.to_thread(threads.shutdown) for _ in range(2)))
    assert sorted(done) == [*range(50)]
    await asyncio.gather(*calls)
    with pytest.raises(RuntimeError):
        await threads.call(partial(done.append, 50))
    assert not [one for one in threading.enumerate() if one.name.startswith("test_")]


async def test_threads_that_had_no_work_end_at_once() -> None:
    threads = Threads(2, name="test")
    threads.shutdown()
    threads.shutdown()
