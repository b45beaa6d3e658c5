"""The picture folder is taken away, replaced, emptied: nothing is paid again, and it heals."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from house import ADMIN_KEY, House, opened, settings_text
from processes import GATEWAY, free_port, process

from gateway.adapters.pictures.marker import NAME
from gateway.errors import Unavailable
from gateway.sandbox import RunningSandbox

pytestmark = pytest.mark.files

PROMPT = "a lighthouse"


@pytest.fixture
async def home(tmp_path: Path, sandbox: RunningSandbox) -> AsyncIterator[House]:
    one = await opened(sandbox, tmp_path / "data")
    yield one
    await one.stop()


def folder(home: House) -> Path:
    return home.folder / "pictures"


def files(where: Path) -> list[Path]:
    return [path for path in where.rglob("*") if path.is_file()]


async def runs(home: House) -> int:
    return sum((await home.gateway.ledger.run_counts()).values())


async def ready(home: House) -> tuple[int, str]:
    answer = await home.client.get("/readyz")
    return answer.status_code, " ".join(answer.json()["reasons"])


def taken_away(where: Path) -> Path:
    """As when the disk is unmounted: the folder is there and empty."""
    away = where.with_name("away")
    where.rename(away)
    where.mkdir()
    return away


def gone(where: Path) -> Path:
    away = where.with_name("away")
    where.rename(away)
    return away


def another_disks(where: Path) -> Path:
    """The folder of another installation, with the same layout."""
    away = taken_away(where)
    for sub in away.iterdir():
        if sub.is_dir():
            (where / sub.name).mkdir()
    (where / NAME).write_text("0" * 32 + "\n")
    return away


def another_by_a_link(where: Path) -> Path:
    away = gone(where)
    other = where.with_name("other")
    other.mkdir()
    where.symlink_to(other)
    return away


def a_file(where: Path) -> Path:
    away = gone(where)
    where.write_text("in the way")
    return away


def back(away: Path, where: Path) -> None:
    if where.is_symlink() or where.is_file():
        where.unlink()
    elif where.exists():
        shutil.rmtree(where)
    away.rename(where)


WAYS = [taken_away, gone, another_disks, another_by_a_link, a_file]


@pytest.mark.parametrize("way", WAYS)
async def test_without_its_folder_nothing_is_paid_again_and_it_heals(
    home: House, way: Callable[[Path], Path]
) -> None:
    task = await home.made(PROMPT)
    where, link = folder(home), task["results"][0]
    away = way(where)
    before = files(where)

    for prompt in (PROMPT, "another prompt"):
        answer = await home.post(prompt)
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
    assert (await home.post(PROMPT, headers={"Cache-Control": "no-cache"})).status_code == 503
    shown = await home.client.get(link)
    assert (shown.status_code, shown.headers["cache-control"]) == (503, "no-store")
    assert (await home.client.head(link)).status_code == 503
    status, why = await ready(home)
    assert status == 503
    assert "picture folder" in why
    # A balancer goes on sending: what is kept elsewhere is served, and every replica says the same.
    here = await home.client.get("/readyz?local")
    assert (here.status_code, here.json()["reasons"]) == (200, [])
    assert await runs(home) == 1
    assert files(where) == before

    back(away, where)
    assert await ready(home) == (200, "")
    hit = await home.post(PROMPT)
    assert "hit" in hit.headers["cache-status"]
    assert (await home.client.get(link)).status_code == 200
    await home.made("another prompt")
    assert await runs(home) == 2
    assert await home.violations() == []


async def test_what_was_paid_meanwhile_is_kept_when_the_folder_is_back(home: House) -> None:
    """Taken while the folder was there, finished while it is not: kept later, and only there."""
    task = (await home.post("[sandbox:delay=0.4] a boat")).json()
    away = taken_away(folder(home))
    await until(lambda: _is_keeping(home))
    await asyncio.sleep(0.3)
    assert files(folder(home)) == []
    assert list(folder(home).iterdir()) == []
    back(away, folder(home))
    done = await home.ended(task["id"])
    assert done["status"] == "completed"
    assert (await home.client.get(done["results"][0])).status_code == 200
    assert await runs(home) == 1


async def _is_keeping(home: House) -> bool:
    return await home.gateway.ledger.oldest_unkept() is not None


async def until(met: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not await met():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def test_an_erasure_is_not_done_while_the_folder_is_away(home: House) -> None:
    """Nobody may write down that the bytes are gone which lie on another disk."""
    task = await home.made(PROMPT)
    digest = task["results"][0].rpartition("/")[2].partition(".")[0]
    away = taken_away(folder(home))
    answer = await home.admin("DELETE", f"pictures/{digest}")
    assert answer.status_code == 503, answer.text
    await home.gateway.services.erasure.finish()
    assert len(await home.gateway.ledger.unremoved(limit=9)) == 1
    back(away, folder(home))
    await home.gateway.services.erasure.finish()
    assert await home.gateway.ledger.unremoved(limit=9) == []
    assert [*folder(home).glob("??/*")] == []


# --- folders that are removed while it runs ------------------------------------------------------


async def test_folders_that_are_removed_while_it_runs_are_made_again(home: House) -> None:
    first = await home.made(PROMPT)
    for path in folder(home).iterdir():
        if path.is_dir():  # as `rm -r pictures/*` does
            shutil.rmtree(path)
    task = await home.made("another prompt")
    assert task["status"] == "completed"
    assert (await home.client.get(task["results"][0])).status_code == 200
    assert await ready(home) == (200, "")
    assert (await home.client.get(first["results"][0])).status_code == 404
    again = await home.post(PROMPT)
    assert again.headers["cache-status"].startswith("image-gateway; fwd=miss")


async def test_a_picture_that_is_missing_in_the_store_itself_is_made_anew(home: House) -> None:
    task = await home.made(PROMPT)
    digest = task["results"][0].rpartition("/")[2].partition(".")[0]
    for path in (folder(home) / digest[:2]).glob(f"{digest}.[pjw]*g"):
        path.unlink()
    again = await home.made(PROMPT)
    assert again["results"] != task["results"]


async def test_readiness_tells_that_keeping_fails(home: House) -> None:
    scratch = folder(home) / "tmp"
    scratch.rmdir()
    scratch.write_text("in the way")
    numbers = itertools.count()
    task = (await home.post(PROMPT)).json()

    async def is_told() -> bool:
        status, why = await ready(home)
        return status == 503 and "could not be kept" in why

    async def is_refused() -> bool:
        """What would be made could not be kept either, and nobody would know when."""
        return (await home.post(f"{PROMPT} {next(numbers)}")).status_code == 503

    await until(is_told)
    await until(is_refused)
    begun = await runs(home)
    assert (await home.post(PROMPT)).headers["cache-status"].endswith("collapsed")
    scratch.unlink()
    assert (await home.ended(task["id"]))["status"] == "completed"
    assert await ready(home) == (200, "")
    assert await runs(home) == begun

    async def is_taken() -> bool:
        return (await home.post("another")).status_code == 200

    await until(is_taken)


# --- at a start ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_start_without_the_folder_refuses_and_lays_nothing_out(
    tmp_path: Path, sandbox: RunningSandbox, way: Callable[[Path], Path]
) -> None:
    home = await opened(sandbox, tmp_path)
    task = await home.made(PROMPT)
    await home.stop()
    away = way(folder(home))
    before = sorted(folder(home).rglob("*")) if folder(home).exists() else None
    with pytest.raises(Unavailable, match=r"1 picture on record.*adopt"):
        await opened(sandbox, tmp_path)
    after = sorted(folder(home).rglob("*")) if folder(home).exists() else None
    assert after == before
    back(away, folder(home))
    home = await opened(sandbox, tmp_path)
    assert "hit" in (await home.post(PROMPT)).headers["cache-status"]
    name = task["results"][0].rpartition("/")[2]
    assert (await home.client.get(f"/pictures/{name}")).status_code == 200
    await home.stop()


async def test_a_folder_is_adopted_on_purpose(tmp_path: Path, sandbox: RunningSandbox) -> None:
    home = await opened(sandbox, tmp_path)
    await home.made(PROMPT)
    await home.stop()
    shutil.rmtree(folder(home))
    folder(home).mkdir()
    (folder(home) / NAME).write_text("adopt\n")
    home = await opened(sandbox, tmp_path)
    again = await home.post(PROMPT)
    assert again.headers["cache-status"].startswith("image-gateway; fwd=miss")
    await home.settled()
    await home.stop()
    await (await opened(sandbox, tmp_path)).stop()


async def test_a_marker_that_is_a_pipe_holds_nobody_up(home: House) -> None:
    """Odd, and no reason to wait for ever."""
    await home.made(PROMPT)
    marker = folder(home) / NAME
    marker.rename(marker.with_name("aside"))
    os.mkfifo(marker)
    async with asyncio.timeout(5):
        assert (await home.post("another")).status_code == 503
        status, why = await ready(home)
    assert status == 503 and NAME in why
    marker.unlink()
    marker.with_name("aside").rename(marker)
    await until(lambda: is_ready(home))


async def is_ready(home: House) -> bool:
    return await ready(home) == (200, "")


async def test_a_restored_backup_is_the_store(tmp_path: Path, sandbox: RunningSandbox) -> None:
    home = await opened(sandbox, tmp_path / "data")
    await home.made(PROMPT)
    await home.stop()
    shutil.copytree(home.folder, tmp_path / "backup")
    shutil.rmtree(home.folder)
    shutil.copytree(tmp_path / "backup", home.folder)
    home = await opened(sandbox, tmp_path / "data")
    assert "hit" in (await home.post(PROMPT)).headers["cache-status"]
    await home.stop()


async def test_a_ledger_without_pictures_takes_the_folder_as_it_is(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    home = await opened(sandbox, tmp_path)
    await home.stop()
    shutil.rmtree(folder(home))
    home = await opened(sandbox, tmp_path)
    await home.made(PROMPT)
    await home.stop()
    for file in tmp_path.glob("ledger.sqlite3*"):
        file.unlink()
    home = await opened(sandbox, tmp_path)
    assert await home.gateway.ledger.store_id() == (folder(home) / NAME).read_text().strip()
    await home.stop()


@pytest.mark.parametrize("mounted", [True, False])
async def test_an_installation_from_before_the_marker(
    tmp_path: Path, sandbox: RunningSandbox, mounted: bool
) -> None:
    home = await opened(sandbox, tmp_path)
    await home.made(PROMPT)
    await home.gateway.ledger._writer.call(  # type: ignore[attr-defined]
        lambda db: db.execute("DELETE FROM picture_store")
    )
    await home.stop()
    (folder(home) / NAME).unlink()
    if not mounted:
        taken_away(folder(home))
        with pytest.raises(Unavailable, match="no marker"):
            await opened(sandbox, tmp_path)
        assert list(folder(home).iterdir()) == []
        return
    home = await opened(sandbox, tmp_path)
    assert (folder(home) / NAME).is_file()
    assert "hit" in (await home.post(PROMPT)).headers["cache-status"]
    await home.stop()


async def test_a_process_says_why_it_does_not_start(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    home = await opened(sandbox, tmp_path)
    await home.made(PROMPT)
    await home.stop()
    port, config = free_port(), tmp_path / "config.yaml"
    config.write_text(settings_text(sandbox.base_url, tmp_path, server={"port": port}))
    command = (*GATEWAY, "serve", "--config", str(config))
    async with process(*command, cwd=tmp_path) as one:
        one.kill()
    away = taken_away(folder(home))
    with pytest.raises(AssertionError, match=r"cannot start: The picture folder \S+ has no marker"):
        async with process(*command, cwd=tmp_path):
            pass
    back(away, folder(home))
    async with process(*command, cwd=tmp_path):
        pass
    assert ADMIN_KEY not in (tmp_path / "process.log").read_text()
