"""`audit` on ledgers that add up and on ledgers that somebody has changed behind our back."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway import logs
from gateway.cli import main
from gateway.cli.audit import IN_FOLDER, STORE, by_invariant, examine
from gateway.cli.demo.client import Client
from gateway.cli.demo.installation import STUDIO, key_of, open_house
from gateway.core.money.invariants import Invariant, Violation

SETTINGS = {
    "upstreams": {"evolink": {"base_url": "https://api.example.com", "api_key": "sk"}},
    "models": {"m": {"routes": [{"upstream": "evolink", "model": "m", "price": 0.1}]}},
}
ORDER = {"model": "gpt-image-1.5", "prompt": "a red bicycle", "quality": "low", "n": 2}


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a gateway leaves that made one order of two pictures, and stopped."""
    folder = tmp_path_factory.mktemp("audit")
    asyncio.run(_made(folder / "data", folder / "gateway.log"))
    yield folder / "data"
    logs.configure("auto", "info")


@pytest.fixture
def data_dir(left_behind: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(left_behind, tmp_path / "data"))


async def _made(data_dir: Path, log: Path) -> None:
    async with open_house(data_dir, log, seconds=0.1) as house:
        client = Client(house.base_url)
        answer = await client.send(client.order(key_of(STUDIO), ORDER))
        async for task in client.progress(key_of(STUDIO), answer.task_id):
            last = task
        assert last["status"] == "completed"
        # Beside the running gateway, whose connections are open.
        assert (await examine(house.settings, deep=True)).adds_up
        await client.close()


def audit(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def pictures(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "pictures").glob("??/*.png"))


def change(data_dir: Path, statement: str) -> None:
    with closing(sqlite3.connect(data_dir / "ledger.sqlite3")) as db, db:
        db.execute(statement)


def test_what_adds_up(data_dir: Path) -> None:
    result = audit("--data-dir", data_dir, "--deep")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[-1] == "1 run, 2 pictures, $0.024 spent: the ledger adds up."
    assert all(line.startswith("ok        ") for line in lines[:-2])
    assert len(lines[:-2]) == len(Invariant) + 5


def test_for_programs(data_dir: Path) -> None:
    result = audit("--data-dir", data_dir, "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"], answer["runs"], answer["pictures"]) == (0, True, 1, 2)
    assert answer["spent_usd"] == 0.024
    assert answer["picture_bytes"] == sum(path.stat().st_size for path in pictures(data_dir))
    assert all(one["ok"] and one["violations"] == [] for one in answer["invariants"])


def test_a_changed_account_is_found(data_dir: Path) -> None:
    change(data_dir, "UPDATE accounts SET spent_images = 7 WHERE window_name = 'day'")
    result = audit("--data-dir", data_dir)
    assert result.exit_code == 1
    [at] = [n for n, line in enumerate(result.stdout.splitlines()) if line.startswith("VIOLATED")]
    told = result.stdout.splitlines()[at + 1]
    assert told.startswith("            The day account of team studio from")
    assert "7 pictures" in told
    assert result.stdout.splitlines()[-1].endswith("1 invariant violated.")


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        ("UPDATE usage SET started = 3", "The usage reports say what the runs say."),
        ("DELETE FROM pictures", "Every picture of a run is on record."),
        ("UPDATE runs SET link_count = 5", "Every run counts its own pictures and links right."),
    ],
)
def test_other_changes_are_found(data_dir: Path, statement: str, invariant: str) -> None:
    change(data_dir, statement)
    result = audit("--data-dir", data_dir, "--json")
    broken = [one["invariant"] for one in json.loads(result.stdout)["invariants"] if not one["ok"]]
    assert result.exit_code == 1
    assert invariant in broken


def test_a_lost_picture_is_found(data_dir: Path) -> None:
    lost = pictures(data_dir)[0]
    lost.unlink()
    result = audit("--data-dir", data_dir)
    assert result.exit_code == 1
    assert f"{lost} is not there; it should have" in result.stdout
    assert "2 invariants violated." in result.stdout


def test_a_picture_lost_with_its_provenance_is_found(data_dir: Path) -> None:
    lost = pictures(data_dir)[0]
    lost.unlink()
    lost.with_suffix(".json").unlink()
    result = audit("--data-dir", data_dir)
    assert result.exit_code == 1
    assert f"{lost} is not there; it should have" in result.stdout
    assert f"{lost.with_suffix('.json')} is not there." in result.stdout


def test_a_surplus_picture_does_not_stand_in_for_a_lost_one(data_dir: Path) -> None:
    lost = pictures(data_dir)[0]
    surplus = lost.read_bytes() + b"more"
    place = data_dir / "pictures" / "ab" / f"{'ab' * 32}.png"
    place.write_bytes(surplus)
    place.with_suffix(".json").write_text(
        json.dumps({"picture": place.name, "bytes": len(surplus)})
    )
    assert audit("--data-dir", data_dir).exit_code == 0
    lost.unlink()
    lost.with_suffix(".json").unlink()
    result = audit("--data-dir", data_dir)
    assert result.exit_code == 1
    assert f"{lost} is not there; it should have" in result.stdout
    assert str(place) not in result.stdout


def test_lost_pictures_are_found_on_every_page(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.audit.PAGE", 1)
    for lost in pictures(data_dir):
        lost.write_bytes(b"short")
    answer = json.loads(audit("--data-dir", data_dir, "--json").stdout)
    (found,) = (one for one in answer["invariants"] if one["invariant"] == IN_FOLDER)
    assert [one.split(" has 5 bytes")[0] for one in found["violations"]] == [
        str(path) for path in pictures(data_dir)
    ]


@pytest.mark.parametrize("folder", ["empty", "gone", "of another store"])
def test_a_folder_that_is_not_the_ledgers_is_told(data_dir: Path, folder: str) -> None:
    store = data_dir / "pictures"
    store.rename(data_dir / "away")
    if folder != "gone":
        store.mkdir()
    if folder == "of another store":
        (store / ".store-id").write_text("0" * 32)
    result = audit("--data-dir", data_dir)
    assert result.exit_code == 1
    assert f"VIOLATED  {STORE}\n            The picture folder {store} " in result.stdout
    settings = data_dir / "config.yaml"
    shown = json.dumps({**SETTINGS, "storage": {"data_dir": str(data_dir)}})
    settings.write_text(shown)
    checked = CliRunner().invoke(main, ["check", "--config", str(settings)])
    assert f"notice: The picture folder {store} " in checked.stderr, checked.output
    shutil.rmtree(store, ignore_errors=True)
    (data_dir / "away").rename(store)
    assert audit("--data-dir", data_dir).exit_code == 0
    assert (
        "picture folder"
        not in CliRunner().invoke(main, ["check", "--config", str(settings)]).stderr
    )


def test_only_a_deep_audit_reads_the_bytes(data_dir: Path) -> None:
    changed = pictures(data_dir)[0]
    changed.write_bytes(bytes(changed.stat().st_size))
    assert audit("--data-dir", data_dir).exit_code == 0
    deep = audit("--data-dir", data_dir, "--deep")
    assert deep.exit_code == 1
    assert f"{changed} has the digest " in deep.stdout


def test_only_a_deep_audit_compares_width_and_height(data_dir: Path) -> None:
    change(data_dir, "UPDATE pictures SET width = width + 1")
    assert audit("--data-dir", data_dir).exit_code == 0
    deep = audit("--data-dir", data_dir, "--deep")
    assert deep.exit_code == 1
    assert "large; its record says" in deep.stdout
    assert "1 invariant violated." in deep.stdout


def test_unreadable_provenance_is_found(data_dir: Path) -> None:
    pictures(data_dir)[0].with_suffix(".json").write_text("[]")
    assert ".json cannot be read." in audit("--data-dir", data_dir).stdout


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (None, "there is no such file"),
        ("server: {prot: 1}", "did you mean 'port'?"),
        ("storage: {ledger: memory}", "storage.ledger: a ledger in memory is no longer available"),
        ("storage: {data_dir: /nowhere}", "there is no /nowhere/ledger.sqlite3"),
    ],
)
def test_what_cannot_be_audited(tmp_path: Path, settings: str | None, told: str) -> None:
    path = tmp_path / "config.yaml"
    if settings is not None:
        rest = (
            "upstreams: {u: {base_url: 'https://example.org', api_key: k}}\n"
            "models: {m: {routes: [{upstream: u, model: m, price: 1}]}}\n"
        )
        path.write_text(f"{settings}\n{rest}")
    result = audit("--config", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_damaged_file_is_no_traceback(data_dir: Path) -> None:
    (data_dir / "ledger.sqlite3").write_bytes(b"this is no database" * 100)
    result = audit("--data-dir", data_dir)
    assert result.exit_code == 2
    assert "not a database" in result.stderr


def test_violations_stand_under_their_invariants() -> None:
    told = [
        Violation(Invariant.JOBS, "first"),
        Violation(Invariant.USAGE, "second"),
        Violation(Invariant.JOBS, "third"),
    ]
    findings = {one.invariant: one.violations for one in by_invariant(told)}
    assert list(findings) == list(Invariant)
    assert findings[Invariant.JOBS] == ["first", "third"]
    assert findings[Invariant.USAGE] == ["second"]
    assert sum(map(len, findings.values())) == 3
