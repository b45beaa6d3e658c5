"""Every ledger under one roof: another adapter joins by one more entry in `BACKENDS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import shared_servers
from ledger_builders import NOW
from shared_databases import ENGLISH, ledger_database

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
        self._open: list[Ledger] = []

    async def again(self) -> Ledger:
        await self.close()
        return await self.beside()

    async def beside(self) -> Ledger:
        """One more, as another process has it."""
        ledger = self._make()
        await ledger.open()
        self._open.append(ledger)
        return ledger

    async def close(self) -> None:
        while self._open:
            await self._open.pop().close()


@contextmanager
def sqlite(folder: Path, clock: Clock) -> Iterator[Backend]:
    yield Backend(lambda: SqliteLedger(folder / "ledger.db", clock=clock))


@contextmanager
def postgres(folder: Path, clock: Clock) -> Iterator[Backend]:
    """A database of its own on the run's server."""
    with ledger_database() as url:
        yield Backend(lambda: PostgresLedger(url, clock=clock), is_shared=True)


@contextmanager
def oldest(folder: Path, clock: Clock) -> Iterator[Backend]:
    """The same on the oldest server that will do, in a language that orders texts its own way."""
    with ledger_database(shared_servers.oldest, ENGLISH) as url:
        yield Backend(lambda: PostgresLedger(url, clock=clock), is_shared=True)


BACKENDS = {"sqlite": sqlite, "postgres": postgres, "oldest": oldest}
