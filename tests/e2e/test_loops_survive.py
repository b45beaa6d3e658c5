"""What nobody had thought of ends no loop in the background: all goes on by itself afterwards."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import shared_servers
from house import FAST, House, house

from gateway.background import timekeeping, turn, webhooks
from gateway.background.runs import loop
from gateway.background.runs.leases import Leases

SLOW = replace(FAST, seconds_per_picture=1.0)
LOOPS = {"worker", "leases", "webhooks", "leases of webhooks", "turn of the chores", "waiters"}
ASKED = (
    "next_due", "lease", "next_delivery_due", "renew_deliveries", "take_turns",
    "clock_offset", "runs",
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds where it is in use."""
    for module, name in (
        (loop, "RENEW_SECONDS"),
        (turn, "RENEW_SECONDS"),
        (webhooks, "RENEW_SECONDS"),
        (timekeeping, "MEASURE_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.05)


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, value in shared_servers.s3().items():
        monkeypatch.setenv(name, value)
    return {"data_dir": str(tmp_path), "free_space_floor": 0, **shared_servers.stores("loops")}


def running() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks() if not task.done()}


async def test_a_loop_that_meets_the_unexpected_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with house(tmp_path, options=SLOW) as home:
        assert running() >= LOOPS
        task = (await home.post("under way")).json()["id"]
        met = set[str]()
        with monkeypatch.context() as broken:
            for name in ASKED:
                broken.setattr(home.gateway.ledger, name, _raising(name, met))
            broken.setattr(Leases, "renew", _raising("renew", met))
            home.gateway.services.worker.look()
            async with asyncio.timeout(10):
                while not met >= {"next_due", "renew", "next_delivery_due", "take_turns"}:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
        assert running() >= LOOPS
        assert (await home.ended(task))["status"] == "completed"
        assert (await home.made("afterwards"))["status"] == "completed"
    told = capsys.readouterr().out
    assert len(re.findall(r"a background loop failed and goes on +loop=leases\n", told)) == 1


def _raising(name: str, met: set[str]) -> Any:
    async def fail(*_: Any, **__: Any) -> None:
        met.add(name)
        raise RuntimeError(f"{name} of another world")

    return fail


async def test_runs_go_on_after_a_table_was_away(tmp_path: Path, storage: dict[str, Any]) -> None:
    async with house(tmp_path, options=SLOW, storage=storage) as home:
        tasks = [(await home.post(f"before {n}")).json()["id"] for n in range(3)]
        await asyncio.to_thread(_rename, storage["ledger"], "steps", "x")
        assert (await home.post("meanwhile")).status_code == 503
        await asyncio.sleep(1)
        await asyncio.to_thread(_rename, storage["ledger"], "x", "steps")
        for task in tasks:
            assert (await home.ended(task, seconds=30))["status"] == "completed"
        assert running() >= LOOPS | {"time"}
        await _is_taken(home)
        assert await home.violations() == []


async def _is_taken(home: House) -> None:
    async with asyncio.timeout(10):
        while (await home.post("after")).status_code == 503:
            await asyncio.sleep(0.1)
    assert (await home.made("after"))["status"] == "completed"


def _rename(ledger: str, former: str, later: str) -> None:
    with closing(psycopg.connect(ledger, autocommit=True)) as db:
        db.execute(f"ALTER TABLE {former} RENAME TO {later}".encode())
