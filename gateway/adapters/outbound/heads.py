"""Heads of answers as RFC 9110 lets a client read them, for aiohttp's parser, which is stricter.

Behind a chain of proxies the same `Content-Length` may stand there twice, or beside `chunked`. What
such an answer brings is paid for, and no setting of aiohttp reads it.
"""

from __future__ import annotations

import re
from typing import Any, Final

from aiohttp import http
from aiohttp.client_proto import ResponseHandler

MAX_HEAD_BYTES: Final = 262_144
"""Of a whole head, however many lines it has."""

_END: Final = re.compile(rb"\n\r?\n")
_LENGTH: Final = re.compile(rb"(?im)^content-length:([^\r\n]*)\r?\n(?![ \t])")
_CHUNKED: Final = re.compile(rb"(?im)^transfer-encoding:(?:[^\r\n]*,)?[ \t]*chunked[ \t]*\r?$")
_BEGINNING: Final = b"HTTP/1."
_INTERIM: Final = re.compile(rb"HTTP/1\.. 1(?!01)")
"""Another head follows."""


def mended(head: bytes) -> bytes:
    """The head with one word on where the body ends, if all that it says agree: equal lengths are
    one (RFC 9110, 8.6), and chunks are told by themselves (RFC 9112, 6.3). Nothing else is read
    over that connection, whose ends may disagree about this answer."""
    told = _LENGTH.findall(head)
    lengths = [length.strip() for line in told for length in line.split(b",")]
    if _CHUNKED.search(head) is not None:
        kept = b""
    elif len(lengths) > 1 and len(set(lengths)) == 1:
        kept = b"Content-Length: " + lengths[0] + b"\r\n"
    else:
        return head
    if not told:
        return head
    lines = _LENGTH.sub(b"", head.rstrip(b"\r\n") + b"\r\n")
    return lines + kept + b"Connection: close\r\n\r\n"


class Heads(ResponseHandler):
    """Aiohttp's reader of a connection, which is given heads as wholes, `mended`."""

    _head: bytearray | None = None
    """What is here of a head that is not whole; None while there is no head to come."""

    def set_response_params(self, **params: Any) -> None:
        self._head = bytearray()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if self._head is None or not data:
            return super().data_received(data)
        self.start_timeout()
        seen = max(len(self._head) - 2, 0)
        self._head += data
        if not self._head.startswith(_BEGINNING[: len(self._head)]):
            return self._pass_on()  # the parser has words for what is no head
        while self._head and (end := _END.search(self._head, seen, MAX_HEAD_BYTES)):
            seen = 0
            head, self._head = bytes(self._head[: end.end()]), self._head[end.end() :]
            if _INTERIM.match(head) is None:
                rest, self._head = bytes(self._head), None
                return super().data_received(mended(head) + rest)
            super().data_received(head)
        if len(self._head) >= MAX_HEAD_BYTES:
            self._head = None
            self.set_exception(http.HttpProcessingError(message="its head is too large"))
            self.close()
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self._pass_on()
        super().connection_lost(exc)

    def _pass_on(self) -> None:
        head, self._head = self._head, None
        if head:
            super().data_received(bytes(head))
