"""A bill above what was held: booked as it is, and said where somebody looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from whole_upstream import PRICE, House

from gateway.core.model import Run, RunState
from gateway.core.runs.events import SubmitEvent


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.open()
    yield house
    await house.close()


@pytest.mark.parametrize("more", [-1, 0, 1, 5_000])
async def test_it_is_booked_and_warned_of(house: House, more: int) -> None:
    async def bill(run: Run) -> SubmitEvent:
        return replace(house.whole.deliver(run), cost_usd_micros=PRICE + more)

    house.whole.answer = bill
    with capture_logs() as logs:
        run = await house.final(await house.ordered(house.worker()))
    assert (run.state, run.spent.usd_micros) == (RunState.DONE, PRICE + more)
    [told] = [line for line in logs if line.get("happened") == "Delivered"]
    assert told["log_level"] == ("warning" if more > 0 else "info")
    assert told.get("more_than_held") == (more if more > 0 else None)
    assert told.get("billed") == (PRICE + more if more > 0 else None)
    assert await house.ledger.over_hold() == ({"whole": more} if more > 0 else {})
    await house.adds_up()
