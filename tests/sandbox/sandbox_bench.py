"""What the sandbox's tests share: a sandbox on a loopback socket, and a clock moved by hand."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2 as httpx

from gateway.sandbox import RunningSandbox, SandboxOptions, SandboxState, running_sandbox

START = 1_790_000_000.0


class HandClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Bench:
    """A running sandbox, a client with a key, one without, and the clock."""

    sandbox: RunningSandbox
    client: httpx.AsyncClient
    anonymous: httpx.AsyncClient
    clock: HandClock

    @property
    def state(self) -> SandboxState:
        return self.sandbox.state

    async def submit(self, prompt: str = "a red bicycle", **fields: Any) -> httpx.Response:
        body = {"model": "gpt-image-1.5", "prompt": prompt, **fields}
        return await self.client.post("/v1/images/generations", json=body)

    async def task_id(self, prompt: str = "a red bicycle", **fields: Any) -> str:
        answer = await self.submit(prompt, **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def poll(self, task_id: str) -> httpx.Response:
        return await self.client.get(f"/v1/tasks/{task_id}")

    async def finished(self, prompt: str = "a red bicycle", **fields: Any) -> dict[str, Any]:
        """The task object after enough time has passed."""
        task_id = await self.task_id(prompt, **fields)
        self.clock.now += 100
        task: dict[str, Any] = (await self.poll(task_id)).json()
        return task


OpenBench = Callable[..., AbstractAsyncContextManager[Bench]]


@asynccontextmanager
async def opened(**changes: Any) -> AsyncIterator[Bench]:
    # Plain http needs no certificates, and loading them takes longer than most of these tests.
    plain: dict[str, Any] = {"verify": False, "timeout": 5}
    options = replace(SandboxOptions(picture_scale=0.05), **changes)
    clock = HandClock()
    async with (
        running_sandbox(options, clock=clock, grace_seconds=0.2) as sandbox,
        httpx.AsyncClient(
            base_url=sandbox.base_url, headers={"Authorization": "Bearer sk-test"}, **plain
        ) as client,
        httpx.AsyncClient(base_url=sandbox.base_url, **plain) as anonymous,
    ):
        yield Bench(sandbox, client, anonymous, clock)
