"""A multipart form with one file, read piece by piece while it comes in.

Never more than one chunk of the file is in memory; fields and headers are short, and bounded.
What becomes of the pieces is nobody's business here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from gateway.errors import InvalidRequest, RequestTooLarge
from gateway.ports.files import FormField, FormFile, FormPiece
from gateway.web.body import refuse_coding

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELDS: Final = {
    "upload_path": FormField.FOLDER,
    "uploadPath": FormField.FOLDER,
    "file_name": FormField.NAME,
    "fileName": FormField.NAME,
}
FILE: Final = "file"

FIELD_BYTES: Final = 1024
"""Of a path or a name; file systems stop well before."""

OVERHEAD_BYTES: Final = 1024 * 1024
"""What a form may have besides its file: boundaries, headers, fields that nobody knows."""

CHUNK_SECONDS: Final = 30.0
"""A client that sends nothing for so long is not going to finish."""


async def read_upload(request: Request, *, limit_bytes: int) -> AsyncGenerator[FormPiece, None]:
    """The pieces of the form in the request's body, which has at most about `limit_bytes`.

    Raises `InvalidRequest` or `RequestTooLarge`; fields that the file API does not know are
    left out.
    """
    reader = _Reader(_boundary(request))
    async for chunk in received(request, limit_bytes, limit_bytes + OVERHEAD_BYTES):
        for piece in reader.feed(chunk):
            yield piece
    if not reader.is_complete:
        raise InvalidRequest("The form ends before its last boundary.")


async def received(request: Request, file_bytes: int, body_bytes: int) -> AsyncIterator[bytes]:
    """The chunks of a body that carries a file; the body has at most `body_bytes`.

    Raises `RequestTooLarge`, which speaks of the file, or `InvalidRequest` when it breaks off.
    """
    refuse_coding(request)
    too_large = RequestTooLarge(f"file too large, the limit is {file_bytes} bytes")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > body_bytes:
        raise too_large
    size_bytes = 0
    chunks = aiter(request.stream())
    while (chunk := await _next(chunks)) is not None:
        size_bytes += len(chunk)
        if size_bytes > body_bytes:
            raise too_large
        yield chunk


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(CHUNK_SECONDS):
            return await anext(chunks, None)
    except (TimeoutError, ClientDisconnect):
        raise InvalidRequest("The file did not arrive whole.") from None


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise InvalidRequest("The body must be multipart/form-data, with its boundary named.")
    return boundary


class _Reader:
    """Bytes in, pieces out. The parser bounds the headers of each part itself."""

    def __init__(self, boundary: bytes) -> None:
        self.is_complete = False
        self._found: list[FormPiece] = []
        self._header: list[bytes] = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._field: FormField | None = None
        self._in_file = False
        self._value = bytearray()
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, chunk: bytes) -> list[FormPiece]:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"The form is not valid: {error}.") from None
        found, self._found = self._found, []
        return found

    def _begin_part(self) -> None:
        self._headers, self._header = {}, [b"", b""]

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = [b"", b""]

    def _open_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        file_name = options.get(b"filename")
        self._in_file, self._field, self._value = False, None, bytearray()
        if file_name is None:
            self._field = FIELDS.get(name)
        elif name == FILE:
            self._in_file = True
            media_type = self._headers.get(b"content-type", b"").decode("latin-1")
            shown = file_name.decode("utf-8", "replace")
            self._found.append(FormFile(shown, media_type.partition(";")[0].strip()))
        else:
            raise InvalidRequest(f"file is required: the form has a file named '{name[:64]}'.")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._found.append(data[start:end])
        elif self._field is not None:
            self._value += data[start:end]
            if len(self._value) > FIELD_BYTES:
                raise InvalidRequest(f"A field may have at most {FIELD_BYTES} bytes.")

    def _end_part(self) -> None:
        if self._field is not None:
            self._found.append((self._field, self._value.decode("utf-8", "replace")))

    def _end(self) -> None:
        self.is_complete = True
