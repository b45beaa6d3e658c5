"""The body of a request: bounded, unzipped, and taken for what it is.

Every body comes in through `received`, whatever is made of it. One that cannot be used is refused
in words about the caller's mistake, never in the parser's.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
from starlette.requests import Request

from gateway.core.orders.texts import check_texts
from gateway.errors import InvalidRequest, RequestTooLarge, UnsupportedCoding
from gateway.process.shares import Shares
from gateway.web.heads import lines
from gateway.web.literals import check_literals, check_numbers

BODY_SECONDS: Final = 30.0
"""A client that needs longer for its request's body is not going to finish it."""

MAX_CODINGS: Final = 2
"""Zipped twice happens by mistake; more is an attempt at something."""

MAX_MARKS: Final = 50_000
"""Commas and opening brackets, also those in texts: more than any order has. Each value is looked
at several times, and a megabyte of them would hold the event loop for most of a second."""

LARGE_BYTES: Final = 8 * 1024
"""What is smaller, as nearly all orders are, is read at once. A body that is larger by a little can
still cost milliseconds: thousands of long numbers, or of fields."""

AT_ONCE: Final = 2
"""Large bodies that are read at a time: one of a team, so that another team's finds a place."""

RESTS: Final = 2
"""A team rests so many times as long as reading took: judging a large order takes as long."""

CAME_EXTENSION: Final = "body.came"
"""Where the server says what of the body is here already (`http_protocol.py`)."""

_MARKS: Final = (b",", b"[", b"{")

ACCEPTED: Final = ("gzip", "deflate")

_UTF8_BOM: Final = b"\xef\xbb\xbf"
_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_FORM_FIELDS: Final = re.compile(rb"[\w.~%+-]+=[^{\"]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a body may have, and what is said of one that has more or does not come whole.

    `next_by` gives the time of the event loop by which more must come, for the bytes that came.
    """

    limit_bytes: int
    too_large: str
    late: str
    next_by: Callable[[int], float]


async def received(request: Request, bounds: Bounds) -> AsyncGenerator[bytes, None]:
    """The body as it comes, counted. Raises `RequestTooLarge`, or `InvalidRequest` when it breaks
    off."""
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > bounds.limit_bytes:
        raise RequestTooLarge(bounds.too_large)
    size_bytes, more = 0, True
    while more:  # asked for at once, since Starlette's stream would ask once more for the end
        try:
            async with asyncio.timeout_at(bounds.next_by(size_bytes)):
                message = await request.receive()
        except TimeoutError:
            raise InvalidRequest(bounds.late) from None
        if message["type"] == "http.disconnect":
            raise InvalidRequest(bounds.late)
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size_bytes += len(chunk)
        if size_bytes > bounds.limit_bytes:
            raise RequestTooLarge(bounds.too_large)
        if chunk:
            yield chunk


class Bodies:
    """Bodies of teams: what is large takes turns, so that many of one team cost others little.

    A megabyte takes some milliseconds to come in, to unfold and to be read, in which nobody else
    is served. Each team does that with one body at a time, and rests in between.
    """

    def __init__(self) -> None:
        self._turns = Shares(AT_ONCE)

    async def read_json(self, request: Request, limit_bytes: int, team: str) -> object:
        """The body's JSON. Raises what `read_body` and `parse` raise."""
        codings = _known_codings(request)
        body = await _whole(request, limit_bytes, lambda: self.turn(team))
        content_type = request.headers.get("content-type", "")
        if not codings and len(body) <= LARGE_BYTES:
            return parse(body, content_type)
        async with self.turn(team):
            return parse(_unfolded(body, codings, limit_bytes), content_type)

    @asynccontextmanager
    async def turn(self, team: str) -> AsyncIterator[None]:
        """The team's turn for work without a pause, with a rest in proportion behind it."""
        async with self._turns.place(team):
            began = time.perf_counter()
            try:
                yield
            finally:
                await asyncio.sleep(RESTS * (time.perf_counter() - began))


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body, unzipped; it is counted while it comes in and while it unfolds.

    Raises `RequestTooLarge`, `UnsupportedCoding`, or `InvalidRequest` when it is not whole.
    """
    codings = _known_codings(request)
    return _unfolded(await _whole(request, limit_bytes), codings, limit_bytes)


async def read_object(
    request: Request, limit_bytes: int, *, may_be_empty: bool = False
) -> dict[str, Any]:
    """The JSON object in the body; none at all is an empty one where it may be.

    No text in it is one that a store cannot keep. Raises what `read_body` and `parse` raise.
    """
    body = await read_body(request, limit_bytes)
    if may_be_empty and not body.strip():
        return {}
    value = as_object(parse(body, request.headers.get("content-type", "")))
    check_texts(value)
    return value


def as_object(value: object) -> dict[str, Any]:
    """The value of a body that must be an object. Raises `InvalidRequest`."""
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value


def refuse_coding(request: Request) -> None:
    """For bodies that carry files, which are zipped already. Raises `UnsupportedCoding`."""
    if codings := _codings(request):
        raise UnsupportedCoding(
            f"A file cannot be sent with 'Content-Encoding: {', '.join(codings)[:100]}'. "
            "Send it as it is.",
            accepted=("identity",),
        )


def parse(body: bytes, content_type: str = "") -> object:
    """The JSON in a body. Raises `InvalidRequest`."""
    body = body.removeprefix(_UTF8_BOM)  # RFC 8259, section 8.1: may be ignored
    if sum(map(body.count, _MARKS)) > MAX_MARKS:
        raise InvalidRequest(f"The body has more than {MAX_MARKS} values, lists and objects.")
    check_numbers(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        check_literals(body)
        raise InvalidRequest(_mistake(body, content_type, error)) from None


def _mistake(body: bytes, content_type: str, error: ValueError) -> str:
    if not body.strip():
        return "The body is empty: send a JSON object."
    if body.startswith(_WIDE_BOMS) or (b"\0" in body[:4] and not body.startswith(b"\0\0\0\0")):
        return "The body is not UTF-8 but looks like UTF-16: encode the JSON as UTF-8."
    if _is_form(body, content_type):
        return "The body is a form, but this endpoint takes JSON: send a JSON object."
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        place = f"byte {wrong.start + 1} is {body[wrong.start]:#04x}"
        return f"The body is not UTF-8 ({place}): encode the JSON as UTF-8."
    return f"The body is not valid JSON: {error}."


def _is_form(body: bytes, content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data" or (body.startswith(b"--") and b"\r\n" in body[:300]):
        return True
    return _FORM_FIELDS.match(body) is not None


async def _whole(
    request: Request,
    limit_bytes: int,
    turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> bytes:
    """The body as it came. Each part that makes it larger than `LARGE_BYTES` waits for a turn;
    meanwhile the connection is not read. One that is here already, as small ones are, needs none
    of the care for those that come piece by piece, which takes 10 µs."""
    came = request.scope.get("extensions", {}).get(CAME_EXTENSION)
    if came is not None and (whole := came["body"](min(limit_bytes, LARGE_BYTES))) is not None:
        return cast(bytes, whole)
    until = asyncio.get_running_loop().time() + BODY_SECONDS
    too_large, late = _too_large(limit_bytes), "The body did not arrive in time."
    body = bytearray()
    async for chunk in received(request, Bounds(limit_bytes, too_large, late, lambda _: until)):
        async with turn() if len(body) + len(chunk) > LARGE_BYTES else nullcontext():
            body += chunk
    return bytes(body)


def _too_large(limit_bytes: int, how: str = "") -> str:
    return f"The body may have at most {limit_bytes} bytes{how}."


def _known_codings(request: Request) -> Sequence[str]:
    """The codings that are to be undone. Raises `UnsupportedCoding`."""
    codings = _codings(request)
    unknown = [coding for coding in codings if coding not in _DECODERS]
    if unknown or len(codings) > MAX_CODINGS:
        raise UnsupportedCoding(
            f"A body with 'Content-Encoding: {', '.join(codings)[:100]}' cannot be read here. "
            "Send it as it is, or with gzip or deflate.",
            accepted=ACCEPTED,
        )
    return codings


def _codings(request: Request) -> Sequence[str]:
    """The codings in the order in which they were applied (RFC 9110, section 8.4)."""
    if not (said := lines(request, "content-encoding")):
        return ()
    names = (name.strip().lower() for name in ",".join(said).split(","))
    return [name for name in names if name not in ("", "identity")]


def _unfolded(body: bytes, codings: Sequence[str], limit_bytes: int) -> bytes:
    for coding in reversed(codings):
        body = _unzipped(body, coding, limit_bytes)
    return body


def _unzipped(body: bytes, coding: str, limit_bytes: int) -> bytes:
    whole = bytearray()
    left = body
    try:
        while left:  # a gzip file may have several members
            decoder = _DECODERS[coding](left)
            whole += decoder.decompress(left, limit_bytes + 1 - len(whole))
            if len(whole) > limit_bytes:
                raise RequestTooLarge(_too_large(limit_bytes, " when it is unzipped"))
            if not decoder.eof:
                raise zlib.error("it breaks off")
            left = decoder.unused_data
    except zlib.error:
        raise InvalidRequest(
            f"The body says 'Content-Encoding: {coding}' and is no whole {coding} stream."
        ) from None
    return bytes(whole)


def _gzip(_: bytes) -> zlib._Decompress:
    return zlib.decompressobj(wbits=31)


def _deflate(body: bytes) -> zlib._Decompress:
    """With zlib's header as the RFC says, or without as some clients send it."""
    has_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return zlib.decompressobj(wbits=15 if has_header else -15)


_DECODERS: Final[Mapping[str, Callable[[bytes], zlib._Decompress]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
}
