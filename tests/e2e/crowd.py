"""A crowd of clients on connections of their own, as cheap as a client can be."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Sequence
from typing import cast

ENOUGH_FILES = 12_000


def many_files() -> bool:
    """Raises the limit of open files; whether thousands of connections are possible then."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if most == resource.RLIM_INFINITY else min(ENOUGH_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted >= ENOUGH_FILES


class Client(asyncio.Protocol):
    """Asks one thing at a time; `answered_at` (time.perf_counter) is when all of it was there."""

    def __init__(self) -> None:
        self._answered: asyncio.Future[bytes] | None = None
        self._have = bytearray()
        self._transport: asyncio.WriteTransport | None = None
        self.answered_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def ask(self, path: str, headers: str) -> asyncio.Future[bytes]:
        """The body of the answer; raises nothing but for a status other than 200."""
        assert self._transport is not None
        self._have.clear()
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n".encode())
        return self._answered

    def data_received(self, data: bytes) -> None:
        self._have += data
        head, blank, body = self._have.partition(b"\r\n\r\n")
        if not blank or self._answered is None or self._answered.done():
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.answered_at = time.perf_counter()
        if b" 200 " in head.partition(b"\r\n")[0]:
            self._answered.set_result(bytes(body))
        else:
            self._answered.set_exception(AssertionError(bytes(self._have).decode()))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionError("cut off"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@contextlib.asynccontextmanager
async def crowd(count: int, port: int) -> AsyncIterator[Sequence[Client]]:
    """So many clients, connected."""
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    while len(clients) < count:
        made = await asyncio.gather(
            *(loop.create_connection(Client, "127.0.0.1", port) for _ in range(min(100, count)))
        )
        clients += [client for _, client in made]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()
