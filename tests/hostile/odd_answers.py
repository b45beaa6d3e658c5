"""Answers as no upstream should give them: JSON that is hardly JSON, HTTP that is hardly HTTP, and
bytes that are hardly a picture. Strategies only; who serves them is `lying_upstream.py`."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st
from picture_samples import KINDS, picture

Raw = str
"""A piece of JSON as it is written, right or wrong."""

RAW: Final = st.sampled_from(
    [
        *("null", "true", "NaN", "Infinity", "-Infinity", "1e400", "-0", "1E-400", "9" * 400),
        *("18446744073709551616", "-1", "0.1", '""', '" "', '"0"', '"\\ud800"', '"\\u0000"'),
        *('"\\udc00\\ud800"', '"' + "x" * 5000 + '"', "[]", "{}", "[[]]", '{"":{}}', "[null]"),
        *("[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300, "", "tru", "'x'", "01", "+1"),
        *(
            '"http://127.0.0.1:9/x.png"',
            '"http://[::1"',
            '"javascript:1"',
            '"//x"',
            '"http://a b/"',
        ),
        *('{"id":1,"id":2}', '"\xff"', '"\\x41"', "[1,]", '"task-\\n\\r: x"'),
    ]
)
STATUSES: Final = st.sampled_from(
    [200] * 120
    + [100, 101, 201, 202, 204, 206, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 405, 408]
    + [
        409,
        410,
        413,
        418,
        422,
        425,
        429,
        451,
        500,
        501,
        502,
        503,
        504,
        520,
        524,
        530,
        599,
        600,
        999,
    ]
)
HEADERS: Final = st.sampled_from(
    [
        *("Retry-After: -1", "Retry-After: 1e9", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"),
        *("Retry-After: " + "9" * 300, "Retry-After: 0", "Retry-After: soon", "Set-Cookie: a=b"),
        *("Content-Type: text/html", "Content-Type: application/json; charset=utf-16"),
        *(
            "Content-Type: ;;;",
            "Content-Encoding: gzip",
            "Content-Encoding: br",
            "X: " + "y" * 9000,
        ),
        *("Location: /away", "Location: http://[", "Content-Length: 3", "Content-Length: x"),
        *("Transfer-Encoding: chunked", "Content-Range: bytes 0-1/2", "ETag: \xff", "X\x00: 1"),
        *("Connection: upgrade", "Trailer: X", "Date: never", "X-Request-Id: <script>", "no colon"),
    ]
)


@dataclass(frozen=True)
class Odd:
    """One answer: its bytes, and how it is put on the wire."""

    data: bytes
    pieces: int = 1
    pause_seconds: float = 0.0
    cut: bool = False

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        """For whoever draws it: ten megabytes are no message."""
        how = f"{self.pieces} pieces, {self.pause_seconds} s, {'cut' if self.cut else 'whole'}"
        printer.text(f"<{len(self.data)} bytes, {how}: {self.data[:200]!r}>")


def whole(body: bytes) -> Odd:
    """A right answer."""
    return Odd(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@st.composite
def written(draw: st.DrawFn, value: Any) -> Raw:
    """The value as JSON with some of its parts replaced, doubled or left out."""
    if draw(st.integers(0, 39)) == 0:
        return draw(RAW)
    if isinstance(value, dict):
        fields = [
            f"{json.dumps(name)}:{draw(written(one))}"
            for name, one in value.items()
            for _ in range(draw(st.sampled_from([1] * 40 + [0, 2])))
        ]
        return "{" + ",".join(fields) + "}"
    if isinstance(value, list):
        times = draw(st.sampled_from([1] * 8 + [0, 2, 30]))
        return "[" + ",".join(draw(written(one)) for one in value for _ in range(times)) + "]"
    return json.dumps(value)


@st.composite
def answered(draw: st.DrawFn, value: Any) -> Odd:
    """`value` as an answer with something wrong in it, in most cases."""
    body = draw(written(value)).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 29)) == 0:
        body += b" " * draw(st.sampled_from([1, 100_000, 10_000_000]))
    headers = draw(st.lists(HEADERS, max_size=2)) if draw(st.integers(0, 5)) == 0 else []
    if "Content-Encoding: gzip" in headers and draw(st.booleans()):
        body = gzip.compress(body)
    return draw(wired(draw(STATUSES), headers, body))


@st.composite
def wired(draw: st.DrawFn, status: int, headers: list[str], body: bytes) -> Odd:
    length = len(body) + draw(st.sampled_from([0] * 60 + [-1, 1, 99_999_999]))
    framing = draw(st.sampled_from([f"Content-Length: {length}"] * 30 + ["", "X: y"]))
    head = "\r\n".join([f"HTTP/1.1 {status} Odd", framing, "Connection: close", *headers])
    data = head.replace("\r\n\r\n", "\r\n").encode("latin-1", "replace") + b"\r\n\r\n" + body
    pieces, pause = draw(st.sampled_from([(1, 0.0)] * 30 + [(2, 0.05), (40, 0.04), (3, 0.0)]))
    return Odd(data, pieces, pause, draw(st.sampled_from([False] * 40 + [True])))


# --- pictures ------------------------------------------------------------------------------------


def claims(width: int, height: int) -> bytes:
    """A PNG that says so many pixels and has few."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(bytes(9999)))
        + chunk(b"IEND", b"")
    )


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """Whole ones, cut, damaged, glued to each other or to something else, and none at all."""
    whole = picture(draw(st.sampled_from(KINDS)))
    match draw(st.integers(0, 6)):
        case 0:
            return whole
        case 1:
            return whole[: draw(st.integers(0, len(whole)))]
        case 2:
            damaged = bytearray(whole)
            for _ in range(draw(st.integers(1, 8))):
                damaged[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
            return bytes(damaged)
        case 3:
            return whole + draw(st.sampled_from([b"PK\x03\x04", b"<script>", b"\0" * 999, b"%PDF"]))
        case 4:
            start = draw(st.integers(0, 40))
            return whole[:start] + picture(draw(st.sampled_from(KINDS)))[start:]
        case 5:
            sides = st.sampled_from([0, 1, 40_000, 2**31 - 1, 2**32 - 1])
            return claims(draw(sides), draw(sides))
    return draw(st.binary(max_size=400))
