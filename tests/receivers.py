"""A receiver of callbacks on a raw loopback socket, which can misbehave in every way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

import trustme


@dataclass(frozen=True)
class Call:
    """One request that was read whole. `headers` are by lower-case name."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def task(self) -> Any:
        return json.loads(self.body)


Answer = int | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""A status, or something that writes whatever it likes."""


async def hang(_: asyncio.StreamWriter) -> None:
    """Takes the request and never answers."""
    await asyncio.Event().wait()


def redirect(location: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(
            f"HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        await writer.drain()

    return answer


class Receiver:
    """Gives the answers in turn, the last one for ever, and remembers what it was sent.

    Without `tls` it speaks plain http.
    """

    def __init__(
        self, tls: ssl.SSLContext | None, *answers: Answer, host: str = "127.0.0.1"
    ) -> None:
        self._tls = tls
        self._answers = list(answers) or [200]
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Condition()
        self.port = 0
        self.connections = 0
        self.at_once = 0
        self.most_at_once = 0
        self.calls: list[Call] = []

    async def start(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._host, 0, ssl=self._tls, backlog=256
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str = "/hook", *, host: str | None = None) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host or self._host}:{self.port}{path}"

    async def called(self, times: int = 1, *, seconds: float = 10) -> list[Call]:
        """The calls, once there are so many."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: len(self.calls) >= times)
        return self.calls

    @property
    def by_id(self) -> Counter[str]:
        """How often each callback came."""
        return Counter(call.id for call in self.calls)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            call = await _read(reader)
            async with self._news:
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                self.calls.append(call)
                self._news.notify_all()
            if isinstance(answer, int):
                writer.write(f"HTTP/1.1 {answer} X\r\nContent-Length: 2\r\n\r\nok".encode())
                await writer.drain()
            else:
                await _unless_left(reader, answer(writer))
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self.at_once -= 1
            writer.close()


async def _unless_left(reader: asyncio.StreamReader, answer: Awaitable[None]) -> None:
    """Lets the answer be given until the client hangs up."""
    work = asyncio.ensure_future(answer)
    left = asyncio.ensure_future(reader.read())
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (work, left):
            task.cancel()
        await asyncio.gather(work, left, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    assert method == "POST"
    return Call(target, headers, body)


Receive = Callable[..., Awaitable[Receiver]]
"""The fixture `receive`: answers, and maybe `name` and `host`, to a running receiver."""


@contextlib.asynccontextmanager
async def receiving(authority: trustme.CA) -> AsyncIterator[Receive]:
    """Starts receivers on loopback with a certificate for `name`; all are stopped at the end."""
    receivers: list[Receiver] = []

    async def start(*answers: Answer, name: str = "127.0.0.1", host: str = "127.0.0.1") -> Receiver:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        receiver = await Receiver(context, *answers, host=host).start()
        receivers.append(receiver)
        return receiver

    yield start
    for receiver in receivers:
        await receiver.stop()
