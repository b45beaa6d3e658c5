"""Budgets hold to the cent, under real concurrency and across a restart."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
import stores
from house import FAST, House, house, opened

from gateway.sandbox import running_sandbox

TEN_PICTURES = {"blue": {"budgets": [{"usd": 0.5, "per": "day"}]}}


async def flood(one: House, count: int, word: str) -> Counter[int]:
    answers = await asyncio.gather(*(one.post(f"{word} {i}") for i in range(count)))
    return Counter(answer.status_code for answer in answers)


@pytest.mark.alone
async def test_200_orders_against_a_budget_of_ten_pictures(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, teams=TEN_PICTURES)
        try:
            assert await flood(one, 200, "distinct") == {200: 10, 402: 190}
            assert sandbox.state.submits == 10
            assert await one.violations() == []
        finally:
            await one.stop()
        again = await opened(sandbox, tmp_path, teams=TEN_PICTURES)
        try:
            assert await flood(again, 200, "after the restart") == {402: 200}
            assert sandbox.state.submits == 10
            await again.settled()
            assert (await again.gateway.ledger.run_counts())["done"] == 10
            assert await again.violations() == []
        finally:
            await again.stop()


async def test_a_refusal_says_which_rule_and_when_it_frees(tmp_path: Path) -> None:
    async with house(tmp_path, teams=TEN_PICTURES) as one:
        answer = await one.post("too many", n=10)
        assert answer.status_code == 200
        refused = await one.post("one more")
        assert refused.status_code == 402
        error = refused.json()["error"]
        assert error["code"] == error["type"] == "insufficient_quota"
        assert error["limit_scope"] == "usd_per_day"
        assert error["resets_at"].endswith("T00:00:00Z")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        never = await one.post("far too many", n=10, key="team-blue-key", quality="high")
        assert never.status_code == 402


@stores.both
async def test_n_multiplies_and_a_refused_order_consumes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, teams=TEN_PICTURES) as one:
        assert (await one.post("eight", n=8)).status_code == 200
        assert (await one.post("three", n=3)).status_code == 402
        assert (await one.post("two", n=2)).status_code == 200
        assert (await one.post("one", n=1)).status_code == 402


async def test_picture_counts_runs_per_minute_and_concurrency(tmp_path: Path) -> None:
    teams = {
        "blue": {"limits": {"images": [{"count": 3, "per": "day"}]}},
        "green": {"limits": {"concurrent_runs": 2}},
    }
    async with house(tmp_path, teams=teams) as one:
        assert (await one.post("a", n=3)).status_code == 200
        denied = await one.post("b")
        assert denied.status_code == 429
        assert denied.json()["error"]["limit_scope"] == "images_per_day"
        green = "team-green-key"
        answers = [await one.post(f"g{i} [sandbox:delay=1]", key=green) for i in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json()["error"]["limit_scope"] == "concurrent_runs"
        assert int(answers[2].headers["retry-after"]) >= 1
        await one.ended(answers[0].json()["id"], key=green)
        assert (await one.post("g4", key=green)).status_code == 200


@stores.both
async def test_a_failed_task_gives_its_money_back(tmp_path: Path) -> None:
    async with house(tmp_path, teams=TEN_PICTURES) as one:
        task = await one.made("all of it [sandbox:fail=service_error]", n=10)
        assert task["status"] == "failed"
        assert (await one.post("again", n=10)).status_code == 200
        assert await one.violations() == []


async def test_shadow_counts_and_never_refuses(tmp_path: Path) -> None:
    teams = {
        "blue": {
            "mode": "shadow",
            "budgets": [{"usd": 0.05, "per": "day"}],
            "allow": {"sizes": ["1:1"]},
        }
    }
    async with house(tmp_path, teams=teams) as one:
        for prompt in ("one", "two", "three"):
            assert (await one.post(prompt, size="1:1")).status_code == 200
        assert (await one.post("four", size="3:2")).status_code == 200
        shown = await one.metrics()
        assert shown['gateway_denials_total{mode="shadow",reason="budget",team="blue"}'] >= 2
        assert shown['gateway_denials_total{mode="shadow",reason="size_not_allowed",team="blue"}']


async def test_allow_lists(tmp_path: Path) -> None:
    teams = {"blue": {"allow": {"qualities": ["low"], "max_n": 2, "sizes": ["1:1", "2:3"]}}}
    async with house(tmp_path, teams=teams) as one:
        fine = await one.post("fine", quality="low", size="1:1", n=2)
        assert fine.status_code == 200
        for param, wish in {
            "quality": {"quality": "high", "size": "1:1"},
            "n": {"quality": "low", "size": "1:1", "n": 3},
            "size": {"quality": "low"},
        }.items():
            refused = await one.post("refused", **wish)
            assert refused.status_code == 400, wish
            assert refused.json()["error"]["param"] == param
        assert one.sandbox.state.submits == 1


async def test_an_unpriced_order_is_refused(tmp_path: Path) -> None:
    route = {"upstream": "evolink", "model": "m", "price": [{"quality": "low", "usd": 0.01}]}
    async with house(tmp_path, models={"gpt-image-1.5": {"routes": [route]}}) as one:
        refused = await one.post("unpriced", quality="high")
        assert refused.status_code == 400
        assert "no price" in refused.json()["error"]["message"]
        assert one.sandbox.state.submits == 0
