"""The hot paths beside their floor: `python -m benchmarks.hot_paths`. Needs `wrk`.

Absolute figures are worth little on a busy machine; the ratio to `/healthz`, measured in the same
minute with the same tool, says what the gateway's own work costs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2 as httpx

from benchmarks import installation
from gateway import logs, serving
from gateway.config import parse
from gateway.sandbox import SandboxOptions, running_sandbox
from gateway.wiring import Gateway

SECONDS: Final = 5
CONNECTIONS: Final = 16
ROUNDS: Final = 3
ORDER: Final = {"model": "model-0", "prompt": "the same again"}


@dataclass(frozen=True, slots=True)
class Way:
    name: str
    path: str
    script: str


@dataclass(frozen=True, slots=True)
class Measured:
    per_second: float
    p50_ms: float
    p99_ms: float


async def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("This needs wrk (Debian: apt install wrk).")
    logs.configure("json", "warning")
    with tempfile.TemporaryDirectory() as folder:
        async with running_sandbox(SandboxOptions(seconds_per_picture=0.1)) as upstream:
            gateway = Gateway(parse(installation.settings(upstream.base_url, Path(folder)), {}))
            await gateway.start()
            gc.freeze()  # as `serve` does
            server = serving.InProcessServer(gateway.app)
            await server.start()
            gateway.bound(server.bound_port)
            await _measure_all(server.base_url)
            await server.stop(5)
            await gateway.stop(5)


async def _measure_all(base_url: str) -> None:
    paths = await _paths(base_url)
    print(f"{'':12} {'per second':>10} {'of floor':>9} {'p50':>9} {'p99':>9}")
    rounds = [[await _wrk(base_url, one) for one in paths] for _ in range(ROUNDS)]
    floors = [found[0].per_second for found in rounds]
    for number, one in enumerate(paths):
        middle = sorted((found[number] for found in rounds), key=lambda each: each.per_second)
        best = middle[ROUNDS // 2]
        ratios = sorted(f[number].per_second / at for f, at in zip(rounds, floors, strict=True))
        print(
            f"{one.name:12} {best.per_second:10,.0f} {ratios[ROUNDS // 2]:9.2f}"
            f" {best.p50_ms:6.1f} ms {best.p99_ms:6.1f} ms"
        )


async def _paths(base_url: str) -> Sequence[Way]:
    """The floor first; then a poll, a cache hit and a picture, of an order that is finished."""
    key = {"Authorization": f"Bearer {installation.TEAM_KEY}"}
    async with httpx.AsyncClient(base_url=base_url, headers=key, timeout=60) as client:
        wait = {"Prefer": "wait=30"}
        task = (await client.post("/v1/images/generations", json=ORDER, headers=wait)).json()
    bearer = f'wrk.headers["Authorization"] = "Bearer {installation.TEAM_KEY}"\n'
    order = (
        f"{bearer}wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\n"
        f"wrk.body = {json.dumps(json.dumps(ORDER))}\n"
    )
    picture = str(task["results"][0]).removeprefix(base_url)
    return (
        Way("floor", "/healthz", ""),
        Way("poll", f"/v1/tasks/{task['id']}", bearer),
        Way("cache hit", "/v1/images/generations", order),
        Way("picture", picture, ""),
    )


async def _wrk(base_url: str, one: Way) -> Measured:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(one.script)
        script.flush()
        process = await asyncio.create_subprocess_exec(
            "wrk",
            f"--duration={SECONDS}s",
            f"--connections={CONNECTIONS}",
            "--threads=1",
            "--latency",
            f"--script={script.name}",
            f"{base_url}{one.path}",
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await process.communicate()
    text = told.decode()
    if "Non-2xx" in text or process.returncode:
        sys.exit(f"{one.name}: {text}")
    return Measured(
        float(_found(r"Requests/sec:\s+([\d.]+)", text)),
        _milliseconds(_found(r"\n\s+50%\s+(\S+)", text)),
        _milliseconds(_found(r"\n\s+99%\s+(\S+)", text)),
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        sys.exit(f"wrk said: {text}")
    return match[1]


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    sys.exit(f"wrk told a time as {text}")


if __name__ == "__main__":
    serving.run(main())
