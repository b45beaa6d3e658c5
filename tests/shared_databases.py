"""Databases on the run's PostgreSQL server: a new one for a test that asks for it, and for most
tests a ledger's that was used before and is empty again, which costs a millisecond.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
import shared_servers
from psycopg import sql

from gateway.adapters.ledger import migrations
from gateway.adapters.ledger.postgres.database import PostgresDatabase

_FREE: list[str] = []
_NUMBERS = count()


@contextmanager
def new_database(options: str = "") -> Iterator[str]:
    """The address of a database that is empty, and is there for this block alone."""
    url = _created(options)
    try:
        yield url
    finally:
        _maintain(sql.SQL("DROP DATABASE {} WITH (FORCE)"), url)


@contextmanager
def ledger_database() -> Iterator[str]:
    """The address of a database that has a ledger's tables and no rows."""
    url = _FREE.pop() if _FREE else _with_tables()
    yield url
    if _emptied(url):
        _FREE.append(url)


def _created(options: str) -> str:
    url = f"{shared_servers.postgres()}/gateway_{os.getpid()}_{next(_NUMBERS)}"
    _maintain(sql.SQL(f"CREATE DATABASE {{}} {options}"), url)  # type: ignore[arg-type]
    return url


def _maintain(statement: sql.SQL, url: str) -> None:
    base, _, name = url.rpartition("/")
    with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(name)))


def _with_tables() -> str:
    url = _created("")
    database = PostgresDatabase(url)
    migrations.migrate(database, migrations.POSTGRESQL)
    database.close()
    return url


def _emptied(url: str) -> bool:
    """As the migrations leave it; not when a test holds on to a row, or changed the tables."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("SET lock_timeout = '5s'; SET session_replication_role = replica")
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname <> 'schema_version'"
            " AND relnamespace = current_schema()::regnamespace"
        ).fetchall()
        try:
            for (name,) in tables:
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
            connection.execute("INSERT INTO epochs (id, policy, cache) VALUES (1, 0, 0)")
        except psycopg.Error:
            return False
    return True
