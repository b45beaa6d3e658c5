"""A proxy on loopback, which knows names that nobody else knows and remembers what it was asked."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

Place = tuple[str, int]
Refuse = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answering(status: int) -> Refuse:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    return answer


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_up(_: asyncio.StreamWriter) -> None:
    return


@dataclass
class EgressProxy:
    """`places`: name to where it leads. `refuse` answers instead of passing anything on."""

    places: Mapping[str, Place] = field(default_factory=dict)
    credentials: str | None = None
    refuse: Refuse | None = None
    port: int = 0
    asked: list[str] = field(default_factory=list)  # "CONNECT name:port", "GET http://name/path"

    async def start(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, credentials: str = "") -> str:
        return f"http://{credentials}{'@' if credentials else ''}127.0.0.1:{self.port}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if not await self._one(head, reader, writer):
                    return
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _one(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection can take one more request."""
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        self.asked.append(f"{method} {target}")
        if self.refuse is not None:
            await self.refuse(writer)
            return False
        if not self._admits(headers):
            await answering(407)(writer)
            return False
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            await self._tunnel(self.places.get(host, (host, int(port))), reader, writer)
            return False
        await self._forward(method, target, headers, reader, writer)
        return False

    def _admits(self, headers: Mapping[str, str]) -> bool:
        if self.credentials is None:
            return True
        given = headers.get("Proxy-Authorization", "").removeprefix("Basic ")
        return base64.b64decode(given).decode() == self.credentials

    async def _tunnel(
        self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*place)
        except OSError:
            await answering(502)(writer)
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()

    async def _forward(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        url = urlsplit(target)
        place = self.places.get(url.hostname or "", (url.hostname or "", url.port or 80))
        try:
            far_reader, far_writer = await asyncio.open_connection(*place)
        except OSError:
            await answering(502)(writer)
            return
        path = f"{url.path}{'?' if url.query else ''}{url.query}"
        kept = {n: v for n, v in headers.items() if not n.lower().startswith(("proxy-", "conn"))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in kept.items())]
        far_writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        done, pending = await asyncio.wait(
            [
                asyncio.ensure_future(_pump(far_reader, writer)),
                asyncio.ensure_future(_pump(reader, far_writer)),
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in pending:
            task.cancel()
        await asyncio.gather(*done, *pending, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
