"""Every ledger under one roof: another adapter joins by one more entry in `BACKENDS`."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

import psycopg
from cluster.postgres import FAST, PostgresServer
from ledger_builders import NOW

from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.ports.ledger import Ledger


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Backend:
    """Gives ledgers over one store: `again` lets the former one go and opens the next.

    Where several processes may use the store (`is_shared`), leases outlive whoever had them.
    """

    def __init__(self, make: Callable[[], Ledger], *, is_shared: bool = False) -> None:
        self._make = make
        self.is_shared = is_shared
        self._current: Ledger | None = None

    async def again(self) -> Ledger:
        await self.close()
        self._current = self._make()
        await self._current.open()
        return self._current

    async def close(self) -> None:
        if self._current is not None:
            await self._current.close()


def sqlite(folder: Path, clock: Clock) -> Backend:
    return Backend(lambda: SqliteLedger(folder / "ledger.db", clock=clock))


def postgres(folder: Path, clock: Clock) -> Backend:
    """A schema of its own on the run's server."""
    url = schema_of(folder.name)
    return Backend(lambda: PostgresLedger(url, clock=clock), is_shared=True)


@cache
def server() -> PostgresServer:
    """One for all tests of this process."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    found = PostgresServer(folder, options=FAST)
    found.start()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(found.stop)
    return found


def schema_of(name: str) -> str:
    """The address of a new, empty schema."""
    schema = f"s{sha256(f'{name}{time.time_ns()}'.encode()).hexdigest()[:16]}"
    with psycopg.connect(server().url(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return server().url(schema=schema)


BACKENDS = {"sqlite": sqlite, "postgres": postgres}
