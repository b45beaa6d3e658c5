"""Many runs under way at once: what watching them takes, and what others feel of it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from benchmarks import hot
from benchmarks.load import MARK, Plan
from benchmarks.processors import resident_mib
from benchmarks.rows import Row
from benchmarks.stand import OPEN, Server, Stand, count, idle_share, stand
from benchmarks.windows import Contender, Options, Way, measure

CASES: Final = ("flight",)
RUNS: Final = (1_000, 10_000)
FEW: Final = (100,)
CONNECTIONS: Final = 32
LOOK_SECONDS: Final = 15.0
"""Longer than the pace at which an old run is asked after."""


def measured(cases: Collection[str], options: Options) -> list[Row]:
    with stand() as one:
        gateway = one.add_gateway()
        hit = Contender("flight", gateway, hot.ways(gateway)["hit"])
        without = measure(one, hit, 16, options.seconds).cpu_us
        rows = []
        for number in FEW if options.quick else RUNS:
            void = _submitted(one, gateway, number)
            look = 1.0 if options.quick else LOOK_SECONDS
            row = Row("flight", f"{number:,} runs", void=(void,) if void else ())
            watching = f"watching takes {idle_share(gateway, look):.1%} of a core"
            window = measure(one, hit, 16, options.seconds)
            row.per_second, row.p50_ms, row.p99_ms = window.per_second, window.p50_ms, window.p99_ms
            row.cpu_us, row.mib = window.cpu_us, resident_mib(gateway.pids)
            row.cost, row.beside = window.cpu_us / without, "a hit without them"
            row.note = watching
            rows.append(row)
        one.release()
        wrong = one.settled(gateway, seconds=60 + number / 20)
        rows[-1].void += (wrong,) if wrong else ()
        return rows


def _submitted(one: Stand, gateway: Server, number: int) -> str:
    """Orders until so many are under way. Says what went wrong."""
    missing = number - count(one.ledger_of(gateway), OPEN)
    body = json.dumps({"model": "model-0", "prompt": f"held small {MARK}"})
    request = Way(hot.ORDERS, body).request()
    at = {"first_number": one.fresh(), "at_most": missing}
    found = one.load.ask(Plan("127.0.0.1", gateway.port, CONNECTIONS, 600, request, **at))
    failed: str = found["failed"]
    return failed
