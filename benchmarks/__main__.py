"""`make bench`, `python -m benchmarks [--only CASE …]`: all that is measured of the gateway.

Everything is started on free ports of loopback and ended again. Absolute figures are those of the
machine; the ratios to a floor, measured in the same rounds, carry over.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from benchmarks import (
    admissions,
    aims,
    cluster,
    flight,
    growing,
    hot,
    machine,
    peers,
    record,
    rows,
    starting,
    submits,
    waiting,
)
from benchmarks.rows import Row
from benchmarks.windows import Options

Measure = Callable[[Collection[str], Options], list[Row]]
GROUPS: Final[Sequence[tuple[Sequence[str], Measure]]] = (
    (hot.CASES, hot.measured),
    (submits.CASES, submits.measured),
    (starting.CASES, starting.measured),
    (waiting.CASES, waiting.measured),
    (growing.CASES, growing.measured),
    (flight.CASES, flight.measured),
    (cluster.CASES, cluster.measured),
    (admissions.CASES, admissions.measured),
    (peers.CASES, peers.measured),
)
CASES: Final = tuple(case for cases, _ in GROUPS for case in cases)
LARGEST: Final = 10_000
OURS: Final = tuple(case for case in CASES if case not in peers.CASES)


def main(arguments: Sequence[str] | None = None) -> int:
    told = _told(arguments)
    options = Options(
        rounds=told.rounds or (1 if told.quick else 5),
        seconds=told.seconds or (0.2 if told.quick else 2.0),
        connections=tuple(told.connections or ((16,) if told.quick else (1, 16, 64))),
        quick=told.quick,
        trees=tuple(told.against),
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # contexts end then
    described, began = machine.described(), time.monotonic()
    print(f"{described['processors']} processors, {described['model']}, {described['system']}")
    print(f"Python {described['python']}; {described['pinning']}\n", flush=True)
    chosen = told.only or (CASES if told.peers else OURS)
    found = []
    for cases, measure in GROUPS:
        wanted = [case for case in cases if case in chosen]
        if wanted:
            print(f"measuring {', '.join(wanted)} ...", file=sys.stderr, flush=True)
            part = _measured(measure, wanted, options)
            aims.compared(part)
            found += part
            print(f"{rows.table(part)}\n", flush=True)
            if told.json:
                record.kept(told.json, part, described, ("floor", *CASES))
    print(f"{time.monotonic() - began:.0f} s")
    if told.page:
        record.show(told.json)
    return 1 if any(row.void for row in found) else 0


def _measured(measure: Measure, wanted: Sequence[str], options: Options) -> list[Row]:
    """What cannot be measured here, for a program is missing or does not start, is void."""
    try:
        return measure(wanted, options)
    except (OSError, RuntimeError, ImportError, subprocess.SubprocessError) as error:
        return [Row(case, "not measured", void=(f"{error}",)) for case in wanted]


def _told(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is wrong is said before half an hour is spent."""
    reading = _reading()
    told = reading.parse_args(arguments)
    if told.page and not told.json:
        reading.error("--page shows what is in the file of --json: name one")
    if told.json and not told.json.absolute().parent.is_dir():
        reading.error(f"--json: there is no folder for {told.json}")
    trees = [Path(tree).resolve() for tree in told.against]
    for tree in trees:
        if not (tree / "gateway" / "__main__.py").is_file():
            reading.error(f"--against: {tree} is no tree of the gateway")
    if len({tree.name for tree in trees}) < len(trees):
        reading.error("--against: the folders need different names")
    told.against = [str(tree) for tree in trees]
    return told


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not 0 < (value := kind(text)) < LARGEST:
            raise ValueError(text)
        return value

    read.__name__ = f"positive {kind.__name__}"
    return read


def _reading() -> argparse.ArgumentParser:
    reading = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    reading.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help=", ".join(CASES))
    reading.add_argument("--quick", action="store_true", help="one tiny window of each")
    reading.add_argument("--json", type=Path, metavar="FILE", help="keep what is told there")
    reading.add_argument("--page", action="store_true", help="show that file in the docs")
    reading.add_argument("--rounds", type=_positive(int), help="windows of each candidate; 5")
    reading.add_argument("--seconds", type=_positive(float), help="of a window; 2")
    reading.add_argument("--connections", type=_positive(int), nargs="+", help="1 16 64")
    reading.add_argument(
        "--peers", action="store_true", help="LiteLLM's proxy as well, installed for the while"
    )
    reading.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="other trees of the gateway, which take turns with this one",
    )
    return reading


if __name__ == "__main__":
    sys.exit(main())
