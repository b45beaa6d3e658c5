"""A tiny HTTP server on a raw loopback socket, which can misbehave in every way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Received:
    target: str
    headers: dict[str, str]


class Line:
    """One connection's way back to the client."""

    def __init__(self, writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        self._writer = writer
        self.client_gone = gone

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, body: bytes, *headers: str, status: int = 200) -> None:
        head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join([*head, "", ""]).encode() + body)

    async def redirect(self, location: str, status: int = 302) -> None:
        await self.answer(b"", f"Location: {location}", status=status)

    def reset(self) -> None:
        self._writer.transport.abort()


Handler = Callable[[Received, Line], Awaitable[None]]


class RawServer:
    """Calls `handler` for each request, then closes that connection."""

    def __init__(
        self, handler: Handler, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self._handler = handler
        self._tls = tls
        self.host = host
        self.port = 0
        self.connections = 0
        self.requests: list[Received] = []
        self.client_gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str = "/picture.png", *, host: str | None = None) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{host or self.host}:{self.port}{path}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        watcher: asyncio.Task[None] | None = None
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines)}
            received = Received(first.split(" ")[1], headers)
            self.requests.append(received)
            watcher = asyncio.ensure_future(self._watch(reader))
            await self._handler(received, Line(writer, self.client_gone))
        except (OSError, asyncio.IncompleteReadError):
            self.client_gone.set()
        finally:
            if watcher is not None:
                watcher.cancel()
            writer.close()

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        """Notices that the client has hung up."""
        with suppress(OSError):
            await reader.read()
        self.client_gone.set()


Serve = Callable[..., Awaitable[RawServer]]
"""The fixture `serve`: a handler, and maybe `tls`, `host` and `port`, to a running server."""
