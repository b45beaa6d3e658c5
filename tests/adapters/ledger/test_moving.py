"""A ledger carried from one place to another: all of it, once, however often it is cut."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import shared_servers
from ledger_backends import Clock
from ledger_builders import (
    a_claim,
    a_delivery,
    a_job,
    a_key,
    a_picture,
    a_refusal,
    a_run,
    a_team,
    an_alert,
    an_upload,
    change,
    done,
    failed,
    hit_usage,
    start,
    write,
)

from gateway.adapters.ledger.moving.carrying import LedgerMove
from gateway.adapters.ledger.moving.side import LedgerSide
from gateway.adapters.ledger.moving.sqlite_side import SqliteSide
from gateway.adapters.ledger.moving.tables import tables
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.adapters.ledger.postgres.side import PostgresSide
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.core.model import RunState
from gateway.ports.ledger import Ledger

KINDS = ("sqlite", "postgres")


def database() -> str:
    return str(shared_servers.stores("moving")["ledger"])


class Place:
    """One place for a ledger: opened to serve from, or as a side of a move."""

    def __init__(self, kind: str, folder: Path, clock: Clock) -> None:
        self.kind = kind
        self._clock = clock
        self.path = folder / "ledger.sqlite3"
        self.url = database() if kind == "postgres" else ""

    def ledger(self, *, read_only: bool = False) -> Ledger:
        if self.kind == "sqlite":
            return SqliteLedger(self.path, clock=self._clock, read_only=read_only)
        return PostgresLedger(self.url, clock=self._clock, read_only=read_only)

    def side(self) -> LedgerSide:
        if self.kind == "sqlite":
            return SqliteSide(self.path)
        return PostgresSide(self.url, "postgresql://db.example.org/gateway")

    def sql(self, statement: str) -> None:
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
                db.execute(statement)
        else:
            with psycopg.connect(self.url, autocommit=True) as db:
                db.execute(statement)

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """All that is carried, as it is."""
        side = self.side()
        side.schema()
        with closing(side), side.reading():
            return {
                table.name: [
                    tuple(row) for page in side.pages(table, as_it_is=True) for row in page
                ]
                for table in tables()
            }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[("sqlite", "postgres"), ("postgres", "sqlite")], ids="->".join)
def places(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> tuple[Place, Place]:
    here, there = request.param
    return Place(here, tmp_path / "here", clock), Place(there, tmp_path / "there", clock)


def moving(source: Place, target: Place, clock: Clock) -> LedgerMove:
    return LedgerMove(source.side(), target.side(), tell=lambda *_: None, clock=clock)


def close(move: LedgerMove) -> None:
    move.source.close()
    move.target.close()


def carried(source: Place, target: Place, clock: Clock) -> LedgerMove:
    """As `migrate` does it with a gateway that goes on."""
    move = moving(source, target, clock)
    try:
        move.open()
        move.carry()
    finally:
        close(move)
    return move


def finished(source: Place, target: Place, clock: Clock) -> LedgerMove:
    """As `migrate` does it once the gateway has stopped."""
    move = moving(source, target, clock)
    try:
        move.open()
        with move.source.held():
            move.finish()
            move.leave()
        move.arrive()
    finally:
        close(move)
    return move


async def lived(ledger: Ledger) -> None:
    """Something of all that a ledger has."""
    await ledger.note_store("store-of-tests")
    run = a_run(
        n=2, state=RunState.RUNNING, upstream_task_id="task-1", lease_owner="w", lease_until=9e9
    )
    job = a_job(run, callback_url="https://client.test/hook")
    await start(ledger, run, job)
    ended = done(run, a_picture("d1"), a_picture("d2"))
    await change(ledger, ended)
    hit = a_job(ended)
    await write(
        ledger,
        usage=[hit_usage(hit, ended)],
        claims=[a_claim()],
        deliveries=[a_delivery(job)],
        alerts=[an_alert()],
        uploads=[an_upload()],
        teams=[a_team("ü"), a_team("zebra"), a_team("_z")],
        team_keys=[a_key("zebra")],
        refusals=[a_refusal()],
    )
    await start(ledger, a_run(lease_owner="worker", lease_until=9e9, fingerprint="same"))
    await change(ledger, failed(await start(ledger, a_run())))


async def opened(place: Place) -> Ledger:
    ledger = place.ledger()
    await ledger.open()
    return ledger


async def test_all_of_it_is_there_and_adds_up(places: tuple[Place, Place], clock: Clock) -> None:
    source, target = places
    ledger = await opened(source)
    await lived(ledger)
    await ledger.close()
    before = source.rows()
    finished(source, target, clock)
    after = target.rows()
    assert all(after.values()) or {name for name, rows in after.items() if not rows} <= {
        "secrets",
        "credit_checks",
        "changes",
    }
    assert {name: len(rows) for name, rows in after.items()} == {
        name: len(rows) for name, rows in before.items()
    }
    assert source.rows() == before
    moved = await opened(target)
    assert list(await moved.violations()) == []
    await moved.close()
