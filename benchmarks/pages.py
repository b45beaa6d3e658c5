"""How long every page and list takes with a large ledger, one request after another."""

from __future__ import annotations

import statistics
import time
from typing import Final
from urllib.parse import quote

from benchmarks import installation
from benchmarks.rows import Row
from benchmarks.stand import Server, call

SAFE: Final = "/?&=,"
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


def measured(gateway: Server, where: str) -> list[Row]:
    """Median and slowest answer of each."""
    words = {
        "run": f"run_{47:024}",
        "task": f"task-unified-{47:012}-3",
        "year_ago": time.strftime("%Y-%m-%d", time.gmtime(time.time() - 364 * 86_400)),
    }
    rows = [_page(gateway, where, page, page.format(**words)) for page in PAGES]
    return [_summed_up(rows, where), *rows]


def _summed_up(rows: list[Row], where: str) -> Row:
    """The middle one, and the slowest."""
    told = sorted((row.p50_ms, row.what) for row in rows if row.p50_ms is not None)
    row = Row("pages", f"{len(told)} pages, {where}")
    row.void = tuple(reason for row in rows for reason in row.void)
    if told:
        row.p50_ms, row.p99_ms = told[len(told) // 2][0], told[-1][0]
        row.note = f"p99: the slowest, `{told[-1][1].partition(',')[0]}`"
    return row


def _page(gateway: Server, where: str, name: str, path: str) -> Row:
    admin = path.startswith("/admin")
    key = installation.ADMIN_KEY if admin else installation.TEAM_KEY
    taken, row = [], Row("page", f"{name}, {where}")
    for _ in range(TURNS):
        start = time.perf_counter()
        try:
            answer = call(f"{gateway.url}{quote(path, safe=SAFE)}", Authorization=f"Bearer {key}")
        except OSError as error:
            row.void = (f"{error}",)
            return row
        taken.append((time.perf_counter() - start) * 1000)
    row.p50_ms, row.note = statistics.median(taken), f"slowest of {TURNS}: {max(taken):.0f} ms"
    row.note += f", {len(answer):,} bytes" if isinstance(answer, str) else ""
    return row
