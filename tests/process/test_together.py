"""Work for threads, alone and together."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from gateway.process.together import Together, begun


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


async def test_one_piece_of_work_comes_back_as_it_ended() -> None:
    def refuse() -> None:
        raise OSError("no room")

    with ThreadPoolExecutor(1) as executor:
        assert await begun(executor, lambda: 2) == 2
        with pytest.raises(OSError, match="no room") as raised:
            await begun(executor, refuse)
        assert raised.traceback[-1].name == "refuse"


async def test_who_is_cancelled_before_it_began_has_it_never_begin() -> None:
    gate, ran = threading.Event(), []
    with ThreadPoolExecutor(1) as executor:
        busy = begun(executor, lambda: gate.wait(5))
        work = begun(executor, lambda: ran.append("late"))
        work.cancel()
        gate.set()
        assert await busy
        await begun(executor, lambda: ran.append("next"))
    assert ran == ["next"]


async def test_who_is_cancelled_while_it_runs_leaves_it_to_its_end() -> None:
    gate, ran = threading.Event(), []
    with ThreadPoolExecutor(1) as executor:
        work = begun(executor, lambda: (gate.wait(5), ran.append("ended")))
        await asyncio.sleep(0.05)
        work.cancel()
        gate.set()
        await begun(executor, lambda: None)
    assert ran == ["ended"]
    assert work.cancelled()


async def test_an_error_holds_nothing_in_a_circle() -> None:
    """Circles are looked for seldom, and a picture's bytes may hang on one."""

    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)

    def refuse(held: Held) -> None:
        raise ValueError

    gc.disable()
    try:
        with ThreadPoolExecutor(1) as executor:
            with suppress(ValueError):
                await begun(executor, partial(refuse, held))
            del held
            await begun(executor, lambda: None)
            assert gone() is None
    finally:
        gc.enable()


async def test_a_defect_leaves_nobody_waiting() -> None:
    def serve(asked: Sequence[int]) -> Sequence[int]:
        raise LookupError

    with ThreadPoolExecutor(1) as executor:
        together = Together(executor, serve)
        async with asyncio.timeout(5):
            found = await asyncio.gather(together.ask(1), together.ask(2), return_exceptions=True)
    assert [type(one) for one in found] == [LookupError, LookupError]
