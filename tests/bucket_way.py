"""A way to an S3 server on which it is slow, or has no room for more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

from severed import ended

CHUNK_BYTES = 4096
FULL = (
    b"<?xml version='1.0'?><Error><Code>InsufficientStorage</Code>"
    b"<Message>no room for more</Message></Error>"
)


class BucketWay:
    """Carries bytes as they are: requests stay signed for the address that clients know.

    With `pause_seconds` each few kilobytes of the server's take so long; while it `is_full` what
    begins a PUT is answered as a server without room answers it, and goes no further.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._target = urlsplit(environment["AWS_ENDPOINT_URL"])
        self._server: asyncio.Server
        self._ways: set[asyncio.Task[None]] = set()
        self.pause_seconds = 0.0
        self.is_full = False
        self.refused = 0

    @property
    def environment(self) -> Mapping[str, str]:
        """What clients want to know, to come this way."""
        port = self._server.sockets[0].getsockname()[1]
        return {**self._environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for way in self._ways:
            way.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (way := asyncio.current_task()) is not None:
            self._ways.add(way)
            way.add_done_callback(self._ways.discard)
        try:
            with suppress(OSError):
                there, onward = await asyncio.open_connection(
                    self._target.hostname, self._target.port
                )
                try:
                    back = asyncio.create_task(self._back(there, writer))
                    await self._onward(reader, onward, writer)
                    back.cancel()
                    await asyncio.gather(back, return_exceptions=True)
                finally:
                    await ended(onward)
        finally:
            await ended(writer)

    async def _onward(
        self,
        reader: asyncio.StreamReader,
        onward: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
    ) -> None:
        while chunk := await reader.read(65_536):
            if self.is_full and chunk.startswith(b"PUT "):
                self.refused += 1
                head = f"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: {len(FULL)}\r\n"
                writer.write(head.encode() + b"Connection: close\r\n\r\n" + FULL)
                await writer.drain()
                return
            onward.write(chunk)
            await onward.drain()

    async def _back(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await there.read(CHUNK_BYTES if self.pause_seconds else 65_536):
                if self.pause_seconds:
                    await asyncio.sleep(self.pause_seconds)
                writer.write(chunk)
                await writer.drain()
        writer.close()
