"""Keys: shown once, kept as digests, two at a time during a rotation, dead at once when revoked."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import stores
import structlog
from house import FAST, TEAM_KEY, House, digest, house, opened
from test_admin_teams import new_team, ok, refused

from gateway.sandbox import running_sandbox

DAY_SECONDS = 86_400.0


class MovedClock:
    """The real clock, as far ahead as one moves it."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_seconds


async def opens(one: House, key: str) -> bool:
    """Whether the key opens its team's door now."""
    answer = await one.client.get("/v1/credits", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


async def states(one: House, team: str = "art") -> dict[str, str]:
    listed = await ok(one, "GET", f"teams/{team}/keys")
    return {key["id"]: key["state"] for key in listed["data"]}


async def test_a_key_is_shown_once(a_house: House) -> None:
    await ok(a_house, "POST", "teams", {"name": "art"})
    answer = await a_house.admin("POST", "teams/art/keys", json={"label": "the shop"})
    assert answer.headers["cache-control"] == "no-store"
    issued = answer.json()
    key = issued.pop("key")
    assert re.fullmatch(r"igw_([a-z0-9]{12})_([A-Za-z0-9_-]{32,})", key)
    assert issued == {
        "id": key.split("_")[1],
        "team": "art",
        "label": "the shop",
        "provisioned": False,
        "state": "active",
        "created_at": issued["created_at"],
        "expires_at": None,
        "revoked_at": None,
        "replaces": None,
    }
    assert await opens(a_house, key)
    assert not await opens(a_house, key[:-1])
    listed = await ok(a_house, "GET", "teams/art/keys")
    assert listed == {"data": [issued], "next": None}
    assert (await ok(a_house, "GET", "teams/art"))["keys"] == 1


async def test_keys_of_the_settings_are_listed(a_house: House) -> None:
    listed = await ok(a_house, "GET", "teams/blue/keys")
    (key,) = listed["data"]
    assert key["id"] == digest(TEAM_KEY).removeprefix("sha256:")[:12]
    assert (key["provisioned"], key["state"]) == (True, "active")
    assert {key[name] for name in ("created_at", "expires_at", "revoked_at", "replaces")} == {None}


async def test_a_rotation_from_end_to_end(tmp_path: Path) -> None:
    clock = MovedClock()
    async with house(tmp_path, clock=clock) as one:
        old = await new_team(one)
        old_id = old.split("_")[1]
        answer = await one.admin("POST", f"teams/art/keys/{old_id}/rotate", json={"grace": "24h"})
        assert answer.headers["cache-control"] == "no-store"
        rotated = answer.json()
        new, replaced = rotated["key"], rotated["replaced"]
        assert (replaced["id"], replaced["state"]) == (old_id, "expiring")
        assert replaced["expires_at"] is not None
        assert (rotated["replaces"], rotated["label"]) == (old_id, "first")
        assert await opens(one, old)
        assert await opens(one, new)
        assert (await ok(one, "GET", "teams/art"))["keys"] == 2
        clock.ahead_seconds = DAY_SECONDS - 60
        assert await opens(one, old)
        clock.ahead_seconds = DAY_SECONDS
        assert not await opens(one, old)
        assert await opens(one, new)
        assert await states(one) == {rotated["id"]: "active", old_id: "expired"}
        assert (await ok(one, "GET", "teams/art"))["keys"] == 1
        revoked = await ok(one, "DELETE", f"teams/art/keys/{rotated['id']}")
        assert revoked["state"] == "revoked"
        assert not await opens(one, new)
        assert (await one.post("late", key=new)).status_code == 401
        assert await ok(one, "DELETE", f"teams/art/keys/{rotated['id']}") == revoked
        assert (await ok(one, "GET", "teams/art"))["keys"] == 0


async def test_a_rotation_without_grace_and_with_the_usual_one(a_house: House) -> None:
    first = await new_team(a_house)
    path = f"teams/art/keys/{first.split('_')[1]}/rotate"
    second = await ok(a_house, "POST", path, {"grace": "0s", "label": "second"})
    assert (second["label"], second["replaced"]["state"]) == ("second", "expired")
    assert not await opens(a_house, first)
    third = await ok(a_house, "POST", f"teams/art/keys/{second['id']}/rotate")
    ends = datetime.fromisoformat(third["replaced"]["expires_at"])
    assert (ends - datetime.fromisoformat(third["created_at"])).total_seconds() == DAY_SECONDS
    assert await opens(a_house, second["key"])
    assert await opens(a_house, third["key"])


async def test_at_most_two_keys_live_by_rotation(a_house: House) -> None:
    first = (await new_team(a_house)).split("_")[1]
    second = await ok(a_house, "POST", f"teams/art/keys/{first}/rotate", {})
    again = f"teams/art/keys/{second['id']}/rotate"
    assert (await refused(a_house, "POST", again))[:2] == (409, "rotation_under_way")
    ending = f"teams/art/keys/{first}/rotate"
    assert (await refused(a_house, "POST", ending))[:2] == (409, "key_not_active")
    await ok(a_house, "DELETE", f"teams/art/keys/{first}")
    assert (await refused(a_house, "POST", ending))[:2] == (409, "key_not_active")
    assert (await ok(a_house, "POST", again))["replaces"] == second["id"]


async def test_of_many_who_rotate_one_key_one_does(a_house: House) -> None:
    path = f"teams/art/keys/{(await new_team(a_house)).split('_')[1]}/rotate"
    answers = await asyncio.gather(*(a_house.admin("POST", path, json={}) for _ in range(10)))
    assert Counter(one.status_code for one in answers) == {200: 1, 409: 9}
    assert Counter((await states(a_house)).values()) == {"active": 1, "expiring": 1}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"grace": "91d"}, "grace"),
        ({"grace": "soon"}, "grace"),
        ({"grace": -1}, "grace"),
        ({"label": "x" * 101}, "label"),
        ({"label": 5}, "label"),
        ({"secret": "mine"}, "secret"),
    ],
)
async def test_what_is_wrong_is_named(a_house: House, body: Any, param: str) -> None:
    key_id = (await new_team(a_house)).split("_")[1]
    answer = await a_house.admin("POST", f"teams/art/keys/{key_id}/rotate", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert await states(a_house) == {key_id: "active"}


async def test_an_unknown_key_is_not_found(a_house: House) -> None:
    mine = (await new_team(a_house)).split("_")[1]
    await new_team(a_house, "other")
    for path in ("teams/art/keys/nobody0000000", f"teams/other/keys/{mine}"):
        assert (await refused(a_house, "DELETE", path))[:2] == (404, "key_not_found")
        assert (await refused(a_house, "POST", f"{path}/rotate"))[:2] == (404, "key_not_found")
    assert await states(a_house) == {mine: "active"}


async def test_keys_are_as_they_were_after_a_restart(tmp_path: Path) -> None:
    clock = MovedClock()
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, clock=clock)
        try:
            old = await new_team(one)
            rotated = await ok(one, "POST", f"teams/art/keys/{old.split('_')[1]}/rotate", {})
            dead = await ok(one, "POST", "teams/art/keys", {"label": "dead"})
            await ok(one, "DELETE", f"teams/art/keys/{dead['id']}")
            listed = await ok(one, "GET", "teams/art/keys")
        finally:
            await one.stop()
        again = await opened(sandbox, tmp_path, clock=clock)
        try:
            assert await ok(again, "GET", "teams/art/keys") == listed
            assert await opens(again, old)
            assert await opens(again, rotated["key"])
            assert not await opens(again, dead["key"])
            clock.ahead_seconds = DAY_SECONDS
            assert not await opens(again, old)
            assert await opens(again, rotated["key"])
        finally:
            await again.stop()


async def test_a_secret_is_nowhere_but_in_its_answer(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with house(tmp_path) as one:
            first = await new_team(one)
            await one.made("a picture", key=first)
            path = f"teams/art/keys/{first.split('_')[1]}"
            second = (await ok(one, "POST", f"{path}/rotate", {}))["key"]
            third = (await ok(one, "POST", "teams/art/keys", {"label": "third"}))["key"]
            await ok(one, "DELETE", path)
            await ok(one, "DELETE", "teams/art")
            assert (await one.post("no more", key=third)).status_code == 401
            shown = repr([await ok(one, "GET", path) for path in ("audit", "teams", "settings")])
            shown += (await one.client.get("/metrics")).text
    assert [line["event"] for line in lines if line["event"] == "key.rotate"]
    written = list(stores.contents(tmp_path))
    assert {"ledger.sqlite3", "team_keys"} & {name for name, _ in written}
    for key in (first, second, third):
        secret = key.split("_", 2)[2]
        assert secret not in repr(lines)
        assert secret not in shown
        assert [name for name, content in written if secret.encode() in content] == []
