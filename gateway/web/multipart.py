"""A multipart form, taken apart while it comes in.

Never more than one chunk of it is in memory, and the parser bounds the headers of each part
itself. How many parts there may be, how long, and what becomes of them is the reader's business.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from gateway.errors import InvalidRequest
from gateway.web.body import refuse_coding

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

BOUNDARY_BYTES: Final = 256
"""RFC 2046 allows 70; some clients write more."""


@dataclass(frozen=True, slots=True)
class FormPart:
    """The head of a part. `file_name` is None for a field; the media type may be empty."""

    name: str
    file_name: str | None
    media_type: str


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is whole."""


Piece = FormPart | bytes | PartEnd
"""Of each part its head, its content in any number of pieces, and its end."""


def read_boundary(request: Request) -> bytes:
    """What lies between the parts. Raises `InvalidRequest` when the body is no form, or
    `UnsupportedCoding` when it is zipped."""
    refuse_coding(request)
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= BOUNDARY_BYTES:
        raise InvalidRequest("The body must be multipart/form-data, with its boundary named.")
    return boundary


async def pieces(boundary: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[Piece, None]:
    """The form in a body. Raises `InvalidRequest` for what is none, or ends too early."""
    reader = _Reader(boundary)
    async for chunk in chunks:
        for piece in reader.feed(chunk):
            yield piece
    if not reader.is_complete:
        raise InvalidRequest("The form ends before its last boundary.")


class _Reader:
    """Bytes in, pieces out."""

    def __init__(self, boundary: bytes) -> None:
        self.is_complete = False
        self._found: list[Piece] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._take_name,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._take_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, chunk: bytes) -> list[Piece]:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"The form is not valid: {error}.") from None
        found, self._found = self._found, []
        return found

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _open_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        file_name = options.get(b"filename")
        media_type = self._headers.get(b"content-type", b"").decode("latin-1")
        part = FormPart(
            options.get(b"name", b"").decode("utf-8", "replace"),
            None if file_name is None else file_name.decode("utf-8", "replace"),
            media_type.partition(";")[0].strip(),
        )
        self._found.append(part)

    def _take_content(self, data: bytes, start: int, end: int) -> None:
        self._found.append(data[start:end])

    def _end_part(self) -> None:
        self._found.append(PartEnd())

    def _end(self) -> None:
        self.is_complete = True
