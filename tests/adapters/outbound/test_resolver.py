"""Look-ups: bounded for each team, in turn, remembered when they fail, and nobody's burden."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

import pytest

from gateway.adapters.outbound.resolver import CALLERS, Lookups, ResolverBounds, system
from gateway.core.addresses import Address


class Names:
    """Answers each name; those that begin with `slow` hang until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[str] = []
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._counting = threading.Lock()

    def __call__(self, name: str) -> Sequence[Address]:
        kind = name.rsplit(".", maxsplit=1)[-1]
        with self._counting:
            self.asked.append(name)
            self.now[kind] += 1
            self.most[kind] = max(self.most[kind], self.now[kind])
        try:
            if name.startswith("slow"):
                self.go.wait(30)
            if name.startswith("none"):
                raise OSError("Name or service not known")
            return [ip_address("192.0.2.1")]
        finally:
            with self._counting:
                self.now[kind] -= 1


@pytest.fixture
def names() -> Iterator[Names]:
    one = Names()
    yield one
    one.go.set()


class Moved:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def asking(lookups: Lookups, team: str, *found: str) -> list[asyncio.Task[Sequence[Address]]]:
    return [asyncio.create_task(lookups(name, 443, team=team)) for name in found]


async def stopped(*tasks: asyncio.Task[Sequence[Address]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_team_whose_names_hang_stops_no_other(names: Names) -> None:
    lookups = Lookups(ResolverBounds(threads=6, share=2), ask=names)
    slow = asking(lookups, "art", *(f"slow{n}.art" for n in range(40)))
    await until(lambda: names.now["art"] == 2)
    for number in range(20):
        assert await asyncio.wait_for(lookups(f"{number}.bob", 443, team="bob"), 5)
    assert names.most["art"] == 2
    await stopped(*slow)


async def test_free_threads_go_to_the_teams_in_turn(names: Names) -> None:
    lookups = Lookups(ResolverBounds(threads=2, share=2), ask=names)
    first = asking(lookups, "art", *(f"slow{n}.art" for n in range(6)))
    await until(lambda: names.now["art"] == 2)
    second = asking(lookups, "bob", "slow0.bob", "slow1.bob")
    await asyncio.sleep(0)
    names.go.set()
    await asyncio.gather(*first, *second)
    assert {"slow0.bob", "slow1.bob"} <= set(names.asked[2:6])


async def test_one_thread_for_many_who_ask_the_same(names: Names) -> None:
    lookups = Lookups(ask=names)
    many = asking(lookups, "art", *["slow.art"] * 50)
    await until(lambda: names.now["art"] == 1)
    names.go.set()
    assert [await one for one in many] == [[ip_address("192.0.2.1")]] * 50
    assert names.asked == ["slow.art"]


async def test_who_gives_up_in_line_costs_no_thread(names: Names) -> None:
    lookups = Lookups(ResolverBounds(share=1), ask=names)
    hanging = asking(lookups, "art", "slow.art")
    await until(lambda: names.now["art"] == 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await lookups("other.art", 443, team="art")
    names.go.set()
    await asyncio.gather(*hanging)
    assert await lookups("third.art", 443, team="art")
    assert names.asked == ["slow.art", "third.art"]


async def test_a_teams_line_has_an_end(names: Names) -> None:
    lookups = Lookups(ResolverBounds(share=1, line=3), ask=names)
    waiting = asking(lookups, "art", *(f"slow{n}.art" for n in range(4)))
    await until(lambda: names.now["art"] == 1)
    with pytest.raises(TimeoutError, match="of the same team wait already"):
        await lookups("slow9.art", 443, team="art")
    assert await lookups("a.bob", 443, team="bob")
    await stopped(*waiting)


async def test_a_name_that_hangs_is_given_up_and_remembered(names: Names) -> None:
    clock = Moved()
    lookups = Lookups(ResolverBounds(seconds=0.05, hung_seconds=60), ask=names, clock=clock)
    with pytest.raises(OSError, match=r"no answer within 0\.05 s$"):
        await lookups("slow.art", 443, team="art")
    for team in ("art", "bob"):
        with pytest.raises(OSError, match="a moment ago"):
            await lookups("slow.art", 443, team=team)
    clock.now = 61
    again = asking(lookups, "art", "slow.art")
    await until(lambda: names.now["art"] == 2)
    names.go.set()
    assert await again[0]


async def test_a_thread_that_hangs_keeps_its_place_until_it_is_back(names: Names) -> None:
    lookups = Lookups(ResolverBounds(share=1, seconds=0.05), ask=names)
    with pytest.raises(OSError, match="no answer"):
        await lookups("slow.art", 443, team="art")
    waiting = asking(lookups, "art", "fine.art")
    await asyncio.sleep(0.05)
    assert names.asked == ["slow.art"]
    names.go.set()
    assert await waiting[0]


async def test_an_answer_that_comes_late_ends_the_memory(names: Names) -> None:
    lookups = Lookups(ResolverBounds(seconds=0.05, hung_seconds=600), ask=names)
    with pytest.raises(OSError, match="no answer"):
        await lookups("slow.art", 443)
    names.go.set()
    await until(lambda: names.now["art"] == 0)
    await asyncio.sleep(0.02)
    assert await lookups("slow.art", 443)


async def test_a_name_that_is_unknown_is_not_asked_for_again_at_once(names: Names) -> None:
    clock = Moved()
    lookups = Lookups(CALLERS, ask=names, clock=clock)
    for _ in range(5):
        with pytest.raises(OSError, match="not known"):
            await lookups("none.art", 443, team="art")
    assert names.asked == ["none.art"]
    clock.now = CALLERS.failed_seconds
    with pytest.raises(OSError, match=r"not known$"):
        await lookups("none.art", 443, team="art")
    assert len(names.asked) == 2


async def test_the_operators_names_are_asked_for_again_at_once(names: Names) -> None:
    lookups = Lookups(ask=names)
    for _ in range(3):
        with pytest.raises(OSError, match="not known"):
            await lookups("none.example", 443)
    assert len(names.asked) == 3


async def test_the_memory_is_bounded(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.adapters.outbound.resolver.MEMORY", 2)
    lookups = Lookups(CALLERS, ask=names)
    for number in (0, 1, 2, 0):
        with pytest.raises(OSError, match="not known"):
            await lookups(f"none{number}.art", 443)
    assert names.asked == ["none0.art", "none1.art", "none2.art", "none0.art"]


@pytest.mark.parametrize("literal", ["192.0.2.7", "2001:db8::7"])
async def test_an_address_is_not_looked_up(names: Names, literal: str) -> None:
    assert await Lookups(ask=names)(literal, 443) == [ip_address(literal)]
    assert names.asked == []


async def test_a_thread_that_cannot_be_had_is_no_answer_of_the_name(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = Lookups(CALLERS, ask=names)
    with monkeypatch.context() as patched:

        def refuse(_: object) -> None:
            raise RuntimeError("can't start new thread")

        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TimeoutError, match="new thread"):
            await lookups("a.art", 443)
    assert await lookups("a.art", 443)


async def test_whatever_the_resolver_raises_is_no_answer() -> None:
    def broken(name: str) -> Sequence[Address]:
        raise UnicodeError("label too long")

    with pytest.raises(OSError, match="label too long"):
        await Lookups(ask=broken)("x" * 70, 443)


async def test_the_systems_resolver_answers() -> None:
    found = await Lookups()("localhost", 80)
    assert all(address.is_loopback for address in found) and found
    assert len(set(system("127.0.0.1"))) == 1


STOP = """
import asyncio, time
from gateway.adapters.outbound.resolver import Lookups

async def main():
    lookups = Lookups(ask=lambda name: time.sleep(60))
    try:
        async with asyncio.timeout(0.2):
            await lookups("slow.example", 443)
    except TimeoutError:
        pass

asyncio.run(main())
print("ended")
"""


def test_a_process_ends_while_a_look_up_hangs() -> None:
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STOP], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")
    assert time.monotonic() - begin < 25


def test_threads_end_with_their_look_up(names: Names) -> None:
    async def ask() -> None:
        lookups = Lookups(ResolverBounds(seconds=0.05), ask=names)
        await asyncio.gather(
            *(lookups(f"slow{n}.x", 443) for n in range(5)), return_exceptions=True
        )

    asyncio.run(ask())
    hanging = [one for one in threading.enumerate() if one.name == "name look-up"]
    assert len(hanging) >= 5
    names.go.set()  # the loop is gone by now
    for thread in hanging:
        thread.join(5)
    assert not any(thread.is_alive() for thread in hanging)
