"""A lane serves together what comes together, in its order, and never more than it may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from gateway.adapters.ledger.lane import Lane, Ticket, WorkOutcome


class Counted:
    """A server that tells how many it was given at a time."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def serve(self, batch: Sequence[Ticket]) -> Sequence[WorkOutcome]:
        self.batches.append(len(batch))
        return [WorkOutcome(one.work(None)) for one in batch]

    def close(self) -> None: ...


def a_lane(server: Counted, *, most: int = 100) -> Lane:
    lane = Lane("test", server, max_waiting=1000, max_batch=most)
    lane.start()
    return lane


def numbered(number: int) -> Callable[[object], int]:
    return lambda _: number


async def test_what_comes_in_one_turn_of_the_loop_is_one_batch() -> None:
    server = Counted()
    lane = a_lane(server)
    assert await asyncio.gather(*(lane.call(numbered(n)) for n in range(16))) == [*range(16)]
    assert server.batches == [16]
    assert await lane.call(numbered(7)) == 7
    assert server.batches == [16, 1]
    await lane.stop()


async def test_what_comes_turn_by_turn_waits_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """As requests do that are read one after the other."""
    monkeypatch.setattr("gateway.adapters.ledger.lane.GATHER_SECONDS", 10.0)
    server = Counted()
    lane = a_lane(server)
    calls: list[Awaitable[int]] = []
    for number in range(5):
        calls.append(asyncio.ensure_future(lane.call(numbered(number))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await asyncio.gather(*calls) == [*range(5)]
    assert server.batches == [5]
    await lane.stop()


async def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.adapters.ledger.lane.GATHER_SECONDS", 0.0)
    server = Counted()
    lane = a_lane(server)
    first = asyncio.ensure_future(lane.call(numbered(0)))
    rest: list[Awaitable[int]] = []
    while not first.done():
        rest.append(asyncio.ensure_future(lane.call(numbered(1))))
        await asyncio.sleep(0)
    await asyncio.gather(*rest)
    assert len(server.batches) > 1
    await lane.stop()


async def test_a_batch_has_a_bound_and_keeps_the_order() -> None:
    server = Counted()
    lane = a_lane(server, most=4)
    done: list[int] = []
    await asyncio.gather(*(lane.call(lambda _, n=n: done.append(n)) for n in range(10)))
    assert (server.batches, done) == ([4, 4, 2], [*range(10)])
    await lane.stop()


async def test_a_stop_finishes_what_was_not_handed_over_yet() -> None:
    server = Counted()
    lane = a_lane(server)
    call = asyncio.ensure_future(lane.call(numbered(3)))
    await asyncio.sleep(0)
    await lane.stop()
    assert await call == 3
