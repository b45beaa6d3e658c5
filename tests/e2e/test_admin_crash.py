"""An operator's act that a crash cuts at any step: done, or not done, or finished at the start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import doomed_operator
import httpx2 as httpx
import pytest
import stores
from house import ADMIN_KEY, FAST, PRICE_USD, House, opened, settings_text
from processes import forked, free_port

from gateway.sandbox import RunningSandbox, running_sandbox

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
PROMPT = "a secret bicycle"
TEAM = "teams/yellow"
FORMER = {"budgets": [{"usd": 5, "per": "day"}]}
LATER = {"budgets": [{"usd": 7, "per": "day"}]}

Point = tuple[str, str, int]


def points(*steps: tuple[str, int]) -> list[Point]:
    return [(name, when, count) for name, count in steps for when in ("before", "after")]


def named(point: Point) -> str:
    return "-".join(map(str, point))


class Scene:
    """A data folder with one team, its key and its picture; and the act that is cut."""

    def __init__(self, sandbox: RunningSandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.key = ""
        self.key_id = ""
        self.picture: dict[str, Any] = {}

    async def set(self) -> None:
        async with self.home() as home:
            await home.admin("POST", "teams", json={"name": "yellow", **FORMER})
            issued = (await home.admin("POST", f"{TEAM}/keys", json={"label": "first"})).json()
            self.key, self.key_id = issued["key"], issued["id"]
            await home.made(PROMPT, key=self.key)
            self.picture = (await home.admin("GET", "pictures")).json()["data"][0]

    @contextlib.asynccontextmanager
    async def home(self) -> AsyncIterator[House]:
        one = await opened(self.sandbox, self.folder / "data")
        try:
            yield one
            await one.settled()
            assert await one.violations() == []
        finally:
            await one.stop()

    async def cut(self, point: Point, method: str, path: str, **more: Any) -> None:
        """Begins the act in a process that dies at the point."""
        config, port = self.folder / "config.yaml", free_port()
        config.write_text(settings_text(self.sandbox.base_url, self.folder / "data"))
        async with forked(doomed_operator.main, config, port, *point, cwd=self.folder) as ended:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                with contextlib.suppress(httpx.TransportError):
                    url = f"/admin/v1/{path}"
                    answer = await client.request(method, url, headers=ADMIN, **more)
                    pytest.fail(f"it was done without {point}: {answer.status_code} {answer.text}")
            assert await ended() == -signal.SIGKILL


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    """Made once: the folder is copied for each point."""
    folder = tmp_path_factory.mktemp("stage")

    async def made() -> Scene:
        async with running_sandbox(FAST) as sandbox:
            scene = Scene(sandbox, folder)
            await scene.set()
            return scene

    return folder, asyncio.run(made())


@pytest.fixture
async def scene(tmp_path: Path, stage: tuple[Path, Scene]) -> AsyncIterator[Scene]:
    folder, former = stage
    async with running_sandbox(FAST) as sandbox:
        one = Scene(sandbox, tmp_path)
        if stores.are_shared():  # there is no folder that could be copied
            await one.set()
            yield one
            return
        await asyncio.to_thread(shutil.copytree, folder / "data", tmp_path / "data")
        one.key, one.key_id, one.picture = former.key, former.key_id, former.picture
        yield one


async def audited(home: House, action: str) -> list[Any]:
    answer = await home.admin("GET", "audit", params={"action": action})
    return list(answer.json()["data"])


async def opens(home: House, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    answer = await home.client.get("/team/v1/summary", headers=headers)
    return answer.status_code == 200


# --- pictures and answers ------------------------------------------------------------------------

ERASING = points(
    ("transact", 1), ("transact", 2), ("remove", 1), ("forget", 1), ("scrub", 1), ("transact", 3)
)


@pytest.mark.parametrize("point", ERASING, ids=named)
async def test_an_erasure_that_was_begun_is_finished(scene: Scene, point: Point) -> None:
    await scene.cut(point, "DELETE", f"pictures/{scene.picture['digest']}")
    begun = point != ("transact", "before", 1)
    name = scene.picture["digest"]
    async with scene.home() as home:
        if begun:
            async with asyncio.timeout(stores.patience(10)):
                while await home.gateway.ledger.unremoved(limit=1):
                    await asyncio.sleep(0.02)
        record = (await home.admin("GET", "pictures")).json()["data"][0]
        assert record["prompt"] == ("" if begun else PROMPT)
        assert (record["erased_at"] is not None) is begun
        assert (f"{name}.png" in stores.kept(home.folder)) is not begun
        run = (await home.admin("GET", f"runs/{record['run']}")).json()
        assert (PROMPT in json.dumps(run)) is not begun
        assert len(await audited(home, "picture.erase")) == begun
        answer = await home.post(PROMPT, key=scene.key)
        assert ("hit" in answer.headers["cache-status"]) is not begun
        await home.settled()
        team = (await home.admin("GET", TEAM)).json()
        assert team["spent_usd"] == round(PRICE_USD * (1 + begun), 6)


PURGING = points(("transact", 1), ("retire", 1), ("retire", 2))


@pytest.mark.parametrize("point", PURGING, ids=named)
@pytest.mark.parametrize("body", [{}, {"team": "yellow"}], ids=["all", "team"])
async def test_a_purge_that_was_cut_can_be_made_again(
    scene: Scene, point: Point, body: dict[str, str]
) -> None:
    await scene.cut(point, "POST", "cache/purge", json=body)
    async with scene.home() as home:
        assert (await home.admin("POST", "cache/purge", json=body)).status_code == 200
        answer = await home.post(PROMPT, key=scene.key)
        assert "hit" not in answer.headers["cache-status"]
        shown = await home.client.get(scene.picture["url"].partition("://")[2].partition("/")[2])
        assert shown.status_code == 200


# --- teams and keys ------------------------------------------------------------------------------

ONCE = points(("transact", 1))


@pytest.mark.parametrize("point", ONCE, ids=named)
async def test_a_key_is_issued_with_its_record_or_not_at_all(scene: Scene, point: Point) -> None:
    await scene.cut(point, "POST", f"{TEAM}/keys", json={"label": "second"})
    async with scene.home() as home:
        keys = (await home.admin("GET", f"{TEAM}/keys")).json()["data"]
        labels = ["second", "first"] if point[1] == "after" else ["first"]
        assert [key["label"] for key in keys] == labels
        assert len(await audited(home, "key.issue")) == len(keys)
        assert await opens(home, scene.key)


@pytest.mark.parametrize("point", ONCE, ids=named)
async def test_a_rotation_leaves_two_keys_or_the_old_one_alone(scene: Scene, point: Point) -> None:
    await scene.cut(point, "POST", f"{TEAM}/keys/{scene.key_id}/rotate", json={"grace": "0s"})
    is_done = point[1] == "after"
    async with scene.home() as home:
        keys = (await home.admin("GET", f"{TEAM}/keys")).json()["data"]
        assert [key["state"] for key in keys] == (["active", "expired"] if is_done else ["active"])
        assert len(await audited(home, "key.rotate")) == is_done
        assert await opens(home, scene.key) is not is_done


@pytest.mark.parametrize("point", ONCE, ids=named)
@pytest.mark.parametrize("path", [f"{TEAM}/keys/{{key}}", TEAM], ids=["key", "team"])
async def test_what_was_revoked_stays_revoked(scene: Scene, point: Point, path: str) -> None:
    await scene.cut(point, "DELETE", path.format(key=scene.key_id))
    is_done = point[1] == "after"
    async with scene.home() as home:
        assert await opens(home, scene.key) is not is_done
        assert (await home.post("another", key=scene.key)).status_code == (401 if is_done else 200)
        done = [*await audited(home, "key.revoke"), *await audited(home, "team.delete")]
        assert len(done) == is_done


@pytest.mark.parametrize("point", points(("transact", 1), ("transact", 2)), ids=named)
async def test_a_changed_budget_is_in_force_with_its_record(scene: Scene, point: Point) -> None:
    await scene.cut(point, "PATCH", TEAM, json=LATER)
    is_done = point != ("transact", "before", 1)
    async with scene.home() as home:
        team = (await home.admin("GET", TEAM)).json()
        assert team["settings"]["budgets"] == (LATER if is_done else FORMER)["budgets"]
        (standing,) = team["standing"]
        assert (standing["limit"], standing["spent"]) == (7 if is_done else 5, PRICE_USD)
        assert len(await audited(home, "team.change")) == is_done
