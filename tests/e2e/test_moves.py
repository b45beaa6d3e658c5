"""An installation moved to PostgreSQL and back: every client is answered as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import shared_servers
from click.testing import CliRunner, Result
from house import FAST, OTHER_KEY, House, opened, settings_text

from gateway.cli import main
from gateway.errors import Unavailable
from gateway.sandbox import RunningSandbox, running_sandbox

NOBODY = "https://127.0.0.1:9/hook"
"""Where no callback ever arrives."""


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(FAST) as one:
        yield one


class Installation:
    """The same one in its old place and in its new one, by a settings file for each."""

    def __init__(self, folder: Path, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.storage: dict[str, dict[str, Any]] = {
            "old": {},
            "new": dict(shared_servers.stores("moved")),
        }
        self.more: dict[str, Any] = {
            "server": {"public_url": "https://gateway.example.org"},
            "callbacks": {"allow_private_addresses": True, "retries": ["1h"]},
        }
        for name in self.storage:
            self.write(name)

    def write(self, name: str) -> Path:
        file = self.folder / f"{name}.yaml"
        text = settings_text(
            self.sandbox.base_url, self.folder / name, storage=self.storage[name], **self.more
        )
        file.write_text(text, "utf-8")
        return file

    async def serves(self, name: str) -> House:
        return await opened(
            self.sandbox, self.folder / name, storage=self.storage[name], **self.more
        )

    async def migrate(self, here: str, there: str, *words: str) -> Result:
        files = (self.folder / f"{name}.yaml" for name in (here, there))
        here_file, there_file = (str(file) for file in files)
        return await asyncio.to_thread(
            CliRunner().invoke,
            main,
            ["migrate", "--config", here_file, "--to", f"@{there_file}", *words],
        )


@pytest.fixture
def installation(
    tmp_path: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    for name, value in shared_servers.s3().items():
        monkeypatch.setenv(name, value)
    return Installation(tmp_path, sandbox)


async def seen(home: House, tasks: list[str], pictures: list[str], key: str) -> dict[str, Any]:
    """What clients and operators are told."""
    found: dict[str, Any] = {}
    for task in tasks:
        found[task] = (await home.poll(task)).json()
    for picture in pictures:
        answer = await home.client.get(f"/pictures/{picture}")
        found[picture] = answer.content if answer.is_success else answer.status_code
    again = await home.post("a cached bicycle", headers={"Idempotency-Key": "spring-1"})
    found["spring-1"] = again.json()["id"]
    found["key"] = (await home.client.get("/v1/tasks/x", headers=_bearer(key))).status_code
    for path in ("usage", "callbacks", "runs", "pictures"):
        found[path] = (await home.admin("GET", path, params={"team": "blue"})).json()
    found["teams"] = (await home.admin("GET", "teams/red")).json()
    return found


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def lived(home: House) -> tuple[list[str], list[str], str]:
    """Orders that are done, an erased picture, a team and a key made at run time, a callback."""
    made = await home.admin("POST", "teams", json={"name": "red", "budgets": []})
    assert made.status_code in (200, 201), made.text
    issued = await home.admin("POST", "teams/red/keys", json={"label": "printer"})
    key = issued.json()["key"]
    first = await home.made("a cached bicycle", headers={"Idempotency-Key": "spring-1"})
    called = await home.made("a called bicycle", callback_url=NOBODY)
    erased = await home.made("an erased bicycle")
    names = [one["results"][0].rpartition("/")[2] for one in (first, called, erased)]
    gone = await home.admin("DELETE", f"pictures/{names[2].partition('.')[0]}")
    assert gone.status_code == 200, gone.text
    return [first["id"], called["id"], erased["id"]], names, key


async def test_there_and_back_nobody_notices(installation: Installation) -> None:
    home = await installation.serves("old")
    tasks, pictures, key = await lived(home)
    bulk = await installation.migrate("old", "new")
    assert bulk.exit_code == 3, bulk.output
    assert "Nothing is moved yet" in bulk.output
    later = await home.made("a later bicycle")
    live = (await home.post("a live bicycle", key=OTHER_KEY, n=2)).json()["id"]
    tasks.append(later["id"])
    before = await seen(home, tasks, pictures, key)
    await home.stop()

    rest = await installation.migrate("old", "new")
    assert rest.exit_code == 0, rest.output
    with pytest.raises(Unavailable, match="was moved to postgresql://"):
        await installation.serves("old")
    home = await installation.serves("new")
    assert await seen(home, tasks, pictures, key) == before
    assert (await home.ended(live, key=OTHER_KEY))["status"] == "completed"
    assert await home.violations() == []
    newest = await home.made("a bicycle of the new place")
    tasks.append(newest["id"])
    before = await seen(home, tasks, pictures, key)
    await home.stop()

    back = await installation.migrate("new", "old")
    assert back.exit_code == 0, back.output
    home = await installation.serves("old")
    assert await seen(home, tasks, pictures, key) == before
    assert await home.violations() == []
    await home.stop()
