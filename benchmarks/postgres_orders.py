"""How many orders of one team a second a PostgreSQL ledger admits, from one gateway's process.

    PYTHONPATH=deploy:tests python -m benchmarks.postgres_orders [--seconds 5]

It starts a server of its own, which syncs each commit as any does, and has 64 orders wait at a
time; each is the project's own admission. `one by one` has a batch for each order, as a ledger
would that does not merge them.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path

from cluster.postgres import PostgresServer
from core_samples import an_ask, an_order  # type: ignore[import-not-found]

from gateway.adapters.ledger.postgres import ledger as postgres_ledger
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.core.orders.admission import admit
from gateway.ports.ledger import Ledger

AT_ONCE = 64


async def orders(ledger: Ledger, seconds: float, mark: str) -> float:
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


def main() -> None:
    reading = argparse.ArgumentParser(description=__doc__)
    reading.add_argument("--seconds", type=float, default=5.0)
    seconds = reading.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="orders-") as folder:
        server = PostgresServer(Path(folder) / "server")
        server.start()
        try:
            merged = asyncio.run(orders(PostgresLedger(server.url()), seconds, "merged"))
            postgres_ledger.MAX_BATCH = 1  # type: ignore[misc]
            single = asyncio.run(orders(PostgresLedger(server.url()), seconds, "single"))
            near = asyncio.run(orders(SqliteLedger(Path(folder) / "l.db"), seconds, "sqlite"))
        finally:
            server.stop()
    print(f"PostgreSQL, merged      {merged:8.0f} orders/s")
    print(f"PostgreSQL, one by one  {single:8.0f} orders/s   ({merged / single:.1f} times)")
    print(f"SQLite                  {near:8.0f} orders/s")


if __name__ == "__main__":
    main()
