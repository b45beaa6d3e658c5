"""The settings over HTTP: shown without secrets, read again all or nothing; health at a glance."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from house import (
    ADMIN_KEY,
    FAST,
    ORGANISATION_KEY,
    PRICE_USD,
    TEAM_KEY,
    House,
    digest,
    opened,
    settings_text,
)
from test_admin_teams import dollars, new_team, ok, refused

from gateway.config import load
from gateway.ports.clock import Clock
from gateway.sandbox import RunningSandbox, running_sandbox

SUCCESSFUL = "gateway_config_last_reload_successful"
ROUTE = {"upstream": "evolink", "model": "gpt-image-2", "price": PRICE_USD}
SECOND_MODEL = {"gpt-image-2": {"limits": {"prompt_tokens": 2000}, "routes": [ROUTE]}}


@dataclass
class Filed:
    """A house whose settings stand in a file."""

    house: House
    file: Path

    def write(self, **changes: Any) -> None:
        folder, sandbox = self.house.folder, self.house.sandbox
        self.file.write_text(settings_text(sandbox.base_url, folder, **changes))

    async def reload(self, **changes: Any) -> Any:
        self.write(**changes)
        return await ok(self.house, "POST", "settings/reload")


@asynccontextmanager
async def over(
    sandbox: RunningSandbox, tmp_path: Path, *, clock: Clock = time.time, **changes: Any
) -> AsyncIterator[Filed]:
    file = tmp_path / "config.yaml"
    file.write_text(settings_text(sandbox.base_url, tmp_path / "data", **changes))
    one = await opened(
        sandbox, tmp_path / "data", clock=clock, load=lambda: load(file, {}), **changes
    )
    try:
        yield Filed(one, file)
    finally:
        await one.stop()


@asynccontextmanager
async def filed(tmp_path: Path, **changes: Any) -> AsyncIterator[Filed]:
    async with running_sandbox(FAST) as sandbox, over(sandbox, tmp_path, **changes) as one:
        yield one


# --- shown ---------------------------------------------------------------------------------------


async def test_the_settings_are_shown_without_secrets(tmp_path: Path) -> None:
    secret = "whsec_c2VjcmV0IG9mIGNhbGxiYWNrcw=="
    async with filed(tmp_path, callbacks={"signing_secret": secret}) as one:
        answer = await one.house.admin("GET", "settings")
    shown = answer.json()["settings"]
    assert shown["upstreams"]["evolink"]["api_key"] == "********"
    assert shown["models"]["gpt-image-1.5"]["routes"][0]["price"] == [{"usd": PRICE_USD}]
    assert shown["worker"]["retry"] == {"first": "30ms", "max": "200ms", "dead_after": "1s"}
    for hidden in (ORGANISATION_KEY, secret, digest(TEAM_KEY), TEAM_KEY):
        assert hidden not in answer.text
    assert "upstreams.evolink: may reach private addresses" in answer.text


# --- read again ----------------------------------------------------------------------------------


async def test_a_reload_takes_over_what_it_can(tmp_path: Path) -> None:
    async with filed(tmp_path) as one:
        key = await new_team(one.house, **dollars(1))
        reloaded = await one.reload(
            teams={"blue": dollars(1)}, worker={"concurrency": 3}, server={"shutdown_grace": "7s"}
        )
        assert reloaded["reloaded"] is True
        assert reloaded["taken_over"] == ["teams.blue.budgets"]
        assert reloaded["restart_needed"] == ["server.shutdown_grace", "worker.concurrency"]
        assert (await one.house.post("one")).status_code == 200
        assert (await one.house.post("two")).status_code == 402
        assert (await one.house.post("three", key=key)).status_code == 200, "those made meanwhile"
        assert (await one.house.post("four", key=key)).status_code == 402
        assert (await one.house.metrics())[SUCCESSFUL] == 1
        (change,) = (await ok(one.house, "GET", "audit?action=settings.reload"))["data"]
        assert change["subject"] == "settings"
        changed = {"server.shutdown_grace", "teams.blue.budgets", "worker.concurrency"}
        assert change["before"].keys() == change["after"].keys() == changed
        assert change["before"]["teams.blue.budgets"] == []
        assert change["after"]["teams.blue.budgets"] == dollars(1)["budgets"]


async def test_a_tokenizer_is_there_where_a_limit_counts_tokens_and_nowhere_else(
    tmp_path: Path,
) -> None:
    """It is half of an idle gateway's memory, and must be ready before there is an order."""
    route = {"upstream": "evolink", "model": "gpt-image-1.5", "price": PRICE_USD}
    uncounted = {"gpt-image-1.5": {"limits": {"prompt_tokens": None}, "routes": [route]}}
    counted = {"gpt-image-1.5": {"limits": {"prompt_tokens": 5}, "routes": [route]}}
    async with filed(tmp_path, models=uncounted) as one:
        tokens = one.house.gateway.adapters.tokens
        assert (await one.house.post("word " * 400)).status_code == 200
        assert not tokens.is_loaded
        await one.reload(models=counted)
        assert tokens.is_loaded
        assert (await one.house.post("word " * 400)).status_code == 400
    (again := tmp_path / "again").mkdir()
    async with filed(again, models=counted) as one:
        assert one.house.gateway.adapters.tokens.is_loaded


async def test_what_needs_a_restart_is_told_until_it_is_put_back(tmp_path: Path) -> None:
    async with filed(tmp_path) as one:
        for _ in range(2):
            waiting = await one.reload(worker={"concurrency": 3})
            assert waiting["taken_over"] == []
            assert waiting["restart_needed"] == ["worker.concurrency"]
        notice = "worker.concurrency: as the file has it, in force only after a restart"
        assert notice in (await ok(one.house, "GET", "settings"))["notices"]
        back = await one.reload()
        assert notice not in (await ok(one.house, "GET", "settings"))["notices"]
        assert (back["taken_over"], back["restart_needed"]) == (["worker.concurrency"], [])


async def test_an_admin_key_has_a_name_and_may_get_another(tmp_path: Path) -> None:
    """Who acted stays written as it was; the key opens on, and the next act has the new name."""

    def named(name: str) -> Any:
        plain, own = digest(ADMIN_KEY), digest("anna's key").removeprefix("sha256:")
        return {"server": {"admin_keys": [plain, {"name": name, "sha256": own}]}}

    odd = 'Ann\u00e4 "the 1st" <b>\u9ed2\u2603 %_'
    async with filed(tmp_path, **named("anna")) as one:
        house, key = one.house, "anna's key"
        assert (await house.admin("GET", "summary", key=key)).json()["actor"] == "anna"
        assert (await house.admin("POST", "cache/purge", key=key, json={})).status_code == 200
        assert "anna" in str((await ok(house, "GET", "settings"))["settings"]["server"])
        await one.reload(**named(odd))
        assert (await house.admin("POST", "cache/purge", key=key, json={})).status_code == 200
        changes = (await ok(house, "GET", "audit"))["data"]
        assert [change["actor"] for change in changes] == [odd, "69a5265506c9", "anna"]
        found = await house.admin("GET", "audit", params={"actor": odd})
        assert found.json()["data"] == changes[:1]
        again = {"name": "x", "sha256": digest("anna's key")}
        one.write(server={"admin_keys": [digest(ADMIN_KEY), again, {**again, "name": "X"}]})
        status, _, message = await refused(house, "POST", "settings/reload")
        assert status == 400 and "has this name already" in message
        assert (await house.admin("GET", "summary", key=key)).json()["actor"] == odd


async def test_a_wrong_file_changes_nothing_and_is_told_in_full(tmp_path: Path) -> None:
    async with filed(tmp_path, teams={"blue": dollars(1)}) as one:
        before = await ok(one.house, "GET", "settings")
        one.write(teams={"blue": {"budgets": [{"usd": 1, "per": "dy"}], "mode": "loose"}})
        status, code, message = await refused(one.house, "POST", "settings/reload")
        assert (status, code) == (400, "invalid_settings")
        assert len(message.splitlines()) == 2
        assert "teams.blue.budgets[0].per: must be hour, day" in message
        assert "teams.blue.mode: must be enforce or shadow" in message
        assert (await one.house.metrics())[SUCCESSFUL] == 0
        assert (await ok(one.house, "GET", "health"))["settings"]["successful"] is False
        assert await ok(one.house, "GET", "settings") == before
        assert (await ok(one.house, "GET", "audit"))["data"] == []
        assert (await one.house.post("one")).status_code == 200
        assert (await one.house.post("two")).status_code == 402
        await one.reload(teams={"blue": dollars(2)})
        assert (await one.house.metrics())[SUCCESSFUL] == 1
        assert (await one.house.post("two")).status_code == 200


async def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    async with filed(tmp_path) as one:
        one.file.unlink()
        status, code, message = await refused(one.house, "POST", "settings/reload")
        assert (status, code) == (400, "invalid_settings")
        assert "cannot be read" in message


async def test_without_a_file_there_is_nothing_to_read(a_house: House) -> None:
    told = await refused(a_house, "POST", "settings/reload")
    assert told[:2] == (409, "no_settings_file")
    assert (await a_house.metrics())[SUCCESSFUL] == 1


# --- what a reload means for teams made at run time ----------------------------------------------


async def test_a_model_that_goes_takes_nothing_else_with_it(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        async with over(sandbox, tmp_path, models=SECOND_MODEL) as one:
            key = await new_team(one.house, allow={"models": ["gpt-image-2", "gpt-image-1.5"]})
            only = await new_team(one.house, "only", allow={"models": ["gpt-image-2"]})
            assert (await one.house.post("new", key=key, model="gpt-image-2")).status_code == 200
            reloaded = await one.reload()
            assert len([text for text in reloaded["notices"] if "gpt-image-2" in text]) == 2
            await _without_the_model(one.house, key, only)
        async with over(sandbox, tmp_path) as again:
            await _without_the_model(again.house, key, only)
            raised = await ok(again.house, "PATCH", "teams/art", dollars(1))
            assert raised["settings"]["budgets"] == dollars(1)["budgets"]
            await again.reload(models=SECOND_MODEL)
            assert (await again.house.post("x", key=only, model="gpt-image-2")).status_code == 200


async def _without_the_model(one: House, key: str, only: str) -> None:
    notices = (await ok(one, "GET", "settings"))["notices"]
    assert any(text.startswith("teams.only.allow.models: 'gpt-image-2'") for text in notices)
    assert (await one.post("a", key=key)).status_code == 200
    assert (await one.post("b", key=key, model="gpt-image-2")).status_code == 400
    assert (await one.post("a", key=only)).status_code == 403


async def test_a_team_of_the_file_takes_the_place_of_one_of_its_name(tmp_path: Path) -> None:
    provisioned = {"art": {"keys": [digest("from-the-file")], **dollars(1)}}
    async with filed(tmp_path) as one:
        key = await new_team(one.house, **dollars(9))
        await one.house.made("one", key=key)
        reloaded = await one.reload(teams=provisioned)
        assert any(
            text.startswith("teams.art: a team of this name") for text in reloaded["notices"]
        )
        assert (await one.house.post("two", key=key)).status_code == 401
        team = await ok(one.house, "GET", "teams/art")
        assert (team["provisioned"], team["keys"], team["spent_usd"]) == (True, 1, PRICE_USD)
        assert (await one.house.post("two", key="from-the-file")).status_code == 402
        assert (await refused(one.house, "DELETE", "teams/art"))[1] == "provisioned"
        await one.reload()
        assert (await one.house.post("two", key="from-the-file")).status_code == 401
        assert (await one.house.post("two", key=key)).status_code == 200


# --- health and numbers --------------------------------------------------------------------------


async def test_health_at_a_glance(a_house: House) -> None:
    await a_house.made("a picture")
    health = await ok(a_house, "GET", "health")
    assert (health["ready"], health["reasons"]) == (True, [])
    assert datetime.fromisoformat(health["started_at"]) <= datetime.fromisoformat(health["now"])
    assert health["routes"] == [
        {
            "route": "evolink/gpt-image-1.5",
            "upstream": "evolink",
            "model": "gpt-image-1.5",
            "kind": "evolink",
            "serves": ["gpt-image-1.5"],
            "another_model": False,
            "price_usd": [PRICE_USD, PRICE_USD],
            "counts_tokens": False,
            "state": "closed",
            "up": True,
        }
    ]
    assert health["runs"]["done"] == 1
    assert health["queue"] == {"due": 0, "callbacks_pending": 0}
    assert health["oldest_unkept_seconds"] is None
    assert health["disk"]["free_bytes"] > 0
    assert health["pictures"]["count"] == 1
    assert health["pictures"]["bytes"] > 0
    assert health["cache"]["entries"] == 1
    assert health["ledger"]["violations"] == 0
    assert health["settings"]["successful"] is True
    assert datetime.fromisoformat(health["settings"]["reloaded_at"]) <= datetime.fromisoformat(
        health["now"]
    )


async def test_health_tells_of_a_route_that_does_not_serve(tmp_path: Path) -> None:
    slow = {"retry": {"first": "20s", "max": "20s"}}
    async with filed(tmp_path, worker=slow) as one:
        for number in range(3):
            await one.house.post(f"busy {number} [sandbox:http=503]")
        (route,) = (await ok(one.house, "GET", "health"))["routes"]
        assert (route["state"], route["up"]) == ("open", False)


async def test_the_numbers_at_a_glance(a_house: House) -> None:
    await a_house.made("a picture")
    await a_house.made("a picture")
    await new_team(a_house)
    summary: Mapping[str, Any] = await ok(a_house, "GET", "summary")
    assert summary == {
        "spent_today_usd": PRICE_USD,
        "spent_month_usd": PRICE_USD,
        "saved_month_usd": PRICE_USD,
        "teams": 3,
        "models": ["gpt-image-1.5"],
        "public_url": a_house.http.base_url,
        "timezone": "UTC",
        "actor": "69a5265506c9",
    }
