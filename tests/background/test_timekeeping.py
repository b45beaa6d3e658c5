"""The time of several gateways: measured, corrected, told of, and refused where it is far off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_databases import ledger_database
from structlog.testing import capture_logs

from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.background import timekeeping
from gateway.background.timekeeping import Timekeeper
from gateway.errors import Unavailable
from gateway.ports.clock import Clock
from gateway.process.common_clock import CommonClock
from gateway.process.steady_clock import SteadyClock


class Server:
    """Its clock is so far ahead of everybody's."""

    def __init__(self, ahead: float | None) -> None:
        self.ahead = ahead

    async def clock_offset(self, own: Clock) -> float | None:
        return self.ahead

    async def clock_set(self, seconds: float, step: Callable[[], None]) -> None:
        raise AssertionError("the machine's clock is not the only one")


def keeper(server: Server) -> tuple[Timekeeper, CommonClock, list[float]]:
    told: list[float] = []
    clock = CommonClock(SteadyClock(lambda: 1000.0, elapsed=lambda: 0.0))
    return Timekeeper(server, clock, tell=told.append), clock, told


@pytest.mark.parametrize("ahead", [-29.0, 4.0])
async def test_a_clock_that_is_off_is_corrected(ahead: float) -> None:
    server = Server(ahead)
    timekeeper, clock, told = keeper(server)
    with capture_logs() as logs:
        await timekeeper.start()
        await timekeeper._measure()
    assert (clock(), told) == (1000.0 + ahead, [ahead, ahead])
    assert timekeeper.problem() is None
    assert [one["log_level"] for one in logs] == ["warning"]  # once
    server.ahead = 31.0
    await timekeeper._measure()  # it was set while the gateway runs
    assert "31.0 seconds behind" in (timekeeper.problem() or "")
    assert clock() == 1031.0
    await timekeeper.stop()


async def test_what_may_be_the_way_is_not_corrected() -> None:
    timekeeper, clock, _ = keeper(Server(0.05))
    with capture_logs() as logs:
        await timekeeper.start()
    assert (clock(), logs) == (1000.0, [])
    await timekeeper.stop()


@pytest.mark.parametrize(("ahead", "said"), [(40.0, "40.0 seconds behind"), (-3600.0, "ahead of")])
async def test_with_a_clock_that_is_far_off_it_does_not_start(ahead: float, said: str) -> None:
    timekeeper, _, _ = keeper(Server(ahead))
    with pytest.raises(Unavailable, match=f"^This machine's clock.*{said}.*NTP"):
        await timekeeper.start()


async def test_whatever_goes_wrong_it_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Server):
        failures = 2

        async def clock_offset(self, own: Clock) -> float | None:
            if self.ahead is None and self.failures:
                self.failures -= 1
                raise RuntimeError("broken")
            return 4.0

    monkeypatch.setattr(timekeeping, "MEASURE_SECONDS", 0.001)
    server = Broken(1.0)
    timekeeper, _, told = keeper(server)
    await timekeeper.start()
    server.ahead = None
    async with asyncio.timeout(5):
        while server.failures or len(told) < 3:
            await asyncio.sleep(0.001)
    await timekeeper.stop()


async def test_a_file_has_no_clock_of_its_own(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    timekeeper, clock, told = keeper(Server(await ledger.clock_offset(lambda: 0.0)))
    await timekeeper.start()
    assert (clock(), told) == (1000.0, [])
    await timekeeper.stop()


class Machine:
    """One with a ledger in a file; `away`: it cannot be written, before the step or behind it."""

    def __init__(self) -> None:
        self.wall = self.gone = 1000.0
        self.away = ""
        self.set: list[float] = []
        self.clock = CommonClock(SteadyClock(lambda: self.wall, elapsed=lambda: self.gone))

    async def clock_offset(self, own: Clock) -> float | None:
        return None

    async def clock_set(self, seconds: float, step: Callable[[], None]) -> None:
        if self.away == "before":
            raise Unavailable("It is away.")
        step()
        if self.away == "behind":
            raise Unavailable("It is away.")
        self.set.append(seconds)

    def goes_on(self, seconds: float, *, set_by: float = 0.0) -> None:
        self.gone += seconds
        self.wall += seconds + set_by


@pytest.mark.parametrize("hour", [3600.0, -3600.0])
async def test_a_clock_that_was_set_is_followed_with_all_that_is_live(hour: float) -> None:
    machine, stepped = Machine(), list[bool]()
    keeper = Timekeeper(
        machine, machine.clock, tell=lambda _: None, stepped=lambda: stepped.append(True)
    )
    machine.goes_on(5, set_by=0.5)  # it goes a little wrong, and is corrected
    await keeper._measure()
    assert (machine.clock(), machine.set, stepped) == (1005.5, [], [])
    machine.goes_on(1, set_by=hour)
    assert machine.clock() == 1006.5, "nobody has been told yet"
    for machine.away in ("before", "behind"):
        with pytest.raises(Unavailable):
            await keeper._measure()
        assert machine.clock() == 1006.5 and not stepped
    machine.away = ""
    with capture_logs() as logs:
        await keeper._measure()
    assert (machine.clock(), machine.set, stepped) == (1006.5 + hour, [hour], [True])
    assert [(one["log_level"], one["seconds"]) for one in logs] == [("warning", hour)]
    await keeper._measure()
    assert machine.set == [hour]


async def test_where_there_are_several_a_machines_clock_that_is_set_moves_no_time() -> None:
    machine, server, told = Machine(), Server(4.0), list[float]()
    keeper = Timekeeper(server, machine.clock, tell=told.append)
    await keeper._measure()
    machine.goes_on(2, set_by=3600)
    assert machine.clock() == 1006.0
    await keeper._measure()
    assert machine.clock() == 1006.0
    assert told == [4.0, -3596.0] and "3596.0 seconds ahead of" in (keeper.problem() or "")


async def test_a_server_says_how_far_it_is_ahead() -> None:
    with ledger_database() as url:
        ledger = PostgresLedger(url)
        await ledger.open()
        found = await ledger.clock_offset(lambda: time.time() - 5.0)
        await ledger.close()
    assert found == pytest.approx(5.0, abs=0.2)
