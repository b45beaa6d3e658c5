"""The ledger stops answering at the commit of an order: nobody waits for long, nothing is lost,
paid twice, or taken for lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
import shared_databases
from house import House, house, until
from severed import Severed

from gateway.adapters.ledger.postgres import ledger as postgres_ledger

COMMIT = b"COMMIT\0"
"""The statement whole: a transaction begins with READ COMMITTED."""


@asynccontextmanager
async def severed_house(folder: Path) -> AsyncIterator[tuple[House, Severed]]:
    """A gateway whose ledger lies behind a way that can be cut."""
    with shared_databases.ledger_database() as url:
        head, _, tail = url.rpartition(":")
        port, _, database = tail.partition("/")
        async with Severed(int(port)) as way:
            storage = {
                "ledger": f"{head}:{way.port}/{database}",
                "postgres": {"pooler": True, "direct": url},  # so that each COMMIT is sent in words
                "pictures": "folder",
            }
            async with house(folder, storage=storage) as home:
                yield home, way


async def ordered(home: House, prompt: str) -> httpx.Response:
    """As a client does that sends it again when it is told to: also where the machine is busy."""
    while (answer := await home.post(prompt)).status_code == 503:
        await asyncio.sleep(0.1)
    return answer


async def test_an_order_whose_commit_was_answered_by_nobody_goes_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_ledger, "PATIENCE_SECONDS", 1.5)
    async with severed_house(tmp_path) as (home, way):
        await home.made("before")
        submits = home.sandbox.state.submits
        way.drop_answers_to(b"doubtful bicycle", COMMIT)
        began = time.monotonic()
        answer = await home.post("a doubtful bicycle")
        assert time.monotonic() - began < 10
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert home.sandbox.state.submits == submits
        way.cut()
        await until(lambda: home.sandbox.state.submits == submits + 1)
        again = await ordered(home, "a doubtful bicycle")
        ended = await home.ended(again.json()["id"])
        assert ended["status"] == "completed"
        assert home.sandbox.state.submits == submits + 1
        await home.settled()
        assert await home.violations() == []


async def test_a_step_whose_commit_was_answered_by_nobody_is_neither_lost_nor_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit of a run's life in turn: what follows from it waits until it is known."""
    monkeypatch.setattr(postgres_ledger, "PATIENCE_SECONDS", 1.5)
    async with severed_house(tmp_path) as (home, way):
        for number, event in enumerate((b"Accepted", b"Finished", b"PicturesKept")):
            submits = home.sandbox.state.submits
            way.drop_answers_to(event, COMMIT)
            order = asyncio.create_task(ordered(home, f"bicycle number {number}"))
            async with asyncio.timeout(40):
                await way.passed.wait()
            await asyncio.sleep(1.7)
            way.cut()
            answer = await order
            assert answer.status_code == 200, (event, answer.text)
            ended = await home.ended(answer.json()["id"])
            assert ended["status"] == "completed"
            assert home.sandbox.state.submits == submits + 1
        await home.settled()
        assert await home.violations() == []
