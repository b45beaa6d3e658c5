"""Who has a picture in hand, among several gateways: each has locks of its own, and their turns."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

import pytest

from gateway.errors import Unsettled
from gateway.process import picture_locks
from gateway.process.picture_locks import COMMIT_SECONDS, TURN_SECONDS, PictureLocks, TurnOver


class Turns:
    """The ledger's, in memory; `now` is everybody's time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.taken: dict[str, tuple[str, float]] = {}
        self.asked = 0

    async def take_turns(
        self, names: Collection[str], owner: str, *, now: float, until: float
    ) -> bool:
        self.asked += 1
        found = [self.taken[name] for name in names if name in self.taken]
        if any(other != owner and end > now for other, end in found):
            return False
        self.taken.update(dict.fromkeys(names, (owner, until)))
        return True

    async def renew_turns(self, names: Collection[str], owner: str, *, until: float) -> bool:
        if any(self.taken.get(name, ("", 0))[0] != owner for name in names):
            return False
        self.taken.update(dict.fromkeys(names, (owner, until)))
        return True

    async def give_back_turns(self, names: Collection[str], owner: str) -> None:
        for name in names:
            if self.taken.get(name, ("", 0))[0] == owner:
                del self.taken[name]


@pytest.fixture
def turns() -> Turns:
    return Turns()


def gateway(turns: Turns) -> PictureLocks:
    return PictureLocks(turns, clock=lambda: turns.now)


async def test_one_gateway_at_a_time_has_a_picture_in_hand(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_locks, "ASK_SECONDS", 0.001)
    inside = most = 0

    async def use(locks: PictureLocks, digests: list[str]) -> None:
        nonlocal inside, most
        async with locks.of(digests):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    one, other = gateway(turns), gateway(turns)
    await asyncio.gather(
        *(use((one, other)[n % 2], ["a", "b"] if n % 3 else ["b", "a"]) for n in range(12))
    )
    assert (most, turns.taken) == (1, {})


async def test_one_that_died_with_it_in_hand_is_waited_for_and_no_longer(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_locks, "ASK_SECONDS", 0.001)
    turns.taken["picture/a"] = ("somebody", turns.now + 5)

    async def take() -> None:
        async with gateway(turns).of(["a"]):
            pass

    waiting = asyncio.create_task(take())
    while turns.asked < 3:
        await asyncio.sleep(0.001)
    turns.now += 5
    await asyncio.wait_for(waiting, 5)


async def test_what_would_be_committed_too_late_is_not(turns: Turns) -> None:
    async with gateway(turns).of(["a"]) as held:
        held.check()
        turns.now += TURN_SECONDS - COMMIT_SECONDS
        held.check()
        turns.now += 1
        with pytest.raises(TurnOver):
            held.check()


def test_of_one_that_died_a_picture_is_anothers_soon() -> None:
    """Its runs go on within 30 seconds; nobody who lives is late for a renewal that was lost."""
    assert TURN_SECONDS + 2 * picture_locks.ASK_SECONDS < 30
    assert 2 * picture_locks.RENEW_SECONDS < TURN_SECONDS - COMMIT_SECONDS


async def test_it_is_renewed_while_it_is_in_hand(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_locks, "RENEW_SECONDS", 0.001)
    async with gateway(turns).of(["a"]) as held:
        turns.now += TURN_SECONDS
        while held.until <= turns.now:
            await asyncio.sleep(0.001)
        held.check()


async def test_whoever_gives_up_waiting_leaves_nothing(turns: Turns) -> None:
    turns.taken["picture/a"] = ("somebody", turns.now + 5)

    async def take() -> None:
        async with gateway(turns).of(["a"]):
            pass

    waiting = asyncio.create_task(take())
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert turns.taken == {"picture/a": ("somebody", turns.now + 5)}


async def test_a_turn_whose_commit_was_in_doubt_is_given_back_when_it_is_known() -> None:
    """Else whoever asks again would wait for himself."""

    class Doubtful(Turns):
        doubted = False

        async def take_turns(
            self, names: Collection[str], owner: str, *, now: float, until: float
        ) -> bool:
            taken = await super().take_turns(names, owner, now=now, until=until)
            if self.doubted:
                return taken
            self.doubted = True

            async def settled() -> bool:
                await asyncio.sleep(0.01)
                return taken

            raise Unsettled(settled)

    turns = Doubtful()
    locks = gateway(turns)
    with pytest.raises(Unsettled):
        async with locks.of(["a"]):
            pass
    async with asyncio.timeout(5), locks.of(["a"]) as held:
        held.check()
    assert turns.taken == {}


async def test_alone_no_ledger_is_asked() -> None:
    async with PictureLocks().of(["a"]) as held:
        held.check()
