"""Every ledger under one roof: another adapter joins by one more entry in `BACKENDS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger_builders import NOW

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.ports.ledger import Ledger


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Backend:
    """Gives ledgers over one store: `again` lets the former one go and opens the next."""

    def __init__(self, make: Callable[[], Ledger]) -> None:
        self._make = make
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


BACKENDS = {"sqlite": sqlite}
