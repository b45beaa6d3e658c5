"""The response cache as operators see it, and what a purge takes out of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from house import OTHER_KEY, TEAM_KEY, House, opened

from gateway.sandbox import RunningSandbox


@pytest.fixture
async def home(tmp_path: Path, sandbox: RunningSandbox) -> AsyncIterator[House]:
    one = await opened(sandbox, tmp_path)
    yield one
    await one.stop()


async def shown(home: House) -> Any:
    answer = await home.admin("GET", "cache")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def purged(home: House, **body: Any) -> int:
    answer = await home.admin("POST", "cache/purge", json=body)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["purged"]
    count: int = answer.json()["purged"]
    return count


async def is_hit(home: House, prompt: str, *, key: str = TEAM_KEY) -> bool:
    answer = await home.post(prompt, key=key)
    assert answer.status_code == 200
    await home.ended(answer.json()["id"], key=key)
    return answer.headers["cache-status"].startswith("image-gateway; hit")


async def test_it_tells_what_it_holds_and_what_was_asked_of_it(home: House) -> None:
    empty = await shown(home)
    assert empty == {
        "entries": 0,
        "bytes": empty["bytes"],
        "size_limit_bytes": 1_000_000_000,
        "ttl_seconds": 30 * 86_400.0,
        "requests": {"hit": 0, "miss": 0, "stale": 0},
    }
    await home.made("one")
    await home.made("two")
    for _ in range(3):
        assert await is_hit(home, "one")
    full = await shown(home)
    assert (full["entries"], full["requests"]) == (2, {"hit": 3, "miss": 2, "stale": 0})
    metrics = await home.metrics()
    assert metrics['gateway_cache_requests_total{result="hit"}'] == 3
    assert full["bytes"] > 0


async def test_after_a_purge_the_same_order_is_a_new_run(home: House) -> None:
    task = await home.made("one")
    await home.made("two")
    await home.made("three", key=OTHER_KEY)
    assert await purged(home) == 3
    assert (await shown(home))["entries"] == 0
    assert await purged(home) == 0
    assert not await is_hit(home, "one")
    assert await is_hit(home, "one")
    assert not await is_hit(home, "three", key=OTHER_KEY)
    assert await purged(home) == 2
    assert (await home.client.get(task["results"][0])).status_code == 200
    assert (await home.poll(task["id"])).json()["status"] == "completed"
    assert await home.violations() == []


async def test_one_team_alone_is_purged(home: House) -> None:
    await home.made("one")
    await home.made("one", key=OTHER_KEY)
    assert await purged(home, team="blue") == 1
    assert await is_hit(home, "one", key=OTHER_KEY)
    assert not await is_hit(home, "one")
    assert await purged(home, team="nobody") == 0


async def test_a_purge_holds_after_a_restart(tmp_path: Path, sandbox: RunningSandbox) -> None:
    home = await opened(sandbox, tmp_path)
    try:
        await home.made("one")
        assert await purged(home) == 1
    finally:
        await home.stop()
    home = await opened(sandbox, tmp_path)
    try:
        assert not await is_hit(home, "one")
    finally:
        await home.stop()


async def test_what_still_runs_is_left_alone(home: House) -> None:
    running = await home.post("slow [sandbox:delay=1]")
    assert await purged(home) == 0
    await home.ended(running.json()["id"])
    assert await is_hit(home, "slow [sandbox:delay=1]")


async def test_without_a_cache_the_ledger_is_purged(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    home = await opened(sandbox, tmp_path, cache={"size_limit": 0})
    try:
        await home.made("one")
        assert await is_hit(home, "one")
        assert await purged(home) == 1
        assert not await is_hit(home, "one")
    finally:
        await home.stop()


async def test_a_purge_is_written_down(home: House) -> None:
    await home.made("one")
    await purged(home)
    await purged(home, team="blue")
    asked = {"action": "cache.purge"}
    changes = (await home.admin("GET", "audit", params=asked)).json()["data"]
    assert {change["subject"] for change in changes} == {"blue", "*"}


async def test_what_is_asked_wrongly_is_named(home: House) -> None:
    answer = await home.admin("POST", "cache/purge", json={"teams": "blue"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "teams")
    answer = await home.admin("GET", "cache", params={"a": "b"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "a")
    for method, path in (("GET", "cache"), ("POST", "cache/purge")):
        assert (await home.admin(method, path, key=TEAM_KEY)).status_code == 401
