"""Pictures as base64 within a JSON answer, sent while they are read: one piece in memory at a time.

A whole answer can be hundreds of megabytes (ten pictures at their limit); its length is known
from the pictures' sizes before the first byte is read.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from starlette.responses import StreamingResponse

from gateway.core.model import Picture
from gateway.web.openai.wire import PICTURE_HEAD, PICTURE_TAIL, PICTURES_TAIL

PIECE_BYTES: Final = 384 * 1024
"""A multiple of three, so that the pieces' base64 is that of the whole; about 1 ms of work."""


class PicturesAnswer(StreamingResponse):
    """`head`, then every picture as an object of its own, then the end of the list."""

    def __init__(self, head: bytes, pictures: Sequence[tuple[Picture, Path]]) -> None:
        super().__init__(_body(head, [path for _, path in pictures]), media_type="application/json")
        self.headers["Content-Length"] = str(_length(head, [picture for picture, _ in pictures]))


def _length(head: bytes, pictures: Sequence[Picture]) -> int:
    base64_bytes = sum((picture.size_bytes + 2) // 3 * 4 for picture in pictures)
    around = len(pictures) * (len(PICTURE_HEAD) + len(PICTURE_TAIL))
    commas = max(len(pictures) - 1, 0)
    return len(head) + base64_bytes + around + commas + len(PICTURES_TAIL)


async def _body(head: bytes, paths: Sequence[Path]) -> AsyncIterator[bytes]:
    yield head
    for number, path in enumerate(paths):
        yield (b"," if number else b"") + PICTURE_HEAD
        at = 0
        while piece := await asyncio.to_thread(_piece, path, at):
            yield piece
            at += PIECE_BYTES
        yield PICTURE_TAIL
    yield PICTURES_TAIL


def _piece(path: Path, at: int) -> bytes:
    """Opened for each piece, so that nothing stays open when the client goes away meanwhile."""
    with path.open("rb") as file:
        file.seek(at)
        return base64.b64encode(file.read(PIECE_BYTES))
