"""`image-gateway migrate`: what it is told, what it says, and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import shared_servers
from click.testing import CliRunner, Result
from former_versions import LATEST

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.cli import main
from gateway.cli.stages import Stages
from gateway.config import parse
from gateway.wiring import make_place

MODELS = {
    "upstreams": {"evolink": {"base_url": "https://api.evolink.ai", "api_key": "k"}},
    "models": {"m": {"routes": [{"upstream": "evolink", "model": "m", "price": 0.1}]}},
}
STORE_ID = "0123456789abcdef0123456789abcdef"


def settings(file: Path, data_dir: Path, **storage: str) -> Path:
    given = {"data_dir": str(data_dir), **storage}
    file.write_text(json.dumps({**MODELS, "storage": given}), "utf-8")
    return file


def run(*words: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, ["migrate", *map(str, words)], env=env)


async def made(data_dir: Path) -> None:
    ledger = SqliteLedger(data_dir / "ledger.sqlite3")
    await ledger.open()
    await ledger.note_store(STORE_ID)
    await ledger.close()
    place = make_place(parse(json.dumps({**MODELS, "storage": {"data_dir": str(data_dir)}}), {}))
    await place.become(STORE_ID)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The settings of an installation that nobody has ordered from yet."""
    asyncio.run(made(tmp_path / "data"))
    return settings(tmp_path / "config.yaml", tmp_path / "data")


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in shared_servers.s3().items():
        monkeypatch.setenv(name, value)
    return dict(shared_servers.stores("migrate"))


def test_the_place_is_named_in_three_ways(
    old: Path, stores: dict[str, str], tmp_path: Path
) -> None:
    """Whoever types the password is told; nobody is shown it."""
    url, pictures = stores["ledger"], stores["pictures"]
    password = url.partition("@")[0].rpartition(":")[2]
    typed = run("--config", old, "--to", url, "--pictures", pictures)
    assert typed.exit_code == 0, typed.output
    assert "a password on the command line can be read" in typed.output
    assert password not in typed.output
    back = run(
        "--config", settings(tmp_path / "new.yaml", tmp_path / "new", **stores),
        "--to", "sqlite", "--pictures", "folder",
    )  # fmt: skip
    assert back.exit_code == 0, back.output
    data = tmp_path / "new"
    beside = settings(tmp_path / "beside.yaml", data, ledger=url)
    for words, env in (
        (("--to", "${DATABASE}"), {"DATABASE": url}),
        ((), {"IMAGE_GATEWAY_MIGRATE_TO": url}),
    ):
        again = run("--data-dir", data, *words, env=env)
        assert again.exit_code == 0, again.output
        assert "notice" not in again.output
        assert password not in again.output
        home = run("--config", beside, "--to", "sqlite", "--json")
        assert json.loads(home.output)["ok"] is True
        assert password not in home.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say where the ledger goes"),
        (("--to", "mysql://user:secret@db/x"), "must be sqlite or postgresql://"),
        (("--to", "${NOTHING}"), "NOTHING is not set"),
        (("--to", "@nowhere.yaml"), "there is no such file"),
        (("--to", "sqlite"), "is where the ledger is"),
        (("--to", "sqlite", "--pictures", "gs://bucket"), "must be folder or s3://"),
        (("--to", "postgresql://u:secret@127.0.0.1:9/x"), "cannot be used: connection"),
    ],
)
def test_what_cannot_be(old: Path, words: tuple[str, ...], said: str) -> None:
    refused = run("--config", old, *words)
    assert refused.exit_code == 2
    assert said in refused.output
    assert "secret" not in refused.output
    assert "Traceback" not in refused.output


def test_a_bucket_or_a_database_that_is_not_there(old: Path, stores: dict[str, str]) -> None:
    url = stores["ledger"]
    bucket = run("--config", old, "--to", url, "--pictures", "s3://no-such-bucket/x")
    assert bucket.exit_code == 2
    assert "no-such-bucket" in bucket.output
    server, _, query = url.rpartition("/")
    database = run("--config", old, "--to", f"{server}/no_such?{query.partition('?')[2]}")
    assert database.exit_code == 2
    assert 'database "no_such" does not exist' in database.output
    bad_keys = {"AWS_SECRET_ACCESS_KEY": "wrong"}
    refused = run("--config", old, "--to", url, "--pictures", stores["pictures"], env=bad_keys)
    assert refused.exit_code == 2
    assert "refuses the keys" in refused.output


def test_pictures_of_somebody_else_are_not_mixed_with(
    old: Path, stores: dict[str, str], tmp_path: Path
) -> None:
    there = settings(tmp_path / "new.yaml", tmp_path / "new", **stores)
    place = make_place(parse(there.read_text("utf-8"), {}))

    async def fill(store_id: str | None) -> None:
        await place.open()
        await place.put(f"{'ab' * 32}.png", old)
        if store_id is not None:
            await place.become(store_id)

    asyncio.run(fill(None))
    assert "is not empty" in run("--config", old, "--to", f"@{there}").output
    asyncio.run(fill("f" * 32))
    refused = run("--config", old, "--to", f"@{there}")
    assert refused.exit_code == 2
    assert "another installation's pictures" in refused.output


def test_without_the_extra_it_says_what_to_install(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if "ledger.postgres" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    refused = run("--config", old, "--to", "postgresql://u@db.example.org/x")
    assert refused.exit_code == 2
    assert "pip install 'image-gateway[postgres]'" in refused.output


def test_an_older_ledger_is_brought_up_to_date_first(
    stores: dict[str, str], tmp_path: Path
) -> None:
    data = LATEST.unpack(tmp_path / "data")
    refused = run("--data-dir", data, "--to", stores["ledger"])
    assert refused.exit_code == 2
    assert "start the gateway once" in refused.output


def test_the_mark_is_taken_away_again(old: Path, stores: dict[str, str], tmp_path: Path) -> None:
    never = run("--config", old, "--undo", "--yes")
    assert never.exit_code == 0
    assert "nothing was changed" in never.output
    assert run("--config", old, "--to", stores["ledger"]).exit_code == 0
    again = run("--config", old, "--to", stores["ledger"])
    assert again.exit_code == 0, again.output  # a run before this one has done it all
    assert "was moved to" in again.output
    elsewhere = run("--config", old, "--to", f"{stores['ledger']}_2")
    assert elsewhere.exit_code == 2
    assert "no schema" in elsewhere.output
    asked = CliRunner().invoke(main, ["migrate", "--config", str(old), "--undo"], input="n\n")
    assert asked.exit_code == 1
    undone = run("--config", old, "--undo", "--yes")
    assert undone.exit_code == 0, undone.output
    with closing(sqlite3.connect(tmp_path / "data/ledger.sqlite3")) as db:
        assert db.execute("SELECT * FROM moves").fetchall() == []


@pytest.mark.slow
def test_killed_again_and_again_it_ends(old: Path, stores: dict[str, str], tmp_path: Path) -> None:
    """Each run is killed a little later than the one before."""
    refusals(tmp_path / "data/ledger.sqlite3", 20_000)
    pictures(tmp_path / "data/pictures", 40)
    there = settings(tmp_path / "new.yaml", tmp_path / "new", **stores)
    command = [
        sys.executable,
        "-m",
        "gateway",
        "migrate",
        "--config",
        str(old),
        "--to",
        f"@{there}",
    ]
    killed = 0
    for seconds in (0.7, 1.1, 1.6, 2.2, 3.0, 60.0):
        one = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            output = one.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            one.send_signal(signal.SIGKILL)
            one.communicate()
            killed += 1
            continue
        assert one.returncode == 0, output
        break
    assert killed
    assert "Proven:" in output or "already" in output  # killed before it had said so
    again = run("--config", old, "--to", f"@{there}")
    assert "already: start the gateway with the settings of that place" in again.output
    place = make_place(parse(there.read_text("utf-8"), {}))

    async def lying() -> int:
        await place.open()
        return sum([len(await place.lying(f"{shard:02x}")) for shard in range(256)])

    assert asyncio.run(lying()) == 40
    again = run("--config", there, "--to", "sqlite", "--pictures", "folder", "--json")
    told = {one["table"]: one["rows"] for one in json.loads(again.output)["tables"]}
    assert told["refusals"] == 20_000


def refusals(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(refusals)")]
        values = {"id": "'r' || value", "at": "value", "verdict": "'denied'", "asked": "'{}'"}
        chosen = ", ".join(values.get(name, "''") for name in columns)
        db.execute(
            "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n"
            f" WHERE value < {count}) INSERT INTO refusals SELECT {chosen} FROM n"
        )
        db.commit()


def pictures(folder: Path, count: int) -> None:
    for number in range(count):
        content = f"{number}".encode() * 50_000
        digest = hashlib.sha256(content).hexdigest()
        (folder / digest[:2]).mkdir(exist_ok=True)
        (folder / digest[:2] / f"{digest}.png").write_bytes(content)


def test_how_far_it_is_is_told_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    ticks: Iterator[float] = iter([0.0, 6.0, 7.0, 12.0])
    with Stages(silent=False, clock=lambda: next(ticks)) as tell:
        tell("runs", 0, 1000)
        tell("runs", 300, 1000)
        tell("runs", 350, 1000)
        tell("bytes of pictures", 5_000_000, 20_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "runs: 0 of 1,000 (0 %)",
        "runs: 300 of 1,000 (30 %), about 14.0s left",
        "bytes of pictures: 5.0 MB of 20.0 MB (25 %)",
    ]
