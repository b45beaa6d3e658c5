"""What is done once: by one gateway, by another when that one dies or stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.background import turn
from gateway.background.turn import TURN_SECONDS, ChoresTurn
from gateway.errors import Unavailable


class Away(SqliteLedger):
    away = False
    broken = False

    async def take_turns(self, *args: object, **more: object) -> bool:  # type: ignore[override]
        if self.away:
            raise Unavailable("away")
        if self.broken:
            raise RuntimeError("broken")
        return await super().take_turns(*args, **more)  # type: ignore[arg-type]


class Two:
    """Two gateways at one ledger."""

    def __init__(self, ledger: Away) -> None:
        self.ledger = ledger
        self.now = 1000.0
        self.passed_on: list[str] = []
        self.one, self.two = (
            ChoresTurn(
                ledger,
                name,
                clock=lambda: self.now,
                passed_on=lambda name=name: self.passed_on.append(name),  # type: ignore[misc]
            )
            for name in ("one", "two")
        )

    @property
    def ours(self) -> tuple[bool, bool]:
        return self.one.is_ours, self.two.is_ours


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    ledger = Away(tmp_path / "ledger.db")
    await ledger.open()
    found = Two(ledger)
    await found.one.start()
    await found.two.start()
    yield found
    await found.one.stop()
    await found.two.stop()
    await ledger.close()


async def test_one_has_the_turn_for_as_long_as_it_lives(two: Two) -> None:
    for _ in range(5):
        assert two.ours == (True, False)
        two.now += TURN_SECONDS - 1
        await two.one._ask()
        await two.two._ask()
    assert two.passed_on == []


async def test_when_it_is_silent_the_other_has_it(two: Two) -> None:
    two.now += TURN_SECONDS
    await two.two._ask()
    await two.one._ask()
    assert (two.ours, two.passed_on) == ((False, True), ["one"])


async def test_when_it_stops_the_other_has_it_at_once(two: Two) -> None:
    await two.one.stop()
    await two.two._ask()
    assert (two.ours, two.passed_on) == ((False, True), [])


async def test_while_nobody_can_tell_nobody_begins_anything(two: Two) -> None:
    two.ledger.away = True
    await two.one._ask()
    assert (two.ours, two.passed_on) == ((False, False), [])
    two.ledger.away = False
    await two.one._ask()
    assert two.ours == (True, False)


async def test_whatever_goes_wrong_it_is_asked_for_again(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "RENEW_SECONDS", 0.001)
    await two.one.stop()
    await two.one.start()
    async with asyncio.timeout(5):
        two.ledger.broken = True
        while two.one.is_ours:
            await asyncio.sleep(0.001)
        two.ledger.broken = False
        await two.one.ours()


async def test_whoever_was_cut_off_hears_that_another_has_taken_over(two: Two) -> None:
    two.ledger.away = True
    await two.one._ask()
    two.ledger.away = False
    two.now += TURN_SECONDS
    await two.two._ask()
    await two.one._ask()
    await two.one._ask()
    assert (two.ours, two.passed_on) == ((False, True), ["one"])


async def test_a_restart_of_a_gateway_that_is_alone_waits_for_nobody(tmp_path: Path) -> None:
    for _ in range(2):
        ledger = Away(tmp_path / "ledger.db")
        await ledger.open()
        found = Two(ledger)
        await found.one.start()
        assert found.one.is_ours
        await ledger.close()  # killed: it gives nothing back
