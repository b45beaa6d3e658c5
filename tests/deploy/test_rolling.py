"""Three gateways restarted one after the other, under load, behind each of the fronts at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import pytest
import trustme
from house import FAST, TEAM_KEY, settings_text
from processes import GATEWAY, free_port, process
from proxies import FOR_THREE, Front, Site, proxy

from gateway.sandbox import running_sandbox

TEAM = {"Authorization": f"Bearer {TEAM_KEY}"}
DRAIN = "2s"
"""Four times as long as a front takes to ask again."""


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
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        base, trust = self.front.site.base, self.front.trust
        async with httpx.AsyncClient(base_url=base, verify=trust, timeout=20) as client:

            async def look() -> httpx.Response:
                return await client.get("/v1/models", headers=TEAM)

            async def order(**more: str) -> httpx.Response:
                prompt = f"{self.front.site.proxy} {next(self._numbers)}"
                wish = {"model": "gpt-image-1.5", "prompt": prompt}
                headers = {**TEAM, **more}
                return await client.post("/v1/images/generations", json=wish, headers=headers)

            async def wait() -> httpx.Response:
                return await order(Prefer="wait=5")

            going = [
                asyncio.create_task(self._go_on(way)) for way in (look, look, order, order, wait)
            ]
            try:
                yield
            finally:
                for one in going:
                    one.cancel()
                await asyncio.gather(*going, return_exceptions=True)

    async def _go_on(self, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
        while True:
            try:
                answer = await ask()
            except httpx.HTTPError as error:
                self.failed.append(repr(error))
                continue
            self.served += answer.status_code == 200
            if answer.status_code != 200:
                self.failed.append(
                    f"{answer.request.method} {answer.status_code}: {answer.text[:200]}"
                )


@pytest.mark.slow
async def test_a_rolling_restart_loses_no_request(tmp_path: Path, authority: trustme.CA) -> None:
    replicas = [Replica(tmp_path / str(number)) for number in range(3)]
    async with contextlib.AsyncExitStack() as machines, contextlib.AsyncExitStack() as clients:
        sandbox = await machines.enter_async_context(running_sandbox(FAST))
        for one in replicas:
            one.folder.mkdir()
            server = {"drain": DRAIN}
            text = settings_text(sandbox.base_url, one.folder / "data", server=server)
            (one.folder / "config.yaml").write_text(text)
        running = [await machines.enter_async_context(one.running()) for one in replicas]
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
    print({load.front.site.proxy: (load.served, load.failed) for load in loads})
    for load in loads:
        assert load.served > 100
        if load.front.site.proxy != "nginx-three":
            assert load.failed == [], load.front.site.proxy
