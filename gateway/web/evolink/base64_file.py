"""A JSON body with a file in it as base64: taken in, decoded, digested.

It lies on disk while it comes in and goes up. In between it is parsed as a whole, in a thread and
one at a time, which takes several times the file's size of memory: hence a limit of its own.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from starlette.requests import Request

from gateway.core.orders.texts import check_texts
from gateway.errors import InvalidRequest, RequestTooLarge
from gateway.ports.files import FormField
from gateway.process.shares import Shares
from gateway.services.uploads import ReadyFile
from gateway.web.body import Bodies, as_object, parse, received, refuse_coding
from gateway.web.evolink.upload_form import FIELD_BYTES, FIELDS, file_bounds
from gateway.web.spool import read_pieces, spooled

FILE_BYTES: Final = 20_000_000
"""A larger file has two better ways up: as a form, and by its link."""

SMALL_BYTES: Final = 256 * 1024
"""Bodies of up to so much need no place."""

LARGE_AT_ONCE: Final = 16
"""Bodies that are larger; one more than a team's share is told to come back."""

OVERHEAD_BYTES: Final = 64 * 1024
WRITING_SHARE: Final = 8
"""One part in so many may be breaks between lines and escaped signs, which are none of the file:
a line of 64 signs that ends in `\\r\\n`, with each of its slashes escaped, has one in thirteen."""

_DATA_URL: Final = re.compile(r"data:([^;,]{0,128})(?:;[^;,]{0,128}){0,4};base64,")
_KEY: Final = "base64_data"


class Base64Files:
    """Reads such bodies. `folder` is where they lie meanwhile; who is parsed next is decided by
    the turns of all bodies."""

    def __init__(self, folder: Path, bodies: Bodies) -> None:
        self._folder = folder
        self._bodies = bodies
        self._large = Shares(LARGE_AT_ONCE, waiting=0, what="files as base64")
        # Always in the same thread: what several would keep of their memory adds up.
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="base64")

    @asynccontextmanager
    async def file(
        self, request: Request, limit_bytes: int, *, team: str
    ) -> AsyncIterator[ReadyFile]:
        """The file in the request's body, for the length of the block.

        Raises `InvalidRequest`, `RequestTooLarge`, or `RateLimited` or `Unavailable` when it
        cannot be held.
        """
        refuse_coding(request)
        most = min(limit_bytes, FILE_BYTES)
        too_large = _too_large(most, limit_bytes)
        text_bytes = most * 4 // 3
        body_bytes = text_bytes + text_bytes // WRITING_SHARE + OVERHEAD_BYTES
        bounds = file_bounds(body_bytes, too_large)
        async with AsyncExitStack() as place, spooled(self._folder, "this file") as spool:
            path, size_bytes = await spool.begin(), 0
            async for chunk in received(request, bounds):
                was_small = size_bytes <= SMALL_BYTES
                size_bytes += len(chunk)
                if was_small and size_bytes > SMALL_BYTES:
                    await place.enter_async_context(self._large.place(team))
                await spool.add(chunk)
            await spool.flush()
            async with self._bodies.turn(team):
                file = await spool.run(partial(_decoded, path, most, too_large), self._decoder)
            yield file


def _too_large(most: int, other_ways: int) -> str:
    """What is said of a file of more than `most` bytes; in other ways it may have `other_ways`."""
    message = f"file too large, the limit is {most} bytes"
    if other_ways == most:
        return message
    return f"{message} as base64; send a larger one with upload/stream or upload/url"


def _decoded(path: Path, limit_bytes: int, too_large: str) -> ReadyFile:
    """Puts the file in a body of JSON in the body's place. Blocks."""
    values = as_object(parse(path.read_bytes()))
    text = values.get(_KEY)
    if not isinstance(text, str):
        raise InvalidRequest("base64_data is required", param=_KEY)
    text = "".join(text.split())
    data_url = _DATA_URL.match(text)
    content = _content(text[data_url.end() :] if data_url else text)
    if len(content) > limit_bytes:
        raise RequestTooLarge(too_large)
    if not content:
        raise InvalidRequest("file is empty", param=_KEY)
    path.write_bytes(content)
    media_type = data_url[1] if data_url else ""
    digest = hashlib.sha256(content).hexdigest()
    return ReadyFile(digest, media_type, said_of_file(values), lambda: read_pieces(path))


def _content(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise InvalidRequest("base64_data is not valid base64", param=_KEY) from None


def said_of_file(values: Mapping[str, object]) -> Mapping[FormField, str]:
    """The wishes about a file in a JSON body. Raises `InvalidRequest` for one that is no text."""
    check_texts({name: values[name] for name in FIELDS if name in values})
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
