"""Three gateways restarted one after the other, under load, behind each of the fronts at once.

They share a PostgreSQL ledger and a bucket, so that each of them knows every task and picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import pytest
import shared_servers
import trustme
from house import FAST, TEAM_KEY, settings_text
from processes import GATEWAY, free_port, process
from proxies import FOR_THREE, Front, Site, proxy

from gateway.sandbox import running_sandbox

TEAM = {"Authorization": f"Bearer {TEAM_KEY}"}
DRAIN = "2s"
"""Four times as long as a front takes to ask again."""

PAUSE_SECONDS = 0.05
"""Clients and gateways are on the same machine: none of them may be short of it."""


@dataclass
class Replica:
    """One gateway that is stopped and started again, with the same port and folder."""

    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        serve = ("serve", "--config", str(self.folder / "config.yaml"), "--port", str(self.port))
        async with process(*GATEWAY, *serve, cwd=self.folder) as one:
            yield one


@dataclass
class Load:
    """Clients of one front, who go on until they are told to stop."""

    front: Front
    failed: list[str] = field(default_factory=list)
    served: int = 0
    tasks: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        base, trust = self.front.site.base, self.front.trust
        async with httpx.AsyncClient(base_url=base, verify=trust, timeout=20) as client:

            async def order(**more: str) -> httpx.Response:
                prompt = f"{self.front.site.proxy} {next(self._numbers)}"
                wish = {"model": "gpt-image-1.5", "prompt": prompt}
                headers = {**TEAM, **more}
                answer = await client.post("/v1/images/generations", json=wish, headers=headers)
                if answer.status_code == 200:
                    self.tasks.append(answer.json()["id"])
                return answer

            async def wait() -> httpx.Response:
                return await order(Prefer="wait=5")

            async def poll() -> httpx.Response:
                """Of what the latest order has become, whichever gateway is asked now."""
                path = f"/v1/tasks/{self.tasks[-1]}" if self.tasks else "/v1/models"
                return await client.get(path, headers=TEAM)

            async def hit() -> httpx.Response:
                wish = {"model": "gpt-image-1.5", "prompt": "wanted by all"}
                return await client.post("/v1/images/generations", json=wish, headers=TEAM)

            going = [
                asyncio.create_task(self._go_on(way)) for way in (poll, poll, order, hit, wait)
            ]
            try:
                yield
            finally:
                for one in going:
                    one.cancel()
                await asyncio.gather(*going, return_exceptions=True)

    async def _go_on(self, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                answer = await ask()
            except httpx.HTTPError as error:
                self.failed.append(repr(error))
                continue
            self.served += answer.status_code == 200
            if answer.status_code != 200:
                self.failed.append(
                    f"{time.strftime('%X')} {answer.request.method} {answer.status_code}:"
                    f" {answer.text[:200]}"
                )


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.long
async def test_a_rolling_restart_loses_no_request(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = shared_servers.stores("rolling")
    for name, value in shared_servers.s3().items():
        monkeypatch.setenv(name, value)
    replicas = [Replica(tmp_path / str(number)) for number in range(3)]
    async with contextlib.AsyncExitStack() as machines, contextlib.AsyncExitStack() as clients:
        sandbox = await machines.enter_async_context(running_sandbox(FAST))
        for one in replicas:
            one.folder.mkdir()
            patient = {"evolink": {"timeout": {"submit": "20s"}}}  # on a busy machine, too
            changes = {"server": {"drain": DRAIN}, "storage": storage, "upstreams": patient}
            text = settings_text(sandbox.base_url, one.folder / "data", **changes)
            (one.folder / "config.yaml").write_text(text)
        running = await asyncio.gather(
            *(machines.enter_async_context(one.running()) for one in replicas)
        )
        loads = []
        for name in FOR_THREE:
            place = proxy(Site(name), [one.address for one in replicas], tmp_path / name, authority)
            loads.append(Load(await machines.enter_async_context(place)))
            await clients.enter_async_context(loads[-1].going())
        for at, one in enumerate(replicas):
            running[at].send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running[at].wait(), 30) == 0
            await machines.enter_async_context(one.running())
        await asyncio.sleep(1)  # the last one, too, has been asked for something by now
        await clients.aclose()
        for load in loads:
            assert load.served > 100
            if load.front.site.proxy != "nginx-three":
                assert load.failed == [], load.front.site.proxy
        await require_all_done(replicas[0], sum(len(load.tasks) for load in loads))
    assert set(sandbox.state.submits_by_prompt.values()) == {1}, "nothing was paid twice"


async def require_all_done(one: Replica, taken: int) -> None:
    """Every order that was taken, and whose client was told so, ends with its picture."""
    until = time.monotonic() + 20
    async with httpx.AsyncClient(base_url=f"http://{one.address}", timeout=20) as client:
        while True:
            counts = {
                status: (await client.get(f"/v1/tasks?status={status}", headers=TEAM)).json()[
                    "total"
                ]
                for status in ("pending", "processing", "failed", "completed")
            }
            if counts["pending"] == counts["processing"] == 0:
                break
            assert time.monotonic() < until, counts
            await asyncio.sleep(0.1)
    assert counts["failed"] == 0 and counts["completed"] >= taken
