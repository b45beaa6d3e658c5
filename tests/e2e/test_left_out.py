"""Orders that leave something out: filled before they are judged, priced, named and sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from house import FAST, TEAM_KEY, digest, house, opened, settings_text

from gateway.config import parse
from gateway.sandbox import running_sandbox

AUTH = {"Authorization": f"Bearer {TEAM_KEY}"}
PRICES = [{"quality": "low", "usd": 0.01}, {"quality": "medium", "usd": 0.06}, {"usd": 0.3}]
ROUTE = {"upstream": "evolink", "model": "gpt-image-1.5", "price": PRICES}
MODELS = {"gpt-image-1.5": {"routes": [ROUTE], "defaults": {"quality": "high"}}}
CHEAP = {"blue": {"keys": [digest(TEAM_KEY)], "allow": {"qualities": ["low"]}}}


async def test_a_restricted_team_is_served_whatever_its_clients_leave_open(tmp_path: Path) -> None:
    """Some clients always send `auto`, on both surfaces; all of it is one order, paid once."""
    async with house(tmp_path, teams=CHEAP, models=MODELS) as one:
        first = await one.post("fox", headers={"Prefer": "wait=20"})
        assert first.headers["x-gateway-cost-usd"] == "0.010000"
        for more in ({"quality": "low"}, {"quality": "auto"}, {"size": "auto"}):
            again = await one.post("fox", **more)
            assert again.headers["cache-status"].startswith("image-gateway; hit"), more
            on_openai = await one.openai("fox", **more)
            assert on_openai.headers["cache-status"].startswith("image-gateway; hit"), more
            assert on_openai.json()["quality"] == "low"
        refused = await one.post("fox", quality="medium")
        assert refused.status_code == 400
        assert one.sandbox.state.submits == 1
        [found] = (await one.admin("GET", "runs")).json()["data"]
        run = (await one.admin("GET", f"runs/{found['id']}")).json()
        assert run["run"]["request"]["quality"] == "low", "what is filled goes upstream"


async def test_a_team_that_must_choose_is_told_so(tmp_path: Path) -> None:
    teams = {"blue": {"allow": {"qualities": ["low", "medium"]}}}
    async with house(tmp_path, teams=teams, models=MODELS) as one:
        for refused in (await one.post("fox"), await one.openai("fox", quality="auto")):
            error = refused.json()["error"]
            assert refused.status_code == 400 and error["param"] == "quality"
            assert "low, medium; and must say which" in error["message"]
        listed = (await one.client.get("/v1/models", headers=AUTH)).json()["data"]
        assert (listed[0]["required"], listed[0]["defaults"]) == (["quality"], {})


async def test_what_a_team_may_order_is_listed_with_its_prices(tmp_path: Path) -> None:
    teams = {
        "blue": {
            "allow": {"qualities": ["low", "medium"], "sizes": ["1:1"], "max_n": 3},
            "defaults": {"quality": "medium", "n": 2},
        }
    }
    async with house(tmp_path, teams=teams, models=MODELS) as one:
        [model] = (await one.client.get("/v1/models", headers=AUTH)).json()["data"]
        assert (model["sizes"], model["qualities"], model["max_n"]) == (
            ["1:1"],
            ["low", "medium"],
            3,
        )
        assert model["defaults"] == {"quality": "medium", "size": "1:1", "n": 2}
        assert model["required"] == []
        assert model["usd_by_quality"] == {"low": 0.01, "medium": 0.06}
        summary = (await one.client.get("/team/v1/summary", headers=AUTH)).json()
        assert (
            summary["models"][0].items()
            >= {
                name: model[name] for name in ("defaults", "usd_by_quality", "sizes", "max_n")
            }.items()
        )
        body = {"model": "gpt-image-1.5", "prompt": "fox", "seed": 3}
        told = (await one.client.post("/v1/images/estimate", json=body, headers=AUTH)).json()
        assert told["order"] == {**body, "quality": "medium", "size": "1:1", "n": 2}
        assert told["price_usd"] == 0.12


async def test_what_openais_client_says_goes_before_a_default(tmp_path: Path) -> None:
    """`opaque` and `png` are what is made anyway, but for a default that makes something else."""
    models = {"gpt-image-1.5": {"defaults": {"background": "transparent"}}}
    async with house(tmp_path, models=models) as one:
        bodies = []
        for more in ({}, {"background": "auto"}, {"background": "opaque"}):
            answer = await one.openai("fox", **more)
            assert answer.status_code == 200, answer.text
            bodies.append(answer.json()["background"])
        assert bodies == ["transparent", "transparent", "opaque"]


async def test_an_operator_gives_a_team_its_defaults(tmp_path: Path) -> None:
    """They stand in the team's record, count at once, and survive a restart."""
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, models=MODELS)
        body = {"name": "ads", "defaults": {"quality": "low", "n": 2}}
        assert (await one.admin("POST", "teams", json=body)).status_code == 200
        key = (await one.admin("POST", "teams/ads/keys", json={})).json()["key"]
        first = await one.post("fox", key=key)
        assert first.headers["x-gateway-cost-usd"] == "0.020000"
        patch = {"defaults": {"quality": "medium", "n": None}}
        changed = (await one.admin("PATCH", "teams/ads", json=patch)).json()
        assert changed["settings"]["defaults"] == {"quality": "medium"}
        second = await one.post("fox", key=key)
        assert second.headers["x-gateway-cost-usd"] == "0.060000"
        wrong = await one.admin("PATCH", "teams/ads", json={"defaults": {"qualty": "low"}})
        assert wrong.status_code == 400
        assert "did you mean 'quality'?" in wrong.json()["error"]["message"]
        await one.settled()
        await one.stop()
        one = await opened(sandbox, tmp_path, models=MODELS)
        try:
            hit = await one.post("fox", key=key, quality="medium")
            assert hit.headers["x-gateway-saved-usd"] == "0.060000"
            assert not await one.violations()
        finally:
            await one.stop()


async def test_a_reload_changes_defaults_at_once(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        given: dict[str, Any] = {"quality": "low"}

        def load() -> Any:
            teams = {"blue": {"defaults": given}}
            text = settings_text(sandbox.base_url, tmp_path, models=MODELS, teams=teams)
            return parse(text, {})

        one = await opened(sandbox, tmp_path, models=MODELS, load=load)
        try:
            assert (await one.post("a")).headers["x-gateway-cost-usd"] == "0.300000"
            assert (await one.admin("POST", "settings/reload")).status_code == 200
            assert (await one.post("b")).headers["x-gateway-cost-usd"] == "0.010000"
            given["size"] = "5:17"
            refused = await one.admin("POST", "settings/reload")
            assert "teams.blue.defaults.size" in json.dumps(refused.json())
            assert (await one.post("c")).headers["x-gateway-cost-usd"] == "0.010000"
        finally:
            await one.stop()


async def test_whom_an_order_is_for_makes_no_other_picture(tmp_path: Path) -> None:
    """On neither surface, and none of it goes upstream."""
    async with house(tmp_path) as one:
        await one.made("fox")
        for labels in ({"user": "ann"}, {"safety_identifier": "b"}, {"metadata": {"tag": "x"}}):
            for answer in (await one.post("fox", **labels), await one.openai("fox", **labels)):
                assert answer.headers["cache-status"].startswith("image-gateway; hit"), labels
            await one.openai(f"{labels}", **labels)
        for run in (await one.admin("GET", "runs")).json()["data"]:
            found = (await one.admin("GET", f"runs/{run['id']}")).json()
            assert not {"user", "safety_identifier", "metadata"} & found["run"]["request"].keys()
