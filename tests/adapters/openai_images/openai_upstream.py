"""A server on a raw loopback socket that answers as a test tells it, and runs to send to it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from severed import ended

from gateway.adapters.openai_images.asked import OpenAIDialect
from gateway.adapters.openai_images.client import OpenAIClient, OpenAIClientDeps
from gateway.adapters.openai_images.links import SpoolLinks
from gateway.adapters.openai_images.spool import AnswerSpool
from gateway.adapters.outbound.fetching import Fetcher
from gateway.adapters.outbound.vendor import Timeouts, VendorAccount
from gateway.core.kinds import Rates
from gateway.core.model import Run
from gateway.core.money.accounts import Amounts, Windows
from gateway.ports.outbound import Links
from gateway.ports.spool import PaidAnswers
from gateway.ports.upstream import Upstream

KEY = "sk-test-key-0123456789"
RATES = Rates(text_in=5, image_in=8, image_out=30)
LIMIT = 4 * 1024 * 1024
AS_USUAL = OpenAIDialect()
USAGE = {
    "input_tokens": 18,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 18},
    "output_tokens": 196,
    "output_tokens_details": {"image_tokens": 196, "text_tokens": 0},
    "total_tokens": 214,
}

RUN = Run(
    id="run_" + "a" * 32,
    fingerprint="f" * 64,
    team="blue",
    model="m",
    quality="",
    n=1,
    request='{"prompt":"a red bicycle"}',
    upstream="openai",
    upstream_model="gpt-image-2",
    price_usd_micros=50_000,
    windows=Windows(0, 0, 0, 0, 0),
    hold=Amounts(usd_micros=50_000, images=1, runs=1),
    created_at=1.0,
    deadline_at=61.0,
    due_at=1.0,
)


def a_run(n: int = 1, **body: Any) -> Run:
    request = {"prompt": "a red bicycle", **body}
    if n > 1:
        request["n"] = n
    return replace(RUN, n=n, request=json.dumps(request))


def png(seed: int = 0) -> bytes:
    """The smallest whole PNG of a grey that the seed chooses."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    head = (1).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes([0, seed % 256]))
    parts = chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def pictures(count: int = 1, **more: Any) -> dict[str, Any]:
    """An answer with so many pictures."""
    data = [{"b64_json": coded(png(index))} for index in range(count)]
    return {"created": 1795870000, "data": data, "usage": USAGE, **more}


def error(code: Any = None, message: str = "words", **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": None, "param": None, **more}}


@dataclass(frozen=True)
class Asked:
    """A request that came whole."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> list[tuple[str, str, bytes]]:
        """(name, the rest of its head, content) of each part."""
        boundary = self.headers["content-type"].partition("boundary=")[2].encode()
        parts = self.body.split(b"--" + boundary)[1:-1]
        found = []
        for part in parts:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]*)"', head)
            assert name is not None
            found.append((name[1].decode(), head.decode(), content.removesuffix(b"\r\n")))
        return found


def of_the_ports(
    client: OpenAIClient, spool: AnswerSpool, links: SpoolLinks
) -> tuple[Upstream, PaidAnswers, Links]:
    """They are what the ports ask for: it is for mypy to see."""
    return client, spool, links


Behave = Callable[[asyncio.StreamWriter], Awaitable[None]]
Answer = Behave | bytes


def answering(body: Any, status: int = 200, **headers: str) -> bytes:
    """A whole answer; what is no bytes is JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(raw)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def named(value: object) -> str:
    """What a case is called, in every process the same."""
    return str(getattr(value, "__name__", value))[-70:]


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_up(_: asyncio.StreamWriter) -> None:
    """Takes it, and ends the connection."""


@dataclass
class Server:
    """Gives the one answer to everybody, and remembers what it was sent."""

    answer: Answer = b""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    calls: set[asyncio.Task[Any]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if (call := asyncio.current_task()) is not None:
            self.calls.add(call)
        try:
            await self._serve(reader, writer)
        finally:
            await ended(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            self.asked.append(await _read(reader))
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
            else:
                await self.answer(writer)
            writer.close()
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body)


@asynccontextmanager
async def upstream(answer: Answer = b"") -> AsyncIterator[Server]:
    one = Server(answer)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        server.close()
        for call in one.calls:
            call.cancel()
        await asyncio.gather(*one.calls, return_exceptions=True)


@asynccontextmanager
async def client(
    base_url: str,
    folder: Path,
    dialect: OpenAIDialect = AS_USUAL,
    *,
    seconds: float = 5.0,
    rates: Rates | None = RATES,
    limit: int = LIMIT,
    **more: Any,
) -> AsyncIterator[OpenAIClient]:
    spool = AnswerSpool(folder)
    await spool.open()
    fetcher = Fetcher(allow_private=True)
    one = OpenAIClient(
        VendorAccount(base_url, KEY, "test", 10, key_header=dialect.key_header),
        Timeouts(connect_seconds=5.0, submit_seconds=seconds, poll_seconds=2.0),
        deps=OpenAIClientDeps(
            spool=spool,
            references=lambda _: fetcher,
            rates=lambda _: rates,
            picture_limit_bytes=lambda: limit,
            dialect=dialect,
            **more,
        ),
    )
    try:
        yield one
    finally:
        await one.aclose()
