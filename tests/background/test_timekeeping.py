"""The time of several gateways: measured, corrected, told of, and refused where it is far off."""

from __future__ import annotations

import asyncio
import time
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


class Server:
    """Its clock is so far ahead of everybody's."""

    def __init__(self, ahead: float | None) -> None:
        self.ahead = ahead

    async def clock_offset(self, own: Clock) -> float | None:
        return self.ahead


def keeper(server: Server) -> tuple[Timekeeper, CommonClock, list[float]]:
    told: list[float] = []
    clock = CommonClock(lambda: 1000.0)
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


async def test_a_server_says_how_far_it_is_ahead() -> None:
    with ledger_database() as url:
        ledger = PostgresLedger(url)
        await ledger.open()
        found = await ledger.clock_offset(lambda: time.time() - 5.0)
        await ledger.close()
    assert found == pytest.approx(5.0, abs=0.2)
