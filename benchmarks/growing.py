"""What a large ledger costs: the same requests with 0, 100,000 and 1,000,000 tasks in it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from benchmarks import hot, installation, pages, submits
from benchmarks.installation import Size
from benchmarks.rows import Row
from benchmarks.stand import Server, Stand, idle_share, stand
from benchmarks.windows import Contender, Options, Way, alternate
from gateway.wiring import LEDGER_NAME

CASES: Final = ("ledger", "pages")
TASKS: Final = (0, 100_000, 1_000_000)
FEW_TASKS: Final = (0, 2_000)
CONNECTIONS: Final = 16
CHORES_SECONDS: Final = 90.0
QUIET: Final = 0.05
WAYS: Final = ("hit", "poll", "304")
LISTS: Final = {"list of tasks": "/v1/tasks"}


def measured(cases: Collection[str], options: Options) -> list[Row]:
    with stand() as one:
        sizes: Sequence[int] = FEW_TASKS if options.quick else TASKS
        sizes = sizes if "ledger" in cases else sizes[-1:]
        gateways = {_named(tasks): _gateway(one, tasks) for tasks in sizes}
        rows = _compared(one, gateways, options) if "ledger" in cases else []
        if "pages" in cases:
            name, largest = list(gateways.items())[-1]
            rows += pages.measured(largest, name)
        return rows


def _named(tasks: int) -> str:
    return f"{tasks:,} tasks"


def _gateway(one: Stand, tasks: int) -> Server:
    name = _named(tasks)
    runs = tasks // installation.TASKS_OF_RUN
    if runs:
        ledger = one.folder / name / "data" / LEDGER_NAME
        installation.fill(ledger, now=time.time(), size=Size(runs, refusals=runs))
    return one.add_gateway(name)


def _compared(one: Stand, gateways: Mapping[str, Server], options: Options) -> list[Row]:
    servers = list(gateways.values())
    for each in servers:
        _await_quiet(each)
    ways = {each: hot.ways(each) for each in servers}
    contenders = [
        Contender(f"ledger, {case}", each, ways[each][case]) for case in WAYS for each in servers
    ]
    contenders += [
        Contender(f"ledger, {case}", each, Way(path))
        for case, path in LISTS.items()
        for each in servers
    ]
    few = Options(options.rounds, options.seconds, (CONNECTIONS,), options.quick)
    rows = alternate(one, contenders, few)
    one.release()
    rows += submits.orders("order", submits.WORKS["order"], one, servers, options)
    rows[-len(servers) :] = [_renamed(row) for row in rows[-len(servers) :]]
    return _with_ratios(rows, servers[0].name)


def _await_quiet(server: Server) -> None:
    """What a gateway looks through once, after its start, is no part of what a request costs."""
    until = time.monotonic() + CHORES_SECONDS
    while idle_share(server, 1.0) > QUIET and time.monotonic() < until:
        pass


def _renamed(row: Row) -> Row:
    row.case = f"ledger, {row.case}"
    return row


def _with_ratios(rows: Sequence[Row], empty: str) -> list[Row]:
    """Of costs, for a rate is the load's as well."""
    floors = {row.case: row.cpu_us for row in rows if row.who == empty}
    for row in rows:
        of = floors.get(row.case)
        if row.who != empty and row.cpu_us and of:
            row.cost, row.beside = row.cpu_us / of, empty
    return list(rows)
