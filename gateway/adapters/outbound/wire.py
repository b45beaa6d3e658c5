"""A connection to a server that speaks HTTP/1.1: a request goes out, its answer comes in.

Chunks are read by httptools, whose parser is C. Everything is bounded: a head, what is held of a
body that nobody reads, and what comes of a body without any of its bytes (docs/decisions/104).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from typing import Final, cast

import httptools

from gateway.adapters.outbound.heads import MAX_HEAD_BYTES, HeadReader, NoHead, mended

HELD_BYTES: Final = 256 * 1024
"""Of a body that nobody has read yet; then the server has to wait."""

PIECE_BYTES: Final = 64 * 1024
"""The most of a request that is written at once."""

CHUNK_BYTES: Final = 128 * 1024
"""The most that is handed on at once."""


class Broken(Exception):
    """No answer will come, or not the whole of it; says why."""


class Headers(Mapping[str, str]):
    """The headers of an answer, looked up in any case. Of one that is there twice, the first."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        """The names in small letters."""
        self._pairs = pairs
        self._first = dict(reversed(pairs))

    def words(self, name: str) -> list[str]:
        """Of a list, all that stand in it, in small letters, however often it is told."""
        lists = [value for one, value in self._pairs if one == name]
        found = [word.strip().lower() for value in lists for word in value.split(",")]
        return [word for word in found if word]

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)


class Wire(asyncio.Protocol):
    """For one call at a time. Whoever is done with it calls `close`, or `hang_up` where more of an
    answer may come."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._wake: asyncio.Future[None] | None = None
        self._lost: str | None = None
        self._reader: HeadReader | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._pairs: list[tuple[str, str]] = []
        self._told: Headers | None = None
        self._body = bytearray()
        self._body_bytes = 0
        self._is_full = self._is_heard = self._is_sent = False
        self._empty = 0
        self._to_the_end = False
        self._is_whole = True
        self._is_kept = False
        self.status = 0
        self.has_spoken = False
        """Whether something came that nobody had asked for."""

    # --- what a caller asks for ------------------------------------------------------------------

    async def begin_tls(self, tls: ssl.SSLContext, name: str) -> None:
        """From now on under TLS, with who has a certificate for the name. Raises `OSError`."""
        if not self.is_open:
            raise ConnectionResetError("it hung up")
        transport = await self._loop.start_tls(self._transport, self, tls, server_hostname=name)
        if transport is None:
            raise ConnectionResetError("it hung up")
        self._transport = transport

    async def send(self, request: bytes) -> None:
        """A whole request, as fast as it is taken, or until it is answered; the answer to the last
        one has been read. Of one that is small all is sent at once."""
        self._reader, self._parser, self._pairs, self._told = HeadReader(), None, [], None
        self._is_whole = self._is_kept = self._to_the_end = self._is_heard = self._is_sent = False
        self._body.clear()
        for at in range(0, len(request), PIECE_BYTES):
            self._transport.write(request[at : at + PIECE_BYTES])
            while self._is_full and not self._is_over:
                await self._next()
            if self._is_over:
                return  # who answers early may hang up on what comes behind
        self._is_sent = True

    async def head(self) -> Headers:
        """The headers of the answer; `status` is there then. Raises `Broken`."""
        while self._told is None:
            self._check()
            await self._next()
        return self._told

    @property
    def is_at_its_end(self) -> bool:
        """Whether no more of the answer will come than what is here."""
        return self._is_whole or self._lost is not None

    @property
    def is_prompt(self) -> bool:
        """Whether `chunk` says at once how it goes on."""
        return bool(self._body) or self.is_at_its_end

    async def chunk(self) -> bytes:
        """More of the body, as it was sent; nothing at its end. Raises `Broken` where there will be
        no more, once all that came has been read."""
        while not self._body:
            if self._is_whole:
                return b""
            self._check()
            await self._next()
        was_full = len(self._body) > HELD_BYTES
        came = bytes(self._body[:CHUNK_BYTES])
        del self._body[:CHUNK_BYTES]
        if was_full and len(self._body) <= HELD_BYTES and self._lost is None:
            self._transport.resume_reading()
        return came

    @property
    def is_open(self) -> bool:
        return self._lost is None and not self._transport.is_closing()

    @property
    def _is_over(self) -> bool:
        return self._told is not None or self._lost is not None

    @property
    def has_answered(self) -> bool:
        """Whether anything has come of an answer to the last request."""
        return self._is_heard

    @property
    def may_serve_again(self) -> bool:
        """All of the last request went out, its answer was read whole, it may be kept, and nothing
        has come behind that."""
        is_silent = not self.has_spoken and self._is_sent
        return self._is_whole and self._is_kept and is_silent and self.is_open

    def close(self) -> None:
        """Behind a whole answer."""
        is_tls = self._transport.get_extra_info("ssl_object") is not None
        if is_tls or not self._is_sent:  # it would wait for the other side, to take it or its leave
            self._transport.abort()
        else:
            self._transport.close()

    def hang_up(self) -> None:
        """Whatever comes."""
        self._transport.abort()

    def end_head(self) -> None:
        """The answer is a head alone, as that of a proxy whose tunnel begins behind it."""
        self._parser, self._is_whole = None, True

    # --- what the loop tells ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._reader is not None:
            self._read_head(data)
        elif self._parser is not None:
            self._read_body(data)
        else:  # it would be read as the answer to the next request
            self.has_spoken = True

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._tell()

    def connection_lost(self, error: Exception | None) -> None:
        if self._to_the_end:  # also where it broke off: nobody can tell whether more was to come
            self._is_whole = True
        self._lose("it hung up" if error is None else f"it broke off ({type(error).__name__})")

    # --- an answer -------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        self._is_heard = True
        assert self._reader is not None  # noqa: S101 - as its caller sees it
        try:
            found = self._reader.feed(data)
        except NoHead as problem:
            self._give_up(str(problem))
            return
        if found is None:
            return
        head, rest = found
        self._reader, parser = None, httptools.HttpResponseParser(self)
        # What others read too; what is sent behind an answer is not its.
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_data_after_close=True,
            lenient_version=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._parser = parser
        self._parse(mended(head) + rest)

    def _read_body(self, data: bytes) -> None:
        before = self._body_bytes
        self._parse(data)
        self._empty = self._empty + len(data) if before == self._body_bytes else 0
        if self._empty > MAX_HEAD_BYTES:
            self._give_up("it sends no more of the body, and much else")

    def _parse(self, data: bytes) -> None:
        assert self._parser is not None  # noqa: S101 - as its callers see it
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._is_whole:
                self._give_up(f"what it sent cannot be read ({type(error).__name__})")
            self._is_kept = False
        self._tell()

    def on_message_begin(self) -> None:
        if self._is_whole:  # another answer, which nobody asked for
            self._is_kept = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._told is None:  # else it stands behind the body
            self._pairs.append((name.decode("latin-1").lower(), value.decode("utf-8", "replace")))

    def on_headers_complete(self) -> None:
        parser, pairs = self._parser, self._pairs
        if parser is None:
            return
        headers = Headers(pairs)
        codings = {*headers.words("transfer-encoding")} - {"identity"}
        if not codings <= {"chunked"}:
            self._give_up("its transfer encoding is unknown")
            return
        self.status = parser.get_status_code()
        self._to_the_end = not codings and "content-length" not in headers
        self._told = headers

    def on_body(self, body: bytes) -> None:
        if self._is_whole or self._lost is not None:
            return
        self._body += body
        self._body_bytes += len(body)
        if len(self._body) > HELD_BYTES >= len(self._body) - len(body):
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._parser is None or self._is_whole:
            return
        self._is_kept = self._parser.should_keep_alive() and not self._is_whole
        self._is_whole, self._parser = True, None

    # --- inside ----------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._lost is not None:
            raise Broken(self._lost)

    async def _next(self) -> None:
        """Until something has come, or nothing will."""
        self._wake = self._loop.create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    def _tell(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _give_up(self, why: str) -> None:
        self._lose(why)
        self._transport.abort()

    def _lose(self, why: str) -> None:
        """The first reason stays."""
        self._lost = self._lost or why
        self._reader = self._parser = None
        self._tell()
