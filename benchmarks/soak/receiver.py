"""A receiver of callbacks: https with a certificate of its own, and now and then out of sorts."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections import Counter
from pathlib import Path
from typing import Final, Self

import trustme

REFUSED_SHARE: Final = 0.1
"""So many calls are answered with 500 and have to come again."""


class Receiver:
    """Remembers the ids of the tasks that it took; `authority` is the file of its certificate's."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "authority.pem"
        self.taken: Counter[str] = Counter()
        self.refused = 0
        self._chance = random.Random(3)
        self._port = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}/hook"

    async def __aenter__(self) -> Self:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            status = self._judge(await reader.readexactly(length))
            answer = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(answer.encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return  # a gateway was killed while it called
        finally:
            writer.close()

    def _judge(self, body: bytes) -> int:
        if self._chance.random() < REFUSED_SHARE:
            self.refused += 1
            return 500
        self.taken[json.loads(body)["id"]] += 1
        return 200
