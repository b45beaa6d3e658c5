"""Hits and paid orders with one, two and three replicas, and what bounds them.

Gateways, PostgreSQL, the bucket, the balancer, the simulated upstream and the load are all on this
machine, so that more replicas cannot be quicker than its processors. What carries over is what a
request costs each part: the milliseconds of a processor beside each rate, without what the part
takes when nobody asks anything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import Final

from benchmarks import installation
from benchmarks.hot import ORDER, ORDERS, WAIT
from benchmarks.load import MARK, Plan
from benchmarks.processors import processor_seconds
from benchmarks.replicas import Site, site
from benchmarks.rows import Row
from benchmarks.stand import Load, call
from benchmarks.windows import Options, Way

CASES: Final = ("replicas",)
REPLICAS: Final = (1, 2, 3)
IDLE_SECONDS: Final = 5.0
HIT_CONNECTIONS: Final = 32
MISS_CONNECTIONS: Final = 128
TIMES: Final = 4
"""A window of hits is so many times as long as another case's, one of orders twice that."""
SETTLE_SECONDS: Final = 60.0
PARTS: Final = ("gateways", "PostgreSQL", "balancer", "bucket", "upstream")
OPEN: Final = "SELECT count(*) FROM runs WHERE state NOT IN ('done', 'failed')"
ENDED: Final = "SELECT count(*) FROM runs WHERE state = '{}'"
KEY: Final = f"Authorization: Bearer {installation.TEAM_KEY}"
HITS: Final = Way(ORDERS, json.dumps(ORDER))
MISS: Final = {"model": "model-0", "quality": "low", "prompt": f"bench {MARK}"}
MISSES: Final = Way(ORDERS, json.dumps(MISS), headers=(KEY, "Prefer: wait=50"))


def measured(cases: Collection[str], options: Options) -> list[Row]:
    load = Load()
    try:
        with site(installation.folder()) as one:
            bench = Bench(one, load, options.seconds * TIMES)
            hits, misses = [], []
            for number in (1,) if options.quick else REPLICAS:
                one.add_gateway()
                bench.order_once()
                idle = bench.idle()
                hits.append(bench.hits(number, idle))
                misses.append(bench.misses(number, idle))
    finally:
        load.end()
    for rows in (hits, misses):
        for row in rows[1:]:
            if row.per_second and rows[0].per_second:
                row.rate, row.beside = row.per_second / rows[0].per_second, "one replica"
    return [*hits, *misses]


class Bench:
    """One site, and what asks it."""

    def __init__(self, one: Site, load: Load, seconds: float) -> None:
        self._site = one
        self._load = load
        self._seconds = seconds
        self._number = 0

    def order_once(self) -> None:
        """What is asked for again and again is there, and every replica has it at hand."""
        for _ in range(2 * len(self._site.gateways)):
            status = call(f"{self._site.base_url}{ORDERS}", ORDER, **WAIT)["status"]
            if status != "completed":
                raise RuntimeError(f"an order is {status}")

    def idle(self) -> Mapping[str, float]:
        """What each part takes of a processor while nobody asks."""
        before = self._spent()
        time.sleep(IDLE_SECONDS)
        return {part: (now - before[part]) / IDLE_SECONDS for part, now in self._spent().items()}

    def hits(self, number: int, idle: Mapping[str, float]) -> Row:
        return self._window(Row("replicas, hits", _told(number)), idle, HITS, HIT_CONNECTIONS)

    def misses(self, number: int, idle: Mapping[str, float]) -> Row:
        """Each answer is a finished order of its own: submitted, watched, kept, settled, told."""
        row = Row("replicas, paid orders", _told(number))
        return self._window(row, idle, MISSES, MISS_CONNECTIONS)

    def _window(self, row: Row, idle: Mapping[str, float], way: Way, connections: int) -> Row:
        """What is under way when the load ends is waited for, and counts in what an order costs."""
        seconds = self._seconds * (2 if way is MISSES else 1)
        self._number += 10_000_000
        port = int(self._site.base_url.rpartition(":")[2])
        plan = Plan(
            "127.0.0.1", port, connections, seconds, way.request(), first_number=self._number
        )
        failed, before, began = self._runs(ENDED.format("failed")), self._spent(), time.monotonic()
        found = self._load.ask(plan)
        void = found["failed"] or self._settled(failed)
        took = time.monotonic() - began
        if void:
            row.void = (void,)
            return row
        asked = found["requests"]
        each = {
            part: max(now - before[part] - idle[part] * took, 0) / asked * 1000
            for part, now in self._spent().items()
        }
        row.per_second = asked / found["seconds"]
        row.p50_ms, row.p99_ms = found["p50_ms"], found["p99_ms"]
        row.cpu_us = each["gateways"] * 1000
        row.note = "ms of " + ", ".join(f"{part} {each[part]:.2f}" for part in PARTS[1:])
        return row

    def _settled(self, failed: int) -> str:
        """Waits until no run is open. Says what is wrong, if something is."""
        until = time.monotonic() + SETTLE_SECONDS
        while self._runs(OPEN):
            if time.monotonic() > until:
                return "a run did not end"
            time.sleep(0.2)
        return "a run failed" if self._runs(ENDED.format("failed")) > failed else ""

    def _runs(self, query: str) -> int:
        return int(self._site.ledger.sql(query))

    def _spent(self) -> Mapping[str, float]:
        return {name: processor_seconds(pids) for name, pids in self._site.processes().items()}


def _told(number: int) -> str:
    return f"{number} replica{'s' if number > 1 else ''}"
