"""Bodies of answers that came packed.

What they bring is paid for, so a checksum that is wrong is no reason not to read them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

_GZIP: Final = (zlib.MAX_WBITS | 16,)
_WAYS: Final[Mapping[str, tuple[int, ...]]] = {
    "gzip": _GZIP,
    "x-gzip": _GZIP,
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),  # without a head it is sent, too
}

MOST_CODINGS: Final = 3
"""One upon the other."""

MOST_PARTS: Final = 100
"""Of a body that was packed part by part."""

TAIL_BYTES: Final = 8
"""A checksum and a length, at most."""


def unpacked(body: bytes, codings: Sequence[str], max_bytes: int) -> bytes | None:
    """The body under the codings that it was sent with, in their order; None where it is larger.
    What cannot be unpacked stays as it is."""
    if len(codings) > MOST_CODINGS:
        return body
    for coding in reversed(codings):
        ways = _WAYS.get(coding, ())
        if coding == "identity":
            continue
        found = next((one for way in ways if (one := _by(way, body, max_bytes)) is not None), None)
        if found is None:
            return body
        if len(found) > max_bytes:
            return None
        body = found
    return body


def _by(way: int, body: bytes, max_bytes: int) -> bytes | None:
    """All that can be had of it, a little more than `max_bytes` at most; None where it is not
    packed so."""
    found, left, read_any = bytearray(), body, False
    for _ in range(MOST_PARTS):
        stream, fed = zlib.decompressobj(way), 0
        # The tail byte by byte: what is wrong with it does not take away what came before.
        cut = max(len(left) - TAIL_BYTES, 0)
        for piece in (left[:cut], *(left[at : at + 1] for at in range(cut, len(left)))):
            try:
                found += stream.decompress(piece, max_bytes + 1 - len(found))
            except zlib.error:
                return bytes(found) if found or read_any else None
            fed += len(piece)
            if len(found) > max_bytes:
                return bytes(found)
            if stream.eof:
                break
        read_any = True
        left = stream.unused_data + left[fed:]
        if not left:
            break
    return bytes(found)
