"""Every ledger under one roof: another adapter joins by one more entry in `BACKENDS`."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import psycopg
import shared_servers
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


def schema_of(name: str) -> str:
    """The address of a new, empty schema."""
    schema = f"s{sha256(f'{name}{time.time_ns()}'.encode()).hexdigest()[:16]}"
    server = f"{shared_servers.postgres()}/postgres"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{server}?options=-csearch_path%3D{schema}"


BACKENDS = {"sqlite": sqlite, "postgres": postgres}
