"""`Prefer: wait=N` as RFC 7240 has it, clients that hang up, and when to ask again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from pace import slowness
from starlette.requests import Request
from starlette.types import Message

from gateway.core.model import Freshness, Run, RunState
from gateway.core.money.accounts import Amounts, Windows
from gateway.web.evolink.prefer import ClientGone, retry_after, wait_seconds, while_connected
from gateway.web.evolink.wire import read_freshness

PREFERENCES: list[tuple[Sequence[str], int | None]] = [
    ((), None),
    (("wait=10",), 10),
    (("wait=0",), 0),
    (("wait=55",), 55),
    (("wait=60",), 55),
    (("wait=61",), 55),
    (("wait=" + "9" * 400,), 55),
    (("wait=00000000000000000007",), 7),
    (("Wait = 10",), 10),
    (('wait="10"',), 10),
    (("respond-async, wait=10",), 10),
    (("respond-async,wait=10,priority=5",), 10),
    (("wait=10, wait=20",), 10),
    (("respond-async", "wait=10"), 10),
    (("wait=10", "wait=20"), 10),
    (("wait=10; foo=bar",), 10),
    (("return=minimal; foo; bar=baz, wait=10",), 10),
    (('return="x, wait=3", wait=10',), 10),
    (('foo; bar="a, wait=3", wait=10',), 10),
    ((",, wait=10 ,",), 10),
    (("wait",), None),
    (("wait=",), None),
    (("wait=-1",), None),
    (("wait=+1",), None),
    (("wait=1.5",), None),
    (("wait=1e3",), None),
    (("wait=ten",), None),
    (("wait=\u0661\u0660",), None),
    (("wait=x, wait=10",), None),
    (("await=10",), None),
    (("waiting=10",), None),
    (("x-wait=10",), None),
    (("return=minimal",), None),
]


@pytest.mark.parametrize(("lines", "seconds"), PREFERENCES)
def test_the_wish_to_wait(lines: Sequence[str], seconds: int | None) -> None:
    assert wait_seconds(lines) == seconds


HOSTILE = ("a" + " " * 60_000 + "x", "a=" + " " * 60_000 + "x", "a;" * 30_000, "," * 60_000)
HOSTILE += ('wait="' + 'x"' * 30_000, 'a;b="' * 12_000, "a=b " * 15_000, 'a="\\' * 15_000)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_header_is_read_in_no_time(text: str) -> None:
    start = time.thread_time()
    assert wait_seconds([text]) is None
    assert read_freshness({"cache-control": text}) == Freshness()
    assert time.thread_time() - start < 0.2 * slowness()


def run(state: RunState, due_at: float) -> Run:
    return Run(
        id="run_1",
        fingerprint="f" * 64,
        team="blue",
        model="m",
        quality="",
        n=1,
        request="{}",
        upstream="u",
        upstream_model="m",
        price_usd_micros=1,
        windows=Windows(0, 0, 0, 0, 0),
        hold=Amounts(1, 1, 1),
        created_at=0.0,
        deadline_at=900.0,
        due_at=due_at,
        state=state,
    )


@pytest.mark.parametrize(
    ("state", "due_at", "told"),
    [
        (RunState.RUNNING, 103.2, "4"),
        (RunState.RUNNING, 104.0, "4"),
        (RunState.RUNNING, 100.1, "1"),
        (RunState.RUNNING, 50.0, "1"),  # it is being asked after now
        (RunState.KEEPING, 100.0, "1"),
        (RunState.QUEUED, 130.0, "30"),
        (RunState.UNSURE, 900.0, "60"),
        (RunState.DONE, 103.0, None),
        (RunState.FAILED, 103.0, None),
    ],
)
def test_when_to_ask_again(state: RunState, due_at: float, told: str | None) -> None:
    assert retry_after(run(state, due_at), 100.0).get("Retry-After") == told


class Line:
    """A client's side of a request: `hang_up` ends it."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()
        self._began = False

    def request(self) -> Request:
        return Request({"type": "http", "method": "GET", "headers": []}, self._receive)

    def hang_up(self) -> None:
        self._gone.set()

    async def _receive(self) -> Message:
        if not self._began:
            self._began = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}


async def listeners() -> list[asyncio.Task[Any]]:
    await asyncio.sleep(0)
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_a_client_that_stays_is_answered() -> None:
    line = Line()
    async with while_connected(line.request()):
        await asyncio.sleep(0.01)
    assert await listeners() == []


async def test_a_client_that_hangs_up_ends_the_wait() -> None:
    line = Line()
    asyncio.get_running_loop().call_later(0.02, line.hang_up)
    with pytest.raises(ClientGone):
        async with while_connected(line.request()):
            await asyncio.sleep(60)
    assert await listeners() == []
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_hanging_up_after_the_block_changes_nothing() -> None:
    line = Line()
    async with while_connected(line.request()):
        line.hang_up()  # noticed only when the block is over
    await asyncio.sleep(0.01)
    assert await listeners() == []


async def test_cancelled_from_elsewhere_is_cancelled() -> None:
    line = Line()

    async def wait() -> None:
        async with while_connected(line.request()):
            await asyncio.sleep(60)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await listeners() == []


async def test_what_fails_inside_comes_out() -> None:
    with pytest.raises(LookupError):
        async with while_connected(Line().request()):
            raise LookupError
    assert await listeners() == []
