"""A ledger carried from one place to another: all of it, once, however often it is cut."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import shared_servers
from hypothesis import given
from hypothesis import strategies as st
from ledger_backends import Clock
from ledger_builders import (
    NOW,
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

from gateway.adapters.ledger import migrations
from gateway.adapters.ledger.moving.carrying import LedgerMove
from gateway.adapters.ledger.moving.side import LedgerSide
from gateway.adapters.ledger.moving.sqlite_side import SqliteSide
from gateway.adapters.ledger.moving.tables import LEASE, tables
from gateway.adapters.ledger.moving.walking import PAGE, Page, key_of, walk
from gateway.adapters.ledger.postgres import side
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.adapters.ledger.postgres.side import PostgresSide
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.core.model import RunState
from gateway.core.replicas import Epochs, Replica
from gateway.errors import Unavailable
from gateway.ports.ledger import Ledger


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


Pair = tuple[Place, Place]
LEASES = {
    table.name: [at for at, one in enumerate(table.columns) if one.name in LEASE]
    for table in tables()
}


def unleased(table: str, row: tuple[object, ...]) -> tuple[object, ...]:
    """As it is in the other place, where nobody works on it."""
    if not LEASES[table]:
        return row
    owner, until = LEASES[table]
    return tuple(
        None if at == owner else 0.0 if at == until else value for at, value in enumerate(row)
    )


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
        n=2,
        state=RunState.RUNNING,
        upstream_task_id="task-1",
        lease_owner="w",
        lease_until=NOW + 100,
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
    await start(ledger, a_run(lease_owner="worker", lease_until=NOW + 100, fingerprint="same"))
    await change(ledger, failed(await start(ledger, a_run())))


async def opened(place: Place) -> Ledger:
    ledger = place.ledger()
    await ledger.open()
    return ledger


async def violations(place: Place) -> list[str]:
    ledger = place.ledger(read_only=True)
    await ledger.open()
    found = [one.sentence for one in await ledger.violations()]
    await ledger.close()
    return found


async def an_old_one(place: Place) -> None:
    ledger = await opened(place)
    await lived(ledger)
    await ledger.close()


async def test_all_of_it_is_there(places: Pair, clock: Clock) -> None:
    source, target = places
    await an_old_one(source)
    rows, found = source.rows(), await violations(source)
    finished(source, target, clock)
    assert source.rows() == rows
    assert target.rows() == {name: [unleased(name, row) for row in rows[name]] for name in rows}
    assert sorted(await violations(target)) == sorted(found)
    await (await opened(target)).close()
    with pytest.raises(Unavailable, match="was moved to"):
        await opened(source)


async def test_what_has_come_since_the_bulk_is_carried_alone(places: Pair, clock: Clock) -> None:
    """Also where rows have changed places meanwhile: a run that gave up its fingerprint."""
    source, target = places
    ledger = await opened(source)
    await lived(ledger)
    early = await start(ledger, a_run(id="run-z", fingerprint="one"))
    carried(source, target, clock)
    with pytest.raises(Unavailable, match="is not whole yet"):
        await opened(target)
    await change(ledger, failed(early))
    await start(ledger, a_run(id="run-a", fingerprint="one"))
    await write(ledger, freed=[a_claim()])
    await ledger.close()
    move = finished(source, target, clock)
    assert move.written.removed == 1
    assert 0 < move.written.new + move.written.changed < 25
    assert target.rows()["runs"] == [unleased("runs", row) for row in source.rows()["runs"]]


class Killed(Exception):
    """As when the process dies."""


async def test_a_cut_at_any_point_is_gone_on_with(places: Pair, clock: Clock) -> None:
    source, target = places
    await an_old_one(source)
    rows, cuts = source.rows(), 0
    for at in range(0, 200, 3):
        told = iter(range(200))

        def tell(*_: object, at: int = at, told: Iterator[int] = told) -> None:
            if next(told) == at:
                raise Killed

        move = LedgerMove(source.side(), target.side(), tell=tell, clock=clock)
        try:
            move.open()
            with move.source.held():
                move.finish()
                tell()
                move.leave()
            tell()
            move.arrive()
            break
        except Killed:
            cuts += 1
        finally:
            close(move)
    assert cuts > 7
    assert source.rows() == rows
    assert target.rows() == {name: [unleased(name, row) for row in rows[name]] for name in rows}
    await (await opened(target)).close()


async def test_who_was_killed_just_now_is_not_in_the_way(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may not have seen yet that he is gone; who goes on is in the way."""
    place = Place("postgres", tmp_path, clock)
    await an_old_one(place)
    one, other = place.side(), place.side()
    try:
        one.take()
        monkeypatch.setattr(side, "_SOON", "SET LOCAL lock_timeout = '10ms'")
        with pytest.raises(Unavailable, match="Another migrate works on"):
            other.take()
        monkeypatch.setattr(side, "_SOON", "SET LOCAL lock_timeout = '60s'")
        gone = threading.Timer(0.3, one.close)
        gone.start()
        other.take()
        gone.join()
    finally:
        one.close()
        other.close()


async def test_who_waits_for_another_move_sees_what_it_has_made(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two installations and one empty place: the second comes while the first is about to end."""
    monkeypatch.setattr(side, "_SOON", "SET LOCAL lock_timeout = '60s'")
    one, other = (
        Place("sqlite", tmp_path / "one", clock),
        Place("sqlite", tmp_path / "other", clock),
    )
    target = Place("postgres", tmp_path, clock)
    await an_old_one(one)
    ledger = await opened(other)
    await ledger.note_store("store-of-another")
    await start(ledger, a_run(id="run-of-another"))
    await ledger.close()
    first, second = moving(one, target, clock), moving(other, target, clock)
    has_looked = threading.Event()
    taken = second.target.take

    def take() -> None:
        has_looked.set()
        taken()

    second.target.take = take  # type: ignore[method-assign]
    try:
        first.open()
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(second.open)
            assert has_looked.wait(5)
            with first.source.held():
                first.finish()
                first.leave()
            first.arrive()
            first.target.close()
            with pytest.raises(Unavailable, match="another installation's"):
                late.result()
    finally:
        close(first)
        close(second)
    await (await opened(target)).close()


async def test_a_second_move_after_the_end_is_refused(places: Pair, clock: Clock) -> None:
    source, target = places
    await an_old_one(source)
    finished(source, target, clock)
    rows = target.rows()
    with pytest.raises(Unavailable, match="already"):
        carried(source, target, clock)
    assert target.rows() == rows


async def test_back_to_a_place_that_was_left(places: Pair, clock: Clock) -> None:
    source, target = places
    await an_old_one(source)
    finished(source, target, clock)
    ledger = await opened(target)
    await change(ledger, failed(await start(ledger, a_run(id="run-of-the-new-place"))))
    await ledger.close()
    rows = target.rows()
    finished(target, source, clock)
    assert source.rows() == {name: [unleased(name, row) for row in rows[name]] for name in rows}
    await (await opened(source)).close()
    with pytest.raises(Unavailable, match="was moved to"):
        await opened(target)


async def test_a_place_that_went_on_by_itself_is_not_written_over(
    places: Pair, clock: Clock
) -> None:
    source, target = places
    await an_old_one(source)
    finished(source, target, clock)
    source.sql("DELETE FROM moves")
    ledger = await opened(source)
    await start(ledger, a_run(id="run-of-the-old-place"))
    await ledger.close()
    source.sql(
        "INSERT INTO moves (name, value) VALUES ('left',"
        """ '{"place":"x","at":"y","store_id":"store-of-tests"}')"""
    )
    with pytest.raises(Unavailable, match="knows of the run run-of-the-old-place"):
        finished(target, source, clock)


async def test_targets_that_are_refused(places: Pair, clock: Clock, tmp_path: Path) -> None:
    source, target = places
    await an_old_one(source)
    with pytest.raises(Unavailable, match="is where the ledger is"):
        finished(source, source, clock)
    ledger = await opened(target)
    await lived(ledger)
    await ledger.note_store("store-of-others")
    await ledger.close()
    rows = target.rows()
    with pytest.raises(Unavailable, match="has another installation's ledger"):
        finished(source, target, clock)
    target.sql("UPDATE picture_store SET id = 'store-of-tests'")
    with pytest.raises(Unavailable, match="has a ledger of this installation already"):
        finished(source, target, clock)
    assert target.rows()["runs"] == rows["runs"]
    target.sql("INSERT INTO schema_version (version, name) VALUES (9999, 'newer')")
    with pytest.raises(Unavailable, match="newer version"):
        finished(source, target, clock)
    target.sql("DELETE FROM schema_version WHERE version > 9")
    with pytest.raises(Unavailable, match="from an older version of the gateway: name an empty"):
        finished(source, target, clock)
    await (await opened(source)).close()


async def test_a_place_that_was_cut_while_it_was_made_is_made(
    places: Pair, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = places
    await an_old_one(source)
    found = await violations(source)
    known, move = migrations.migrations, moving(source, target, clock)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrations", lambda kind=migrations.SQLITE: known(kind)[:4])
        move.target.take()
        move.target.make()
    close(move)
    finished(source, target, clock)
    assert sorted(await violations(target)) == sorted(found)


async def test_sources_that_are_refused(places: Pair, clock: Clock) -> None:
    source, target = places
    with pytest.raises(Unavailable, match="There is no ledger at"):
        finished(source, target, clock)
    await (await opened(source)).close()
    with pytest.raises(Unavailable, match="was never served from"):
        finished(source, target, clock)
    source.sql("DELETE FROM schema_version WHERE version > 9")
    with pytest.raises(Unavailable, match="start the gateway once"):
        finished(source, target, clock)


async def test_an_empty_ledger_is_taken_and_another_one_at_work_is_waited_for(
    places: Pair, clock: Clock
) -> None:
    source, target = places
    await an_old_one(source)
    ledger = await opened(target)
    await ledger.note_store("store-of-nobody")
    await ledger.close()
    first = moving(source, target, clock)
    first.open()
    with pytest.raises(Unavailable, match="Another"):
        finished(source, target, clock)
    close(first)
    finished(source, target, clock)
    assert target.rows()["picture_store"] == [("store-of-tests",)]


async def test_a_gateway_that_serves_keeps_its_ledger(places: Pair, clock: Clock) -> None:
    source, target = places
    ledger = await opened(source)
    await lived(ledger)
    await serving(source, ledger)
    side = source.side()
    with closing(side):
        assert "serves from" in (side.in_use() or "")
    with pytest.raises(Unavailable, match=r"Another gateway uses|Stop it first"):
        finished(source, target, clock)
    await start(ledger, a_run())
    await ledger.close()


async def serving(place: Place, ledger: Ledger) -> None:
    """A gateway says so in a database; the lock of a file says it by itself."""
    if place.kind == "postgres":
        place.sql(
            "INSERT INTO replicas (id, name, started_at, seen_at, policy, cache, settings)"
            " VALUES ('r', 'gateway-1', 0, EXTRACT(EPOCH FROM clock_timestamp()), 0, 0, '')"
        )


async def test_one_that_starts_while_the_last_is_carried_is_seen(
    clock: Clock, tmp_path: Path
) -> None:
    source = Place("postgres", tmp_path / "here", clock)
    target = Place("sqlite", tmp_path / "there", clock)
    await an_old_one(source)
    move = moving(source, target, clock)
    move.open()
    with pytest.raises(Unavailable, match="gateway-1"), move.source.held():
        with pytest.raises(Unavailable, match="its move was cut"):
            await opened(source)
        move.finish()
        move.leave()
        await serving(source, source.ledger())
    close(move)
    source.sql("DELETE FROM replicas")
    ledger = await opened(source)
    await start(ledger, a_run())
    await ledger.close()


async def test_texts_that_postgresql_cannot_keep_are_mended_and_counted(
    clock: Clock, tmp_path: Path
) -> None:
    source = Place("sqlite", tmp_path / "here", clock)
    target = Place("postgres", tmp_path / "there", clock)
    await an_old_one(source)
    source.sql("UPDATE pictures SET prompt = 'a ' || char(0) || ' bicycle' WHERE digest = 'd1'")
    source.sql("UPDATE uploads SET name = char(0) || char(0)")
    move = finished(source, target, clock)
    assert {name: count for name, count in move.written.nul.items() if count} == {
        "pictures": 1,
        "uploads": 1,
    }
    prompts = {str(row) for row in target.rows()["pictures"]}
    assert any("a \N{REPLACEMENT CHARACTER} bicycle" in row for row in prompts)


async def test_who_was_cut_off_while_the_ledger_left_does_nothing_more(
    clock: Clock, tmp_path: Path
) -> None:
    source = Place("postgres", tmp_path / "here", clock)
    target = Place("sqlite", tmp_path / "there", clock)
    ledger = await opened(source)
    await lived(ledger)
    finished(source, target, clock)
    with pytest.raises(Unavailable, match="was moved to"):
        await ledger.note_replica(Replica("r", "gateway-1", NOW, NOW, Epochs(), ""))
    with pytest.raises(Unavailable, match="was moved to"):
        await ledger.lease("r", now=NOW + 1000, until=NOW + 2000, limit=9)
    with pytest.raises(Unavailable, match="was moved to"):
        await ledger.lease_deliveries("r", now=NOW + 1000, until=NOW + 2000, limit=9)
    with pytest.raises(Unavailable, match="was moved to"):  # asked before an order leaves
        await ledger.renew("r", ["run_1"], until=NOW + 2000)
    await ledger.close()


# --- tables side by side -------------------------------------------------------------------------


@given(
    st.dictionaries(st.integers(0, 60), st.integers(0, 2)),
    st.dictionaries(st.integers(0, 60), st.integers(0, 2)),
    st.integers(1, 7),
    st.integers(1, 7),
)
def test_two_tables_become_equal(
    here: dict[int, int], there: dict[int, int], mine: int, yours: int
) -> None:
    def pages(rows: dict[int, int], size: int) -> Iterator[Page]:
        ordered = sorted(rows.items())
        return (ordered[at : at + size] for at in range(0, len(ordered), size))

    became, seen = dict(there), 0
    for found in walk(key_of((0,)), pages(here, mine), pages(there, yours)):
        seen += found.seen
        assert not {key for (key,) in found.surplus} & here.keys()
        for (key,) in found.surplus:
            del became[key]
        assert not {key for key, _ in found.missing} & became.keys()
        became.update(dict((*found.missing, *found.changed)))
    assert became == here
    assert seen == len(here)


async def test_more_than_a_page(clock: Clock, tmp_path: Path) -> None:
    """A row in front of all others sets every page behind it apart."""
    source = Place("sqlite", tmp_path / "here", clock)
    target = Place("postgres", tmp_path / "there", clock)
    await an_old_one(source)
    refusals = "INSERT INTO refusals SELECT printf('%s%06d', {0}, value), at, team, model, verdict,"
    refusals += " mode, reason, rule, message, param, job_id, request_id, asked"
    refusals += " FROM refusals, generate_series(1, {1}) WHERE id LIKE 'request-%'"
    count = 2 * PAGE + 7
    with closing(sqlite3.connect(source.path, isolation_level=None)) as db:
        db.execute(
            "CREATE TEMP TABLE n AS WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL"
            f" SELECT value + 1 FROM n WHERE value < {count}) SELECT value FROM n"
        )
        db.execute(refusals.format("'r-'", count).replace(f"generate_series(1, {count})", "n"))
    carried(source, target, clock)
    source.sql("UPDATE refusals SET id = 'a' WHERE id = 'r-002000'")
    move = finished(source, target, clock)
    assert (move.written.new, move.written.removed) == (1, 1)
    assert target.rows()["refusals"] == source.rows()["refusals"]
