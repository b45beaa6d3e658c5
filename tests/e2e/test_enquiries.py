"""Asking what an order would come to, what is left, and what there is: free of charge."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from house import OTHER_KEY, PRICE_USD, TEAM_KEY, House, house

AUTH = {"Authorization": f"Bearer {TEAM_KEY}"}
ONE_DOLLAR = {"blue": {"budgets": [{"usd": 1, "per": "day"}, {"usd": 0.2, "per": "hour"}]}}


async def estimated(one: House, prompt: str, headers: Any = (), **wish: Any) -> Any:
    answer = await one.client.post(
        "/v1/images/estimate",
        json={"model": "gpt-image-1.5", "prompt": prompt, **wish},
        headers={**AUTH, **dict(headers)},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_estimate_says_what_an_order_would_come_to(tmp_path: Path) -> None:
    async with house(tmp_path, teams=ONE_DOLLAR) as one:
        new = await estimated(one, "new", n=2)
        assert (new["verdict"], new["price_usd"], new["cost_usd"]) == ("start", 0.1, 0.1)
        hour = next(b for b in new["budgets"] if b["rule"] == "usd_per_hour")
        assert (hour["limit"], hour["spent"], hour["held"], hour["left"]) == (0.2, 0, 0, 0.2)
        running = await one.post("running [sandbox:delay=1]")
        joined = await estimated(one, "running [sandbox:delay=1]")
        assert (joined["verdict"], joined["cost_usd"]) == ("join", 0)
        await one.ended(running.json()["id"])
        hit = await estimated(one, "running [sandbox:delay=1]")
        assert (hit["verdict"], hit["cost_usd"], hit["price_usd"]) == ("hit", 0, PRICE_USD)
        denied = await estimated(one, "too many", n=4)
        assert denied["verdict"] == "deny" and denied["cost_usd"] == 0
        assert denied["denial"]["rule"] == "usd_per_hour" and denied["denial"]["enforced"]
        assert denied["denial"]["resets_at"].endswith("Z")
        anew = await estimated(one, "running [sandbox:delay=1]", {"Cache-Control": "no-cache"})
        assert anew["verdict"] == "start"


async def test_estimates_spend_reserve_and_count_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, teams=ONE_DOLLAR) as one:
        await asyncio.gather(*(estimated(one, f"idea {i}") for i in range(50)))
        shown = await one.metrics()
        assert shown['gateway_budget_held_usd{team="blue",window="day"}'] == 0
        orders = 'gateway_orders_total{model="gpt-image-1.5",team="blue",verdict="started"}'
        assert shown[orders] == 0
        assert one.sandbox.state.submits == 0
        assert sum((await one.gateway.ledger.run_counts()).values()) == 0


async def test_an_estimate_is_validated_as_an_order(a_house: House) -> None:
    answer = await a_house.client.post(
        "/v1/images/estimate", json={"model": "gpt-image-1.5"}, headers=AUTH
    )
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "prompt"
    unknown = await a_house.client.post("/v1/images/estimate", json={})
    assert unknown.status_code == 401


async def test_shadow_estimates_tell_what_would_have_refused(tmp_path: Path) -> None:
    teams = {"blue": {"mode": "shadow", "budgets": [{"usd": 0.01, "per": "day"}]}}
    async with house(tmp_path, teams=teams) as one:
        told = await estimated(one, "over")
        assert told["verdict"] == "start"
        assert told["denial"]["rule"] == "usd_per_day" and not told["denial"]["enforced"]


async def test_credits_in_upstreams_shape(tmp_path: Path) -> None:
    async with house(tmp_path, teams=ONE_DOLLAR) as one:
        await one.made("paid")
        credits_ = (await one.client.get("/v1/credits", headers=AUTH)).json()
        token, user = credits_["data"]["token"], credits_["data"]["user"]
        assert credits_["success"] is True and credits_["message"] == ""
        assert token["unlimited_credits"] is False
        assert token["remaining_credits"] == user["remaining_credits"] == round(0.15 * 68, 4)
        assert token["used_credits"] == round(PRICE_USD * 68, 4)
        other = {"Authorization": f"Bearer {OTHER_KEY}"}
        free = (await one.client.get("/v1/credits", headers=other)).json()["data"]["token"]
        assert free["unlimited_credits"] is True
        wrong = await one.client.get("/v1/credits", headers={"Authorization": "Bearer no"})
        assert wrong.status_code == 401


async def test_models_are_those_the_team_may_use(tmp_path: Path) -> None:
    second = {
        "routes": [
            {"upstream": "evolink", "model": "m2", "price": [{"quality": "low", "usd": 0.01}]}
        ]
    }
    teams = {"blue": {"allow": {"models": ["second"]}}}
    async with house(tmp_path, teams=teams, models={"second": second}) as one:
        listed = (await one.client.get("/v1/models", headers=AUTH)).json()
        assert [model["id"] for model in listed["data"]] == ["second"]
        assert listed["data"][0]["prices"] == [{"quality": "low", "usd": 0.01}]
        other = {"Authorization": f"Bearer {OTHER_KEY}"}
        everything = (await one.client.get("/v1/v1/models", headers=other)).json()
        assert [model["id"] for model in everything["data"]] == ["gpt-image-1.5", "second"]
