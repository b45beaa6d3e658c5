"""Teams made at run time: made, changed and deleted over HTTP, with effect on the next order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from house import ADMIN_KEY, FAST, PRICE_USD, TEAM_KEY, House, house, opened

from gateway.sandbox import running_sandbox

DEFAULTS = {
    "allow": {},
    "budgets": [],
    "cache": {},
    "defaults": {},
    "limits": {"images": []},
    "mode": "enforce",
    "references": "trust",
}


def dollars(pictures: float, per: str = "day") -> dict[str, Any]:
    return {"budgets": [{"usd": round(pictures * PRICE_USD, 6), "per": per}]}


async def ok(one: House, method: str, path: str, body: Any = None, **more: Any) -> Any:
    answer = await one.admin(method, path, **({} if body is None else {"json": body}), **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(
    one: House, method: str, path: str, body: Any = None, **more: Any
) -> tuple[int, str, str]:
    answer = await one.admin(method, path, **({} if body is None else {"json": body}), **more)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


async def new_team(one: House, name: str = "art", **body: Any) -> str:
    """Makes a team with one key, and returns that."""
    await ok(one, "POST", "teams", {"name": name, **body})
    return str((await ok(one, "POST", f"teams/{name}/keys", {"label": "first"}))["key"])


def booked(team: Any, rule: str = "usd_per_day") -> float:
    (one,) = [one for one in team["standing"] if one["rule"] == rule]
    return float(round(one["spent"] + one["held"], 6))


# --- made, changed, deleted ----------------------------------------------------------------------


async def test_a_team_is_made_and_shown(a_house: House) -> None:
    body = {"name": "art", "description": "Posters", **dollars(2), "limits": {"concurrent_runs": 3}}
    made = await ok(a_house, "POST", "teams", body)
    assert made == await ok(a_house, "GET", "teams/art")
    assert made["settings"] == {
        **DEFAULTS,
        **dollars(2),
        "limits": {"concurrent_runs": 3, "images": []},
    }
    assert made["description"] == "Posters"
    assert made["provisioned"] is False
    assert (made["keys"], made["spent_usd"], made["spent_month_usd"]) == (0, 0, 0)
    assert made["created_at"] == made["changed_at"]
    money, live = made["standing"]
    assert money["resets_at"].endswith("T00:00:00Z")
    assert money == {
        "rule": "usd_per_day",
        "measure": "usd",
        "window": "day",
        "limit": 0.1,
        "spent": 0,
        "held": 0,
        "left": 0.1,
        "resets_at": money["resets_at"],
    }
    assert (live["rule"], live["measure"], live["limit"]) == ("concurrent_runs", "live", 3)
    assert live["resets_at"] is None


async def test_all_teams_are_listed_by_name_and_found_by_a_word(a_house: House) -> None:
    await ok(a_house, "POST", "teams", {"name": "art", "description": "Posters and Green things"})
    listed = await ok(a_house, "GET", "teams")
    assert listed["next"] is None
    assert [one["name"] for one in listed["data"]] == ["art", "blue", "green"]
    assert [one["provisioned"] for one in listed["data"]] == [False, True, True]
    assert listed["data"][1]["keys"] == 1
    for word, names in {"GREEN": ["art", "green"], "blu": ["blue"], "nobody": []}.items():
        found = await ok(a_house, "GET", f"teams?q={word}")
        assert [one["name"] for one in found["data"]] == names


async def test_a_new_team_orders_at_once_within_its_budget(a_house: House) -> None:
    key = await new_team(a_house, **dollars(2))
    assert (await a_house.made("one", key=key))["status"] == "completed"
    assert (await a_house.post("two", key=key)).status_code == 200
    third = await a_house.post("three", key=key)
    assert third.status_code == 402
    assert third.json()["error"]["limit_scope"] == "usd_per_day"
    await a_house.settled()
    team = await ok(a_house, "GET", "teams/art")
    assert team["standing"][0]["spent"] == team["spent_usd"] == team["spent_month_usd"] == 0.1
    shown = await a_house.metrics()
    assert shown['gateway_budget_spent_usd{team="art",window="day"}'] == 0.1
    assert shown['gateway_denials_total{mode="enforce",reason="budget",team="art"}'] == 1
    assert await a_house.violations() == []


async def test_a_changed_cap_counts_at_once_and_keeps_what_was_spent(a_house: House) -> None:
    key = await new_team(a_house, **dollars(1))
    await a_house.made("one", key=key)
    assert (await a_house.post("two", key=key)).status_code == 402
    raised = await ok(a_house, "PATCH", "teams/art", dollars(3))
    assert booked(raised) == PRICE_USD
    await a_house.made("two", key=key)
    lowered = await ok(a_house, "PATCH", "teams/art", dollars(1))
    (money,) = lowered["standing"]
    assert (money["limit"], money["spent"], money["left"]) == (0.05, 0.1, 0)
    assert (await a_house.post("three", key=key)).status_code == 402
    week = await ok(a_house, "PATCH", "teams/art", dollars(3, "week"))
    assert booked(week, "usd_per_week") == 0.1, "a cap on another window knows its past, too"
    await a_house.made("three", key=key)
    assert (await a_house.post("four", key=key)).status_code == 402


async def test_a_change_is_a_merge_patch(a_house: House) -> None:
    body = {"name": "art", "description": "Posters", **dollars(1), "allow": {"max_n": 2}}
    key = await new_team(a_house, **body)
    patch = {"description": None, "budgets": None, "mode": "shadow", "allow": {"sizes": ["1:1"]}}
    changed = await ok(a_house, "PATCH", "teams/art", patch)
    assert changed["description"] is None
    assert changed["settings"] == {
        **DEFAULTS,
        "mode": "shadow",
        "allow": {"max_n": 2, "sizes": ["1:1"]},
    }
    assert datetime.fromisoformat(changed["changed_at"]) > datetime.fromisoformat(
        changed["created_at"]
    )
    assert (await a_house.post("wide", key=key, size="3:2")).status_code == 200, "shadow"
    await ok(a_house, "PATCH", "teams/art", {"mode": None})
    assert (await a_house.post("wider", key=key, size="3:2")).status_code == 400


async def test_a_deleted_team_is_gone_and_its_runs_end(a_house: House) -> None:
    key = await new_team(a_house, **dollars(5))
    task = (await a_house.post("slow [sandbox:delay=1]", key=key)).json()
    assert await ok(a_house, "DELETE", "teams/art") == {"name": "art", "deleted": True}
    assert (await a_house.post("more", key=key)).status_code == 401
    assert (await a_house.poll(task["id"], key=key)).status_code == 401
    for method, path in (
        ("GET", "teams/art"),
        ("PATCH", "teams/art"),
        ("DELETE", "teams/art"),
        ("GET", "teams/art/keys"),
        ("POST", "teams/art/keys"),
    ):
        gone = await refused(a_house, method, path, {} if method in ("PATCH", "POST") else None)
        assert gone[:2] == (404, "team_not_found"), method
    await a_house.settled()
    assert await a_house.violations() == []
    again = await ok(a_house, "POST", "teams", {"name": "art", **dollars(1)})
    assert again["spent_usd"] == PRICE_USD, "what it spent before is not forgotten"
    assert (await a_house.post("more", key=key)).status_code == 401, "its old key stays revoked"
    fresh = str((await ok(a_house, "POST", "teams/art/keys", {}))["key"])
    assert (await a_house.post("more", key=fresh)).status_code == 402


# --- refused -------------------------------------------------------------------------------------


async def test_teams_of_the_settings_are_changed_in_the_settings(a_house: House) -> None:
    for method, path, body in (
        ("PATCH", "teams/blue", {"mode": "shadow"}),
        ("DELETE", "teams/blue", None),
        ("POST", "teams/blue/keys", {"label": "x"}),
        ("POST", "teams/blue/keys/abc/rotate", {}),
        ("DELETE", "teams/blue/keys/abc", None),
    ):
        status, code, message = await refused(a_house, method, path, body)
        assert (status, code) == (409, "provisioned")
        assert "edit teams.blue" in message
    assert (await refused(a_house, "POST", "teams", {"name": "blue"}))[:2] == (409, "team_exists")
    assert (await ok(a_house, "GET", "audit"))["data"] == []


async def test_every_mistake_in_a_team_is_told(a_house: House) -> None:
    body = {"name": "art", "budgets": [{"usd": -5, "per": "dy"}], "alow": {}, "keys": []}
    assert "keys" in (await refused(a_house, "POST", "teams", body))[2]
    del body["keys"]
    answer = await a_house.admin("POST", "teams", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "budgets[0].usd"
    assert answer.json()["error"]["message"].splitlines() == [
        "budgets[0].usd: must not be negative: -5",
        "budgets[0].per: must be hour, day, week, month or total, not 'dy'; did you mean 'day'?",
        "alow: unknown key; did you mean 'allow'?",
    ]
    unknown = {"name": "art", "allow": {"models": ["gpt-image-9"]}}
    assert (
        "no model is called 'gpt-image-9'" in (await refused(a_house, "POST", "teams", unknown))[2]
    )
    for name in ("", "a b", "a/b", None, 7):
        answer = await a_house.admin("POST", "teams", json={"name": name})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")
    for content in (b"", b"[]", b"{", b"\xff"):
        answer = await a_house.admin("POST", "teams", content=content)
        assert answer.status_code == 400, content
    assert (await refused(a_house, "PATCH", "teams/nobody", {}))[:2] == (404, "team_not_found")
    assert [one["name"] for one in (await ok(a_house, "GET", "teams"))["data"]] == ["blue", "green"]


async def test_a_wrong_change_changes_nothing(a_house: House) -> None:
    key = await new_team(a_house, **dollars(1))
    before = await ok(a_house, "GET", "teams/art")
    assert (await refused(a_house, "PATCH", "teams/art", {"budgets": [{"usd": 5}]}))[0] == 400
    assert (await refused(a_house, "PATCH", "teams/art", {"name": "other"}))[0] == 400
    assert await ok(a_house, "GET", "teams/art") == before
    assert (await a_house.post("one", key=key)).status_code == 200
    assert (await a_house.post("two", key=key)).status_code == 402


ENDPOINTS = [
    ("GET", "teams"),
    ("POST", "teams"),
    ("GET", "teams/blue"),
    ("PATCH", "teams/blue"),
    ("DELETE", "teams/blue"),
    ("GET", "teams/blue/keys"),
    ("POST", "teams/blue/keys"),
    ("POST", "teams/blue/keys/x/rotate"),
    ("DELETE", "teams/blue/keys/x"),
    ("GET", "audit"),
    ("GET", "settings"),
    ("POST", "settings/reload"),
    ("POST", "alerts/test"),
    ("GET", "health"),
    ("GET", "summary"),
]


async def test_only_admin_keys_open_it(a_house: House) -> None:
    key = await new_team(a_house)
    for method, path in ENDPOINTS:
        for sent in (TEAM_KEY, key, "nonsense"):
            assert (await refused(a_house, method, path, key=sent))[:2] == (401, "unauthorized")
        bare = await a_house.client.request(method, f"/admin/v1/{path}")
        assert bare.status_code == 401, path
    assert (await a_house.post("x", key=ADMIN_KEY)).status_code == 401, "and no orders with it"


async def test_without_admin_keys_it_says_how_to_have_one(tmp_path: Path) -> None:
    async with house(tmp_path, server={"admin_keys": []}) as one:
        for method, path in ENDPOINTS:
            status, code, message = await refused(one, method, path)
            assert (status, code) == (401, "unauthorized")
            assert "server.admin_keys" in message


@pytest.mark.parametrize("path", ["teams?team=x", "teams/blue?x=1", "audit?who=me", "health?a=b"])
async def test_an_unknown_parameter_is_named(a_house: House, path: str) -> None:
    answer = await a_house.admin("GET", path)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == path.partition("?")[2].partition("=")[0]


# --- at the same time ----------------------------------------------------------------------------


async def test_of_many_who_make_one_name_one_does(a_house: House) -> None:
    wishes = [{"name": "art", **dollars(number + 1)} for number in range(20)]
    answers = await asyncio.gather(*(a_house.admin("POST", "teams", json=wish) for wish in wishes))
    assert Counter(one.status_code for one in answers) == {200: 1, 409: 19}
    (won,) = [one.json() for one in answers if one.status_code == 200]
    assert (await ok(a_house, "GET", "teams/art"))["settings"] == won["settings"]
    assert len((await ok(a_house, "GET", "audit"))["data"]) == 1


async def test_changes_of_different_parts_at_the_same_time_are_all_there(a_house: House) -> None:
    await ok(a_house, "POST", "teams", {"name": "art"})
    parts = [
        {"limits": {"runs_per_minute": 5}},
        {"limits": {"concurrent_runs": 6}},
        {"allow": {"max_n": 2}},
        {"mode": "shadow"},
        {"cache": {"scope": "organization"}},
    ]
    await asyncio.gather(*(ok(a_house, "PATCH", "teams/art", part) for part in parts))
    assert (await ok(a_house, "GET", "teams/art"))["settings"] == {
        **DEFAULTS,
        "limits": {"images": [], "runs_per_minute": 5, "concurrent_runs": 6},
        "allow": {"max_n": 2},
        "mode": "shadow",
        "cache": {"scope": "organization"},
    }


@pytest.mark.parametrize("answered", [0, 1, 8])
async def test_a_cap_lowered_under_fifty_orders(tmp_path: Path, answered: int) -> None:
    """Never above the larger; and above the smaller only what was there when it was in force."""
    async with house(tmp_path) as one:
        key = await new_team(one, **dollars(20))
        orders = [asyncio.create_task(one.post(f"order {n}", key=key)) for n in range(50)]
        while sum(order.done() for order in orders) < answered:
            await asyncio.wait(orders, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)
        lowered = await ok(one, "PATCH", "teams/art", dollars(5))
        at_the_change = booked(lowered)
        statuses = Counter(answer.status_code for answer in await asyncio.gather(*orders))
        assert set(statuses) <= {200, 402}
        await one.settled()
        team = await ok(one, "GET", "teams/art")
        assert booked(team) == round(statuses[200] * PRICE_USD, 6)
        assert booked(team) <= 20 * PRICE_USD
        assert booked(team) <= max(at_the_change, 5 * PRICE_USD)
        assert one.sandbox.state.submits == statuses[200]
        assert await one.violations() == []


async def test_an_order_under_way_is_judged_by_the_cap_of_its_decision(a_house: House) -> None:
    """Its key was looked at before the cap was lowered; its body comes after that."""
    key = await new_team(a_house, **dollars(20))
    released = asyncio.Event()
    begun = asyncio.Semaphore(0)

    async def body(number: int) -> AsyncIterator[bytes]:
        yield b'{"model": "gpt-image-1.5", '
        begun.release()
        await released.wait()
        yield b'"prompt": "order %d"}' % number

    async def order(number: int) -> int:
        answer = await a_house.client.post(
            "/v1/images/generations",
            content=body(number),
            headers={"Authorization": f"Bearer {key}"},
        )
        return answer.status_code

    orders = [asyncio.create_task(order(number)) for number in range(10)]
    for _ in orders:
        await begun.acquire()
    await ok(a_house, "PATCH", "teams/art", dollars(3))
    released.set()
    assert Counter(await asyncio.gather(*orders)) == {200: 3, 402: 7}
    await a_house.settled()


async def test_an_order_under_way_of_a_team_that_goes_is_not_taken(a_house: House) -> None:
    key = await new_team(a_house)
    begun, released = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"model": "gpt-image-1.5", '
        begun.set()
        await released.wait()
        yield b'"prompt": "too late"}'

    send = a_house.client.post(
        "/v1/images/generations", content=body(), headers={"Authorization": f"Bearer {key}"}
    )
    order = asyncio.create_task(send)
    await begun.wait()
    await ok(a_house, "DELETE", "teams/art")
    released.set()
    assert (await order).status_code == 401
    assert a_house.sandbox.state.submits == 0


# --- what stays ----------------------------------------------------------------------------------


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path)
        try:
            key = await new_team(one, **dollars(2), description="Posters")
            await new_team(one, "gone")
            await ok(one, "DELETE", "teams/gone")
            await one.made("one", key=key)
            before = await ok(one, "GET", "teams")
            changes = await ok(one, "GET", "audit")
        finally:
            await one.stop()
        again = await opened(sandbox, tmp_path)
        try:
            assert await ok(again, "GET", "teams") == before
            assert await ok(again, "GET", "audit") == changes
            assert (await again.post("two", key=key)).status_code == 200
            assert (await again.post("three", key=key)).status_code == 402
            await again.settled()
            assert await again.violations() == []
        finally:
            await again.stop()


async def test_the_record_of_changes(a_house: House) -> None:
    key = await new_team(a_house, **dollars(1))
    await ok(a_house, "PATCH", "teams/art", dollars(2))
    await ok(a_house, "PATCH", "teams/art", dollars(2))  # nothing new, nothing written
    await ok(a_house, "DELETE", "teams/art")
    listed = (await ok(a_house, "GET", "audit"))["data"]
    assert [one["action"] for one in listed] == [
        "team.delete",
        "team.change",
        "key.issue",
        "team.create",
    ]
    assert [one["subject"] for one in listed] == ["art", "art", f"art/{key.split('_')[1]}", "art"]
    assert {one["actor"] for one in listed} == {"69a5265506c9"}
    deleted, changed, issued, created = listed
    assert changed["before"] == created["after"] == {**DEFAULTS, **dollars(1)}
    assert changed["after"] == {**DEFAULTS, **dollars(2)}
    assert deleted["before"] == {**DEFAULTS, **dollars(2), "keys": [key.split("_")[1]]}
    assert created["before"] is deleted["after"] is issued["before"] is None
    first = await ok(a_house, "GET", "audit?limit=3")
    rest = await ok(a_house, "GET", f"audit?limit=3&cursor={first['next']}")
    assert first["data"] + rest["data"] == listed
    assert rest["next"] is None
    assert (await ok(a_house, "GET", "audit?limit=4"))["next"] is None
    found = await ok(a_house, "GET", "audit?action=key.issue&subject=" + issued["subject"])
    assert found["data"] == [issued]
    assert (await ok(a_house, "GET", "audit?actor=000000000000"))["data"] == []
    assert (await refused(a_house, "GET", "audit?action=team.burn"))[0] == 400
