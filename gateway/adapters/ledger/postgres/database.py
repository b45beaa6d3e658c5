"""A psycopg connection as the ledger's SQL wants it: its time-outs, its values, its pipeline.

Behind a pooler in transaction mode nothing lasts from one transaction to the next: there each
transaction sets its own time-outs, a lone statement is one, and nothing is prepared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ConnStatus, TransactionStatus

from gateway.adapters.ledger.database import Cursor, Row
from gateway.adapters.ledger.postgres.failures import is_defect, unavailable
from gateway.adapters.ledger.postgres.texts import keepable
from gateway.adapters.ledger.replica_store import RAISE
from gateway.core.replicas import Epoch

__all__ = ["PostgresDatabase", "TimeOuts", "is_defect", "translated", "unavailable"]

CONNECT_SECONDS: Final = 3

KEPT_ALIVE: Final = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": 5000,
    "keepalives": 1,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "application_name": "image-gateway",
}
"""A host that is gone is noticed within seconds. What the address says itself counts before."""

TRANSACTION_TIMEOUT_FROM: Final = 170000


OURS: Final = {"extra_float_digits": "1", "standard_conforming_strings": "on"}
"""A database may say otherwise; times would lose their last digits, and searches their words."""


@dataclass(frozen=True, slots=True)
class TimeOuts:
    """How long the server lets things take, in seconds; 0 is for ever."""

    statement: float = 4.0
    lock: float = 3.0
    idle: float = 5.0
    transaction: float = 10.0

    def settings(self, server_version: int) -> dict[str, str]:
        values = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle,
        }
        if server_version >= TRANSACTION_TIMEOUT_FROM:
            values["transaction_timeout"] = self.transaction
        told = {name: str(round(1000 * seconds)) for name, seconds in values.items()}
        return {**told, **OURS}


@cache
def translated(sql: str, *, with_values: bool) -> str:
    """`?` becomes `%s`; with values a percent sign of the statement's own is doubled."""
    return sql.replace("%", "%%").replace("?", "%s") if with_values else sql


def parameters_of(url: str) -> dict[str, Any]:
    """What the address says. An error of the library's quotes it, password and all."""
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise psycopg.OperationalError("the database's address cannot be read") from None


class PostgresDatabase:
    """One connection, used by one thread; transactions are begun by statements alone.

    Without time-outs the server's own settings count. `raised` are the epochs that its statements
    have raised since it was last emptied.
    """

    def __init__(
        self,
        url: str,
        *,
        time_outs: TimeOuts | None = None,
        pooler: bool = False,
        writes: bool = False,
    ) -> None:
        given = parameters_of(url)
        target = {"target_session_attrs": "read-write"} if writes else {}
        options: dict[str, Any] = {**KEPT_ALIVE, **target, **given}
        self.connection = psycopg.connect(
            **options, autocommit=True, prepare_threshold=None if pooler else 5
        )
        self.raised: set[Epoch] = set()
        self._setting = ""
        if time_outs is not None:
            try:
                self._bind(time_outs, local=pooler)
            except BaseException:
                self.connection.close()
                raise

    def _bind(self, time_outs: TimeOuts, *, local: bool) -> None:
        settings = time_outs.settings(self.connection.info.server_version)
        sets = ", ".join(
            f"set_config('{name}', '{value}', {str(local).lower()})"
            for name, value in settings.items()
        )
        if local:
            self._setting = f"SELECT {sets}"
        else:
            self.connection.execute(f"SELECT {sets}")

    # --- statements ----------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        if self._setting:
            return self._set_and_executed(sql, parameters)
        return self._executed(sql, parameters)

    def executemany(self, sql: str, rows: Sequence[Row], /) -> Cursor:
        cursor = self.connection.cursor()
        kept = [keepable(row) for row in rows]  # some are sent before the odd one is met
        cursor.executemany(translated(sql, with_values=True), kept)
        return cursor

    def begin(self) -> None:
        """Whatever the database's own default is: a stricter one would see what was there before
        its locks were granted."""
        self.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")

    def _executed(self, sql: str, parameters: Sequence[Any]) -> Cursor:
        for epoch, raising in RAISE.items():
            if sql == raising:
                self.raised.add(epoch)
        if not parameters:
            return self.connection.execute(sql)
        statement = translated(sql, with_values=True)
        try:
            return self.connection.execute(statement, parameters)
        except (psycopg.DataError, UnicodeEncodeError):
            if (kept := keepable(parameters)) == tuple(parameters):
                raise
            return self.connection.execute(statement, kept)  # nothing had been sent

    def _set_and_executed(self, sql: str, parameters: Sequence[Any]) -> Cursor:
        if sql.startswith("BEGIN"):
            cursor = self._executed(sql, ())
            self.connection.execute(self._setting)
            return cursor
        if self.is_idle:
            with self.connection.pipeline():
                self.connection.execute("BEGIN")
                self.connection.execute(self._setting)
                cursor = self._executed(sql, parameters)
                self.connection.execute("COMMIT")
            return cursor
        return self._executed(sql, parameters)

    # --- how it stands -------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Outside of any transaction."""
        in_pipeline = self.connection.info.pipeline_status != 0
        return not in_pipeline and (
            self.connection.info.transaction_status is TransactionStatus.IDLE
        )

    @property
    def is_broken(self) -> bool:
        return self.connection.closed or self.connection.pgconn.status != ConnStatus.OK

    def close(self) -> None:
        self.connection.close()
