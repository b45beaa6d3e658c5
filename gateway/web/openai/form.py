"""A multipart form whose files go to disk while they come in.

Nothing of a file stays in memory, every number and length is bounded, and the files are gone
when the block ends, however it ends. What the parts mean is nobody's business here.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import structlog
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from gateway.errors import InvalidRequest, RequestTooLarge, Unavailable
from gateway.web.body import refuse_coding

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

log = structlog.get_logger("gateway.http")

P = ParamSpec("P")
T = TypeVar("T")

BATCH_BYTES: Final = 512 * 1024
"""One hop to a thread costs as much as writing a good part of this."""

HEADER_BYTES: Final = 8 * 1024
"""Room for the boundary and headers of a part; a client sends a few hundred bytes."""


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


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A file of the form: the name of its part, and its bytes on disk with their SHA-256 (hex)."""

    part: str
    path: Path
    size_bytes: int
    digest: str


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
    parser = _Parser(_boundary(request), limits)
    _check_announced(request, limits)
    spool = folder / secrets.token_hex(16)
    try:
        await _to_its_end(spool.mkdir, 0o700)
        form = await _receive(request, parser, spool)
    except OSError as error:
        log.error("a form cannot be written down", reason=str(error))
        await _discard(spool)
        message = "The gateway has no room for these pictures just now; try again."
        raise Unavailable(message, retry_after_seconds=30) from error
    except BaseException:
        await _discard(spool)
        raise
    try:
        yield form
    finally:
        await _discard(spool)


async def _discard(spool: Path) -> None:
    await _to_its_end(shutil.rmtree, spool, ignore_errors=True)


def _boundary(request: Request) -> bytes:
    refuse_coding(request)
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 256:
        raise InvalidRequest("The body must be multipart/form-data, with its boundary named.")
    return boundary


def _check_announced(request: Request, limits: FormLimits) -> None:
    announced = request.headers.get("content-length", "0")
    parts = limits.files + limits.fields
    most = limits.files_bytes + limits.fields_bytes + parts * HEADER_BYTES
    if announced.isdigit() and len(announced) < 20 and int(announced) > most:
        raise RequestTooLarge(f"A form may have at most {most} bytes.")


async def _receive(request: Request, parser: _Parser, spool: Path) -> Form:
    files: list[_Spool] = []
    limits, received = parser.limits, 0
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(began + limits.late_after(0)) as patience:
            async for chunk in request.stream():
                parser.feed(chunk)
                received += len(chunk)
                patience.reschedule(began + limits.late_after(received))
                if parser.waiting_bytes >= BATCH_BYTES:
                    await _to_its_end(_write, parser.taken(), files, spool)
            parser.finish()
            await _to_its_end(_write, parser.taken(), files, spool)
    except (TimeoutError, ClientDisconnect):
        raise InvalidRequest("The form did not arrive in time.") from None
    finally:
        for file in files:
            file.close()
    names = parser.file_parts
    return Form(parser.fields(), [file.as_spooled_file(names[i]) for i, file in enumerate(files)])


async def _to_its_end(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a short call in a thread, also when the request is cancelled meanwhile: nothing may be
    written after the folder is gone."""
    call_made = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(call_made)
    except asyncio.CancelledError:
        await asyncio.wait({call_made})
        raise


def _write(pieces: Sequence[tuple[int, bytes]], files: list[_Spool], spool: Path) -> None:
    """Appends each piece to the file of its number. Blocks."""
    for number, data in pieces:
        while len(files) <= number:
            files.append(_Spool(spool / str(len(files))))
        files[number].write(data)


class _Spool:
    """A file on its way in. Its methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("xb", buffering=0)
        self._sum = hashlib.sha256()
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._sum.update(data)
        self._size_bytes += len(data)

    def close(self) -> None:
        self._file.close()

    def as_spooled_file(self, part: str) -> SpooledFile:
        return SpooledFile(part, self._path, self._size_bytes, self._sum.hexdigest())


class _Parser:
    """Takes chunks of the body; files come out as numbered pieces, fields as texts."""

    def __init__(self, boundary: bytes, limits: FormLimits) -> None:
        self.limits = limits
        self.file_parts: list[str] = []
        self.waiting_bytes = 0
        self._waiting: list[tuple[int, bytes]] = []
        self._fields: list[tuple[str, bytearray]] = []
        self._fields_bytes = self._file_bytes = self._files_bytes = 0
        self._in_file = self._complete = False
        self._header, self._disposition = [b"", b""], b""
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._to_header(0),
            "on_header_value": self._to_header(1),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._take,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"The form is not valid: {error}.") from None

    def finish(self) -> None:
        if not self._complete:
            raise InvalidRequest("The form ends too early.")

    def taken(self) -> Sequence[tuple[int, bytes]]:
        """The pieces of files that nobody has taken yet."""
        pieces, self._waiting, self.waiting_bytes = self._waiting, [], 0
        return pieces

    def fields(self) -> Sequence[tuple[str, str]]:
        try:
            return [(name, value.decode()) for name, value in self._fields]
        except UnicodeDecodeError:
            raise InvalidRequest("The fields of the form must be UTF-8.") from None

    # --- what the parser finds -----------------------------------------------------------------

    def _begin_part(self) -> None:
        self._header, self._disposition = [b"", b""], b""

    def _to_header(self, index: int) -> Callable[[bytes, int, int], None]:
        def append(data: bytes, start: int, end: int) -> None:
            self._header[index] += data[start:end]

        return append

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = value
        self._header = [b"", b""]

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self._in_file = b"filename" in options
        if not self._in_file:
            if len(self._fields) >= self.limits.fields:
                raise RequestTooLarge(f"A form may have at most {self.limits.fields} fields.")
            self._fields_bytes += len(name)
            self._fields.append((name, bytearray()))
            return
        if len(self.file_parts) >= self.limits.files:
            raise RequestTooLarge(f"A form may have at most {self.limits.files} files.", param=name)
        self.file_parts.append(name)
        self._file_bytes = 0
        self._waiting.append((len(self.file_parts) - 1, b""))  # an empty file is a file too

    def _take(self, data: bytes, start: int, end: int) -> None:
        length = end - start
        if self._in_file:
            self._count_file_bytes(length)
            self._waiting.append((len(self.file_parts) - 1, data[start:end]))
            self.waiting_bytes += length
            return
        self._fields_bytes += length
        if self._fields_bytes > self.limits.fields_bytes:
            most = self.limits.fields_bytes
            raise RequestTooLarge(f"The fields of a form may have at most {most} bytes.")
        self._fields[-1][1].extend(data[start:end])

    def _count_file_bytes(self, length: int) -> None:
        self._file_bytes += length
        self._files_bytes += length
        part = self.file_parts[-1]
        if self._file_bytes > self.limits.file_bytes:
            most = self.limits.file_bytes
            raise RequestTooLarge(f"A file may have at most {most} bytes.", param=part)
        if self._files_bytes > self.limits.files_bytes:
            most = self.limits.files_bytes
            raise RequestTooLarge(f"All files together may have at most {most} bytes.", param=part)

    def _end(self) -> None:
        self._complete = True
