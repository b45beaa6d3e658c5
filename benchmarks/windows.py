"""Windows: how they are measured, alternated and summed up.

Candidates take turns within each round, so that what else the machine does meets all alike; what
is told is the middle of the rounds, and of their ratios. A window with a failed request is void:
its figures count nowhere, and why is told.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks import installation
from benchmarks.load import Plan
from benchmarks.processors import processor_seconds, resident_mib
from benchmarks.rows import Row
from benchmarks.stand import Server, Stand

CONNECTIONS: Final = (1, 16, 64)
WARM_REQUESTS: Final = 100
FULL: Final = 0.95


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often; `quick` shows that all runs, and no more."""

    rounds: int = 5
    seconds: float = 2.0
    connections: tuple[int, ...] = CONNECTIONS
    quick: bool = False
    trees: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """What is sent. `load.MARK` in the body becomes a number that no request had before."""

    path: str
    body: str = ""
    status: int = 200
    headers: tuple[str, ...] = (f"Authorization: Bearer {installation.TEAM_KEY}",)

    def request(self) -> str:
        """The whole of it, as it goes over the wire."""
        lines = [f"{'POST' if self.body else 'GET'} {self.path} HTTP/1.1", "Host: 127.0.0.1"]
        if self.body:
            lines += [f"Content-Length: {len(self.body.encode())}"]
            lines += ["Content-Type: application/json"]
        return "\r\n".join((*lines, *self.headers)) + "\r\n\r\n" + self.body


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to one server. `after` is done behind each window, and may say what is wrong."""

    case: str
    server: Server
    way: Way
    beside: str = ""
    """The name of the server that is this one's floor."""
    after: Callable[[], str] = str
    is_floor: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """What came of one."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    mib: float
    load_busy: float
    void: str = ""


def measure(one: Stand, contender: Contender, connections: int, seconds: float) -> Window:
    """One window, after a few requests that warm."""
    server, way = contender.server, contender.way
    plan = {"host": "127.0.0.1", "port": server.port, "request": way.request()}
    at = {"status": way.status, "connections": connections}
    warm = Plan(**plan, **at, seconds=5, first_number=one.fresh(), at_most=WARM_REQUESTS)  # type: ignore[arg-type]
    one.load.ask(warm)
    pids = server.pids
    before = processor_seconds(pids)
    found = one.load.ask(Plan(**plan, **at, seconds=seconds, first_number=one.fresh()))  # type: ignore[arg-type]
    spent, mib = processor_seconds(pids) - before, resident_mib(pids)
    void = found["failed"] or ("" if found["requests"] else "nothing was answered")
    void = contender.after() or void
    asked = max(found["requests"], 1)
    return Window(
        per_second=asked / max(found["seconds"], 0.001),
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        cpu_us=spent / asked * 1e6,
        mib=mib,
        load_busy=found["busy"],
        void=void,
    )


@dataclass
class Rounds:
    """The windows of one contender."""

    contender: Contender
    windows: list[Window] = field(default_factory=list)

    def row(self, connections: int, floor: Rounds | None) -> Row:
        good = [one for one in self.windows if not one.void]
        row = Row(
            case=self.contender.case,
            what=f"{connections} connection{'s' if connections > 1 else ''}",
            who=self.contender.server.name,
            void=tuple(one.void for one in self.windows if one.void),
        )
        if not good:
            return row
        row.per_second = statistics.median(one.per_second for one in good)
        row.p50_ms = statistics.median(one.p50_ms for one in good)
        row.p99_ms = statistics.median(one.p99_ms for one in good)
        row.cpu_us = statistics.median(one.cpu_us for one in good)
        row.mib = statistics.median(one.mib for one in good)
        if statistics.median(one.load_busy for one in good) > FULL:
            row.note = "bound by the load's core"
        if floor is not None:
            row.beside = floor.contender.server.name
            pairs = zip(self.windows, floor.windows, strict=True)
            row.rate, row.cost = _ratios([(a, b) for a, b in pairs if not (a.void or b.void)])
        return row


def _ratios(pairs: Sequence[tuple[Window, Window]]) -> tuple[float | None, float | None]:
    """Of the rates and of the costs; each pair is of one round."""
    rates = [one.per_second / floor.per_second for one, floor in pairs]
    costs = [one.cpu_us / floor.cpu_us for one, floor in pairs if floor.cpu_us]
    return (
        statistics.median(rates) if rates else None,
        statistics.median(costs) if costs else None,
    )


def alternate(one: Stand, contenders: Sequence[Contender], options: Options) -> list[Row]:
    """Each at each number of connections, in turns."""
    rows = []
    for connections in options.connections:
        all_rounds = [Rounds(each) for each in contenders]
        for _ in range(options.rounds):
            for each in all_rounds:
                each.windows.append(measure(one, each.contender, connections, options.seconds))
        floors: dict[str, Rounds] = {
            each.contender.server.name: each for each in all_rounds if each.contender.is_floor
        }
        rows += [each.row(connections, floors.get(each.contender.beside)) for each in all_rounds]
    return _by_case(rows)


def _by_case(rows: Sequence[Row]) -> list[Row]:
    """Those of a case together, in the order in which cases came."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.case].append(row)
    return [row for each in found.values() for row in each]
