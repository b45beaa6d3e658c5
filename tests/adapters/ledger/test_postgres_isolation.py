"""What is locked of one team stops no other: each has its own rows and locks in PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
import shared_databases
from ledger_builders import NOW, a_run, look, start

from gateway.adapters.ledger.postgres import ledger as postgres_ledger
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.adapters.ledger.postgres.locks import LOCK, number
from gateway.core.model import Run
from gateway.errors import Unavailable, Unsettled

PATIENCE = 4.0
SOON = 3.0
"""A few waits for a lock, at most; whoever is locked out waits for longer."""

ROWS = "SELECT * FROM accounts WHERE team = 'blue' FOR UPDATE"


@pytest.fixture
def url() -> Iterator[str]:
    with shared_databases.ledger_database() as found:
        yield found


@pytest.fixture
async def ledger(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresLedger]:
    monkeypatch.setattr(postgres_ledger, "PATIENCE_SECONDS", PATIENCE)
    found = PostgresLedger(url, clock=lambda: NOW)
    await found.open()
    for team in ("blue", "green", "red"):
        await start(found, a_run(team=team))
    yield found
    await found.close()


@contextmanager
def locked(url: str, *what: tuple[str, list[Any]]) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's transaction, which nobody ends."""
    with closing(psycopg.connect(url)) as other:
        for query, values in what:
            other.execute(query.encode(), values or None)
        yield other


def by_rows() -> tuple[str, list[Any]]:
    return ROWS, []


def by_name(name: str = "t:blue") -> tuple[str, list[Any]]:
    """As another gateway has it that stands still."""
    return LOCK, [[number("public", name)]]


async def ordered(ledger: PostgresLedger, team: str) -> tuple[float, Run]:
    begin = time.monotonic()
    run = await start(ledger, a_run(team=team))
    return time.monotonic() - begin, run


@pytest.mark.parametrize("lock", [by_rows(), by_name()], ids=["rows", "name"])
async def test_others_order_while_a_teams_lock_is_held(
    ledger: PostgresLedger, url: str, lock: tuple[str, list[Any]]
) -> None:
    took: list[float] = []
    refused = 0

    async def orders(team: str) -> None:
        nonlocal refused
        until = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < until:
            try:
                seconds, _ = await ordered(ledger, team)
                took.append(seconds)
                assert team != "blue"
            except Unavailable as error:
                assert team == "blue"
                if not isinstance(error, Unsettled):
                    assert "a lock was not to be had in time" in error.message
                refused += 1
            await asyncio.sleep(0.01)

    with locked(url, lock):
        teams = ["blue"] * 20 + ["green"] * 3 + ["red"]
        await asyncio.gather(*(orders(team) for team in teams))
    assert refused >= 20
    assert max(took) < SOON and len(took) > 20
    assert (await ordered(ledger, "blue"))[0] < SOON
    assert await ledger.violations() == []


async def test_whoever_waited_is_served_as_soon_as_the_lock_is_gone(
    ledger: PostgresLedger, url: str
) -> None:
    with locked(url, by_rows()) as other:
        waiting = [asyncio.create_task(ordered(ledger, "blue")) for _ in range(30)]
        while not any(await asyncio.to_thread(_is_waited_for, url)):
            await asyncio.sleep(0.02)
        assert (await ordered(ledger, "green"))[0] < SOON
        await asyncio.to_thread(other.rollback)
        runs = [run for _, run in await asyncio.gather(*waiting)]
    for run in runs:
        assert (await look(ledger, run_id=run.id)).run == run
    assert await ledger.violations() == []


async def test_of_a_team_only_what_wants_the_lock_waits(ledger: PostgresLedger, url: str) -> None:
    """One order of a team is the same as one that a gateway had in hand when it stood still."""
    same = a_run(team="green")
    with locked(url, by_name(f"f:{same.fingerprint}")) as other:
        waiting = asyncio.create_task(look(ledger, fingerprint=same.fingerprint))
        await asyncio.sleep(0.05)
        for _ in range(5):
            assert (await ordered(ledger, "green"))[0] < SOON
        await asyncio.to_thread(other.rollback)
        await waiting


async def test_chores_and_turns_go_on_too(ledger: PostgresLedger, url: str) -> None:
    with locked(url, by_rows()):
        waiting = [asyncio.create_task(ordered(ledger, "blue")) for _ in range(5)]
        await asyncio.sleep(0.05)
        for number_ in range(4):
            begin = time.monotonic()
            assert await ledger.take_turns([f"a{number_}"], "w", now=NOW, until=NOW + 9)
            await ledger.lease("w", now=NOW, until=NOW + 9, limit=1)
            assert time.monotonic() - begin < SOON
        failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in failed)


async def test_a_stop_waits_for_nobodys_lock(ledger: PostgresLedger, url: str) -> None:
    with locked(url, by_rows()):
        waiting = [asyncio.create_task(ordered(ledger, "blue")) for _ in range(5)]
        await asyncio.sleep(0.4)
        begin = time.monotonic()
        await ledger.close()
        assert time.monotonic() - begin < SOON
        failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in failed)


def _is_waited_for(url: str) -> list[bool]:
    with closing(psycopg.connect(url, autocommit=True)) as db:
        query = "SELECT COUNT(*) > 0 FROM pg_locks WHERE NOT granted"
        return [bool(row[0]) for row in db.execute(query)]
