"""Upstream's own callback: a hint that makes a run be asked after at once, and nothing more."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from house import FAST, House, house

PUBLIC = "https://images.example.com"
SLOW: dict[str, Any] = {
    "server": {"public_url": PUBLIC},
    "upstreams": {
        "evolink": {"callbacks": True, "poll": {"first": "5s", "every": "5s", "max": "5s"}}
    },
}


@pytest.fixture
async def called(tmp_path: Path) -> AsyncIterator[House]:
    """A gateway that polls every 20 s, unless upstream calls."""
    async with house(tmp_path, options=FAST, **SLOW) as one:
        yield one


async def address(home: House, task_id: str) -> str:
    """The path that upstream was given for this task."""
    found = await home.gateway.ledger.job(task_id)
    assert found is not None
    theirs = found[1].upstream_task_id
    assert theirs is not None
    url = home.sandbox.state.tasks[theirs].wish.callback_url
    assert url is not None and url.startswith(f"{PUBLIC}/callbacks/{found[1].id}.")
    return url.removeprefix(PUBLIC)


async def test_a_call_makes_the_task_be_asked_after_at_once(called: House) -> None:
    start = time.monotonic()
    task = (await called.post("[sandbox:delay=0.2] x")).json()
    path = await address(called, task["id"])
    early = await called.client.post(path, json={"status": "completed", "results": ["https://x"]})
    assert early.status_code == 200
    assert (await called.poll(task["id"])).json()["status"] != "completed"  # it is not believed
    while (await called.poll(task["id"])).json()["status"] != "completed":
        assert (await called.client.post(path, content=b"not even JSON")).status_code == 200
        assert time.monotonic() - start < 5
    after = await called.client.post(path)
    assert after.status_code == 200
    assert await called.violations() == []


@pytest.mark.parametrize("change", ["other run", "other mark", "nothing"])
async def test_another_token_is_unknown(called: House, change: str) -> None:
    task = (await called.post("[sandbox:delay=1] x")).json()
    path = await address(called, task["id"])
    run_id, mark = path.rpartition("/")[2].split(".")
    wrong = {"other run": f"run_{'0' * 32}.{mark}", "other mark": f"{run_id}.{'0' * 64}"}
    answer = await called.client.post(f"/callbacks/{wrong.get(change, 'x')}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.files
async def test_the_address_outlives_a_restart(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        async with house(tmp_path, options=FAST, **SLOW):
            keys.append((tmp_path / "callback.key").read_bytes())
    assert keys[0] == keys[1] and len(keys[0]) == 32
    assert (tmp_path / "callback.key").stat().st_mode & 0o777 == 0o600


async def test_upstream_is_given_no_address_unless_asked_for(a_house: House) -> None:
    await a_house.made()
    assert [task.wish.callback_url for task in a_house.sandbox.state.tasks.values()] == [None]
