"""The machine's clock is set an hour forward or back while orders are under way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import FAST, House, opened

from gateway.sandbox import running_sandbox
from gateway.wiring import Outside

HOUR = 3600.0
SPENT = 'gateway_budget_spent_usd{team="blue",window="total"}'
MACHINES = Outside(skewed=True)
CAPPED = {"blue": {"budgets": [{"usd": 100, "per": "total"}]}}


UNDER_WAY = (
    "[sandbox:delay=0.5]",
    "[sandbox:delay=1.5]",
    "[sandbox:delay=3]",
    "[sandbox:http=503*2]",
    "[sandbox:poll-http=503*8]",
    "[sandbox:dead-link=503*8]",
)
"""Works that take their time; one that no route takes yet, and trouble with polls and links."""


@dataclass
class Clock:
    off: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.off


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_what_is_under_way_ends_well(tmp_path: Path, jump: float) -> None:
    clock = Clock()
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, clock=clock, outside=MACHINES, teams=CAPPED)
        tasks = [(await one.post(f"jump {words}")).json()["id"] for words in UNDER_WAY]
        waiting = asyncio.create_task(
            one.post("waits [sandbox:delay=1.5]", headers={"Prefer": "wait=20"})
        )
        await asyncio.sleep(0.7)
        clock.off += jump
        for task in tasks:
            assert (await one.ended(task))["status"] == "completed"
        assert (await waiting).json()["status"] == "completed"
        new = await one.made("behind it")
        assert new["status"] == "completed" and abs(new["created"] - clock()) < 10
        assert len(sandbox.state.tasks) == len(tasks) + 2
        await told(one)
        await one.stop()
        one = await opened(sandbox, tmp_path, clock=clock, outside=MACHINES, teams=CAPPED)
        new = await one.made("after a restart")
        assert new["status"] == "completed" and abs(new["created"] - clock()) < 10
        assert (await one.made("behind it"))["status"] == "completed"
        assert len(sandbox.state.tasks) == len(tasks) + 3
        await told(one)
        await one.stop()


async def told(one: House) -> None:
    assert round((await one.metrics())[SPENT] * 100) == 5 * len(one.sandbox.state.tasks)
    assert await one.violations() == []


async def test_a_clock_that_is_set_back_while_nobody_runs_has_nobody_wait(tmp_path: Path) -> None:
    clock = Clock()
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, clock=clock, outside=MACHINES, teams=CAPPED)
        tasks = [(await one.post(f"left {words}")).json()["id"] for words in UNDER_WAY]
        await one.stop()
        clock.off -= HOUR
        one = await opened(sandbox, tmp_path, clock=clock, outside=MACHINES, teams=CAPPED)
        for task in tasks:
            assert (await one.ended(task))["status"] == "completed"
        await told(one)
        await one.stop()


@pytest.mark.parametrize("status", [503, 404])
async def test_a_link_lives_as_long_as_before_though_the_clock_is_set_a_day_forward(
    tmp_path: Path, status: int
) -> None:
    clock = Clock()
    async with running_sandbox(FAST) as sandbox:
        patient = {"retry": {"dead_after": "30s"}}
        one = await opened(
            sandbox, tmp_path, clock=clock, outside=MACHINES, teams=CAPPED, worker=patient
        )
        task = (await one.post(f"later [sandbox:dead-link={status}*20]")).json()["id"]
        await asyncio.sleep(0.7)
        clock.off += 25 * HOUR
        assert (await one.ended(task))["status"] == "completed"
        await told(one)
        await one.stop()
