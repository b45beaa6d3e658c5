"""From the start of `serve` to its first word, and what it holds then; a scrape of many teams."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from benchmarks import installation, machine
from benchmarks.installation import Size
from benchmarks.processors import family, resident_mib
from benchmarks.rows import Row
from benchmarks.stand import ROOT, call, stand
from benchmarks.windows import Options
from gateway.wiring import LEDGER_NAME

CASES: Final = ("start", "scrape")
STARTS: Final = 5
IDLE_SECONDS: Final = 2.0
READY: Final = "image-gateway is ready on "
TEAMS: Final = 300
RUNS: Final = 3_000
SCRAPES: Final = 10


def measured(cases: Collection[str], options: Options) -> list[Row]:
    rows = []
    if "start" in cases:
        trees = (ROOT, *(Path(tree) for tree in options.trees))
        rows += [_start(tree, 1 if options.quick else STARTS) for tree in trees]
    if "scrape" in cases:
        rows.append(_scrape())
    return rows


def _start(tree: Path, times: int) -> Row:
    """One team, nothing kept yet: the files of its code are in memory from the second time on."""
    name = "gateway" if tree == ROOT else f"gateway of {tree.name}"
    row = Row("start", "to the line of readiness", name)
    folder = installation.folder()
    file = folder / "config.yaml"
    settings = installation.settings("http://127.0.0.1:9", folder / "data", teams=1)
    file.write_text(settings, "utf-8")
    found = [_started(file, tree) for _ in range(times + 1)][1:]
    row.p50_ms = statistics.median(seconds for seconds, _ in found) * 1000
    row.p99_ms = max(seconds for seconds, _ in found) * 1000
    row.mib = statistics.median(mib for _, mib in found)
    row.note = "p99: the slowest; MiB: idle"
    return row


def _started(file: Path, tree: Path) -> tuple[float, float]:
    began = time.perf_counter()
    with machine.pinned(machine.SERVER):
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--config", str(file)],
            cwd=file.parent,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    assert process.stdout is not None
    try:
        while not (line := process.stdout.readline()).startswith(READY):
            if not line:
                raise RuntimeError("the gateway has not started")
        took = time.perf_counter() - began
        time.sleep(IDLE_SECONDS)
        return took, resident_mib(family([process.pid]))
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        process.wait(30)
        process.stdout.close()


def _scrape() -> Row:
    row = Row("scrape", f"{TEAMS} teams")
    with stand() as one:
        ledger = one.folder / "gateway" / "data" / LEDGER_NAME
        installation.fill(ledger, now=time.time(), size=Size(RUNS, refusals=RUNS, teams=TEAMS))
        gateway = one.add_gateway(teams=TEAMS)
        taken = []
        for _ in range(SCRAPES):
            began = time.perf_counter()
            text = call(f"{gateway.url}/metrics", Authorization=f"Bearer {installation.ADMIN_KEY}")
            taken.append((time.perf_counter() - began) * 1000)
        row.mib = resident_mib(gateway.pids)
    row.p50_ms, row.p99_ms = statistics.median(taken), max(taken)
    row.note = f"{len(text) / 1e6:.1f} MB; p99: the slowest of {SCRAPES}"
    return row
