"""A real Prometheus on a free port: scrapes gateways every second, by the rules of `deploy/`."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml
from deployed import DEPLOY, RULES, read, tool
from processes import free_port

JOB = "image-gateway"
Labels = frozenset[tuple[str, str]]


def labels(**values: str) -> Labels:
    return frozenset(values.items())


@dataclass
class Prometheus:
    client: httpx.AsyncClient

    async def get(self, path: str, **params: str) -> Any:
        answer = await self.client.get(f"/api/v1/{path}", params=params)
        told = answer.json()
        assert told["status"] == "success", f"{params}: {told}"
        return told["data"]

    async def ask(self, expr: str) -> dict[Labels, float]:
        """Values by their labels, without the name and the scrape's own; none of them NaN."""
        found = (await self.get("query", query=expr))["result"]
        scrape = ("__name__", "job", "instance")
        values = {
            frozenset((k, v) for k, v in one["metric"].items() if k not in scrape): float(
                one["value"][1]
            )
            for one in found
        }
        return {where: value for where, value in values.items() if not math.isnan(value)}

    async def scraped(self, times: int, seconds: float = 30) -> None:
        """Returns after so many scrapes more, of each gateway that answers."""
        until = time.monotonic() + seconds
        up = f'up{{job="{JOB}"}}'
        expr = f"min without (instance) (count_over_time({up}[1h]) and {up} == 1)"
        begin = sum((await self.ask(expr)).values())
        while sum((await self.ask(expr)).values()) < begin + times:
            assert time.monotonic() < until, "the gateway is not scraped"
            await asyncio.sleep(0.2)


def configuration(addresses: Sequence[str], port: int, key_file: Path) -> Mapping[str, Any]:
    """The repository's, every second, with the addresses of this test."""
    value = read(DEPLOY / "prometheus" / "prometheus.yml")
    value["global"] |= {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
    }
    value["rule_files"] = [str(RULES / "*.yml")]
    gateway, itself = value["scrape_configs"]
    gateway["authorization"]["credentials_file"] = str(key_file)
    gateway["static_configs"] = [{"targets": list(addresses)}]
    itself["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    return value  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def prometheus(folder: Path, addresses: Sequence[str], key: str) -> AsyncIterator[Prometheus]:
    """Scrapes these with `key` for the length of the block."""
    port = free_port()
    folder.mkdir()
    key_file = folder / "metrics_key"
    key_file.write_text(key)
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(dict(configuration(addresses, port, key_file))))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            tool("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            await _ready(client, folder / "log")
            yield Prometheus(client)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def _ready(client: httpx.AsyncClient, log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if (await client.get("/-/ready")).status_code == 200:
                return
        assert time.monotonic() < until, log.read_text()
        await asyncio.sleep(0.1)
