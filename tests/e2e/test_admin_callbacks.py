"""The history of callbacks, and calling once more."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from house import OTHER_KEY, TEAM_KEY, House, opened
from receivers import Receive

from gateway.sandbox import RunningSandbox

CALLBACKS = {
    "allow_private_addresses": True,
    "timeout": "500ms",
    "retries": ["50ms"],
}


@pytest.fixture
async def home(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext
) -> AsyncIterator[House]:
    one = await opened(sandbox, tmp_path, callback_tls=trust, callbacks=CALLBACKS)
    yield one
    await one.stop()


async def history(home: House, **asked: Any) -> list[Any]:
    answer = await home.admin("GET", "callbacks", params=asked)
    assert answer.status_code == 200, answer.text
    data: list[Any] = answer.json()["data"]
    return data


async def ended(home: House, **asked: Any) -> list[Any]:
    """The same, once none of them is pending."""
    until = time.monotonic() + 10
    while True:
        found = await history(home, **asked)
        if found and all(one["state"] != "pending" for one in found):
            return found
        assert time.monotonic() < until, found
        await asyncio.sleep(0.02)


async def test_the_history_tells_what_became_of_each(home: House, receive: Receive) -> None:
    good, bad = await receive(), await receive(500)
    first = await home.made("one", callback_url=good.url("/hook?token=secret"))
    second = await home.made("two", key=OTHER_KEY, callback_url=bad.url())
    await ended(home, team="blue")
    await ended(home, team="green")
    failed, delivered = await history(home)
    assert delivered == {
        "id": f"msg_{first['id']}",
        "kind": "callback",
        "task": first["id"],
        "team": "blue",
        "host": "127.0.0.1",
        "state": "delivered",
        "attempts": 1,
        "status": 200,
        "error": None,
        "created_at": delivered["created_at"],
        "due_at": delivered["due_at"],
        "ended_at": delivered["ended_at"],
    }
    began, ended_at = map(datetime.fromisoformat, (delivered["created_at"], delivered["ended_at"]))
    assert began <= ended_at
    assert (failed["task"], failed["state"], failed["attempts"]) == (second["id"], "failed", 2)
    assert (failed["status"], failed["error"]) == (500, "answered 500")
    for asked, rows in (
        ({"team": "blue"}, [delivered]),
        ({"task": second["id"]}, [failed]),
        ({"state": "failed"}, [failed]),
        ({"state": "pending"}, []),
        ({"team": "blue", "task": second["id"]}, []),
    ):
        assert await history(home, **asked) == rows, asked


async def test_the_history_goes_on_page_by_page(home: House, receive: Receive) -> None:
    receiver = await receive()
    tasks = [(await home.made(f"{n}", callback_url=receiver.url()))["id"] for n in range(3)]
    seen, cursor = list[str](), ""
    for _ in range(3):
        asked = {"limit": 1, "cursor": cursor}
        answer = (await home.admin("GET", "callbacks", params=asked)).json()
        seen += [one["task"] for one in answer["data"]]
        cursor = answer["next"]
    assert (seen, cursor) == (tasks[::-1], None)


async def test_a_callback_is_made_once_more(home: House, receive: Receive) -> None:
    receiver = await receive(500, 500, 200)
    task = await home.made("one", callback_url=receiver.url())
    [failed] = await ended(home, task=task["id"])
    assert failed["state"] == "failed"
    answer = await home.admin("POST", f"callbacks/{failed['id']}/redeliver")
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["state"]) == (failed["id"], "pending")
    [delivered] = await ended(home, task=task["id"])
    assert (delivered["state"], delivered["attempts"]) == ("delivered", 1)
    assert receiver.by_id == {failed["id"]: 3}
    asked = {"action": "callback.redeliver"}
    [change] = (await home.admin("GET", "audit", params=asked)).json()["data"]
    assert change["subject"] == failed["id"]
    assert change["before"] == {"state": "failed", "attempts": 2}
    assert change["after"] == {"state": "pending", "attempts": 0}


async def test_one_that_is_still_tried_is_left_to_it(
    tmp_path: Path, sandbox: RunningSandbox, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive(500)
    slow = {**CALLBACKS, "retries": ["1h"]}
    home = await opened(sandbox, tmp_path, callback_tls=trust, callbacks=slow)
    try:
        task = await home.made("one", callback_url=receiver.url())
        await receiver.called(1)
        answer = await home.admin("POST", f"callbacks/msg_{task['id']}/redeliver")
        assert (answer.status_code, answer.json()["state"]) == (200, "pending")
        assert (await home.admin("GET", "audit")).json()["data"] == []
        assert len(receiver.calls) == 1
    finally:
        await home.stop()


async def test_what_is_asked_wrongly_is_named(home: House) -> None:
    answer = await home.admin("POST", "callbacks/msg_none/redeliver")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "callback_not_found")
    for asked, param in (({"state": "lost"}, "state"), ({"from": "2026-01-01"}, "from")):
        answer = await home.admin("GET", "callbacks", params=asked)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    for method, path in (("GET", "callbacks"), ("POST", "callbacks/x/redeliver")):
        assert (await home.admin(method, path, key=TEAM_KEY)).status_code == 401
