"""Pictures as base64 within a JSON answer, sent while they are read: one piece in memory at a time.

A whole answer can be hundreds of megabytes (ten pictures at their limit); its length is known
from the pictures' sizes before the first byte is read.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from starlette.responses import StreamingResponse

from gateway.core.model import Picture
from gateway.core.picture_errors import PictureProblem
from gateway.web.openai.wire import PICTURE_HEAD, PICTURE_TAIL, PICTURES_TAIL

PIECE_BYTES: Final = 384 * 1024
"""A multiple of three, so that the pieces' base64 is that of the whole; about 1 ms of work."""


Opening = Callable[[], Awaitable[tuple[object, AsyncGenerator[bytes]] | None]]
Source = Path | Opening
"""Where a picture's bytes are: a file of this machine, or what opens them elsewhere."""


class PicturesAnswer(StreamingResponse):
    """`head`, then every picture as an object of its own, then the end of the list."""

    def __init__(self, head: bytes, pictures: Sequence[tuple[Picture, Source]]) -> None:
        super().__init__(
            _body(head, [source for _, source in pictures]), media_type="application/json"
        )
        self.headers["Content-Length"] = str(_length(head, [picture for picture, _ in pictures]))


def _length(head: bytes, pictures: Sequence[Picture]) -> int:
    base64_bytes = sum((picture.size_bytes + 2) // 3 * 4 for picture in pictures)
    around = len(pictures) * (len(PICTURE_HEAD) + len(PICTURE_TAIL))
    commas = max(len(pictures) - 1, 0)
    return len(head) + base64_bytes + around + commas + len(PICTURES_TAIL)


async def _body(head: bytes, sources: Sequence[Source]) -> AsyncIterator[bytes]:
    yield head
    for number, source in enumerate(sources):
        yield (b"," if number else b"") + PICTURE_HEAD
        async with aclosing(_encoded(source)) as pieces:
            async for piece in pieces:
                yield piece
        yield PICTURE_TAIL
    yield PICTURES_TAIL


async def _encoded(source: Source) -> AsyncGenerator[bytes]:
    at = 0
    if not isinstance(source, Path):
        async for piece in _streamed(source):
            yield await asyncio.to_thread(base64.b64encode, piece)
        return
    while piece := await asyncio.to_thread(_piece, source, at):
        yield piece
        at += PIECE_BYTES


async def _streamed(open_it: Opening) -> AsyncGenerator[bytes]:
    """The bytes in pieces of the one size, of which only the last is another."""
    opened = await open_it()
    if opened is None:
        raise PictureProblem("it was erased meanwhile")
    left = bytearray()
    async with aclosing(opened[1]) as pieces:
        async for piece in pieces:
            left += piece
            while len(left) >= PIECE_BYTES:
                yield bytes(left[:PIECE_BYTES])
                del left[:PIECE_BYTES]
    if left:
        yield bytes(left)


def _piece(path: Path, at: int) -> bytes:
    """Opened for each piece, so that nothing stays open when the client goes away meanwhile."""
    with path.open("rb") as file:
        file.seek(at)
        return base64.b64encode(file.read(PIECE_BYTES))
