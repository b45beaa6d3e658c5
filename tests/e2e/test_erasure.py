"""An erasure leaves nothing of what was asked for in any file of the data folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import stores
from house import OTHER_KEY, TEAM_KEY, House, opened, settings_text
from processes import GATEWAY, free_port, process

from gateway.core.buckets import MARKER
from gateway.sandbox import RunningSandbox

ART, BOB = "SECRETPROMPT-A of art", "SECRETPROMPT-B of bob \u00fc"
MARKS = (b"SECRETPROMPT", b"secretprompt")
"""As it is written, and as it is searched."""


@pytest.fixture
async def home(tmp_path: Path, sandbox: RunningSandbox) -> AsyncIterator[House]:
    one = await opened(sandbox, tmp_path)
    yield one
    await one.stop()


def left(folder: Path) -> list[str]:
    """What holds a secret, in its bytes or in its name: files, objects, tables."""
    return [
        name
        for name, content in stores.contents(folder)
        if any(mark in content or mark.decode() in name for mark in MARKS)
    ]


async def gallery(home: House, key: str) -> list[Any]:
    headers = {"Authorization": f"Bearer {key}"}
    data: list[Any] = (await home.client.get("/team/v1/pictures", headers=headers)).json()["data"]
    return data


async def listed(home: House, **asked: str) -> list[Any]:
    data: list[Any] = (await home.admin("GET", "pictures", params=asked)).json()["data"]
    return data


async def same_bytes_of_two(home: House) -> str:
    """Art and bob order different things, and upstream has the same bytes for both."""
    task = await home.made(ART, negative_prompt="SECRETPROMPT, not blue")
    name: str = task["results"][0].rpartition("/")[2]
    body = (await home.client.get(f"/pictures/{name}")).content

    @contextlib.asynccontextmanager
    async def stream(*_: object, **__: object) -> AsyncIterator[AsyncIterator[bytes]]:
        async def chunks() -> AsyncIterator[bytes]:
            yield body

        yield chunks()

    home.gateway.adapters.connections.links["evolink"].stream = stream  # type: ignore[method-assign,assignment]
    other = await home.made(BOB, key=OTHER_KEY)
    assert other["results"][0].endswith(name)
    return name.partition(".")[0]


async def test_each_team_finds_its_own_picture_of_the_same_bytes(home: House) -> None:
    digest = await same_bytes_of_two(home)
    for key, team, prompt in ((TEAM_KEY, "blue", ART), (OTHER_KEY, "green", BOB)):
        for [one] in (await gallery(home, key), await listed(home, team=team)):
            assert (one["digest"], one["team"], one["prompt"]) == (digest, team, prompt)
    assert len(await listed(home)) == 2
    assert (await home.metrics())["gateway_pictures"] == 1
    assert await home.violations() == []


@stores.both
async def test_an_erasure_reaches_every_run_that_made_the_bytes(home: House) -> None:
    digest = await same_bytes_of_two(home)
    assert len(left(home.folder)) >= 2
    assert (await home.metrics())["gateway_cache_entries"] == 2
    answer = await home.admin("DELETE", f"pictures/{digest}")
    assert answer.status_code == 200
    assert left(home.folder) == []
    assert await gallery(home, TEAM_KEY) == await gallery(home, OTHER_KEY) == []
    assert [one["prompt"] for one in await listed(home)] == ["", ""]
    assert (await home.metrics())["gateway_cache_entries"] == 0
    for run in (await home.admin("GET", "runs")).json()["data"]:
        told = await home.admin("GET", f"runs/{run['id']}")
        assert "SECRETPROMPT" not in told.text
        found = await home.gateway.ledger.run(run["id"])
        assert found is not None
        assert not found.shared
    again = await home.post(BOB, key=OTHER_KEY)
    assert again.headers["cache-status"].startswith("image-gateway; fwd=miss")
    await home.settled()
    assert await home.violations() == []


@stores.both
async def test_of_a_run_that_failed_nothing_is_left_that_upstream_repeated(home: House) -> None:
    client = home.gateway.adapters.connections.upstreams["evolink"]
    poll = client.poll

    async def quoting(task_id: str) -> Any:
        """Upstream says what was asked, wherever it can."""
        event: Any = await poll(task_id)
        if not hasattr(event, "message"):
            return event
        task = json.dumps({**json.loads(event.task), "prompt": ART, "error": {"message": ART}})
        return type(event)(task=task, code=event.code, message=f"refused: {ART}")

    client.poll = quoting  # type: ignore[method-assign]
    task = await home.made(f"{ART} [sandbox:fail=content_policy_violation]")
    assert "SECRETPROMPT" in task["error"]["message"]
    assert left(home.folder)
    answer = await home.admin("DELETE", f"runs/{task['id']}")
    assert answer.status_code == 200, answer.text
    assert left(home.folder) == []
    after = await home.poll(task["id"])
    assert (after.json()["status"], "SECRETPROMPT" in after.text) == ("failed", False)
    assert await home.violations() == []
    assert (await home.admin("DELETE", "runs/nowhere")).json()["error"]["code"] == "run_not_found"


@pytest.mark.parametrize("named", ["run", "refusal"])
async def test_a_refusal_that_quotes_the_prompt_is_emptied_too(home: House, named: str) -> None:
    """An order that upstream did not take: its words are with the run and with the refusal."""
    client = home.gateway.adapters.connections.upstreams["evolink"]
    submit = client.submit

    async def quoting(run: Any, **asked: Any) -> Any:
        event: Any = await submit(run, **asked)
        body = json.dumps({"error": {"code": "bad", "message": f"not this: {ART}"}})
        return type(event)(**{**_fields(event), "body": body, "message": f"not this: {ART}"})

    client.submit = quoting  # type: ignore[method-assign]
    answer = await home.post(f"{ART} [sandbox:http=400]")
    assert answer.status_code == 400, answer.text
    [run] = (await home.admin("GET", "runs")).json()["data"]
    async with asyncio.timeout(5):  # refusals are written a moment later
        while not (refusals := (await home.admin("GET", "refusals")).json()["data"]):
            await asyncio.sleep(0.02)
        while not await home.gateway.ledger.refusals_named(refusals[0]["id"], limit=1):
            await asyncio.sleep(0.02)
    assert left(home.folder)
    assert refusals[0]["asked"]["n"] == 1
    name = {"run": run, "refusal": refusals[0]}[named]["id"]
    assert (await home.admin("DELETE", f"runs/{name}")).status_code == 200
    assert left(home.folder) == []
    [emptied] = (await home.admin("GET", "refusals")).json()["data"]
    assert (emptied["message"], emptied["asked"]) == ("", {})


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in type(event).__slots__}


async def test_a_run_under_way_is_not_erased(home: House) -> None:
    task = (await home.post("[sandbox:delay=1] a boat")).json()
    answer = await home.admin("DELETE", f"runs/{task['id']}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run_under_way")
    await home.settled()
    done = await home.admin("DELETE", f"runs/{task['id']}")
    assert done.json()["prompt"] == ""
    assert [one["prompt"] for one in await listed(home)] == [""]
    assert stores.kept(home.folder) == [MARKER]


@pytest.mark.files
async def test_after_a_stop_one_file_has_everything(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    home = await opened(sandbox, tmp_path)
    await home.made()
    await home.stop()
    port, config = free_port(), tmp_path / "config.yaml"
    config.write_text(settings_text(sandbox.base_url, tmp_path, server={"port": port}))
    async with process(*GATEWAY, "serve", "--config", str(config), cwd=tmp_path) as one:
        reader = sqlite3.connect(tmp_path / "ledger.sqlite3")
        reader.execute("SELECT COUNT(*) FROM runs").fetchall()
        one.terminate()
        await one.wait()
    copied = shutil.copy(tmp_path / "ledger.sqlite3", tmp_path / "copy.sqlite3")
    reader.close()
    with closing(sqlite3.connect(copied)) as db:
        assert db.execute("SELECT COUNT(*) FROM runs WHERE state = 'done'").fetchall() == [(1,)]
