"""What runs: the gateway and its upstream, each a process, and a receiver of callbacks in this one.

Everything is on free loopback ports and ends with the block.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
from cluster.gateways import PROXIES
from cluster.ports import free_ports
from cluster.programs import Program, answers

from benchmarks.soak.receiver import Receiver
from benchmarks.soak.upstream import KEY, Weather

ADMIN_KEY: Final = "soak-admin-key"
TEAMS: Final = ("blue", "poor", "hasty")
"""One without limits, one with hardly a budget, one that may begin few runs in a minute."""
MODEL: Final = "gpt-image-1.5"
PRICE_USD: Final = 0.36
USD_PER_CREDIT: Final = 0.01
"""So that upstream's credits, which have four decimals, are whole micro-dollars."""
DEADLINE_SECONDS: Final = 8
CACHE_BYTES: Final = 2_000_000
"""Small, so that it is full soon and has to stay so."""


def key_of(team: str) -> str:
    return f"soak-key-of-{team}"


def digest(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def settings(upstream: str, folder: Path, *, round_: int = 0) -> Mapping[str, Any]:
    """`round_`: a reload finds another budget for the team that has hardly one."""
    teams: dict[str, Any] = {name: {"keys": [digest(key_of(name))]} for name in TEAMS}
    teams["poor"]["budgets"] = [{"usd": round(PRICE_USD + 0.01 * (round_ % 5), 6), "per": "day"}]
    teams["hasty"]["limits"] = {"runs_per_minute": 30, "concurrent_runs": 4}
    return {
        "server": {
            "admin_keys": [digest(ADMIN_KEY)],
            "openai_wait": "20s",
            "shutdown_grace": "3s",
            "log": {"format": "json"},
        },
        "storage": {"data_dir": str(folder / "data"), "free_space_floor": 0},
        "upstreams": {
            "evolink": {
                "base_url": upstream,
                "files_url": upstream,
                "api_key": KEY,
                "usd_per_credit": USD_PER_CREDIT,
                "poll": {"first": "150ms", "every": "200ms", "max": "500ms"},
                "timeout": {"connect": "1s", "submit": "2s", "poll": "2s", "download": "3s"},
                "allow_private_addresses": True,
            }
        },
        "models": {
            MODEL: {
                "limits": {"sizes": ["1:1", "2:3", "3:2"], "qualities": ["low", "medium"]},
                "deadline": f"{DEADLINE_SECONDS}s",
                "routes": [{"upstream": "evolink", "model": MODEL, "price": PRICE_USD}],
            }
        },
        "cache": {"size_limit": CACHE_BYTES},
        "callbacks": {
            "retries": ["200ms", "500ms", "1s", "2s", "4s"],
            "timeout": "2s",
            "allow_private_addresses": True,
        },
        "worker": {"retry": {"first": "50ms", "max": "500ms", "dead_after": "2s"}},
        "teams": teams,
    }


@dataclass
class Site:
    """`away` is true while the gateway is down on purpose; `lives` counts its starts."""

    folder: Path
    gateway: Program
    upstream: Program
    receiver: Receiver
    port: int
    control: str
    upstream_url: str
    away: bool = True
    lives: int = 0
    reloads: int = 0
    turning: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is restarted, and while its settings are not those to start with."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    async def start(self) -> None:
        """Returns when it takes orders."""
        await asyncio.to_thread(self.gateway.start, lambda: answers(f"{self.url}/readyz"))
        self.lives += 1
        self.away = False

    async def kill(self) -> None:
        self.away = True
        await asyncio.to_thread(self.gateway.kill)

    async def stop(self) -> None:
        self.away = True
        await asyncio.to_thread(self.gateway.stop)

    def write_settings(self, text: str | None = None) -> None:
        """Others than before, or `text`, which it cannot use."""
        self.reloads += 1
        value = settings(self.upstream_url, self.folder, round_=self.reloads)
        self.config.write_text(text or json.dumps(value), "utf-8")

    async def weather(self, weather: Weather) -> None:
        await self._control("POST", "/weather", json=asdict(weather))

    async def bill(self) -> Mapping[str, Any]:
        told: Mapping[str, Any] = (await self._control("GET", "/bill")).json()
        return told

    async def _control(self, method: str, path: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            answer = await client.request(method, self.control + path, **more)
        return answer.raise_for_status()

    async def audit(self) -> subprocess.CompletedProcess[bytes]:
        """What the program's own audit says of ledger and pictures."""
        command = (sys.executable, "-m", "gateway", "audit", "--config", str(self.config))
        return await asyncio.to_thread(
            subprocess.run, command, capture_output=True, cwd=self.folder, check=False
        )

    @contextlib.contextmanager
    def ledger(self) -> Any:
        """The ledger's file, to be read."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.data / 'ledger.sqlite3'}?mode=ro", uri=True)
        ) as db:
            yield db


@contextlib.asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """Upstream and gateway, ready."""
    port, upstream_port, control_port = free_ports(3)
    with contextlib.ExitStack() as ends:
        async with Receiver(folder) as receiver:
            ours = {n: v for n, v in os.environ.items() if n.lower() not in PROXIES}
            environment = {**ours, "SSL_CERT_FILE": str(receiver.authority)}
            one = Site(
                folder=folder,
                gateway=_program(folder, "gateway", environment, *_serve(folder, port)),
                upstream=_program(
                    folder, "upstream", ours, *_upstream(upstream_port, control_port)
                ),
                receiver=receiver,
                port=port,
                control=f"http://127.0.0.1:{control_port}",
                upstream_url=f"http://127.0.0.1:{upstream_port}",
            )
            ends.callback(one.upstream.stop)
            ends.callback(one.gateway.kill)
            one.config.write_text(json.dumps(settings(one.upstream_url, folder)), "utf-8")
            await asyncio.to_thread(one.upstream.start, _answering(f"{one.control}/bill"))
            await one.start()
            yield one


def _answering(url: str) -> Callable[[], bool]:
    return lambda: answers(url)


def _serve(folder: Path, port: int) -> tuple[str, ...]:
    return ("gateway", "serve", "--config", str(folder / "config.yaml"), "--port", str(port))


def _upstream(port: int, control_port: int) -> tuple[str, ...]:
    return ("benchmarks.soak.upstream", str(port), str(control_port))


def _program(folder: Path, name: str, environment: Mapping[str, str], *words: str) -> Program:
    known = {**environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = (sys.executable, "-m", *words)
    return Program(name, command, folder / f"{name}.log", environment=known)
