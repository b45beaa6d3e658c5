"""The form of an upload: one file, passed on piece by piece while it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from starlette.requests import Request

from gateway.core.orders.texts import check_texts
from gateway.errors import InvalidRequest
from gateway.ports.files import FormField, FormFile, FormPiece
from gateway.web.body import Bounds, received
from gateway.web.multipart import FormPart, PartEnd, pieces, read_boundary

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


def file_bounds(body_bytes: int, too_large: str) -> Bounds:
    """Of a body with a file in it, which may take as long as it likes while it comes."""
    loop = asyncio.get_running_loop()
    late = "The file did not arrive whole."
    return Bounds(body_bytes, too_large, late, next_by=lambda _: loop.time() + CHUNK_SECONDS)


async def read_upload(request: Request, *, limit_bytes: int) -> AsyncGenerator[FormPiece, None]:
    """The pieces of the form in the request's body, which has at most about `limit_bytes`.

    Raises `InvalidRequest` or `RequestTooLarge`; fields that the file API does not know are
    left out.
    """
    too_large = f"file too large, the limit is {limit_bytes} bytes"
    bounds = file_bounds(limit_bytes + OVERHEAD_BYTES, too_large)
    in_file, name, field, value = False, "", None, bytearray()
    async for piece in pieces(read_boundary(request), received(request, bounds)):
        match piece:
            case FormPart(file_name=None):
                in_file, name, value = False, piece.name, bytearray()
                field = FIELDS.get(name)
            case FormPart(file_name=str() as file_name):
                in_file, field = True, None
                yield _file(piece, file_name)
            case bytes() if in_file:
                yield piece
            case bytes() if field is not None:
                value += piece
                if len(value) > FIELD_BYTES:
                    raise InvalidRequest(f"A field may have at most {FIELD_BYTES} bytes.")
            case PartEnd() if field is not None:
                text = value.decode("utf-8", "replace")
                check_texts({name: text})
                yield field, text


def _file(part: FormPart, file_name: str) -> FormFile:
    if part.name != FILE:
        raise InvalidRequest(f"file is required: the form has a file named '{part.name[:64]}'.")
    return FormFile(file_name, part.media_type)
