"""Databases on the run's PostgreSQL server: a new one for a test that asks for it, and for most
tests a ledger's that was used before and is empty again, which costs a millisecond.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import LiteralString

import psycopg
import shared_servers
from psycopg import sql

from gateway.adapters.ledger import migrations
from gateway.adapters.ledger.postgres.database import PostgresDatabase

ENGLISH = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8' TEMPLATE template0"
"""A database in which texts do not compare by their bytes. Not every server is built with ICU."""

Server = Callable[[], str]
_FREE: dict[Server, list[str]] = {}
_NUMBERS = count()


@contextmanager
def new_database(
    server: Server = shared_servers.postgres, options: LiteralString = ""
) -> Iterator[str]:
    """The address of a database that is empty, and is there for this block alone."""
    url = _created(server, options)
    try:
        yield url
    finally:
        _maintain(url, "DROP DATABASE {} WITH (FORCE)")


@contextmanager
def ledger_database(
    server: Server = shared_servers.postgres, options: LiteralString = ""
) -> Iterator[str]:
    """The address of a database that has a ledger's tables and no rows."""
    free = _FREE.setdefault(server, [])
    url = free.pop() if free else _with_tables(server, options)
    yield url
    if _emptied(url):
        free.append(url)


def _created(server: Server, options: LiteralString) -> str:
    url = f"{server()}/gateway_{os.getpid()}_{next(_NUMBERS)}"
    _maintain(url, f"CREATE DATABASE {{}} {options}")
    return url


def _maintain(url: str, statement: LiteralString) -> None:
    base, _, name = url.rpartition("/")
    with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def _with_tables(server: Server, options: LiteralString) -> str:
    url = _created(server, options)
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
