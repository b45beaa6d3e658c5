"""Ten thousand clients that wait for one order: what they hold, and what others feel of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from benchmarks import hot, installation
from benchmarks.load import Plan
from benchmarks.processors import descriptors, resident_mib
from benchmarks.rows import Row
from benchmarks.stand import Load, Server, Stand, idle_share, stand
from benchmarks.windows import Contender, Options, Way, measure

CASES: Final = ("waiters",)
WAITERS: Final = 10_000
FEW: Final = 200
PLACES: Final = {"max_waiters": 2 * WAITERS}
"""One team alone gets half of them."""
LOOK_SECONDS: Final = 4.0
COME_SECONDS: Final = 60.0
QUIET: Final = 0.3
"""Of a core: all are there when less is taken."""
HEADERS: Final = (f"Authorization: Bearer {installation.TEAM_KEY}", "Prefer: wait=55")


def measured(cases: Collection[str], options: Options) -> list[Row]:
    number = FEW if options.quick else WAITERS
    with stand() as one:
        gateway = one.add_gateway(server=PLACES)
        ways = hot.ways(gateway)
        hit = Contender("waiters", gateway, ways["hit"])
        without = measure(one, hit, 16, options.seconds)
        held, idle = resident_mib(gateway.pids), idle_share(gateway, LOOK_SECONDS)
        crowd = Crowd(number, ways["poll-running"].path)
        try:
            came = crowd.come(gateway)
            waiting = Row("waiters", f"{number:,} wait", note=f"all there after {came:.1f} s")
            waiting.mib = resident_mib(gateway.pids)
            waiting.note += f", {(waiting.mib - held) * 1024 / number:.1f} KiB each"
            waiting.note += f", {idle_share(gateway, LOOK_SECONDS) - idle:.1%} of a core"
            others = measure(one, hit, 16, options.seconds)
            told = crowd.wake(one)
        finally:
            crowd.load.end()
    beside = Row("waiters", "hits meanwhile", beside="a hit without them", void=_void(others.void))
    beside.per_second, beside.p50_ms, beside.p99_ms = (
        *(others.per_second, others.p50_ms, others.p99_ms),
    )
    beside.cpu_us, beside.cost = others.cpu_us, others.cpu_us / without.cpu_us
    woken = Row("waiters", "all are answered", void=_void(told["failed"]))
    woken.per_second = number / max(told["woken_seconds"], 0.001)
    woken.note = f"the last one {told['woken_seconds']:.2f} s after upstream was done"
    return [waiting, beside, woken]


def _void(why: str) -> tuple[str, ...]:
    return (why,) if why else ()


class Crowd:
    """All that wait for one order, in a process of their own."""

    def __init__(self, number: int, path: str) -> None:
        self.load = Load()
        self._number = number
        self._way = Way(path, headers=HEADERS)
        self._told: dict[str, Any] = {}
        self._thread: threading.Thread | None = None

    def come(self, gateway: Server) -> float:
        """Returns when all of them wait, and the gateway is quiet again; after how many seconds."""
        request, number = self._way.request(), self._number
        plan = Plan("127.0.0.1", gateway.port, number, 600, request, at_most=number)
        began = time.monotonic()
        self._thread = threading.Thread(target=lambda: self._ask(plan))
        self._thread.start()
        until = began + COME_SECONDS
        while descriptors(gateway.pid) < number and time.monotonic() < until:
            time.sleep(0.05)
        while idle_share(gateway, 0.5) > QUIET and time.monotonic() < until:
            pass
        if descriptors(gateway.pid) < number:
            raise RuntimeError(f"{self._told.get('failed', 'too few have come in time')}")
        return time.monotonic() - began

    def _ask(self, plan: Plan) -> None:
        with suppress(RuntimeError):  # it was ended before its answer, which is told
            self._told.update(self.load.ask(plan))

    def wake(self, one: Stand) -> Mapping[str, Any]:
        """What came of them once the order was done."""
        assert self._thread is not None
        one.release()
        began = time.monotonic()
        self._thread.join(120)
        return {"failed": "not all were answered", **self._told} | {
            "woken_seconds": time.monotonic() - began
        }
