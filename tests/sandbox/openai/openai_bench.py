"""What the tests of the simulated OpenAI share: one on a loopback socket, the SDK, pictures."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2 as httpx
from openai import AsyncOpenAI
from PIL import Image

from gateway.sandbox.openai import OpenAIOptions, OpenAIState, RunningOpenAI, running_openai

KEY = "sk-test"
ADMIN_KEY = "sk-admin-test"
QUICK = OpenAIOptions(seconds_per_picture=0, picture_scale=0.05)
PLAIN = {"model": "gpt-image-2", "size": "1024x1024", "quality": "low"}


@dataclass(frozen=True)
class OpenAIBench:
    """A running simulator, a plain client with a key, and the SDK, which tries nothing twice."""

    sandbox: RunningOpenAI
    client: httpx.AsyncClient
    sdk: AsyncOpenAI

    @property
    def state(self) -> OpenAIState:
        return self.sandbox.state

    @property
    def owed(self) -> int:
        """What the test's key owes, in micro-dollars."""
        return self.state.bill.of(KEY).usd_micros

    async def generate(self, prompt: str = "a red bicycle", **fields: Any) -> httpx.Response:
        body = {**PLAIN, "prompt": prompt, **fields}
        return await self.client.post("/v1/images/generations", json=body)

    async def edit(
        self, parts: list[tuple[str, Any]], prompt: str = "put it on a table", **fields: Any
    ) -> httpx.Response:
        """Multipart; `parts` are files as httpx takes them."""
        data = {**PLAIN, "prompt": prompt, **fields}
        return await self.client.post("/v1/images/edits", data=data, files=parts)

    async def bill(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.get("/sandbox/bill")).json()
        return found

    async def all_done(self) -> None:
        """Returns when no work is under way, whoever waits for it."""
        async with asyncio.timeout(10):
            while self.state.under_way:
                await asyncio.sleep(0.005)


OpenBench = Callable[..., AbstractAsyncContextManager[OpenAIBench]]


@asynccontextmanager
async def opened(**changed: Any) -> AsyncIterator[OpenAIBench]:
    """A bench whose options differ from the quick ones in `changed`."""
    options = replace(QUICK, **changed)
    async with (
        running_openai(options, grace_seconds=0.05) as sandbox,
        httpx.AsyncClient(
            base_url=sandbox.base_url,
            headers={"Authorization": f"Bearer {KEY}"},
            verify=False,
            timeout=10,
        ) as client,
        AsyncOpenAI(base_url=sandbox.api_url, api_key=KEY, max_retries=0, timeout=10) as sdk,
    ):
        yield OpenAIBench(sandbox, client, sdk)


def picture(size: tuple[int, int] = (64, 64), kind: str = "PNG", *, mode: str = "RGB") -> bytes:
    """A small picture of the test's own."""
    out = io.BytesIO()
    Image.new(mode, size, 0).save(out, kind)
    return out.getvalue()


def file_part(
    name: str = "image",
    content: bytes | None = None,
    media_type: str | None = "image/png",
) -> tuple[str, Any]:
    return name, ("one.png", picture() if content is None else content, media_type)


def pictures_in(answer: httpx.Response) -> list[bytes]:
    return [base64.b64decode(one["b64_json"], validate=True) for one in answer.json()["data"]]


def look(content: bytes) -> tuple[str | None, tuple[int, int]]:
    """(format, pixels) of a picture, by its own bytes, all of which are decoded."""
    with Image.open(io.BytesIO(content)) as found:
        found.load()
        return found.format, found.size
