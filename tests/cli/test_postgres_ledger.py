"""`audit` and `check` of an installation whose ledger is in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from shared_databases import ledger_database, new_database

from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.cli import main
from gateway.core.money.accounts import Account, AccountKey, Amounts, Window
from gateway.core.transaction import Keys, Writes

SETTINGS = """
storage: {{data_dir: {folder}, ledger: "{url}"}}
upstreams: {{evolink: {{base_url: https://api.example.com, api_key: sk-1234567890}}}}
models: {{m: {{limits: {{sizes: [1:1], qualities: [low]}},
    routes: [{{upstream: evolink, model: m, price: 0.1}}]}}}}
"""


@pytest.fixture
def url() -> Iterator[str]:
    with ledger_database() as url:
        yield url


def config_of(folder: Path, url: str) -> str:
    path = folder / "config.yaml"
    path.write_text(SETTINGS.format(folder=folder / "data", url=url), "utf-8")
    return str(path)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


async def spoil(url: str) -> None:
    ledger = PostgresLedger(url)
    await ledger.open()
    key = AccountKey("art", Window.DAY, 0, 86_400)
    account = Account(key, held=Amounts(130, 1, 1))
    await ledger.transact(Keys(), lambda _: (None, Writes(accounts=(account,))))
    await ledger.close()


def test_an_audit_reads_the_database_and_says_what_does_not_add_up(
    tmp_path: Path, url: str
) -> None:
    config = config_of(tmp_path, url)
    found = run("audit", "--config", config, "--json")
    assert found.exit_code == 0, found.output
    names = {one["invariant"] for one in json.loads(found.stdout)["invariants"]}
    assert "The tables, indexes and constraints are those of this version." in names
    assert "The ledger's file is whole." not in names
    asyncio.run(spoil(url))
    found = run("audit", "--config", config)
    assert found.exit_code == 1
    assert "The day account of team art from 0 has 0.000130 USD" in found.output


def test_an_audit_says_why_the_database_cannot_be_read(tmp_path: Path, url: str) -> None:
    with new_database() as empty:
        found = run("audit", "--config", config_of(tmp_path, empty))
    assert found.exit_code == 2
    assert "There is no ledger in this database yet: start the gateway once" in found.output
    found = run("audit", "--config", config_of(tmp_path, f"{url}_not_there"))
    assert found.exit_code == 2
    assert '_not_there" does not exist' in found.output
    assert psycopg.conninfo.conninfo_to_dict(url)["password"] not in found.output


def test_a_check_notices_a_database_that_cannot_be_used(tmp_path: Path, url: str) -> None:
    found = run("check", "--config", config_of(tmp_path, url))
    assert found.exit_code == 0
    assert "notice: storage.ledger" not in found.output
    assert "ledger: postgresql://postgres:********@127.0.0.1:" in found.output
    found = run("check", "--config", config_of(tmp_path, f"{url}_not_there"))
    assert found.exit_code == 0
    assert "notice: storage.ledger: The gateway's ledger cannot be used now" in found.output


def test_a_check_notices_a_way_past_the_pooler_that_leads_elsewhere(
    tmp_path: Path, url: str
) -> None:
    for direct, said in (
        (f"{url}_not_there", "mend storage.postgres.direct"),
        (url.rpartition("/")[0] + "/postgres", "storage.postgres.direct leads to another database"),
    ):
        config = config_of(tmp_path, url)
        text = Path(config).read_text("utf-8")
        way = f"postgres: {{pooler: true, direct: '{direct}'}}, ledger:"
        Path(config).write_text(text.replace("ledger:", way), "utf-8")
        found = run("check", "--quiet", "--config", config)
        assert found.exit_code == 0
        assert said in found.output


def test_a_check_notices_a_bucket_that_cannot_be_had_before_there_is_a_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked before the first start, when the database is still empty."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with new_database() as empty:
        config = config_of(tmp_path, empty)
        Path(config).write_text(
            Path(config).read_text("utf-8").replace("ledger:", "pictures: s3://kept/x, ledger:"),
            "utf-8",
        )
        found = run("check", "--quiet", "--config", config)
    assert "notice: storage.ledger: There is no ledger in this database yet" in found.output
    assert "notice: AWS_ENDPOINT_URL must be http:// or https:// and a host." in found.output


@pytest.mark.parametrize("command", ["audit", "check", "serve"])
def test_who_lacks_the_driver_is_told_what_to_install(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("gateway.adapters.ledger.post")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.split(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    found = run(command, "--config", config_of(tmp_path, "postgresql://me:pw@db.example.org/gw"))
    assert found.exit_code == (0 if command == "check" else 2)
    assert "storage.ledger: " in found.output
    assert "pip install 'image-gateway[postgres]'" in found.output
