"""A form with files from the disk, of a known length, a piece of it in memory at a time."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.adapters.openai_images.spool import BLOCK_BYTES, in_thread

ENDINGS: Final[Mapping[str, str]] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
}


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file that goes up as a part of this name."""

    field: str
    path: Path
    media_type: str
    size_bytes: int


class UploadForm:
    """Texts and files as multipart/form-data. `stream` raises OSError where a file fails."""

    def __init__(self, fields: Mapping[str, Any], files: Sequence[FilePart]) -> None:
        self._boundary = secrets.token_hex(16)
        self._texts = "".join(self._text(name, value) for name, value in fields.items()).encode()
        self._files = [(self._head(one, index).encode(), one) for index, one in enumerate(files)]
        self._end = f"--{self._boundary}--\r\n".encode()

    @property
    def media_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    @property
    def length(self) -> int:
        files = sum(len(head) + one.size_bytes + 2 for head, one in self._files)
        return len(self._texts) + files + len(self._end)

    async def stream(self) -> AsyncIterator[bytes]:
        yield self._texts
        for head, one in self._files:
            yield head
            at = 0
            while piece := await in_thread(partial(_piece, one.path, at)):
                yield piece
                at += len(piece)
            yield b"\r\n"
        yield self._end

    def _text(self, name: str, value: object) -> str:
        return f"{self._opening(name)}\r\n\r\n{value}\r\n"

    def _head(self, one: FilePart, index: int) -> str:
        file = f'filename="{index}.{ENDINGS[one.media_type]}"'
        return f"{self._opening(one.field)}; {file}\r\nContent-Type: {one.media_type}\r\n\r\n"

    def _opening(self, name: str) -> str:
        return f'--{self._boundary}\r\nContent-Disposition: form-data; name="{name}"'


def _piece(path: Path, at: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(BLOCK_BYTES)
