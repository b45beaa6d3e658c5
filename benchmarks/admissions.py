"""How many orders of one team a second a ledger admits, from one process.

64 orders wait at a time; each is the project's own admission, and each commit is synced as any
is. `one by one` has a batch for each order, as a ledger would that does not merge them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from functools import partial
from typing import Final
from unittest.mock import patch

from cluster.postgres import PostgresServer
from core_samples import an_ask, an_order  # type: ignore[import-not-found]

from benchmarks import installation
from benchmarks.rows import Row
from benchmarks.windows import Options
from gateway.adapters.ledger.postgres import ledger as postgres_ledger
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.core.orders.admission import admit
from gateway.ports.ledger import Ledger

CASES: Final = ("admissions",)
AT_ONCE: Final = 64


def measured(cases: Collection[str], options: Options) -> list[Row]:
    seconds = options.seconds * 2
    folder = installation.folder()
    server = PostgresServer(folder / "server")
    server.start()
    try:
        merged = asyncio.run(_orders(PostgresLedger(server.url()), seconds, "merged"))
        with patch.object(postgres_ledger, "MAX_BATCH", 1):
            single = asyncio.run(_orders(PostgresLedger(server.url()), seconds, "single"))
        near = asyncio.run(_orders(SqliteLedger(folder / "l.db"), seconds, "near"))
    finally:
        server.stop()
    return [
        Row("admissions", "one by one", "PostgreSQL", single),
        Row(
            "admissions", "merged", "PostgreSQL", merged, rate=merged / single, beside="one by one"
        ),
        Row("admissions", "merged", "SQLite", near),
    ]


async def _orders(ledger: Ledger, seconds: float, mark: str) -> float:
    """Admitted a second."""
    await ledger.open()
    until, count = time.monotonic() + seconds, 0

    async def client(number: int) -> None:
        nonlocal count
        own = 0
        while time.monotonic() < until:
            own += 1
            order = an_order(prompt=f"{mark} {number} {own}")
            ask = an_ask(order=order, now=time.time())
            await ledger.transact(ask.keys(), partial(admit, ask))
            count += 1

    began = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(AT_ONCE)))
    took = time.monotonic() - began
    await ledger.close()
    return count / took
