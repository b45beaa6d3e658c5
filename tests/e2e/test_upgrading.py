"""From a former version to this one and back, as docs/operate.md says, on the folders they left."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from former_versions import IDEMPOTENCY_KEY, LATEST, OLDEST, ORDER, Former, told
from house import House, opened
from operate_page import commands, typed

from gateway.adapters.ledger import migrations
from gateway.adapters.ledger.ledger_file import LedgerFile
from gateway.errors import Unavailable
from gateway.sandbox import RunningSandbox

pytestmark = [
    pytest.mark.files,
    pytest.mark.parametrize("former", [LATEST, OLDEST], ids=lambda one: one.file),
]


@pytest.fixture
def data(former: Former, tmp_path: Path) -> Path:
    return former.unpack(tmp_path / "data")


async def do(words: list[str], data: Path) -> None:
    result = await asyncio.to_thread(typed, words, data)
    assert result.exit_code == 0, result.output


async def knows_all(home: House, former: Former) -> None:
    """Links, keys, tasks, answers and idempotency keys of the former version are good."""
    for name in former.pictures:
        assert (await home.client.get(f"/pictures/{name}")).status_code == 200
    assert (await home.poll(former.task_id)).json()["status"] == "completed"
    named = {"Idempotency-Key": IDEMPOTENCY_KEY}
    replayed = await home.post(**ORDER, headers=named)
    assert replayed.json()["id"] == former.task_id, replayed.text
    assert "hit" in (await home.post(**ORDER)).headers["cache-status"]
    shown = await home.client.get(
        "/v1/credits", headers={"Authorization": f"Bearer {former.design_key}"}
    )
    assert shown.status_code == 200, shown.text


async def test_there_and_back(former: Former, data: Path, sandbox: RunningSandbox) -> None:
    before = told(shutil.copytree(data, data.with_name("untouched")) / "ledger.sqlite3")
    there, back = commands("Upgrading"), commands("Going back")
    assert [line[0] for line in there] == ["backup", "check", "audit"]
    assert [line[0] for line in back] == ["restore"]
    await do(there[0], data)
    home = await opened(sandbox, data, clock=former.clock())
    await knows_all(home, former)
    await do(there[2], data)
    await home.made("ordered with the new version")
    await home.stop()
    data.rename(data.with_name("data-newer"))
    await do(back[0], data)
    assert told(data / "ledger.sqlite3") == before
    home = await opened(sandbox, data, clock=former.clock())
    await knows_all(home, former)
    await home.stop()


@pytest.mark.parametrize("folder", ["empty", "gone"])
async def test_a_start_that_is_refused_for_its_pictures_migrates_nothing(
    former: Former, data: Path, sandbox: RunningSandbox, folder: str
) -> None:
    before = told(shutil.copytree(data, data.with_name("untouched")) / "ledger.sqlite3")
    (data / "pictures").rename(data / "away")
    if folder == "empty":
        (data / "pictures").mkdir()
    with pytest.raises(Unavailable, match="nothing was started") as raised:
        await opened(sandbox, data, clock=former.clock())
    assert told(data / "ledger.sqlite3") == before
    # What it advises can be pasted, and is enough.
    advice = raised.value.message.rpartition("start again: ")[2]
    pasted = await asyncio.create_subprocess_exec("sh", "-c", advice)
    assert await pasted.wait() == 0
    await (await opened(sandbox, data, clock=former.clock())).stop()


async def test_a_migration_that_is_cut_is_gone_on_with(
    former: Former, data: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one transaction: a process that dies leaves the schema before it or behind it."""
    newest = migrations.migrations()[-1]
    broken = migrations.Migration(newest.version + 1, "broken", ("CREATE TABLE t (x)", "SELECT y"))
    known = [*migrations.migrations(), broken]
    monkeypatch.setattr(migrations, "migrations", lambda _=migrations.SQLITE: known)
    with pytest.raises(Unavailable, match="no such column"):
        await opened(sandbox, data, clock=former.clock())
    monkeypatch.undo()
    file = LedgerFile(data / "ledger.sqlite3")
    assert file.schema == newest.version
    file.close()
    home = await opened(sandbox, data, clock=former.clock())
    await knows_all(home, former)
    assert await home.violations() == []
    await home.stop()


async def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(
    former: Former, data: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = await opened(sandbox, data, clock=former.clock())
    await home.stop()
    before = told(data / "ledger.sqlite3")
    older = migrations.migrations()[:-1]
    monkeypatch.setattr(migrations, "migrations", lambda _=migrations.SQLITE: older)
    with pytest.raises(Unavailable, match="written by a newer version of the gateway"):
        await opened(sandbox, data, clock=former.clock())
    assert told(data / "ledger.sqlite3") == before
