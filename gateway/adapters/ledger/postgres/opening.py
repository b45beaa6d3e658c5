"""Opening a ledger in PostgreSQL: whether the database will do, and its schema brought up to date.

Gateways that start at once take turns by an advisory lock, so that one migrates and the others
find it done. A migration waits only shortly for a table that others use, since everybody waits
behind it, and tries again.
"""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from typing import Final

import psycopg

from gateway.adapters.ledger import migrations
from gateway.adapters.ledger.moving import marks
from gateway.adapters.ledger.postgres.connections import Address
from gateway.adapters.ledger.postgres.database import PostgresDatabase, unavailable
from gateway.adapters.ledger.postgres.pooling import require_own_session
from gateway.adapters.ledger.postgres.settling import FORGET
from gateway.errors import Unavailable

MIGRATING: Final = 0x6D696772
"""The advisory lock of whoever migrates."""

MARKED: Final = 0x73616D65
"""The advisory locks by which two ways to a database know each other."""

SAME_PLACE: Final = (
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"
    " AND classid = ?::int::oid AND objid = ?::int::oid AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())), current_schema()"
)

TURN_SECONDS: Final = 120
"""Longer than that another gateway's migration is not waited for; whoever starts this one may."""

TABLE_SECONDS = 3.0
TRIES = 10
PAUSE_SECONDS = 1.0

OLDEST: Final = 150000
"""PostgreSQL 15: the oldest that the tests run on."""


def prepare(address: Address) -> None:
    """Makes or migrates the ledger there, by the way past its pooler; raises `Unavailable` with
    what the server said."""
    try:
        with closing(_past_pooler(address)) as db:
            _require_fit(db)
            _take_its_time(db)
            _take_turn(db)
            _migrate(db)
            marks.require_settled(db)
            db.execute(FORGET)
    except psycopg.Error as error:
        raise _named(error, address) from error


def check_past_pooler(address: Address) -> None:
    """Raises `Unavailable` as `prepare` would for where that way leads; writes nothing."""
    try:
        _past_pooler(address).close()
    except psycopg.Error as error:
        raise _named(error, address) from error


def _past_pooler(address: Address) -> PostgresDatabase:
    db = PostgresDatabase(address.past_pooler or address.url, writes=True)
    try:
        require_own_session(db.connection, address.past_pooler or address.url)
        if address.direct is not None:
            _require_same_place(db, address)
    except BaseException:
        db.close()
        raise
    return db


def _require_same_place(db: PostgresDatabase, address: Address) -> None:
    """Both ways lead to one database and schema: a lock that is taken by one is seen by the other.
    Else tables would be made in another one, and news never heard."""
    [schema] = db.execute("SELECT current_schema()").fetchall()
    mark = (MARKED, secrets.randbelow(2**31))
    db.execute("SELECT pg_advisory_lock_shared(?::int, ?::int)", mark)
    try:
        with closing(PostgresDatabase(address.url, pooler=True, writes=True)) as through:
            found = through.execute(SAME_PLACE, mark).fetchall()
    except psycopg.Error as error:
        raise _named(error) from error
    finally:
        db.execute("SELECT pg_advisory_unlock_shared(?::int, ?::int)", mark)
    if found != [(True, *schema)]:
        raise Unavailable(
            "storage.postgres.direct leads to another database or schema than storage.ledger:"
            " it is the same one's address, past the pooler."
        )


def check(address: Address) -> None:
    """For whoever migrates nothing, a reader beside the gateways or a gateway without a way past
    its pooler: the schema must be its own."""
    try:
        with closing(PostgresDatabase(address.url, pooler=address.pooler)) as db:
            if not address.pooler:
                require_own_session(db.connection, address.url)
            have = migrations.version(db)
    except psycopg.errors.UndefinedTable:
        way = _way(address, "which makes it")
        raise Unavailable(f"There is no ledger in this database yet: {way}.") from None
    except psycopg.Error as error:
        raise _named(error) from error
    migrations.refuse_newer(have)
    if have < migrations.migrations()[-1].version:
        way = _way(address, "which brings it up to date")
        raise Unavailable(f"The ledger is from an older version: {way}.")


def _way(address: Address, outcome: str) -> str:
    if address.past_pooler is not None:
        return f"start the gateway once, {outcome}"
    return (
        "name the server's own address, past the pooler, in storage.postgres.direct and start the"
        f" gateway, {outcome}"
    )


def _require_fit(db: PostgresDatabase) -> None:
    asked = "SELECT current_setting('server_version_num')::int, current_setting('server_version')"
    number, name, encoding = db.execute(f"{asked}, current_setting('server_encoding')").fetchall()[
        0
    ]
    if number < OLDEST:
        raise Unavailable(f"The ledger needs PostgreSQL 15 or newer; this server is {name}.")
    if encoding != "UTF8":
        raise Unavailable(
            f"The ledger's database has the encoding {encoding}: make one that has UTF8"
            " (CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0)."
        )


def _take_its_time(db: PostgresDatabase) -> None:
    """A migration of a large ledger takes minutes, whatever statements may take here."""
    for name in ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"):
        db.execute(f"SELECT set_config(name, '0', false) FROM pg_settings WHERE name = '{name}'")


def _take_turn(db: PostgresDatabase) -> None:
    try:
        _wait_at_most(db, TURN_SECONDS)
        db.execute("SELECT pg_advisory_lock(?)", (MIGRATING,))
    except psycopg.errors.LockNotAvailable:
        raise Unavailable(
            f"Another gateway has been bringing the ledger up to date for {TURN_SECONDS} seconds:"
            " start this one again when it is done."
        ) from None


def _wait_at_most(db: PostgresDatabase, seconds: float) -> None:
    db.execute(f"SET lock_timeout = {round(seconds * 1000)}")


def _migrate(db: PostgresDatabase) -> None:
    """Each migration is one transaction: what was tried in vain leaves nothing behind."""
    _wait_at_most(db, TABLE_SECONDS)
    for tries_left in reversed(range(TRIES)):
        try:
            return migrations.migrate(db, migrations.POSTGRESQL)
        except psycopg.errors.LockNotAvailable:
            if not tries_left:
                raise Unavailable(
                    "The ledger cannot be brought up to date: somebody holds its tables (a backup,"
                    " or an open transaction). It is as it was."
                ) from None
        time.sleep(PAUSE_SECONDS)
    return None


def _named(error: psycopg.Error, past_pooler: Address | None = None) -> Unavailable:
    """At the start the operator reads the message: it says what the server said, and which
    setting led there."""
    said = str(error).strip() or type(error).__name__
    message = f"{unavailable(error).message} ({said.splitlines()[0]})"
    if past_pooler is not None and past_pooler.direct is not None:
        message = message.replace("storage.ledger", "storage.postgres.direct")
    return Unavailable(message)
