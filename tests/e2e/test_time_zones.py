"""A cap is never exceeded by changing `server.timezone`: at run time, at a start, under load."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from house import FAST, House, opened
from test_admin_settings import filed
from test_admin_teams import booked, ok

from gateway.core.money.accounts import Window
from gateway.core.money.budgets import account_keys
from gateway.sandbox import running_sandbox

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Asia/Tokyo",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Auckland",
    "Pacific/Kiritimati",
)
NOON = datetime(2026, 10, 14, 12, 34, 30, tzinfo=UTC).timestamp()
"""No window of any of these zones begins within the test."""

THREE = 0.15  # dollars, for three pictures
PERS = ("hour", "day", "week", "month", "total")


def clock() -> float:
    """Goes on as ever, and began at noon."""
    return NOON + time.monotonic() - BEGAN


BEGAN = time.monotonic()


def three(per: str) -> dict[str, object]:
    return {"blue": {"budgets": [{"usd": THREE, "per": per}]}}


async def spent(one: House, zone: str) -> set[tuple[Window, int]]:
    keys = account_keys("blue", clock(), ZoneInfo(zone))
    accounts = await one.gateway.ledger.accounts(keys)
    return {
        (key.window, account.spent.usd_micros + account.held.usd_micros)
        for key, account in accounts.items()
        if key.window in PERS
    }


@pytest.mark.parametrize("per", PERS)
async def test_reloads_through_the_zones_open_no_cap(tmp_path: Path, per: str) -> None:
    async with filed(tmp_path, clock=clock, teams=three(per)) as one:
        codes = []
        for zone in ZONES:
            await one.reload(teams=three(per), server={"timezone": zone})
            codes += [(await one.house.post(f"{zone} {n}")).status_code for n in range(4)]
        await one.house.settled()
        assert codes == [200] * 3 + [402] * (len(codes) - 3)
        for zone in ZONES:
            assert await spent(one.house, zone) == {(Window(p), 3 * 50_000) for p in PERS}
        assert await one.house.violations() == []


async def test_restarts_through_the_zones_open_no_cap(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        codes = []
        for zone in ZONES:
            server = {"timezone": zone}
            one = await opened(sandbox, tmp_path, clock=clock, teams=three("day"), server=server)
            try:
                codes += [(await one.post(f"{zone} {n}")).status_code for n in range(4)]
                assert booked(await ok(one, "GET", "teams/blue")) == THREE
                assert await one.violations() == []
            finally:
                await one.stop()
        assert codes == [200] * 3 + [402] * (len(codes) - 3)


async def test_orders_under_way_during_reloads_exceed_no_cap(tmp_path: Path) -> None:
    """Orders judged before a reload are committed after it, and runs settle in another zone."""
    teams = {"blue": {"budgets": [{"usd": 1, "per": "day"}]}}
    async with filed(tmp_path, clock=clock, teams=teams) as one:

        async def turn() -> None:
            for number in range(24):
                await one.reload(teams=teams, server={"timezone": ZONES[number % len(ZONES)]})

        async def orders(who: int) -> Counter[int]:
            return Counter([(await one.house.post(f"{who} {n}")).status_code for n in range(8)])

        told, *_ = await asyncio.gather(asyncio.gather(*(orders(who) for who in range(8))), turn())
        await one.house.settled()
        assert sum(told, Counter()) == {200: 20, 402: 44}
        for zone in ZONES:
            assert await spent(one.house, zone) == {(Window(p), 20 * 50_000) for p in PERS}
        assert await one.house.violations() == []
