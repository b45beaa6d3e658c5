"""How the ledger stands on its connections: time-outs, poolers, odd texts, what errors say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
import shared_databases
from ledger_builders import NOW, a_refusal, a_run, start, write

from gateway.adapters.ledger.postgres import announcing
from gateway.adapters.ledger.postgres.connections import QUICK, Address
from gateway.adapters.ledger.postgres.database import PostgresDatabase
from gateway.adapters.ledger.postgres.failures import is_defect, unavailable
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.core.transaction import Keys, View, Writes
from gateway.errors import Unavailable
from gateway.ports.ledger import RefusalFilter
from gateway.ports.replicas import News

SHOWN = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"


@pytest.fixture
def url() -> Iterator[str]:
    with shared_databases.ledger_database() as found:
        yield found


def test_time_outs_are_set_for_a_connection(url: str) -> None:
    with closing(PostgresDatabase(url, time_outs=QUICK)) as db:
        assert db.execute(SHOWN).fetchall() == [("4s", "3s")]


def test_behind_a_pooler_nothing_outlasts_a_transaction(url: str) -> None:
    with closing(PostgresDatabase(url, time_outs=QUICK, pooler=True)) as db:
        for _ in range(8):
            assert db.execute(SHOWN).fetchall() == [("4s", "3s")]
        db.execute("BEGIN")
        assert db.execute(SHOWN).fetchall() == [("4s", "3s")]
        db.execute("COMMIT")
        assert db.connection.execute(SHOWN).fetchall() == [("0", "0")]
        prepared = db.connection.execute("SELECT COUNT(*) FROM pg_prepared_statements")
        assert prepared.fetchall() == [(0,)]


async def test_a_ledger_behind_a_pooler(url: str) -> None:
    """Without a way past it nothing is migrated and nothing is heard; all else goes on."""
    heard: list[News] = []
    ledger = PostgresLedger(Address(url, pooler=True), clock=lambda: NOW)
    ledger.listen(heard.append)
    await ledger.open()
    runs = await asyncio.gather(*(start(ledger, a_run()) for _ in range(20)))
    assert [await ledger.run(run.id) for run in runs] == runs
    assert len(await ledger.lease("w", now=NOW, until=NOW + 9, limit=30)) == 20
    assert await ledger.violations() == []
    await ledger.close()
    assert heard == []


async def test_texts_that_cannot_be_kept_concern_no_neighbour(url: str) -> None:
    ledger = PostgresLedger(url, clock=lambda: NOW)
    await ledger.open()
    said = [f"a{odd}b" for odd in ("", "\x00", "\ud800", "%s", "?", "'", "\\", "%")]
    await asyncio.gather(
        *(write(ledger, refusals=(a_refusal(message=one),)) for one in said),
        ledger.transact(Keys(run_id="\x00", claim=("\x00", "\ud800")), nothing),
    )
    found = await ledger.refusals(RefusalFilter(), after=None, limit=99)
    assert {one.message for one in found} == {
        one.replace("\x00", "\ufffd").replace("\ud800", "\ufffd") for one in said
    }
    await ledger.close()


def nothing(view: View) -> tuple[None, Writes]:
    return None, Writes()


async def test_too_many_connections_are_named(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS crowded")
        connection.execute("CREATE ROLE crowded LOGIN PASSWORD 'p' CONNECTION LIMIT 0")
    head, _, tail = url.rpartition("@")
    try:
        with pytest.raises(Unavailable, match="max_connections"):
            await PostgresLedger(f"{head.partition('//')[0]}//crowded:p@{tail}").open()
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP ROLE crowded")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (psycopg.errors.DiskFull(), "disk is full"),
        (psycopg.errors.ReadOnlySqlTransaction(), "read-only"),
        (psycopg.errors.TooManyConnections(), "max_connections"),
        (psycopg.errors.QueryCanceled(), "in time"),
        (psycopg.errors.UndefinedTable(), "its tables are not there"),
        (psycopg.errors.UndefinedColumn(), "its tables are not there"),
        (psycopg.errors.InvalidSchemaName(), "its tables are not there"),
        (psycopg.errors.IoError(), "at the end of something"),
        (psycopg.OperationalError("server closed the connection"), "the gateway's log"),
    ],
)
def test_an_error_says_what_to_do(error: psycopg.Error, why: str) -> None:
    face = unavailable(error)
    assert why in face.message
    assert face.retry_after_seconds
    assert face.__cause__ is error
    assert not is_defect(error)


def test_news_pass_as_they_are_until_there_are_too_many() -> None:
    few = News(runs=frozenset({"run_1", "run_2"}), policy=True, due=True)
    assert announcing.decoded(announcing.encoded(few) or "") == few
    many = News(runs=frozenset(f"run_{number:040}" for number in range(300)))
    assert announcing.decoded(announcing.encoded(many) or "") == News(missed=True)
    assert announcing.encoded(News()) is None
    assert announcing.decoded("what another version says").missed
