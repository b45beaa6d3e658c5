"""Heads of answers as RFC 9110 lets a client read them, for a parser that is stricter.

Behind a chain of proxies the same `Content-Length` may stand there twice, or beside `chunked`. What
such an answer brings is paid for.
"""

from __future__ import annotations

import re
from typing import Final

MAX_HEAD_BYTES: Final = 262_144
"""Of a whole head, however many lines it has."""

MAX_LINE_BYTES: Final = 65_536

_END: Final = re.compile(rb"\n\r?\n")
_LENGTH: Final = re.compile(rb"(?im)^content-length:([^\r\n]*)\r?\n(?![ \t])")
_CHUNKED: Final = re.compile(rb"(?im)^transfer-encoding:(?:[^\r\n]*,)?[ \t]*chunked[ \t]*\r?$")
_AS_IT_IS: Final = re.compile(
    rb"(?im)^transfer-encoding:[ \t]*(?:identity[ \t]*)?\r?\n(?![ \t])"  # no two runs of blanks
)
_BEGINNING: Final = b"HTTP/"
_INTERIM: Final = re.compile(rb"HTTP/[0-9.]+ 1(?!01)")


class NoHead(Exception):
    """What came is none that can be read; says why."""


def mended(head: bytes) -> bytes:
    """The head with one word on where the body ends, if all that it says agree: equal lengths are
    one (RFC 9110, 8.6), and chunks are told by themselves (RFC 9112, 6.3). Nothing else is read
    over that connection, whose ends may disagree about this answer."""
    head = _AS_IT_IS.sub(b"", head)
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


class HeadReader:
    """Gathers a head that comes in pieces."""

    def __init__(self) -> None:
        self._came = bytearray()
        self._passed_over = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """The head once it is whole, and what came behind it. Empty lines before it are passed over
        (RFC 9112, 2.2), and so are heads before the one of the answer (1xx). Raises `NoHead`."""
        seen = max(len(self._came) - 2, 0)
        self._came += data
        while True:
            if self._came.startswith((b"\r", b"\n")):
                self._came, seen = self._came.lstrip(b"\r\n"), 0
            if not self._came.startswith(_BEGINNING[: len(self._came)]):
                raise NoHead("what it sent is not HTTP/1.1")
            end = _END.search(self._came, seen, MAX_HEAD_BYTES)
            if end is None:
                if len(self._came) + self._passed_over >= MAX_HEAD_BYTES:
                    raise NoHead("its head is too large")
                return None
            head, rest, seen = bytes(self._came[: end.end()]), self._came[end.end() :], 0
            if len(head) > MAX_LINE_BYTES and max(map(len, head.split(b"\n"))) >= MAX_LINE_BYTES:
                raise NoHead("a line of its head is too long")
            if _INTERIM.match(head) is None:
                return head, bytes(rest)
            self._passed_over += len(head)
            if self._passed_over >= MAX_HEAD_BYTES:
                raise NoHead("its answer does not come, but hints of it do")
            self._came = rest
