"""Several gateways, each a process of its own, that share a PostgreSQL database and a bucket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import shared_servers
from house import ADMIN_KEY, FAST, TEAM_KEY, settings_text
from processes import GATEWAY, free_port

from gateway.sandbox import RunningSandbox, SandboxOptions, running_sandbox

FINAL = ("completed", "failed")


@dataclass
class Replica:
    """One of them: killed, frozen and started again as a test likes."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    port: int = field(default_factory=free_port)
    environment: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    async def start(self, *, ready: bool = True) -> None:
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "config.yaml"
        changes = dict(self.settings)
        text = settings_text(changes.pop("base_url"), self.folder / "data", **changes)
        config.write_text(text, "utf-8")
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *GATEWAY, "serve", "--config", str(config), "--port", str(self.port),
                stdout=asyncio.subprocess.DEVNULL, stderr=log, cwd=self.folder,
                env={**os.environ, **self.environment},
            )  # fmt: skip
        if ready:
            await self.is_ready()

    async def is_ready(self, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        async with httpx.AsyncClient(base_url=self.url) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/readyz")).status_code == 200:
                        return
                assert self.process is not None
                assert self.process.returncode is None, self.log
                assert time.monotonic() < end, self.log
                await asyncio.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
        await self.gone()

    async def stop(self) -> int:
        """In good order; its exit code."""
        self.signal(signal.SIGTERM)
        return await self.gone()

    async def gone(self) -> int:
        assert self.process is not None
        return await self.process.wait()


@dataclass
class Replicas:
    """All of them, and what they have in front and behind."""

    every: list[Replica]
    sandbox: RunningSandbox
    client: httpx.AsyncClient
    folder: Path
    turn: int = 0

    def next(self) -> Replica:
        """One after the other, as a balancer would."""
        self.turn += 1
        return self.every[self.turn % len(self.every)]

    async def post(
        self, prompt: str, *, at: Replica | None = None, key: str = TEAM_KEY, headers: Any = (),
        **body: Any,
    ) -> httpx.Response:  # fmt: skip
        return await self.client.post(
            f"{(at or self.next()).url}/v1/images/generations",
            json={"model": "gpt-image-1.5", "prompt": prompt, **body},
            headers={"Authorization": f"Bearer {key}", **dict(headers)},
        )

    async def poll(self, task_id: str, *, at: Replica | None = None, key: str = TEAM_KEY) -> Any:
        return await self.client.get(
            f"{(at or self.next()).url}/v1/tasks/{task_id}",
            headers={"Authorization": f"Bearer {key}"},
        )

    async def ended(
        self, task_id: str, *, at: Replica | None = None, key: str = TEAM_KEY, seconds: float = 60
    ) -> Any:
        """The task once it is completed or failed, whoever tells it."""
        end = time.monotonic() + seconds
        while True:
            answer = None
            with contextlib.suppress(httpx.TransportError):
                answer = await self.poll(task_id, at=at, key=key)
            if answer is not None and answer.status_code == 200:
                task = answer.json()
                if task["status"] in FINAL:
                    return task
            assert time.monotonic() < end, answer and answer.text
            await asyncio.sleep(0.05)

    async def admin(self, method: str, path: str, *, at: Replica | None = None, **more: Any) -> Any:
        return await self.client.request(
            method,
            f"{(at or self.next()).url}/admin/v1/{path}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}", **more.pop("headers", {})},
            **more,
        )

    async def usage(self, team: str = "blue") -> Mapping[str, Any]:
        """The team's totals, from the ledger."""
        answer = await self.admin("GET", "usage", params={"by": "team", "team": team})
        totals: Mapping[str, Any] = answer.json()["totals"]
        return totals

    async def new_team(self, name: str, at: Replica) -> tuple[str, str]:
        """Makes a team with one key; that key, and its id."""
        made = await self.admin("POST", "teams", at=at, json={"name": name})
        assert made.status_code == 200, made.text
        key = (await self.admin("POST", f"teams/{name}/keys", at=at, json={})).json()
        return key["key"], key["id"]

    async def audit(self) -> list[str]:
        """What the audit finds: nothing when all adds up."""
        one = self.every[0]
        done = await asyncio.create_subprocess_exec(
            *GATEWAY, "audit", "--config", str(one.folder / "config.yaml"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=one.folder,
            env={**os.environ, **one.environment},
        )  # fmt: skip
        said, _ = await done.communicate()
        lines = said.decode().splitlines()
        return [] if done.returncode == 0 else [one for one in lines if not one.startswith("ok ")]


@contextlib.asynccontextmanager
async def replicas(
    folder: Path,
    *,
    storage: Mapping[str, str],
    count: int = 3,
    options: SandboxOptions = FAST,
    environment: Mapping[str, str] | None = None,
    vendors: Mapping[str, Any] | None = None,
    **changes: Any,
) -> AsyncIterator[Replicas]:
    """So many gateways over these stores, in front of one sandbox, and of more `vendors` under
    their names; killed at the end."""
    async with (
        running_sandbox(options) as sandbox,
        httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=500)) as client,
    ):
        kept = {"free_space_floor": 0, **storage, **changes.pop("storage", {})}
        server = {"public_url": "https://images.example.org", **changes.pop("server", {})}
        patient = {"connect": "5s", "submit": "25s", "poll": "20s", "download": "60s"}
        evolink = {"timeout": patient, **changes.pop("upstreams", {})}
        changes["upstreams"] = {"evolink": evolink, **(vendors or {})}
        settings = {"base_url": sandbox.base_url, "storage": kept, "server": server, **changes}
        known = shared_servers.s3() if environment is None else environment
        every = [
            Replica(name, folder / name, settings, environment=known)
            for name in (f"gateway-{number}" for number in range(1, count + 1))
        ]
        try:
            await asyncio.gather(*(one.start() for one in every))
            yield Replicas(every, sandbox, client, folder)
        finally:
            for one in every:
                if one.process is not None and one.process.returncode is None:
                    one.signal(signal.SIGCONT)
                    await one.kill()
