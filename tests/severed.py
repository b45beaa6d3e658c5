"""A way to a server that is long, or can be cut where it hurts: between a COMMIT and its answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def ended(writer: asyncio.StreamWriter) -> None:
    """Its socket is closed when this returns, and not at some time after the loop is."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


class Severed:
    """Carries bytes between clients and a server.

    `drop_answers_to` holds back everything that the server says on the first connection on which
    these words have passed to it, one after the other; `keep_back` lets the words themselves never
    pass; `cut` ends all connections. Whatever goes to the server is `late` by so many seconds.
    """

    def __init__(self, port: int, *, late: float = 0.0) -> None:
        self._target = port
        self._late = late
        self._watched: tuple[bytes, ...] = ()
        self._keeps = False
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()
        self._ways: set[asyncio.Task[None]] = set()
        self.passed = asyncio.Event()
        self.port = 0

    async def __aenter__(self) -> Severed:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._ways, return_exceptions=True)

    def drop_answers_to(self, *words: bytes) -> None:
        self.passed.clear()
        self._watched, self._keeps = words, False

    def keep_back(self, *words: bytes) -> None:
        """From the connection on which they come, with all that would follow."""
        self.passed.clear()
        self._watched, self._keeps = words, True

    def cut(self) -> None:
        """New connections are carried as before."""
        self._watched = ()
        for writer in list(self._writers):
            with suppress(RuntimeError):
                writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (way := asyncio.current_task()) is not None:
            self._ways.add(way)
            way.add_done_callback(self._ways.discard)
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is down
            return await ended(writer)
        silent = asyncio.Event()
        self._writers |= {writer, onward}
        try:
            await asyncio.gather(
                self._forth(reader, onward, silent),
                self._back(there, writer, silent),
                return_exceptions=True,
            )
        finally:
            for one in (writer, onward):
                self._writers.discard(one)
                await ended(one)

    async def _forth(
        self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter, silent: asyncio.Event
    ) -> None:
        watched, left = self._watched, list(self._watched)
        while data := await reader.read(1 << 16):
            if self._watched is not watched:
                watched, left = self._watched, list(self._watched)
            rest = data
            while left and left[0] in rest:
                rest = rest.partition(left.pop(0))[2]
            if watched and not left:
                silent.set()
                self._watched = watched = ()
                if self._keeps:
                    self.passed.set()
                    while await reader.read(1 << 16):
                        pass
                    return
            if self._late:
                await asyncio.sleep(self._late)
            onward.write(data)
            await onward.drain()
        onward.close()

    async def _back(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: asyncio.Event
    ) -> None:
        while data := await there.read(1 << 16):
            if silent.is_set():
                self.passed.set()  # it has answered: what it was told is done
                continue
            writer.write(data)
            await writer.drain()
        writer.close()
