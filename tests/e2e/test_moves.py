"""An installation moved to PostgreSQL and back: every client is answered as before."""

from __future__ import annotations

import asyncio
import json
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
from gateway.wiring import make_place

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
    bulk = await installation.migrate("new", "old")
    assert bulk.exit_code == 3, bulk.output
    assert "was seen" in bulk.output
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


async def run(*words: str | Path) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, [str(word) for word in words])


async def test_a_backup_of_other_stores_is_files_and_becomes_them_again(
    installation: Installation, tmp_path: Path
) -> None:
    new, kept = tmp_path / "new.yaml", tmp_path / "kept"
    home = await installation.serves("new")
    tasks, pictures, key = await lived(home)
    first = await run("backup", kept, "--config", new)
    assert first.exit_code == 0, first.output
    later = await home.made("a later bicycle")
    tasks.append(later["id"])
    digest = pictures.pop(1).partition(".")[0]
    assert (await home.admin("DELETE", f"pictures/{digest}")).status_code == 200
    before = await seen(home, tasks, pictures, key)
    second = await run("backup", kept, "--config", new, "--json")
    assert second.exit_code == 0, second.output
    assert json.loads(second.output)["new_pictures"] == 1
    assert not list(kept.glob(f"pictures/??/{digest}*"))
    audited = await run("audit", "--config", new, "--data-dir", kept, "--deep")
    assert audited.exit_code == 0, audited.output
    await home.stop()

    refused = await run("restore", kept, "--config", new)
    assert refused.exit_code == 2
    assert "image-gateway migrate --data-dir restored" in refused.output
    assert (await run("restore", kept, "--data-dir", tmp_path / "restored")).exit_code == 0
    installation.storage["newer"] = dict(shared_servers.stores("restored"))
    file = installation.write("newer")
    carried = await run("migrate", "--data-dir", tmp_path / "restored", "--to", f"@{file}")
    assert carried.exit_code == 0, carried.output
    home = await installation.serves("newer")
    assert await seen(home, tasks, pictures, key) == before
    assert await home.violations() == []
    await home.stop()


async def test_the_audit_looks_into_the_bucket(installation: Installation, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    home = await installation.serves("new")
    made = await home.made(n=2)
    names = [link.rpartition("/")[2] for link in made["results"]]
    await home.stop()
    well = await run("audit", "--config", new, "--deep")
    assert well.exit_code == 0, well.output
    place = make_place(home.settings)
    await place.open()
    await place.remove(names[0])
    (tmp_path / "other").write_bytes(b"other bytes")
    await place.put(names[1], tmp_path / "other")
    await place.put(f"{'0' * 64}.json", tmp_path / "other")
    await place.close()
    ill = await run("audit", "--config", new, "--deep")
    assert ill.exit_code == 1
    assert f"{names[0]} is not there" in ill.output
    assert f"{names[1]} has the digest" in ill.output
    assert f"{names[1]} has 11 bytes" in ill.output
    assert f"{'0' * 64}.json is there" in ill.output
