"""The schema in PostgreSQL: made and migrated by several at once, refused, and audited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
import shared_servers
from ledger_backends import Clock
from ledger_builders import a_job, a_picture, a_run, change, done, start
from shared_databases import ENGLISH, new_database

from gateway.adapters.ledger import audit, migrations
from gateway.adapters.ledger.postgres import opening, schema
from gateway.adapters.ledger.postgres.connections import Address
from gateway.adapters.ledger.postgres.database import PostgresDatabase
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.core.money.invariants import Invariant
from gateway.errors import Unavailable
from gateway.ports.ledger import PictureFilter

SERVERS: Mapping[str, Callable[[], Iterator[str]]] = {
    "newest": lambda: new_database(),
    "oldest": lambda: new_database(shared_servers.oldest, ENGLISH),
}
WRITTEN = Path(schema.__file__).with_name("schema.txt")


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database."""
    with SERVERS[request.param]() as url:
        yield url


@pytest.fixture
def newest() -> Iterator[str]:
    with new_database() as url:
        yield url


def rows(url: str, statement: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


# --- migrations -----------------------------------------------------------------------------------


def test_several_that_start_at_once_migrate_once(url: str) -> None:
    failures = []

    def begin() -> None:
        try:
            opening.prepare(Address(url))
        except Unavailable as error:
            failures.append(error.message)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = rows(url, "SELECT version FROM schema_version ORDER BY version")
    assert found == [(one.version,) for one in migrations.migrations()]


def test_what_the_migrations_make_is_written_down(url: str) -> None:
    """Where this fails after a migration was added: `schema.written(schema.described(db))`."""
    opening.prepare(Address(url))
    database = PostgresDatabase(url)
    found = schema.written(schema.described(database))
    database.close()
    assert found.splitlines() == WRITTEN.read_text("utf-8").splitlines()


def test_every_text_compares_by_its_bytes(url: str) -> None:
    opening.prepare(Address(url))
    texts = "FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'text'"
    assert rows(url, f"SELECT DISTINCT collation_name {texts}") == [("C",)]
    names = ["_z", "-y", "a", "A", "b", "B", "task_1", "task-10", "é", "z"]
    for name in names:
        rows(url, "INSERT INTO picture_store (id) VALUES (%s)", name)
    assert [name for (name,) in rows(url, "SELECT id FROM picture_store ORDER BY id")] == sorted(
        names
    )


def test_a_newer_schema_is_refused(newest: str) -> None:
    opening.prepare(Address(newest))
    rows(newest, "INSERT INTO schema_version (version, name) VALUES (9000, 'later')")
    with pytest.raises(Unavailable, match="newer version of the gateway"):
        opening.prepare(Address(newest))
    with pytest.raises(Unavailable, match="newer version of the gateway"):
        opening.check(Address(newest))


def add(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    """One more migration."""
    known = list(migrations.migrations(migrations.POSTGRESQL))
    later = migrations.Migration(known[-1].version + 1, "later", statements)
    monkeypatch.setattr(migrations, "migrations", lambda _kind=migrations.SQLITE: [*known, later])


def test_a_migration_that_fails_leaves_what_was(
    newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening.prepare(Address(newest))
    before = schema_of(newest)
    with monkeypatch.context() as patch:
        add(patch, "CREATE TABLE later (id BIGINT)", "CREATE TABLE runs (id BIGINT)")
        with pytest.raises(Unavailable, match='relation "runs" already exists'):
            opening.prepare(Address(newest))
    assert schema_of(newest) == before
    opening.prepare(Address(newest))


def schema_of(url: str) -> Mapping[str, str]:
    database = PostgresDatabase(url)
    found = schema.described(database)
    database.close()
    return found


def test_a_migration_may_take_longer_than_statements_may(
    newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = newest.rpartition("/")[2]
    rows(newest, f"ALTER DATABASE {name} SET statement_timeout = '150ms'")
    add(monkeypatch, "SELECT pg_sleep(0.3)")
    opening.prepare(Address(newest))


def test_a_table_that_somebody_holds_is_tried_again_and_left_as_it_was(
    newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening.prepare(Address(newest))
    monkeypatch.setattr(opening, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(opening, "TRIES", 2)
    monkeypatch.setattr(opening, "TABLE_SECONDS", 0.05)
    add(monkeypatch, "ALTER TABLE runs ADD COLUMN later BIGINT")
    with psycopg.connect(newest) as holder:
        holder.execute("SELECT 1 FROM runs")
        with pytest.raises(Unavailable, match="somebody holds its tables"):
            opening.prepare(Address(newest))
    opening.prepare(Address(newest))
    assert "column runs.later" in schema_of(newest)


def test_who_only_reads_is_told_that_there_is_no_ledger_or_an_older_one(newest: str) -> None:
    with pytest.raises(Unavailable, match="no ledger in this database yet"):
        opening.check(Address(newest))
    opening.prepare(Address(newest))
    opening.check(Address(newest))
    rows(newest, "DELETE FROM schema_version WHERE version > 3")
    with pytest.raises(Unavailable, match="start the gateway once"):
        opening.check(Address(newest))


def test_a_database_that_cannot_hold_every_text_is_refused() -> None:
    latin = "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    with (
        new_database(options=latin) as url,
        pytest.raises(Unavailable, match="encoding LATIN1: make one that has UTF8"),
    ):
        opening.prepare(Address(url))


def test_what_the_server_says_is_told_without_the_password(newest: str) -> None:
    wrong = newest.replace("only-on-loopback", "not-the-password")
    assert wrong != newest
    with pytest.raises(Unavailable, match="password authentication failed") as caught:
        opening.prepare(Address(wrong))
    assert "not-the-password" not in caught.value.message


async def test_a_database_with_settings_of_its_own_holds_a_ledger_all_the_same(newest: str) -> None:
    name = newest.rpartition("/")[2]
    for setting in (
        "default_transaction_isolation = 'serializable'",
        "extra_float_digits = -15",
        "standard_conforming_strings = off",
        "timezone = 'Pacific/Chatham'",
        "datestyle = 'German'",
    ):
        rows(newest, f"ALTER DATABASE {name} SET {setting}")
    rows(newest, 'CREATE SCHEMA "Ours"')
    url = f"{newest}?options=-csearch_path%3D%22Ours%22"
    ledgers = [PostgresLedger(url, clock=Clock()) for _ in range(3)]
    for ledger in ledgers:
        await ledger.open()
    runs = [a_run(created_at=1760000000.1234567 + n / 7) for n in range(60)]
    await asyncio.gather(*(start(ledgers[n % 3], run) for n, run in enumerate(runs)))
    after = done(runs[0], a_picture())
    await change(ledgers[1], after)
    asked = PictureFilter(text="100%_")
    assert await ledgers[2].find_pictures(asked, after=None, limit=9) == []
    assert await ledgers[2].run(after.id) == after
    assert await ledgers[0].violations() == []
    for ledger in ledgers:
        await ledger.close()
    homes = "SELECT nspname FROM pg_class JOIN pg_namespace AS home ON home.oid = relnamespace"
    assert rows(newest, f"{homes} WHERE relname = 'runs'") == [("Ours",)]


# --- the audit ------------------------------------------------------------------------------------


async def sentences(url: str, *damage: str) -> list[str]:
    for statement in damage:
        rows(url, statement)
    ledger = PostgresLedger(url, read_only=True, clock=Clock())
    await ledger.open()
    found = await ledger.violations()
    await ledger.close()
    return [f"{one.invariant.name} {one.sentence}" for one in found]


async def used(url: str) -> str:
    """A run that is done; its id."""
    ledger = PostgresLedger(url, clock=Clock())
    await ledger.open()
    run = a_run(request='{"prompt":"\\u0000 and \\ud800"}')
    await start(ledger, run, a_job(run))
    await change(ledger, done(run, a_picture()))
    await ledger.close()
    return run.id


async def test_an_audit_sees_a_schema_that_was_changed(url: str) -> None:
    await used(url)
    assert await sentences(url) == []
    found = await sentences(
        url,
        "DROP INDEX runs_one_live",
        "ALTER TABLE usage DROP CONSTRAINT usage_hits_check",
        "ALTER TABLE jobs ALTER COLUMN labels DROP DEFAULT",
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER quiet BEFORE UPDATE ON runs EXECUTE FUNCTION nothing()",
        "CREATE RULE silent AS ON DELETE TO claims DO INSTEAD NOTHING",
        "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY",
        "CREATE VIEW monthly AS SELECT * FROM usage",
        "CREATE TABLE of_a_tool (id BIGINT)",
        "ALTER TABLE runs SET (autovacuum_vacuum_scale_factor = 0.01)",
    )
    assert found == [
        f"SCHEMA The {told}."
        for told in (
            'column jobs.labels is another: text collate C not null',
            "constraint usage.usage_hits_check is not there",
            "index runs_one_live is not there",
            "trigger quiet on runs is not of this gateway",
            "rule silent on claims is not of this gateway",
            "row security on secrets is not of this gateway",
        )
    ]  # fmt: skip


async def test_an_audit_sees_what_cannot_be_read_and_what_leads_nowhere(url: str) -> None:
    run_id = await used(url)
    found = await sentences(
        url,
        "SET session_replication_role = replica;"
        " INSERT INTO team_keys (id, team, digest, label, created_at, revoked_at)"
        " VALUES ('k', 'nobody', 'd', '', 0, 0);"
        " UPDATE runs SET kept = '{\"a\":', tried = '{}', joins = '[[\"\\u0000\",1]]';"
        " UPDATE jobs SET labels = '[]'",
    )
    assert [one for one in found if one.split()[0] in ("READABLE", "COUNTS", "REFERENCES")] == [
        f"COUNTS Run {run_id} does not count its own lists right: 1 kept, 1 links.",
        f"READABLE tried, kept of {run_id} in runs cannot be read.",
        f"READABLE labels of {rows(url, 'SELECT id FROM jobs')[0][0]} in jobs cannot be read.",
        "REFERENCES Row k of team_keys points to a row of teams that is not there.",
    ]


async def test_every_reference_of_the_schema_is_audited(newest: str) -> None:
    opening.prepare(Address(newest))
    found = rows(newest, "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f'")
    assert sorted(name for (name,) in found) == sorted(one[0] for one in audit.REFERENCES)


async def test_audits_read_beside_gateways_that_write(newest: str) -> None:
    ledger = PostgresLedger(newest, clock=Clock())
    await ledger.open()
    runs = [a_run(id=f"run-{n}") for n in range(40)]
    writing = asyncio.gather(*(start(ledger, run, a_job(run)) for run in runs))
    found = [await sentences(newest) for _ in range(3)]
    await writing
    await ledger.close()
    assert found == [[], [], []]
    assert await sentences(newest) == []
    assert Invariant.FILE not in {check.invariant for check in audit.POSTGRES_CHECKS}


async def test_an_audit_compares_kept_pictures_with_those_on_record(newest: str) -> None:
    run_id = await used(newest)
    found = await sentences(newest, "UPDATE pictures SET digest = 'other'")
    assert [one.split()[0] for one in found] == ["ON_RECORD", "ON_RECORD"]
    assert all(run_id in one for one in found)
