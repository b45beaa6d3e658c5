"""The ledger behind a pgbouncer that shares connections by transaction, a real one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import shared_databases
from ledger_builders import NOW, a_run, start
from pooler import pooler

from gateway.adapters.ledger.moving.carrying import LedgerMove
from gateway.adapters.ledger.moving.sqlite_side import SqliteSide
from gateway.adapters.ledger.postgres.connections import Address
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.adapters.ledger.postgres.pooling import is_shared
from gateway.adapters.ledger.postgres.side import PostgresSide
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.errors import Unavailable
from gateway.ports.replicas import News

SESSION = (
    "SELECT current_setting('synchronous_commit'), current_setting('statement_timeout'),"
    " current_setting('lock_timeout'), current_setting('cursor_tuple_fraction')"
)


@pytest.fixture
def url() -> Iterator[str]:
    with shared_databases.new_database() as found:
        yield found


async def test_a_gateway_behind_a_pooler_with_a_way_past_it(url: str) -> None:
    """Tables are made and news is heard past it; orders pass through it, from several at once."""
    with pooler(url, size=3) as through:
        address = Address(through, pooler=True, direct=url)
        ledgers = [PostgresLedger(address, clock=lambda: NOW) for _ in range(3)]
        heard: asyncio.Queue[News] = asyncio.Queue()
        ledgers[0].listen(heard.put_nowait)
        await asyncio.gather(*(one.open() for one in ledgers))
        runs = await asyncio.gather(*(start(one, a_run()) for one in ledgers for _ in range(20)))
        leases = await asyncio.gather(
            *(
                one.lease(str(at), now=NOW, until=NOW + 9, limit=99)
                for at, one in enumerate(ledgers)
            )
        )
        leased = [run.id for some in leases for run in some]
        assert sorted(leased) == sorted(run.id for run in runs)
        assert await ledgers[1].violations() == []
        await asyncio.wait_for(heard.get(), 5)
        await asyncio.gather(*(one.close() for one in ledgers))
        assert left_behind(through) == {the_servers(url)}


async def test_without_a_way_past_the_pooler_the_tables_have_to_be_there(url: str) -> None:
    with pooler(url) as through:
        behind = PostgresLedger(Address(through, pooler=True), clock=lambda: NOW)
        with pytest.raises(Unavailable, match=r"no ledger in this database yet.*postgres\.direct"):
            await behind.open()
        first = PostgresLedger(url, clock=lambda: NOW)
        await first.open()
        await first.close()
        await behind.open()
        runs = await asyncio.gather(*(start(behind, a_run()) for _ in range(20)))
        assert [await behind.run(run.id) for run in runs] == runs
        assert await behind.violations() == []
        await behind.close()


async def test_a_way_past_the_pooler_that_leads_elsewhere_is_refused_and_nothing_is_made(
    url: str,
) -> None:
    with pooler(url) as through, shared_databases.new_database() as other:
        for direct, said in (
            (other, "storage.postgres.direct leads to another database or schema"),
            (with_schema(url, "elsewhere"), "storage.postgres.direct leads to another"),
            (the_server_is_nobody(url), "at the address of storage.postgres.direct"),
        ):
            ledger = PostgresLedger(Address(through, pooler=True, direct=direct), clock=lambda: NOW)
            with pytest.raises(Unavailable, match=said):
                await ledger.require_way_past_pooler()
            with pytest.raises(Unavailable, match=said):
                await ledger.open()
        for place in (url, other):
            with psycopg.connect(place) as db:
                assert db.execute("SELECT to_regclass('schema_version')").fetchall() == [(None,)]
        right = PostgresLedger(Address(through, pooler=True, direct=url), clock=lambda: NOW)
        await right.require_way_past_pooler()
        assert left_behind(through) == {the_servers(url)}


def with_schema(url: str, name: str) -> str:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"CREATE SCHEMA {name}")
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"


def the_server_is_nobody(url: str) -> str:
    return re.sub(r":\d+/", ":1/", url)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("direct", [False, True])
async def test_a_pooler_that_the_settings_do_not_know_is_named(
    url: str, *, read_only: bool, direct: bool
) -> None:
    """A lock that was taken in its session would be left there, and the next start wait for it."""
    first = PostgresLedger(url, clock=lambda: NOW)
    await first.open()
    await first.close()
    with pooler(url) as through:
        address = Address(through, pooler=True, direct=through) if direct else Address(through)
        ledger = PostgresLedger(address, clock=lambda: NOW, read_only=read_only)
        if direct and read_only:
            await ledger.open()  # it needs no way past the pooler
            await ledger.close()
        else:
            with pytest.raises(Unavailable, match=r"storage\.postgres\.pooler: true"):
                await ledger.open()
        locks = (
            "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )  # other tests have databases of their own on this server
        with psycopg.connect(url) as db:
            assert db.execute(locks).fetchall() == [(0,)]


def test_what_is_shared_is_told_from_what_only_passes_through(url: str) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as straight:
        assert not is_shared(straight, url)
    session = pooler(url, mode="session")
    with session as through, closing(psycopg.connect(through, autocommit=True)) as passing:
        assert not is_shared(passing, through)
    with pooler(url) as through, closing(psycopg.connect(through, autocommit=True)) as shared:
        assert is_shared(shared, through)


async def test_a_backup_through_a_pooler_leaves_no_setting_behind(url: str, tmp_path: Path) -> None:
    """A gateway that got the connection next would lose what it commits in a crash."""
    ledger = PostgresLedger(url, clock=lambda: NOW)
    await ledger.open()
    await ledger.note_store("store-of-tests")
    await asyncio.gather(*(start(ledger, a_run()) for _ in range(5)))
    await ledger.close()
    with pooler(url) as through:
        with (
            closing(PostgresSide(through, "postgresql://pooler/gateway")) as source,
            closing(SqliteSide(tmp_path / "ledger.sqlite3", alone=True)) as target,
            closing(psycopg.connect(through)) as gateway,
        ):
            assert source.schema() is not None
            gateway.execute("SELECT 1")  # holds what the backup had first
            LedgerMove(source, target, tell=silent, clock=lambda: NOW).copy()
            gateway.rollback()
        assert left_behind(through) == {the_servers(url)}


async def test_no_ledger_is_moved_through_a_pooler(url: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    here = SqliteLedger(path, clock=lambda: NOW)
    await here.open()
    await here.note_store("store-of-tests")
    await start(here, a_run())
    await here.close()
    with pooler(url) as through:
        with (
            closing(PostgresSide(through, "postgresql://pooler/gateway")) as target,
            closing(SqliteSide(path)) as source,
            pytest.raises(Unavailable, match=r"storage\.postgres\.direct"),
        ):
            LedgerMove(source, target, tell=silent, clock=lambda: NOW).open()
        assert left_behind(through) == {the_servers(url)}


def the_servers(url: str) -> tuple[str, ...]:
    with closing(psycopg.connect(url, autocommit=True)) as db:
        return db.execute(SESSION).fetchone() or ()


def left_behind(through: str) -> set[tuple[str, ...]]:
    """What the next clients find in the connections that were used."""
    with closing(psycopg.connect(through, autocommit=True)) as db:
        return {db.execute(SESSION, prepare=False).fetchone() or () for _ in range(8)}


def silent(*_: object) -> None:
    """What a move tells of its way."""
