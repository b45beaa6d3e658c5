"""Backups beside a gateway that takes orders, and a gateway that goes on from one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from house import TEAM_KEY, House, house, opened

from gateway.cli import main
from gateway.errors import Unavailable
from gateway.sandbox import RunningSandbox
from gateway.wiring import Backup, backups

pytestmark = pytest.mark.files


async def run(*words: str | Path) -> Result:
    """A command, while the gateway goes on in this loop."""
    return await asyncio.to_thread(CliRunner().invoke, main, [str(word) for word in words])


async def backed_up(home: House, kept: Path) -> None:
    made = await asyncio.to_thread(Backup(home.folder, kept).make)
    assert made.problems == []


async def adds_up(folder: Path) -> None:
    result = await run("audit", "--data-dir", folder, "--deep")
    assert result.exit_code == 0, result.output


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "data") as one:
        yield one


@contextlib.asynccontextmanager
async def orders_and_erasures(home: House) -> AsyncIterator[None]:
    """All the while: new orders, hits and pictures erased."""
    stopped = asyncio.Event()

    async def order(client: int) -> None:
        number = 0
        while not stopped.is_set():
            number += 1
            prompt = f"a bicycle {client} {number}" if number % 2 else "a bicycle"
            answer = await home.post(prompt)
            assert answer.status_code == 200, answer.text

    async def erase() -> None:
        while not stopped.is_set():
            listed = (await home.admin("GET", "pictures", params={"limit": 50})).json()
            for one in listed["data"][-1:]:
                erased = await home.admin("DELETE", f"pictures/{one['digest']}")
                # A backup that reads holds the emptying of the log up: it is tried again later.
                assert erased.status_code in (200, 503), erased.text
            await asyncio.sleep(0.02)

    at_work = [asyncio.create_task(order(client)) for client in range(4)]
    at_work.append(asyncio.create_task(erase()))
    try:
        yield
    finally:
        stopped.set()
        await asyncio.gather(*at_work)


async def test_beside_orders_and_erasures_every_backup_is_whole(
    home: House, tmp_path: Path
) -> None:
    await home.made()
    kept = tmp_path / "kept"
    async with orders_and_erasures(home):
        for _ in range(3):
            await backed_up(home, kept)
            await adds_up(kept)
    await home.settled()
    assert await home.violations() == []


async def test_what_is_erased_between_ledger_and_pictures_is_in_no_copy(
    home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of the ledger had its words; so it is made again."""
    await home.made("a hidden bicycle")
    digest = (await home.admin("GET", "pictures")).json()["data"][0]["digest"]
    kept, loop = tmp_path / "kept", asyncio.get_running_loop()
    copies = 0

    def copy(*given: Any, do: Any = backups.copy_ledger) -> None:
        nonlocal copies
        do(*given)
        copies += 1
        if copies == 1:
            erased = asyncio.run_coroutine_threadsafe(
                home.admin("DELETE", f"pictures/{digest}"), loop
            )
            assert erased.result(10).status_code == 200

    monkeypatch.setattr(backups, "copy_ledger", copy)
    await asyncio.to_thread(Backup(home.folder, kept).make)
    assert copies == 2
    assert b"hidden" not in (kept / "ledger.sqlite3").read_bytes()
    assert not list(kept.glob(f"pictures/??/{digest}.*"))
    await adds_up(kept)


async def test_a_restored_gateway_knows_what_it_knew(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    home = await opened(sandbox, tmp_path / "data")
    named = {"Idempotency-Key": "spring-1"}
    task = await home.made(headers=named)
    await home.admin("POST", "teams", json={"name": "design"})
    key = (await home.admin("POST", "teams/design/keys", json={})).json()["key"]
    kept = tmp_path / "kept"
    await backed_up(home, kept)
    await home.made("made after the backup")
    await home.stop()
    (tmp_path / "data").rename(tmp_path / "lost")
    result = await run("restore", kept, "--data-dir", tmp_path / "data")
    assert result.exit_code == 0, result.output
    home = await opened(sandbox, tmp_path / "data")
    try:
        assert "hit" in (await home.post()).headers["cache-status"]
        again = await home.post(headers=named)
        assert (again.json()["id"], again.headers["idempotency-replayed"]) == (task["id"], "true")
        assert (await home.poll(task["id"])).json()["status"] == "completed"
        name = task["results"][0].rpartition("/")[2]
        assert (await home.client.get(f"/pictures/{name}")).status_code == 200
        assert (await home.post("for design", key=key)).status_code == 200
        await home.settled()
        assert await home.violations() == []
    finally:
        await home.stop()


async def test_what_was_under_way_at_the_backup_is_gone_on_with(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    home = await opened(sandbox, tmp_path / "data")
    before = len(sandbox.state.tasks)
    task = (await home.post("[sandbox:delay=1] slow")).json()
    while (await home.poll(task["id"])).json()["status"] == "pending":
        await asyncio.sleep(0.02)
    await backed_up(home, tmp_path / "kept")
    await home.stop()
    shutil.rmtree(tmp_path / "data")
    result = await run("restore", tmp_path / "kept", "--data-dir", tmp_path / "data")
    assert result.exit_code == 0, result.output
    home = await opened(sandbox, tmp_path / "data")
    try:
        assert (await home.ended(task["id"]))["status"] == "completed"
        assert len(sandbox.state.tasks) == before + 1
    finally:
        await home.stop()


async def test_over_a_running_gateway_nothing_is_restored(home: House, tmp_path: Path) -> None:
    await home.made()
    await backed_up(home, tmp_path / "kept")
    result = await run("restore", tmp_path / "kept", "--data-dir", home.folder)
    assert result.exit_code == 2
    assert "Another gateway uses the ledger" in result.stderr
    assert "hit" in (await home.post()).headers["cache-status"]


async def test_no_gateway_starts_on_a_backup_or_on_half_a_restore(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    home = await opened(sandbox, tmp_path / "data")
    await home.made()
    await home.stop()
    await backed_up(home, tmp_path / "kept")
    with pytest.raises(Unavailable, match="is a backup, and would be none any more"):
        await opened(sandbox, tmp_path / "kept")
    await adds_up(tmp_path / "kept")
    (tmp_path / "data" / "restoring.json").write_text("{}")
    with pytest.raises(Unavailable, match="has not ended: run 'image-gateway restore' again"):
        await opened(sandbox, tmp_path / "data")
    assert TEAM_KEY not in (tmp_path / "data" / "restoring.json").read_text()
