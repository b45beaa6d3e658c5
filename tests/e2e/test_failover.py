"""Two routes, one of which fails: every order completes, paid once, at the price of its route."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from house import FAST, OTHER_KEY, TEAM_KEY, settings_text
from two_routes import CHEAP, DEAR, HELD, TwoRoutes, routes_settings, two_routes

from gateway.config import parse
from gateway.core.model import RunState

SPENT = 'gateway_budget_spent_usd{team="blue",window="total"}'
CHEAP_UP = 'gateway_upstream_up{route="evolink/gpt-image-1.5",upstream="evolink"}'


def capped(usd: float) -> dict[str, Any]:
    return {"blue": {"budgets": [{"usd": usd, "per": "total"}]}}


async def queued(one: TwoRoutes, task_id: str) -> None:
    """Returns once the task's run waits for a route."""
    async with asyncio.timeout(10):
        while True:
            found = await one.house.gateway.ledger.job(task_id)
            if found and found[1].state is RunState.QUEUED:
                return
            await asyncio.sleep(0.02)


# --- under load ----------------------------------------------------------------------------------


async def watched(one: TwoRoutes, cap: int, orders: asyncio.Future[Any]) -> None:
    """Looks at the budget again and again while the orders are made."""
    while not orders.done():
        shown = await one.house.metrics()
        assert round((shown[SPENT] + shown[HELD]) * 1_000_000) <= cap
        await asyncio.sleep(0.1)


async def order_all(one: TwoRoutes, count: int, *, at_once: int = 40) -> set[str]:
    """Distinct orders, each followed to its end. Returns those that were taken: all complete."""
    slots, taken = asyncio.Semaphore(at_once), set()

    async def order(prompt: str) -> None:
        async with slots, asyncio.timeout(60):
            answer = await one.house.post(prompt)
            if answer.status_code == 402:
                return
            assert answer.status_code == 200, answer.text
            taken.add(prompt)
            seen = [answer.json()["status"]]
            while seen[-1] not in ("completed", "failed"):
                await asyncio.sleep(0.25)
                seen.append((await one.house.poll(answer.json()["id"])).json()["status"])
            assert seen[-1] == "completed", f"{prompt}: {seen}"

    await asyncio.gather(*(order(f"order {number}") for number in range(count)))
    return taken


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_half_of_what_the_cheapest_gets_fails(tmp_path: Path) -> None:
    count = 300
    ill = replace(FAST, rates={"http": 0.5, "fail": 0.5})
    async with two_routes(tmp_path, cheap=ill, teams=capped(count * DEAR / 1e6)) as one:
        orders = asyncio.ensure_future(order_all(one, count))
        taken, _ = await asyncio.gather(orders, watched(one, count * DEAR, orders))
        await one.house.settled()
        assert len(taken) == count and one.completed() == Counter(taken)
        assert await one.spent() == one.charged()
        assert await one.held() == 0
        served = [
            sum(t.error_code is None for t in s.state.tasks.values()) for s in (one.cheap, one.dear)
        ]
        assert min(served) > 5, f"both routes have served: {served}"
        assert await one.house.violations() == []


@pytest.mark.timeout(120)
async def test_the_budget_bounds_what_goes_to_the_dearer_route(tmp_path: Path) -> None:
    count, may_go = 80, 6
    cap = count * CHEAP + may_go * (DEAR - CHEAP)
    ill = replace(FAST, rates={"http": 0.5})
    async with two_routes(tmp_path, cheap=ill, teams=capped(cap / 1e6)) as one:
        orders = asyncio.ensure_future(order_all(one, count))
        taken, _ = await asyncio.gather(orders, watched(one, cap, orders))
        await one.house.settled()
        assert one.completed() == Counter(taken) and count / 2 < len(taken) <= count
        assert one.cheap.state.tasks and one.dear.state.tasks
        assert await one.spent() == one.charged() <= cap
        assert await one.house.violations() == []


# --- one thing at a time -------------------------------------------------------------------------


async def test_the_cheapest_that_is_up_serves(tmp_path: Path) -> None:
    async with two_routes(tmp_path) as one:
        await one.cheap.refuse_connections()
        for number in range(4):
            assert (await one.house.made(f"away {number}"))["status"] == "completed"
        assert len(one.dear.state.tasks) == 4 and await one.spent() == 4 * DEAR
        assert (await one.house.metrics())[CHEAP_UP] == 0
        await one.cheap.accept_connections()
        async with asyncio.timeout(10):
            while not one.cheap.state.tasks:
                await one.house.made(f"back {len(one.dear.state.tasks)}")
        assert (await one.house.metrics())[CHEAP_UP] == 1
        assert await one.spent() == one.charged()
        assert await one.house.violations() == []


async def test_when_all_routes_are_down_orders_wait_with_their_hold(tmp_path: Path) -> None:
    async with two_routes(tmp_path, teams=capped(10)) as one:
        await one.cheap.refuse_connections()
        one.dear.state.down = True
        keys = [TEAM_KEY, OTHER_KEY] * 5
        answers = [await one.house.post(f"{i}", key=key) for i, key in enumerate(keys)]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["status"] for answer in answers} == {"pending"}
        await asyncio.sleep(0.5)
        assert await one.held() in range(5 * CHEAP, 5 * DEAR + 1)
        await one.cheap.accept_connections()
        for answer, key in zip(answers, keys, strict=True):
            task = await one.house.ended(answer.json()["id"], key=key)
            assert task["status"] == "completed"
        assert len(one.cheap.state.tasks) == 10 and one.dear.state.tasks == {}
        assert (await one.spent(), await one.held()) == (5 * CHEAP, 0)
        assert await one.house.violations() == []


async def test_an_upstream_that_is_down_is_not_hammered(tmp_path: Path) -> None:
    retry = {"retry": {"first": "300ms", "max": "2s"}}
    async with two_routes(tmp_path, worker=retry) as one:
        one.cheap.state.down = one.dear.state.down = True
        answers = await asyncio.gather(*(one.house.post(f"{i}") for i in range(40)))
        before = [len(sandbox.state.requests) for sandbox in (one.cheap, one.dear)]
        await asyncio.sleep(2)
        after = [len(sandbox.state.requests) for sandbox in (one.cheap, one.dear)]
        more = [late - early for early, late in zip(before, after, strict=True)]
        assert max(more) <= 4, f"{more} submits in two seconds, of 40 orders that wait"
        one.cheap.state.down = False
        for answer in answers:
            assert (await one.house.ended(answer.json()["id"]))["status"] == "completed"
        assert await one.house.violations() == []


async def test_refused_credentials_are_an_error_only_when_no_other_route_serves(
    tmp_path: Path,
) -> None:
    async with two_routes(tmp_path, cheap=replace(FAST, accepted_key="sk-another")) as one:
        for number in range(5):
            assert (await one.house.made(f"elsewhere {number}"))["status"] == "completed"
        assert await one.spent() == 5 * DEAR and one.cheap.state.tasks == {}
    wrong = replace(FAST, accepted_key="sk-another")
    async with two_routes(tmp_path / "both", cheap=wrong, dear=wrong) as one:
        for number in range(5):
            answer = await one.house.post(f"nowhere {number}")
            assert answer.status_code == 502, answer.text
        assert await one.spent() == 0
        assert await one.house.violations() == []


async def test_a_mended_key_is_used_at_once(tmp_path: Path) -> None:
    slow = {"retry": {"first": "30s", "max": "60s"}}
    other_key = replace(FAST, accepted_key="sk-mended")
    async with two_routes(tmp_path, cheap=other_key, worker=slow) as one:
        for number in range(4):
            await one.house.made(f"with the spare {number}")
        assert (await one.house.metrics())[CHEAP_UP] == 0
        changes = {**routes_settings(one.dear, "60s"), "worker": slow}
        settings = json.loads(settings_text(one.cheap.base_url, tmp_path, **changes))
        settings["upstreams"]["evolink"]["api_key"] = "sk-mended"
        one.house.gateway.reload(parse(json.dumps(settings), {}))
        await one.house.made("with the new key")
        assert len(one.cheap.state.tasks) == 1
        assert (await one.house.metrics())[CHEAP_UP] == 1


async def test_a_reload_that_failed_half_way_is_made_whole_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_key = replace(FAST, accepted_key="sk-mended")
    async with two_routes(tmp_path, cheap=other_key) as one:
        changes = routes_settings(one.dear, "60s")
        settings = json.loads(settings_text(one.cheap.base_url, tmp_path, **changes))
        settings["upstreams"]["evolink"]["api_key"] = "sk-mended"
        connections = one.house.gateway.adapters.connections
        with monkeypatch.context() as broken:
            broken.setattr(connections, "_connect", Mock(side_effect=UnicodeError))
            with pytest.raises(UnicodeError):
                one.house.gateway.reload(parse(json.dumps(settings), {}))
        one.house.gateway.reload(parse(json.dumps(settings), {}))
        await one.house.made("with the new key")
        assert len(one.cheap.state.tasks) == 1


async def test_a_dearer_route_that_does_not_fit_is_not_taken(tmp_path: Path) -> None:
    async with two_routes(tmp_path, teams=capped((DEAR - 1) / 1e6)) as one:
        await one.cheap.refuse_connections()
        answer = await one.house.post("just enough for the cheap one")
        assert answer.status_code == 200 and answer.json()["status"] == "pending"
        await queued(one, answer.json()["id"])
        assert await one.held() == CHEAP
        await one.cheap.accept_connections()
        task = await one.house.ended(answer.json()["id"])
        assert task["status"] == "completed"
        assert one.dear.state.submits == 0 and await one.spent() == CHEAP


async def test_a_team_in_shadow_mode_goes_wherever_it_is_served(tmp_path: Path) -> None:
    shadow = {"blue": {**capped((DEAR - 1) / 1e6)["blue"], "mode": "shadow"}}
    async with two_routes(tmp_path, teams=shadow) as one:
        await one.cheap.refuse_connections()
        assert (await one.house.made("whatever it costs"))["status"] == "completed"
        assert await one.spent() == DEAR


async def test_a_task_that_fails_for_the_providers_reasons_goes_on_elsewhere(
    tmp_path: Path,
) -> None:
    ill = replace(FAST, rates={"fail": 1.0}, seconds_per_picture=0.3)
    async with two_routes(tmp_path, cheap=ill) as one:
        answers = await asyncio.gather(*(one.house.post("shared") for _ in range(4)))
        seen: dict[str, list[Any]] = {}
        for answer in answers:
            task_id = answer.json()["id"]
            while (task := (await one.house.poll(task_id)).json())["status"] != "completed":
                seen.setdefault(task_id, []).append(task)
                await asyncio.sleep(0.02)
        for task in (task for tasks in seen.values() for task in tasks):
            assert task["status"] in ("pending", "processing") and "error" not in task
        assert (len(one.cheap.state.tasks), len(one.dear.state.tasks)) == (1, 1)
        assert await one.spent() == DEAR == one.charged()
        assert await one.house.violations() == []


async def test_a_task_that_fails_everywhere_is_not_charged(tmp_path: Path) -> None:
    async with two_routes(tmp_path) as one:
        task = await one.house.made("no [sandbox:fail=service_error]")
        assert (task["status"], task["error"]["code"]) == ("failed", "service_error")
        assert (len(one.cheap.state.tasks), len(one.dear.state.tasks)) == (1, 1)
        task = await one.house.made("bad [sandbox:fail=content_policy_violation]")
        assert task["error"]["code"] == "content_policy_violation"
        assert (len(one.cheap.state.tasks), len(one.dear.state.tasks)) == (2, 1)
        assert await one.spent() == 0
        assert await one.house.violations() == []


async def test_a_lost_answer_on_the_second_route_is_not_sent_a_third_time(tmp_path: Path) -> None:
    cut = replace(FAST, rates={"drop": 1.0})
    async with two_routes(tmp_path, dear=cut, deadline="3s") as one:
        await one.cheap.refuse_connections()
        answer = await one.house.post("lost on the second")
        assert answer.status_code == 504
        await one.cheap.accept_connections()
        await one.house.settled()
        assert (one.cheap.state.submits, one.dear.state.submits) == (0, 1)
        assert await one.spent() == DEAR, "it may have been charged there"
        assert await one.house.violations() == []
