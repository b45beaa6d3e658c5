"""The form of an edit, its files on disk: every number and length of it is bounded.

What the parts mean is nobody's business here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request

from gateway.errors import InvalidRequest, RequestTooLarge
from gateway.web.body import Bounds, received
from gateway.web.multipart import FormPart, pieces, read_boundary
from gateway.web.spool import Spool, spooled

HEADER_BYTES: Final = 8 * 1024
"""Room for the boundary and headers of a part; a client sends a few hundred bytes."""

WHAT: Final = "these pictures"


@dataclass(frozen=True, slots=True)
class FormLimits:
    """What a form may have at most; `seconds` is for the whole of it to come in.

    After `grace_seconds` it must have come at `bytes_per_second` on the whole: who sends next to
    nothing is cut long before.
    """

    files: int
    file_bytes: int
    files_bytes: int
    fields: int
    fields_bytes: int
    seconds: float
    grace_seconds: float = 10.0
    bytes_per_second: float = 1.0

    def late_after(self, received_bytes: int) -> float:
        """Seconds from the beginning at which more than this must have come in."""
        earned = received_bytes / self.bytes_per_second
        return min(self.seconds, self.grace_seconds + earned)

    def bounds(self) -> Bounds:
        """Of the whole body, which begins to come in now."""
        parts = self.files + self.fields
        most = self.files_bytes + self.fields_bytes + parts * HEADER_BYTES
        began = asyncio.get_running_loop().time()
        return Bounds(
            most,
            too_large=f"A form may have at most {most} bytes.",
            late="The form did not arrive in time.",
            next_by=lambda received_bytes: began + self.late_after(received_bytes),
        )


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A file of the form: the name of its part, and its bytes on disk."""

    part: str
    path: Path


@dataclass(frozen=True, slots=True)
class Form:
    """Everything in the order it came in."""

    fields: Sequence[tuple[str, str]]
    files: Sequence[SpooledFile]


@asynccontextmanager
async def received_form(request: Request, folder: Path, limits: FormLimits) -> AsyncIterator[Form]:
    """The form in a request's body, its files in a folder of their own under `folder`.

    Raises `InvalidRequest`, `RequestTooLarge`, or `Unavailable` when the disk takes no more.
    """
    boundary = read_boundary(request)
    async with spooled(folder, WHAT) as spool:
        reader = _Reader(spool, limits)
        async for piece in pieces(boundary, received(request, limits.bounds())):
            if isinstance(piece, FormPart):
                await reader.open(piece)
            elif isinstance(piece, bytes):
                await reader.take(piece)
        yield await reader.form()


class _Reader:
    """Counts the parts of a form: files go to disk, fields become texts."""

    def __init__(self, spool: Spool, limits: FormLimits) -> None:
        self._spool = spool
        self._limits = limits
        self._files: list[SpooledFile] = []
        self._fields: list[tuple[str, bytearray]] = []
        self._fields_bytes = self._file_bytes = self._files_bytes = 0
        self._in_file = False

    async def open(self, part: FormPart) -> None:
        self._in_file = part.file_name is not None
        if self._in_file:
            if len(self._files) >= self._limits.files:
                most = self._limits.files
                raise RequestTooLarge(f"A form may have at most {most} files.", param=part.name)
            self._files.append(SpooledFile(part.name, await self._spool.begin()))
            self._file_bytes = 0
        else:
            if len(self._fields) >= self._limits.fields:
                raise RequestTooLarge(f"A form may have at most {self._limits.fields} fields.")
            self._fields_bytes += len(part.name)
            self._fields.append((part.name, bytearray()))

    async def take(self, content: bytes) -> None:
        if self._in_file:
            self._count_file_bytes(len(content))
            await self._spool.add(content)
            return
        self._fields_bytes += len(content)
        if self._fields_bytes > self._limits.fields_bytes:
            most = self._limits.fields_bytes
            raise RequestTooLarge(f"The fields of a form may have at most {most} bytes.")
        self._fields[-1][1].extend(content)

    async def form(self) -> Form:
        await self._spool.flush()
        try:
            return Form([(name, value.decode()) for name, value in self._fields], self._files)
        except UnicodeDecodeError:
            raise InvalidRequest("The fields of the form must be UTF-8.") from None

    def _count_file_bytes(self, length: int) -> None:
        self._file_bytes += length
        self._files_bytes += length
        part = self._files[-1].part
        if self._file_bytes > self._limits.file_bytes:
            most = self._limits.file_bytes
            raise RequestTooLarge(f"A file may have at most {most} bytes.", param=part)
        if self._files_bytes > self._limits.files_bytes:
            most = self._limits.files_bytes
            raise RequestTooLarge(f"All files together may have at most {most} bytes.", param=part)
