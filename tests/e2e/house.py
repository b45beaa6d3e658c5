"""A whole gateway in front of a whole sandbox, both on loopback sockets, for tests to drive."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import stores
from prometheus_client.parser import text_string_to_metric_families

from gateway.config import Settings, parse
from gateway.core.model import FINAL_STATES
from gateway.ports.clock import Clock
from gateway.sandbox import RunningSandbox, SandboxOptions, running_sandbox
from gateway.serving import InProcessServer
from gateway.wiring import Gateway, Outside

ORGANISATION_KEY = "sk-organisation-secret"
TEAM_KEY = "team-blue-key"
OTHER_KEY = "team-green-key"
ADMIN_KEY = "admin-key"
PRICE_USD = 0.05
FAST = SandboxOptions(
    accepted_key=ORGANISATION_KEY, seconds_per_picture=0.05, picture_scale=0.06, drawing_threads=1
)


def digest(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def settings_text(base_url: str, data_dir: Path, **changes: Any) -> str:
    """Settings as YAML (JSON is YAML) with two teams; `changes` replace whole sections or teams,
    and `...` takes one away."""
    value: dict[str, Any] = {
        "server": {"admin_keys": [digest(ADMIN_KEY)], "shutdown_grace": "5s"},
        "storage": {"data_dir": str(data_dir), "free_space_floor": 0, **stores.of(data_dir)},
        "upstreams": {
            "evolink": {
                "base_url": base_url,
                "files_url": base_url,
                "api_key": ORGANISATION_KEY,
                "poll": {"first": "20ms", "every": "40ms", "max": "80ms"},
                "timeout": {"connect": "1s", "submit": "4s", "poll": "2s", "download": "2s"},
                "allow_private_addresses": True,
            }
        },
        "models": {
            "gpt-image-1.5": {
                "aliases": ["gpt-image-1.5-lite"],
                "limits": {
                    "prompt_tokens": 2000,
                    "sizes": ["1:1", "2:3", "3:2", "1024x1024"],
                    "qualities": ["low", "medium", "high"],
                },
                "deadline": "20s",
                "routes": [
                    {"upstream": "evolink", "model": "gpt-image-1.5", "price": PRICE_USD},
                ],
            }
        },
        "worker": {"retry": {"first": "30ms", "max": "200ms", "dead_after": "1s"}},
        "teams": {
            "blue": {"keys": [digest(TEAM_KEY)]},
            "green": {"keys": [digest(OTHER_KEY)]},
        },
    }
    for name, change in changes.items():
        value[name] = merged(value.get(name), change)
    return json.dumps(value)


def merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, Mapping):
        every = {**old, **{key: merged(old.get(key), one) for key, one in new.items()}}
        return {key: one for key, one in every.items() if one is not ...}
    return new


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Returns once it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@dataclass
class House:
    """A running gateway: its client, its sandbox, its settings."""

    gateway: Gateway
    http: InProcessServer
    client: httpx.AsyncClient
    sandbox: RunningSandbox
    folder: Path
    settings: Settings
    seen: list[str] = field(default_factory=list)

    async def post(
        self, prompt: str = "a red bicycle", *, key: str = TEAM_KEY, headers: Any = (), **body: Any
    ) -> httpx.Response:
        wish = {"model": "gpt-image-1.5", "prompt": prompt, **body}
        return await self.client.post(
            "/v1/images/generations",
            json={name: value for name, value in wish.items() if value is not ...},
            headers={"Authorization": f"Bearer {key}", **dict(headers)},
        )

    async def openai(self, prompt: str, *, headers: Any = (), **body: Any) -> httpx.Response:
        """The same by an SDK of OpenAI's, which waits for its pictures."""
        return await self.client.post(
            "/openai/v1/images/generations",
            json={"model": "gpt-image-1.5", "prompt": prompt, **body},
            headers={"Authorization": f"Bearer {TEAM_KEY}", **dict(headers)},
            timeout=30,
        )

    @property
    def waiters(self) -> int:
        """How many requests are held until their tasks end."""
        return len(self.gateway.services.waiters._patient)

    async def poll(self, task_id: str, *, key: str = TEAM_KEY) -> httpx.Response:
        return await self.client.get(
            f"/v1/tasks/{task_id}", headers={"Authorization": f"Bearer {key}"}
        )

    async def admin(
        self, method: str, path: str, *, key: str = ADMIN_KEY, headers: Any = (), **more: Any
    ) -> httpx.Response:
        """One request of an operator; `path` goes on behind `/admin/v1/`."""
        return await self.client.request(
            method,
            f"/admin/v1/{path}",
            headers={"Authorization": f"Bearer {key}", **dict(headers)},
            **more,
        )

    async def ended(self, task_id: str, *, key: str = TEAM_KEY, seconds: float = 15) -> Any:
        """The task once it is completed or failed."""
        until = time.monotonic() + seconds
        while True:
            task = (await self.poll(task_id, key=key)).json()
            if task["status"] in ("completed", "failed"):
                return task
            assert time.monotonic() < until, f"still {task}"
            await asyncio.sleep(0.03)

    async def made(self, prompt: str = "a red bicycle", **more: Any) -> Any:
        """The completed task of a new order."""
        answer = await self.post(prompt, **more)
        assert answer.status_code == 200, answer.text
        return await self.ended(answer.json()["id"], key=more.get("key", TEAM_KEY))

    async def metrics(self) -> dict[str, float]:
        """Every sample by its name and its labels in alphabetical order."""
        text = (await self.client.get("/metrics")).text
        return {
            f"{sample.name}{{{_labels(sample.labels)}}}" if sample.labels else sample.name: (
                sample.value
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def violations(self) -> list[Any]:
        return list(await self.gateway.ledger.violations())

    async def settled(self, seconds: float = 20) -> None:
        """Returns once no run is live."""
        until = time.monotonic() + seconds
        while True:
            counts = await self.gateway.ledger.run_counts()
            live = {state: n for state, n in counts.items() if n and state not in FINAL_STATES}
            if not live:
                return
            assert time.monotonic() < until, f"still live: {live}"
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        await self.client.aclose()
        await self.http.stop(5)
        await self.gateway.stop(5)


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))


async def opened(
    sandbox: RunningSandbox,
    folder: Path,
    *,
    callback_tls: ssl.SSLContext | None = None,
    clock: Clock = time.time,
    load: Callable[[], Settings] | None = None,
    outside: Outside | None = None,
    **changes: Any,
) -> House:
    """Starts a gateway over `folder`; whoever calls stops it."""
    settings = parse(settings_text(sandbox.base_url, folder, **changes), {})
    gateway = Gateway(settings, callback_tls=callback_tls, clock=clock, load=load, outside=outside)
    gateway.adapters.metrics.keep_seconds = 0.0  # tests ask more often than a scraper
    await gateway.start()
    http = InProcessServer(gateway.app)
    await http.start()
    gateway.bound(http.bound_port)
    client = httpx.AsyncClient(
        base_url=http.base_url, timeout=40, limits=httpx.Limits(max_connections=400)
    )
    return House(gateway, http, client, sandbox, folder, settings)


@contextlib.asynccontextmanager
async def house(
    folder: Path, *, options: SandboxOptions = FAST, **changes: Any
) -> AsyncIterator[House]:
    """A gateway and a sandbox for the length of the block."""
    async with running_sandbox(options) as sandbox:
        one = await opened(sandbox, folder, **changes)
        try:
            yield one
        finally:
            await one.stop()
