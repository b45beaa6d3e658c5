"""A JSON body with a file in it as base64: taken in, decoded, digested.

Such a body is a third larger than its file. A large one goes to disk while it comes in, and is
decoded from there bit by bit in a thread, so that neither memory nor the event loop feels it.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import io
import mmap
import re
import secrets
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from starlette.requests import Request

from gateway.errors import InvalidRequest, RequestTooLarge, Unavailable
from gateway.ports.files import FormField
from gateway.process.shares import Shares
from gateway.web.body import parse
from gateway.web.evolink.upload_form import FIELD_BYTES, FIELDS, received

SMALL_BYTES: Final = 256 * 1024
"""A body of up to so much is parsed in less time than a hop to a thread is worth."""

LARGE_AT_ONCE: Final = 16
"""Bodies on disk; one more than a team's share is told to come back."""

OVERHEAD_BYTES: Final = 64 * 1024
_BATCH_BYTES: Final = 512 * 1024
_SLICE: Final = 1024 * 1024  # characters decoded at a time: a multiple of four
_DATA_URL: Final = re.compile(rb"data:([^;,]{0,128})(?:;[^;,]{0,128}){0,4};base64,")
_KEY: Final = "base64_data"
_TEXT_BEGINS: Final = re.compile(rb'"base64_data"\s*:\s*"')
_SPACE: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """A file that can be read now (`services.uploads.Content`), and what was said about it."""

    digest: str
    media_type: str
    fields: Mapping[FormField, str]
    file: IO[bytes]

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        await asyncio.to_thread(self.file.seek, 0)
        while chunk := await asyncio.to_thread(self.file.read, _BATCH_BYTES):
            yield chunk


@dataclass(frozen=True, slots=True)
class _Text:
    """The base64 text, and where in a larger text it lies."""

    within: bytes | mmap.mmap
    start: int
    end: int


class Base64Files:
    """Reads such bodies. `folder` is where the large ones lie meanwhile, without a name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._large = Shares(LARGE_AT_ONCE, waiting=0, what="files as base64")
        self._decoding = Shares(1)  # one that is full of escapes takes memory

    @asynccontextmanager
    async def file(
        self, request: Request, limit_bytes: int, *, team: str
    ) -> AsyncIterator[DecodedFile]:
        """The file in the request's body, for the length of the block.

        Raises `InvalidRequest`, `RequestTooLarge`, or `RateLimited` or `Unavailable` when it
        cannot be held.
        """
        chunks = received(request, limit_bytes, limit_bytes * 4 // 3 + OVERHEAD_BYTES)
        begun = bytearray()
        async for chunk in chunks:
            begun += chunk
            if len(begun) > SMALL_BYTES:
                break
        else:
            yield _decoded(bytes(begun), io.BytesIO(), limit_bytes)
            return
        async with self._large.place(team):
            with ExitStack() as files:
                body, target = await self._on_disk(files, begun, chunks)
                async with self._decoding.place(team):
                    file = await self._decoded(body, target, limit_bytes)
                yield file

    async def _on_disk(
        self, files: ExitStack, batch: bytearray, chunks: AsyncIterator[bytes]
    ) -> tuple[IO[bytes], IO[bytes]]:
        """The body, written down while it comes in, and a file to decode it into."""
        with _disk_errors():
            body, target = await asyncio.to_thread(_two_files, files, self._folder)
            async for chunk in chunks:
                if len(batch) >= _BATCH_BYTES:
                    await asyncio.to_thread(body.write, batch)
                    batch = bytearray()
                batch += chunk
            await asyncio.to_thread(body.write, batch)
        return body, target

    async def _decoded(self, body: IO[bytes], target: IO[bytes], limit_bytes: int) -> DecodedFile:
        with _disk_errors():
            return await asyncio.to_thread(_decoded_from, body, target, limit_bytes)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = "The gateway has no room for this file just now; try again."
        raise Unavailable(message, retry_after_seconds=30) from error


def _two_files(files: ExitStack, folder: Path) -> tuple[IO[bytes], IO[bytes]]:
    return (
        files.enter_context(tempfile.TemporaryFile(dir=folder)),
        files.enter_context(tempfile.TemporaryFile(dir=folder)),
    )


def _decoded_from(body: IO[bytes], target: IO[bytes], limit_bytes: int) -> DecodedFile:
    body.flush()
    with mmap.mmap(body.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        decoded = _decoded(mapped, target, limit_bytes)
    body.truncate(0)
    return decoded


def _decoded(body: bytes | mmap.mmap, target: IO[bytes], limit_bytes: int) -> DecodedFile:
    """Writes the file in a body of JSON to `target`. Blocks."""
    values, text = _cut_out(body) or _parsed(body)
    data_url = _DATA_URL.match(text.within[text.start : min(text.end, text.start + 1024)])
    sum_, size_bytes = hashlib.sha256(), 0
    for content in _contents(text, text.start + (data_url.end() if data_url else 0)):
        size_bytes += len(content)
        if size_bytes > limit_bytes:
            raise RequestTooLarge(f"file too large, the limit is {limit_bytes} bytes")
        sum_.update(content)
        target.write(content)
    if not size_bytes:
        raise InvalidRequest("file is empty", param=_KEY)
    media_type = data_url[1].decode("latin-1") if data_url else ""
    return DecodedFile(sum_.hexdigest(), media_type, said_of_file(values), target)


def _contents(text: _Text, start: int) -> Iterator[bytes]:
    """The bytes that base64 text stands for, in pieces."""
    try:
        for at in range(start, text.end, _SLICE):
            until = min(at + _SLICE, text.end)
            piece = binascii.a2b_base64(text.within[at:until], strict_mode=True)
            if until < text.end and len(piece) != _SLICE // 4 * 3:
                raise binascii.Error("padding inside")
            yield piece
    except binascii.Error:
        raise InvalidRequest("base64_data is not valid base64", param=_KEY) from None


def said_of_file(values: Mapping[str, object]) -> Mapping[FormField, str]:
    """The wishes about a file in a JSON body. Raises `InvalidRequest` for one that is no text."""
    said: dict[FormField, str] = {}
    for name, field in FIELDS.items():
        value = values.get(name)
        if value is None or field in said:
            continue
        if not isinstance(value, str) or len(value.encode("utf-8", "replace")) > FIELD_BYTES:
            raise InvalidRequest(
                f"{name} must be a text of at most {FIELD_BYTES} bytes", param=name
            )
        said[field] = value
    return said


def _cut_out(body: bytes | mmap.mmap) -> tuple[Mapping[str, object], _Text] | None:
    """The other values, and the text where it lies; None when the text has escapes in it.

    Parsing a hundred megabytes in one go would hold up every other thread. That what was found
    is really the value is seen by what the rest parses to.
    """
    found = _TEXT_BEGINS.search(body)
    end = _end_of_plain_text(body, found.end()) if found else None
    if found is None or end is None:
        return None
    stand_in = secrets.token_hex(16)
    values = parse_object(body[: found.end()] + stand_in.encode() + body[end:])
    return (values, _Text(body, found.end(), end)) if values.get(_KEY) == stand_in else None


def _end_of_plain_text(body: bytes | mmap.mmap, start: int) -> int | None:
    for at in range(start, len(body), _SLICE):
        piece = body[at : at + _SLICE]
        quote = piece.find(b'"')
        if b"\\" in piece[: quote if quote >= 0 else None]:
            return None
        if quote >= 0:
            return at + quote
    return None


def _parsed(body: bytes | mmap.mmap) -> tuple[Mapping[str, object], _Text]:
    values = parse_object(body[:])
    text = values.get(_KEY)
    if not isinstance(text, str) or not text:
        raise InvalidRequest("base64_data is required", param=_KEY)
    plain = _SPACE.sub("", text).encode("utf-8", "replace")
    return values, _Text(plain, 0, len(plain))


def parse_object(body: bytes) -> Mapping[str, object]:
    """A body of JSON that must be an object. Raises `InvalidRequest`."""
    value = parse(body)
    if not isinstance(value, dict):
        raise InvalidRequest("request body must be a JSON object")
    return value
