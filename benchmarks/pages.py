"""How long every page and list takes with a large ledger: `python -m benchmarks.pages`.

The ledger is made once and kept in the folder that is named, since that takes a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx2 as httpx

from benchmarks import installation
from gateway.config import parse
from gateway.sandbox import SandboxOptions, running_sandbox
from gateway.serving import InProcessServer
from gateway.wiring import LEDGER_NAME, Gateway

TURNS: Final = 5
PAGES: Final = (
    "/admin/v1/summary",
    "/admin/v1/health",
    "/admin/v1/teams",
    "/admin/v1/teams/team-007",
    "/admin/v1/teams/team-007/keys",
    "/admin/v1/usage",
    "/admin/v1/usage?by=day&from={year_ago}",
    "/admin/v1/usage?by=team,model&from={year_ago}",
    "/admin/v1/usage?by=day,model&from={year_ago}&team=team-007",
    "/admin/v1/usage?by=day,team,model&format=csv",
    "/admin/v1/runs",
    "/admin/v1/runs?state=failed&team=team-050",
    "/admin/v1/runs?model=model-3&verdict=hit",
    "/admin/v1/runs?verdict=joined",
    "/admin/v1/runs?limit=500",
    "/admin/v1/runs/{run}",
    "/admin/v1/runs/{task}",
    "/admin/v1/refusals",
    "/admin/v1/refusals?team=team-007&verdict=invalid",
    "/admin/v1/refusals?reason=never",
    "/admin/v1/pictures",
    "/admin/v1/pictures?q=number 4711",
    "/admin/v1/pictures?q=nothing has this",
    "/admin/v1/pictures?team=team-007&q=lighthouse",
    "/admin/v1/pictures?task={task}",
    "/admin/v1/cache",
    "/admin/v1/callbacks",
    "/admin/v1/callbacks?state=failed",
    "/admin/v1/audit",
    "/admin/v1/settings",
    "/team/v1/summary",
    "/team/v1/usage?by=day",
    "/team/v1/pictures",
    "/team/v1/pictures?q=nothing has this",
    "/v1/tasks",
    "/v1/tasks?status=failed&page=3",
    "/metrics",
    "/console",
)


async def measure(folder: Path) -> Sequence[tuple[str, float, float, int]]:
    """Page, median and slowest answer in milliseconds, bytes."""
    run = f"run_{4711:024}"
    words = {
        "run": run,
        "task": f"task-unified-{4711:012}-3",
        "year_ago": time.strftime("%Y-%m-%d", time.gmtime(time.time() - 364 * 86_400)),
    }
    async with running_sandbox(SandboxOptions()) as upstream:
        gateway = Gateway(parse(installation.settings(upstream.base_url, folder), {}))
        await gateway.start()
        gc.freeze()  # as `serve` does
        server = InProcessServer(gateway.app)
        await server.start()
        async with httpx.AsyncClient(base_url=server.base_url, timeout=60) as client:
            found = [await _page(client, page, page.format(**words)) for page in PAGES]
        await server.stop(5)
        await gateway.stop(5)
    return found


async def _page(client: httpx.AsyncClient, name: str, path: str) -> tuple[str, float, float, int]:
    admin = path.startswith("/admin")
    key = installation.ADMIN_KEY if admin else installation.TEAM_KEY
    headers = {} if path == "/metrics" else {"Authorization": f"Bearer {key}"}
    taken = []
    for _ in range(TURNS):
        start = time.perf_counter()
        answer = await client.get(path, headers=headers)
        taken.append((time.perf_counter() - start) * 1000)
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text[:200]}")
    return name, statistics.median(taken), max(taken), len(answer.content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("bench-data"))
    folder: Path = parser.parse_args().folder
    ledger = folder / LEDGER_NAME
    if not ledger.exists():
        print(f"filling {ledger} ...", file=sys.stderr)
        start = time.perf_counter()
        installation.fill(ledger, now=time.time())
        print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    print(f"{'page':58} {'median':>9} {'slowest':>9} {'bytes':>10}")
    for page, median, slowest, size in asyncio.run(measure(folder)):
        print(f"{page:58} {median:6.1f} ms {slowest:6.1f} ms {size:10,}")


if __name__ == "__main__":
    main()
