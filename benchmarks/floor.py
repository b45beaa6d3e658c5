"""What the same work costs with nothing around it: `python -m benchmarks.floor KIND PORT …`.

`orders FOLDER`: one route that reads the body, parses it, checks the SHA-256 of the key, counts
with kept children of a counter and a histogram, upserts one SQLite row (WAL, synchronous normal)
and answers prepared bytes. `pass UPSTREAM`: one route that hands a body to an upstream through
one httpx2 client and its answer back. No gateway can do less, and none can be quicker.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import sys
import time
from pathlib import Path
from typing import Final

import httpx2 as httpx
import orjson
import uvicorn
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks import installation

PATH: Final = "/v1/images/generations"
UPSERT: Final = (
    "INSERT INTO orders VALUES (?, 1) ON CONFLICT (prompt) DO UPDATE SET times = times + 1"
)


def orders(folder: Path) -> Starlette:
    """The floor of what is answered without asking anybody."""
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("CREATE TABLE IF NOT EXISTS orders (prompt TEXT PRIMARY KEY, times INTEGER)")
    registry = CollectorRegistry()
    counted = Counter("requests", "All.", ["team"], registry=registry).labels("team")
    took = Histogram("seconds", "Each.", ["path"], registry=registry).labels("path")
    digest = hashlib.sha256(installation.TEAM_KEY.encode()).hexdigest()
    prepared = orjson.dumps({"id": "task-unified-0", "status": "completed", "padding": "x" * 500})

    async def answer(request: Request) -> Response:
        began = time.perf_counter()
        body = orjson.loads(await request.body())
        key = request.headers["authorization"].removeprefix("Bearer ")
        if not hmac.compare_digest(hashlib.sha256(key.encode()).hexdigest(), digest):
            return Response(status_code=401)
        db.execute(UPSERT, (body["prompt"],))
        counted.inc()
        took.observe(time.perf_counter() - began)
        return Response(prepared, media_type="application/json")

    return Starlette(routes=[Route(PATH, answer, methods=["POST"])])


def passing(upstream: str) -> Starlette:
    """The floor of what has to be asked of an upstream."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    client = httpx.AsyncClient(base_url=upstream, limits=limits, trust_env=False)

    async def answer(request: Request) -> Response:
        body = await request.body()
        found = await client.post(PATH, content=body, headers={"Content-Type": "application/json"})
        return Response(found.content, found.status_code, media_type="application/json")

    return Starlette(routes=[Route(PATH, answer, methods=["POST"])])


def main(kind: str, port: str, more: str) -> None:
    app = orders(Path(more)) if kind == "orders" else passing(more)
    uvicorn.run(
        app,
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
