"""A vendor that answers at once: `python -m benchmarks.upstream PORT`.

It speaks as much of the vendor's API as a run needs, on a protocol of its own, so that it takes
as little as may be of the core that it shares with the load. A word in the prompt says how an
order goes: `polls=7` has it done at the eighth poll, `held` when `POST /release` came. Each
picture is another: the same noise with the order's number in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import struct
import sys
import time
import zlib
from io import BytesIO
from typing import Final, cast

from PIL import Image

from gateway import serving

WORK: Final = re.compile(rb"polls=(\d+)")
HELD: Final = b"held"
SMALL: Final = b"small"
EDGES: Final = (264, 16)
"""Of a picture of 210 kB, and of a small one."""
RELEASE: Final = b"/release"
OPENAI: Final = b"/openai/"
"""Under it are a chat and a picture as OpenAI answers them, for peers."""
CHAT: Final = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"chat","choices":[{"index":'
    b'0,"message":{"role":"assistant","content":"a picture"},"finish_reason":"stop"}],"usage":'
    b'{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)
IMAGES: Final = b'{"created":1,"data":[{"url":"http://127.0.0.1/pictures/0.png"}]}'
HEAD: Final = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
END_CHUNK_BYTES: Final = 12


class Vendor:
    """The orders that it has taken; their state is what is left to wait for."""

    def __init__(self, port: int) -> None:
        self._links = f"http://127.0.0.1:{port}/pictures"
        self._pictures = tuple(_noise(edge) for edge in EDGES)
        self._polls_left: list[int] = []
        self._held: list[bool] = []
        self._small: list[bool] = []
        self._released = False
        self._created = int(time.time())

    def answer(self, method: bytes, path: bytes, body: bytes) -> bytes:
        """The whole answer to one request."""
        if path.startswith(OPENAI):
            return _json(CHAT if path.endswith(b"/chat/completions") else IMAGES)
        if method == b"POST" and path.endswith(b"/images/generations"):
            return self._taken(body)
        if path.startswith(b"/v1/tasks/"):
            return self._polled(int(path.rpartition(b"-")[2]))
        if path.startswith(b"/pictures/"):
            return self._picture(int(path.rpartition(b"/")[2].partition(b".")[0]))
        if path == RELEASE:
            self._held = [False] * len(self._held)
        return _json(b"{}")

    def _taken(self, body: bytes) -> bytes:
        work = WORK.search(body)
        self._polls_left.append(int(work[1]) if work else 0)
        self._held.append(HELD in body)
        self._small.append(SMALL in body)
        return self._task(len(self._held) - 1, b"pending", b"")

    def _polled(self, number: int) -> bytes:
        if self._held[number]:
            return self._task(number, b"processing", b"")
        if self._polls_left[number]:
            self._polls_left[number] -= 1
            return self._task(number, b"processing", b"")
        link = f',"results":["{self._links}/{number}.png"]'.encode()
        return self._task(number, b"completed", link)

    def _task(self, number: int, status: bytes, more: bytes) -> bytes:
        return _json(
            b'{"created":%d,"id":"task-unified-%d-%d","model":"gpt-image-1.5","object":'
            b'"image.generation.task","progress":%d,"status":"%s","task_info":{"can_cancel":true},'
            b'"type":"image"%s}'
            % (self._created, self._created, number, 100 if more else 0, status, more)
        )

    def _picture(self, number: int) -> bytes:
        """The number is a text beside the pixels, as PNG has it."""
        png = self._pictures[self._small[number]]
        text = b"tEXtorder\0%d" % number
        chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
        whole = png[:-END_CHUNK_BYTES] + chunk + png[-END_CHUNK_BYTES:]
        return HEAD % (b"200 OK", b"image/png", len(whole)) + whole


def _noise(edge: int) -> bytes:
    pixels = random.Random(edge).randbytes(edge * edge * 3)
    to = BytesIO()
    Image.frombytes("RGB", (edge, edge), pixels).save(to, "PNG", compress_level=1)
    return to.getvalue()


def _json(body: bytes) -> bytes:
    return HEAD % (b"200 OK", b"application/json", len(body)) + body


class Speaker(asyncio.Protocol):
    """One connection: requests one after another, each with a length or without a body."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._came = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._came += data
        while self._next():
            pass

    def _next(self) -> bool:
        """Whether a whole request was there."""
        head, found, rest = self._came.partition(b"\r\n\r\n")
        if not found:
            return False
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return False
        method, path, _ = head.split(b" ", 2)
        assert self._transport is not None
        self._transport.write(self._vendor.answer(method, path, rest[:size]))
        self._came = rest[size:]
        return True


async def main(port: int) -> None:
    """Until it is ended, or its parent is."""
    vendor, loop, parent = Vendor(port), asyncio.get_running_loop(), os.getppid()
    await loop.create_server(lambda: Speaker(vendor), "127.0.0.1", port, backlog=4096)
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serving.run(main(int(sys.argv[1])))
