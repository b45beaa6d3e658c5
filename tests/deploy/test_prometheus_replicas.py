"""A real Prometheus scrapes three gateways on one ledger: its money is shown once, not thrice."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import shared_servers
from house import OTHER_KEY, TEAM_KEY, digest
from prometheus_server import Prometheus, labels, prometheus
from replicas import Replicas, replicas
from test_prometheus import METRICS_KEY, column

pytestmark = pytest.mark.slow

TEAMS = {
    "blue": {"keys": [digest(TEAM_KEY)], "budgets": [{"usd": 50, "per": "day"}]},
    "green": {"keys": [digest(OTHER_KEY)], "budgets": [{"usd": 50, "per": "day"}]},
}
RUNS, HITS = 6, 3


async def ordered(three: Replicas) -> None:
    """Runs by turns at each, then some of the same again, at another than made them."""
    answers = [await three.post(f"boat {number}") for number in range(RUNS)]
    await asyncio.gather(*(three.ended(one.json()["id"]) for one in answers))
    three.turn += 1
    for number in range(HITS):
        answer = await three.post(f"boat {number}")
        assert "hit" in answer.headers["cache-status"]


async def shown(seen: Prometheus, title: str, heading: str = "") -> float:
    values = await column(seen, "platform", title, heading)
    return sum(values.values())


@pytest.mark.timeout(120)
async def test_the_boards_show_the_ledger_once(tmp_path: Path) -> None:
    storage = shared_servers.stores("boards")
    server = {"metrics_keys": [digest(METRICS_KEY)]}
    async with replicas(tmp_path, storage=storage, teams=TEAMS, server=server) as three:
        addresses = [one.url.removeprefix("http://") for one in three.every]
        async with prometheus(tmp_path / "prometheus", addresses, METRICS_KEY) as seen:
            await seen.scraped(1)
            await ordered(three)
            usage = await three.usage()
            assert (usage["images_generated"], usage["images_cache"]) == (RUNS, HITS)
            await read_anew(seen)
            await the_money_is_told_once(seen, usage["spent_usd"], usage["saved_usd"])
            await the_counts_add_up(seen)


async def read_anew(seen: Prometheus, seconds: float = 30) -> None:
    """Returns once every gateway shows all orders, as a reading of the ledger is kept for a while,
    and what is recorded was worked out since."""
    until = time.monotonic() + seconds
    pictures = "min(sum by (instance) (gateway_images_total))"
    while sum((await seen.ask(pictures)).values()) < RUNS + HITS:
        assert time.monotonic() < until, "a gateway shows an old reading"
        await asyncio.sleep(0.2)
    while not await seen.ask("team_window:gateway_budget_used:ratio > 0"):
        assert time.monotonic() < until, "an old value is recorded"
        await asyncio.sleep(0.2)


async def the_money_is_told_once(seen: Prometheus, spent: float, saved: float) -> None:
    assert spent > 0 and saved > 0
    assert await shown(seen, "Spent") == pytest.approx(spent)
    assert await shown(seen, "Saved") == pytest.approx(saved)
    assert await shown(seen, "Spend by team and model", "Spent ever") == pytest.approx(spent)
    assert await shown(seen, "Budgets", "Spent") == pytest.approx(spent)
    assert await shown(seen, "Budgets", "Budget") == 100
    assert await shown(seen, "Pictures") == RUNS + HITS
    assert await shown(seen, "Pictures kept") == RUNS
    assert await shown(seen, "Held now") == 0
    used = await seen.ask("team_window:gateway_budget_used:ratio")
    assert used[labels(team="blue", window="day")] == pytest.approx(spent / 50)


async def the_counts_add_up(seen: Prometheus) -> None:
    """Each gateway has counted its own orders, and all of them are all orders."""
    verdicts = await seen.ask("sum by (verdict) (gateway_orders_total) > 0")
    assert verdicts == {labels(verdict="started"): RUNS, labels(verdict="hit"): HITS}
    ((_, up),) = (await seen.ask('sum(up{job="image-gateway"})')).items()
    assert up == 3
