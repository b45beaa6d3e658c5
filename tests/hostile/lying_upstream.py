"""An upstream that gives each order the answers that a test has drawn for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from odd_answers import Odd, whole

NUMBERED: Final = re.compile(rb"lie-(\d{6})-")
PLACE: Final = "000000"
"""Stands for the number in what is drawn; as long as any."""

UNKNOWN: Final = (
    b'{"error":{"code":"task_not_found","message":"none","type":"invalid_request_error"}}'
)


@dataclass(frozen=True)
class Lies:
    """What one order is told: at its submit, at each poll in turn, and behind its links."""

    submit: Odd
    polls: tuple[Odd, ...]
    link: Odd


def task(number: str, **more: Any) -> Mapping[str, Any]:
    """As the vendor writes one; `more` is what an answer has of its own."""
    return {
        "id": f"task-lie-{number}-0000000000",
        "object": "image.generation.task",
        "model": "gpt-image-1.5",
        "status": "pending",
        "progress": 0,
        "created": 1_757_156_493,
        "type": "image",
        "task_info": {"can_cancel": True, "estimated_time": 5},
        "usage": {"credits_used": 1.5, "billing_rule": "per_call"},
        **more,
    }


def finished(number: str, base_url: str) -> Mapping[str, Any]:
    links = [f"{base_url}/lie-{number}-.png"]
    data = [{"url": links[0], "b64_json": None}]
    return task(number, status="completed", progress=100, results=links, result_data=data)


class LyingUpstream:
    """By `lie-<number>-` in a prompt, an id or a link it tells which order it is asked about."""

    def __init__(self) -> None:
        self.lies: dict[str, Lies] = {}
        self.submits: dict[str, int] = {}
        self._polled: dict[str, int] = {}

    def tell(self, number: int, lies: Lies) -> None:
        """What the order of that number is told from now on."""
        key = f"{number:06}"
        polls = tuple(_numbered(one, key) for one in lies.polls)
        self.lies[key] = Lies(_numbered(lies.submit, key), polls, lies.link)

    def repent(self, link: bytes) -> None:
        """From now on every task is done and every link has this: what is paid is asked after for
        a day, and a line that breaks is tried again as long."""
        done = whole(json.dumps(finished(PLACE, self.base_url)).encode())
        for number, lies in self.lies.items():
            self.lies[number] = Lies(lies.submit, (_numbered(done, number),), whole(link))

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[LyingUpstream]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            await self._tell(writer, self._choose(head, body))
        writer.close()

    def _choose(self, head: bytes, body: bytes) -> Odd:
        found = NUMBERED.search(head) or NUMBERED.search(body)
        if found is None or (number := found[1].decode()) not in self.lies:
            return Odd(b"HTTP/1.1 404 X\r\nContent-Length: %d\r\n\r\n" % len(UNKNOWN) + UNKNOWN)
        lies = self.lies[number]
        if head.startswith(b"POST"):
            self.submits[number] = self.submits.get(number, 0) + 1
            return lies.submit
        if b"/v1/tasks/" in head.split(b"\r\n")[0]:
            nth = self._polled[number] = self._polled.get(number, -1) + 1
            return lies.polls[min(nth, len(lies.polls) - 1)]
        return lies.link

    async def _tell(self, writer: asyncio.StreamWriter, odd: Odd) -> None:
        size = max(1, -(-len(odd.data) // odd.pieces))
        for start in range(0, len(odd.data), size):
            writer.write(odd.data[start : start + size])
            await writer.drain()
            await asyncio.sleep(odd.pause_seconds)
        if odd.cut:
            writer.transport.abort()


def _numbered(odd: Odd, number: str) -> Odd:
    return replace(odd, data=odd.data.replace(f"-{PLACE}-".encode(), f"-{number}-".encode()))
