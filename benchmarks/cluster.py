"""Hits and misses with one, two and three replicas, and what bounds them: `make bench`.

Gateways, PostgreSQL, the bucket, the balancer, the simulated upstream and the load are all on this
machine, so that more replicas cannot be quicker than its processors. What carries over is what a
request costs each part: the milliseconds of a processor beside each rate, without what the part
takes when nobody asks anything. A window in which a request or a run failed is void and says so.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "deploy"))

from benchmarks import installation
from benchmarks.replicas import Stand, processor_seconds, stand

REPLICAS: Final = (1, 2, 3)
IDLE_SECONDS: Final = 5
HIT_SECONDS: Final = 8
HIT_CONNECTIONS: Final = 32
MISS_SECONDS: Final = 20
MISS_CONNECTIONS: Final = 128
SETTLE_SECONDS: Final = 60.0
CLOCK: Final = "clock"
PARTS: Final = ("gateways", "PostgreSQL", "balancer", "bucket", "upstream", "load")
OPEN: Final = "SELECT count(*) FROM runs WHERE state NOT IN ('done', 'failed')"
ENDED: Final = "SELECT count(*) FROM runs WHERE state = '{}'"

HEAD: Final = f"""
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {installation.TEAM_KEY}"
"""
HIT: Final = {"model": "model-0", "prompt": "the same again"}
HITS: Final = f"{HEAD}wrk.body = {json.dumps(json.dumps(HIT))}\n"
MISSES: Final = f"""{HEAD}
wrk.headers["Prefer"] = "wait=50"
local number = 0
function request()
  number = number + 1
  local body = '{{"model": "model-0", "quality": "low", "prompt": "bench @ ' .. number .. '"}}'
  return wrk.format(nil, nil, nil, body)
end
"""


@dataclass(frozen=True, slots=True)
class Window:
    """What came of one measurement.

    `requests` were answered in its `seconds`, `orders` made by it. In `whole_seconds`, with what
    came after the load, each part has `spent` so many seconds of the processors, of which those
    for what was `asked` are apart.
    """

    requests: int
    orders: int
    seconds: float
    p50: str
    spent: Mapping[str, float] = field(default_factory=dict)
    asked: Mapping[str, float] = field(default_factory=dict)
    whole_seconds: float = 1.0
    void: str = ""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("This needs wrk (Debian: apt install wrk).")
    print(f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder, stand(Path(folder)) as one:
        found: dict[str, list[Window]] = {"nothing": [], "hits": [], "misses": []}
        for number in REPLICAS:
            one.add_gateway()
            _order_once(one)
            print(f"measuring {number} ...", file=sys.stderr)
            idle = _nothing(one)
            found["nothing"].append(idle)
            found["hits"].append(_without(idle, _hits(one)))
            found["misses"].append(_without(idle, _misses(one, number)))
    _tell_idle(found.pop("nothing"))
    for name, windows in found.items():
        _tell(name, windows)


def _order_once(one: Stand) -> None:
    """What is asked for again and again is there, and every replica has it at hand."""
    for _ in range(2 * len(one.gateways)):
        request = urllib.request.Request(
            f"{one.base_url}/v1/images/generations",
            data=json.dumps(HIT).encode(),
            headers={
                "Authorization": f"Bearer {installation.TEAM_KEY}",
                "Content-Type": "application/json",
                "Prefer": "wait=50",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            status = json.load(answer)["status"]
            if status != "completed":
                raise SystemExit(f"an order is {status}")


def _nothing(one: Stand) -> Window:
    before = _spent(one)
    time.sleep(IDLE_SECONDS)
    return _measured(Window(0, 0, IDLE_SECONDS, ""), before, one)


def _without(idle: Window, busy: Window) -> Window:
    """What the requests cost beyond what the parts take anyway."""
    share = busy.whole_seconds / idle.whole_seconds
    asked = {part: busy.spent[part] - idle.spent[part] * share for part in PARTS}
    return replace(busy, asked=asked)


def _hits(one: Stand) -> Window:
    before = _spent(one)
    found = _wrk(one, HITS, HIT_CONNECTIONS, HIT_SECONDS)
    return _measured(found, before, one)


def _misses(one: Stand, number: int) -> Window:
    """Each answer is a finished order of its own: submitted, watched, kept, settled, told.

    What is under way when the load ends is waited for, and counts in what an order costs.
    """
    done, failed = _runs(one, "done"), _runs(one, "failed")
    before = _spent(one)
    script = MISSES.replace("@", f"{number} {time.time()}")
    found = _wrk(one, script, MISS_CONNECTIONS, MISS_SECONDS)
    until = time.monotonic() + SETTLE_SECONDS
    while int(one.ledger.sql(OPEN)) and time.monotonic() < until:
        time.sleep(0.2)
    made = _runs(one, "done") - done
    void = found.void
    if _runs(one, "failed") > failed or int(one.ledger.sql(OPEN)):
        void = void or "a run failed, or did not end"
    elif made < found.requests:
        void = void or "an answer came without a run that is done"
    return replace(_measured(found, before, one), orders=made, void=void)


def _runs(one: Stand, state: str) -> int:
    return int(one.ledger.sql(ENDED.format(state)))


def _spent(one: Stand) -> Mapping[str, float]:
    """What each part has used so far, and the clock."""
    load = resource.getrusage(resource.RUSAGE_CHILDREN)
    parts = {name: processor_seconds(pids) for name, pids in one.processes().items()}
    return {**parts, "load": load.ru_utime + load.ru_stime, CLOCK: time.monotonic()}


def _measured(found: Window, before: Mapping[str, float], one: Stand) -> Window:
    after = _spent(one)
    grown = {name: after[name] - before[name] for name in after}
    return replace(found, whole_seconds=grown.pop(CLOCK), spent=grown)


def _wrk(one: Stand, script: str, connections: int, seconds: int) -> Window:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = [
            *("wrk", "--threads=1", "--latency", "--timeout=60s", f"--duration={seconds}s"),
            *(f"--connections={connections}", f"--script={file.name}"),
            f"{one.base_url}/v1/images/generations",
        ]
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    return told(text)


def told(text: str) -> Window:
    """What wrk says of a window; one with a failed request is void."""
    requests = int(_found(r"(\d+) requests in", text))
    taken = float(_found(r"requests in ([\d.]+)s", text))
    failed = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*[1-9].*", text)
    void = failed[0] if failed else "" if requests else "nothing was answered"
    return Window(requests, requests, taken, _found(r"\n\s+50%\s+(\S+)", text), void=void)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk said: {text}")
    return match[1]


def _tell_idle(windows: list[Window]) -> None:
    print(f"\n{'nothing':>10}   % of a processor while nobody asks: " + ", ".join(PARTS))
    for number, window in zip(REPLICAS, windows, strict=True):
        each = "  ".join(f"{window.spent[part] / window.whole_seconds:6.1%}" for part in PARTS)
        print(f"{number:>10}   {each}")


def _tell(name: str, windows: list[Window]) -> None:
    print(f"\n{name:>10} {'a second':>9} {'of one':>7} {'p50':>9} {'busy':>6}", end="")
    print("   ms of a processor for each: " + ", ".join(PARTS))
    for number, window in zip(REPLICAS, windows, strict=True):
        if window.void:
            print(f"{number:>10} void: {window.void}")
            continue
        busy = sum(window.spent.values()) / window.whole_seconds / (os.cpu_count() or 1)
        each = "  ".join(f"{window.asked[part] / window.orders * 1000:6.2f}" for part in PARTS)
        ratio = window.per_second / windows[0].per_second
        print(
            f"{number:>10} {window.per_second:9,.0f} {ratio:7.2f} {window.p50:>9} {busy:6.0%}"
            f"   {each}"
        )


if __name__ == "__main__":
    main()
