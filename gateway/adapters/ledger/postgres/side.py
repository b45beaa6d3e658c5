"""A ledger in PostgreSQL, as a move reads or writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg

from gateway.adapters.ledger import audit, migrations
from gateway.adapters.ledger.database import Cursor, Row
from gateway.adapters.ledger.moving import marks
from gateway.adapters.ledger.moving.side import LedgerSide
from gateway.adapters.ledger.moving.tables import STAYS, CarriedTable, tables
from gateway.adapters.ledger.moving.walking import PAGE, Page
from gateway.adapters.ledger.postgres.database import parameters_of, translated
from gateway.adapters.ledger.postgres.pooling import SHARED, is_shared
from gateway.core.money.invariants import Violation
from gateway.errors import Unavailable

MOVING: Final = 0x6D6F7665
"""Whoever moves a ledger here or away from here holds this advisory lock."""

LIVE_SECONDS: Final = 30.0
"""A gateway that has not been seen for longer is dead, or cut off: its leases go to others."""

CONNECT_SECONDS: Final = 5
TYPES: Final = {"TEXT": "text", "BIGINT": "int8", "DOUBLE PRECISION": "float8"}

_PATIENT: Final = (
    "statement_timeout = 0",
    "lock_timeout = '10s'",
    "idle_in_transaction_session_timeout = 0",
    "cursor_tuple_fraction = 1",
)
_QUICK: Final = "synchronous_commit = off"
"""What is written is checked afterwards, and made durable before it counts."""

_INDEXES: Final = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
    " AND tablename = ANY(%s) AND NOT EXISTS (SELECT 1 FROM pg_constraint"
    " WHERE conname = indexname AND connamespace = current_schema()::regnamespace)"
    " ORDER BY indexname"
)
_IDENTITY: Final = (
    "SELECT pg_postmaster_start_time(), oid, current_schema() FROM pg_database"
    " WHERE datname = current_database()"
)
_SOON: Final = "SET LOCAL lock_timeout = '2s'"
"""One that was killed a moment ago has the lock until its server has noticed."""

_TAKE: Final = "SELECT pg_advisory_lock(?, hashtext(current_schema()))"
_USED: Final = "SELECT current_setting('server_encoding'), current_schema()"
_LIVING: Final = (
    "SELECT name, EXTRACT(EPOCH FROM clock_timestamp())::float8 - seen_at FROM replicas"
    " WHERE seen_at > EXTRACT(EPOCH FROM clock_timestamp())::float8 - ? ORDER BY name"
)


class Session:
    """A connection that waits for as long as its work takes."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, **parameters_of(url)}
        self.connection = psycopg.connect(**options, autocommit=True, prepare_threshold=None)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        if not parameters:
            return self.connection.execute(sql)
        return self.connection.execute(translated(sql, with_values=True), parameters)

    def executemany(self, sql: str, rows: Sequence[Row], /) -> Cursor:
        cursor = self.connection.cursor()
        cursor.executemany(translated(sql, with_values=True), rows)
        return cursor


class PostgresSide(LedgerSide):
    """`url` leads to the server itself, past any pooler. Through one that shares connections by
    transaction it can only be read: settings and locks would be left with the gateways' own."""

    def __init__(self, url: str, place: str) -> None:
        super().__init__(place)
        self._url = url
        self._is_shared = False
        self._writer: Session | None = None
        self._reader: Session | None = None

    def writer(self) -> Session:
        if self._writer is None:
            self._writer = Session(self._url)
            self._is_shared = is_shared(self._writer.connection, self._url)
            for setting in () if self._is_shared else (*_PATIENT, _QUICK):
                self._writer.execute(f"SET {setting}")
        return self._writer

    def schema(self) -> int | None:
        with self.failures():
            self._require_usable()
            db = self.writer()
            known = {"schema_version", *STAYS, *(table.name for table in tables())}
            found = {
                str(name)
                for (name,) in db.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
                ).fetchall()
            }
            if "schema_version" not in found and found & known:
                raise Unavailable(
                    f"{self.place} has a table {min(found & known)} that is no gateway's: name a"
                    " database of its own."
                )
            have = migrations.version(db) if "schema_version" in found else 0
            migrations.refuse_newer(have)
            return have or None

    def identity(self) -> str:
        with self.failures():
            return str(self.writer().execute(_IDENTITY).fetchall()[0])

    def make(self) -> None:
        with self.failures():
            migrations.migrate(self.writer(), migrations.POSTGRESQL)

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self.failures():
            self._reader = Session(self._url)
            self._reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            for setting in _PATIENT:
                self._reader.execute(f"SET LOCAL {setting}")
            self._reader.execute("SELECT 1")  # the instant
        try:
            yield
        finally:
            self._drop(self._reader)
            self._reader = None

    def pages(self, table: CarriedTable, *, as_it_is: bool) -> Iterator[Page]:
        assert self._reader is not None  # noqa: S101 - within `reading`
        columns = table.names if as_it_is else table.read
        order = ", ".join(f'"{one.name}"' for one in table.keys)
        sql = f"SELECT {columns} FROM {table.name} ORDER BY {order}"
        reading = self._reader.connection.cursor("carried", binary=True)
        with self.failures(), reading as cursor:
            cursor.execute(sql)
            while page := cursor.fetchmany(PAGE):
                yield page

    def insert(self, table: CarriedTable, rows: Page) -> None:
        sql = f"COPY {table.name} ({table.names}) FROM STDIN (FORMAT BINARY)"
        cursor = self.writer().connection.cursor()
        with self.failures(), cursor, cursor.copy(sql) as copy:
            copy.set_types([TYPES[one.kind] for one in table.columns])
            for row in rows:
                copy.write_row(row)

    def change_many(self, sql: str, rows: Sequence[Row]) -> None:
        if rows:
            with self.failures():
                self.writer().executemany(sql, rows)

    def indexes(self) -> Mapping[str, str]:
        with self.failures():
            names = [table.name for table in tables()]
            found = self.writer().connection.execute(_INDEXES, (names,)).fetchall()
        return {str(name): str(statement) for name, statement in found}

    def take(self) -> None:
        self._require_own_session()
        with self.failures():
            db = self.writer()
            db.execute("BEGIN")
            try:
                db.execute(_SOON)
                db.execute(_TAKE, (MOVING,))
            except psycopg.errors.LockNotAvailable as error:
                raise Unavailable(f"Another migrate works on {self.place} now.") from error
            finally:
                with suppress(psycopg.Error):  # else why it broke would not be told
                    db.execute("ROLLBACK")  # the lock is the session's

    def in_use(self) -> str | None:
        with self.failures():
            found = self.writer().execute(_LIVING, (LIVE_SECONDS,)).fetchall()
        if not found:
            return None
        name, ago = found[0]
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        last = f"was seen {ago:.0f} seconds ago"
        return (
            f"A gateway serves from {self.place}: {name}{more} {last}. One that was killed counts"
            f" for {LIVE_SECONDS:.0f} seconds."
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """By a mark that no gateway starts over, and by locks on every table."""
        self._require_own_session()
        self._require_unused()
        self.mark(marks.LEAVING, "")
        db = self.writer()
        try:
            with self.failures():
                db.execute("BEGIN")
                db.execute(f"LOCK TABLE {', '.join(t.name for t in tables())} IN SHARE MODE")
            yield
            self._require_unused()  # one that had begun to start before the mark
            self.unmark(marks.LEAVING)
            with self.failures():
                db.execute("COMMIT")
        except BaseException:
            with suppress(psycopg.Error, Unavailable):
                db.execute("ROLLBACK")
                self.unmark(marks.LEAVING)
            raise

    def settle(self) -> None:
        with self.failures():
            db = self.writer()
            for table in tables():
                db.execute(f"ANALYZE {table.name}")
            db.execute("SET synchronous_commit = on")

    def violations(self, now: float) -> Sequence[Violation]:
        with self.failures():
            return list(audit.violations(self.writer(), now, audit.POSTGRES_CHECKS))

    def close(self) -> None:
        self._drop(self._reader)
        self._drop(self._writer)
        self._reader = self._writer = None

    @contextmanager
    def failures(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise Unavailable(f"The ledger {self.place} cannot be used: {said}.") from error

    # --- connections ---------------------------------------------------------------------------

    def _require_own_session(self) -> None:
        with self.failures():
            self.writer()
        if self._is_shared:
            raise Unavailable(f"{self.place}: {SHARED}")

    def _require_usable(self) -> None:
        [(encoding, schema)] = self.writer().execute(_USED).fetchall()
        if encoding != "UTF8":
            raise Unavailable(
                f"{self.place} keeps texts as {encoding}: make a database with ENCODING 'UTF8'."
            )
        if schema is None:  # nothing could be made there, nor locked
            raise Unavailable(f"{self.place} has no schema that its search_path names: make it.")

    def _require_unused(self) -> None:
        said = self.in_use()
        if said is not None:
            raise Unavailable(f"{said} Stop it first.")

    def _drop(self, db: Session | None) -> None:
        if db is not None:
            with suppress(psycopg.Error):
                db.connection.close()
