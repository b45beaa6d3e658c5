"""What is asked of upstream: submits of distinct orders, and an order from POST to kept."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.hot import ORDERS
from benchmarks.load import MARK, Plan
from benchmarks.processors import processor_seconds, resident_mib
from benchmarks.rows import Row
from benchmarks.stand import ROOT, Server, Stand, idle_share, stand
from benchmarks.windows import Contender, Options, Way, alternate, measure

IDLE_SECONDS: Final = 2.0
ORDERED: Final = 400
AT_ONCE: Final = 16
WORKS: Final = {
    "order": "small polls=0",
    "order-polled": "small polls=7",
    "order-large": "polls=0",
}
"""Case to what upstream is told in the prompt."""
CASES: Final = ("submit", *WORKS)


def measured(cases: Collection[str], options: Options) -> list[Row]:
    with stand() as one:
        assert one.upstream is not None
        trees = (ROOT, *(Path(tree) for tree in options.trees))
        names = ["gateway", *(f"gateway of {tree.name}" for tree in trees[1:])]
        gateways = [one.add_gateway(n, tree=t) for n, t in zip(names, trees, strict=True)]
        rows = _submits(one, gateways, options) if "submit" in cases else []
        works = [case for case in WORKS if case in cases]
        floor = one.module("floor", "orders", "PORT", str(one.folder)) if works else None
        for case in works:
            rows += orders(case, WORKS[case], one, gateways, options, floor)
    return rows


# --- submits ---------------------------------------------------------------------------------


def _submits(one: Stand, gateways: list[Server], options: Options) -> list[Row]:
    """Works take longer than a window; they end behind it, and each has to be kept."""
    assert one.upstream is not None
    passing = one.module("floor", "pass", "PORT", one.upstream.url)
    way = Way(ORDERS, json.dumps({"model": "model-0", "prompt": f"held small {MARK}"}))
    floor = Contender("submit", passing, way, is_floor=True)
    own = [
        Contender("submit", each, way, passing.name, partial(_released, one, each))
        for each in gateways
    ]
    return alternate(one, [floor, *own], options)


def _released(one: Stand, gateway: Server) -> str:
    one.release()
    return one.settled(gateway)


# --- an order, from POST to kept -------------------------------------------------------------


def orders(
    case: str,
    words: str,
    one: Stand,
    gateways: list[Server],
    options: Options,
    floor: Server | None = None,
) -> list[Row]:
    """So many orders by sixteen connections; what the gateway takes anyway is taken off. Beside a
    `floor` in the same rounds its cost is what its own process takes, to a request of that one."""
    number = 32 if options.quick else ORDERED
    body = json.dumps({"model": "quick", "prompt": f"{words} {MARK}"})
    found: dict[str, list[Row]] = {each.name: [] for each in gateways}
    for _ in range(options.rounds):
        least = _floor_us(one, floor, options) if floor else None
        for each in gateways:
            row = Row(case, f"{number} orders", each.name)
            found[each.name].append(row)
            _order(row, one, each, Way(ORDERS, body), number)
            if least and row.own_us:
                row.cost = row.own_us / least
    return [_middle(rows) for rows in found.values()]


def _floor_us(one: Stand, floor: Server, options: Options) -> float:
    way = Way(ORDERS, json.dumps({"model": "quick", "prompt": "the same again"}))
    return measure(one, Contender("floor", floor, way), AT_ONCE, options.seconds).cpu_us


def _order(row: Row, one: Stand, gateway: Server, way: Way, number: int) -> None:
    one.load.ask(_plan(gateway, way, one, AT_ONCE))  # the decoding processes are there then
    one.settled(gateway)
    idle = idle_share(gateway, IDLE_SECONDS)
    before, own, began = processor_seconds(gateway.pids), _own(gateway), time.monotonic()
    found = one.load.ask(_plan(gateway, way, one, number))
    failed = one.settled(gateway) or found["failed"]
    took = time.monotonic() - began
    if failed:
        row.void = (failed,)
        return
    spent = processor_seconds(gateway.pids) - before - idle * took
    row.cpu_us, row.per_second = spent / number * 1e6, number / took
    row.own_us = (_own(gateway) - own - idle * took) / number * 1e6
    row.p50_ms, row.p99_ms = found["p50_ms"], found["p99_ms"]
    row.mib = resident_mib(gateway.pids)


def _plan(gateway: Server, way: Way, one: Stand, number: int) -> Plan:
    return Plan(
        "127.0.0.1",
        gateway.port,
        AT_ONCE,
        seconds=120,
        request=way.request(),
        first_number=one.fresh(),
        at_most=number,
    )


def _own(gateway: Server) -> float:
    """Without the processes that prove pictures."""
    return processor_seconds([gateway.pid])


def _middle(rows: list[Row]) -> Row:
    """The middle of rounds that count, with the reasons of those that do not."""
    good = [row for row in rows if not row.void]
    void = tuple(reason for row in rows for reason in row.void)
    told = Row(rows[0].case, rows[0].what, rows[0].who, void=void)
    for name in ("per_second", "p50_ms", "p99_ms", "cpu_us", "own_us", "mib", "cost"):
        values = [getattr(row, name) for row in good if getattr(row, name) is not None]
        setattr(told, name, median(values) if values else None)
    told.beside = "floor orders" if told.cost else ""
    told.note = f"{told.own_us:,.0f} µs of them in its own process" if told.own_us else ""
    return told
