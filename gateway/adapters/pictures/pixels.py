"""A picture without what stands beside its pixels: a file as the decoder is to see it.

Text, profiles, EXIF and the checksums of ancillary parts are no proof and no obstacle: they are
left out before anything is decoded, so that none of them can be too long, folded or damaged. What
the pixels need stays as it is, byte for byte. Nothing here is ever written down.
"""

from __future__ import annotations

import io
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import IO, Final

from gateway.core.picture_errors import Undecodable

Part = tuple[int, int] | bytes
"""A span of the file (from, to), or bytes in the place of one."""

_BLOCK_BYTES: Final = 256 * 1024
_MAX_CHUNKS: Final = 1_000_000
"""Of a PNG; a megabyte has at most 90,000."""

TOO_SHORT: Final = "it ends too early"


class PixelParts(io.RawIOBase):
    """Some parts of a file as one file."""

    def __init__(self, file: IO[bytes], parts: Iterable[Part]) -> None:
        self._file = file
        self._parts = list(parts)
        self._ends = list(accumulate(_length(part) for part in self._parts))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        number = bisect_right(self._ends, self._at)
        if number == len(self._parts):
            return 0
        part, left = self._parts[number], self._ends[number] - self._at
        size = min(left, len(buffer))
        into = _length(part) - left
        if isinstance(part, bytes):
            piece = part[into : into + size]
        else:
            self._file.seek(part[0] + into)
            piece = self._file.read(size)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    @property
    def _size(self) -> int:
        return self._ends[-1] if self._ends else 0


def _length(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else part[1] - part[0]


def pixels_of(kind: str, file: IO[bytes]) -> IO[bytes]:
    """The file without its metadata; as it is, where the kind has none that could be in the way.

    Raises Undecodable for a file that is cut or damaged where its pixels are.
    """
    split = _SPLITTERS.get(kind)
    return file if split is None else io.BufferedReader(PixelParts(file, split(file)), _BLOCK_BYTES)


def _exactly(file: IO[bytes], size_bytes: int) -> bytes:
    block = file.read(size_bytes)
    if len(block) < size_bytes:
        raise Undecodable(TOO_SHORT)
    return block


def _skip(file: IO[bytes], size_bytes: int) -> None:
    """Past bytes that must be there."""
    if size_bytes:
        file.seek(size_bytes - 1, io.SEEK_CUR)
        _exactly(file, 1)


# --- PNG -----------------------------------------------------------------------------------------

_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_OF_ANIMATIONS: Final = frozenset({b"acTL", b"fcTL", b"fdAT"})


def _png(file: IO[bytes]) -> Iterator[Part]:
    """The chunks that pixels are made of, each proven by its checksum, up to the end mark."""
    yield _exactly(file, 8)
    frames = _Frames()
    palette, colour = False, 0
    for number in range(_MAX_CHUNKS):
        start = file.tell()
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        if kind in _CRITICAL or kind in _OF_ANIMATIONS:
            head = _proven_chunk(file, kind, length)
            if (number == 0) != (kind == b"IHDR"):
                raise Undecodable("its parts are out of order")
            colour = head[9] if kind == b"IHDR" and len(head) > 9 else colour
            palette = palette or kind == b"PLTE"
            frames.note(kind, head)
            yield (start, file.tell())
        elif kind[0] & 0x20:
            _skip(file, length + 4)
        else:
            raise Undecodable("it has a part of an unknown kind")
        if kind == b"IEND":
            break
    else:
        raise Undecodable("it has too many parts")
    frames.check()
    if colour == 3 and not palette:
        raise Undecodable("its palette is missing")


def _proven_chunk(file: IO[bytes], kind: bytes, length: int) -> bytes:
    """Reads the rest of a chunk; returns its first bytes."""
    checksum, head = zlib.crc32(kind), b""
    while length > 0:
        block = _exactly(file, min(length, _BLOCK_BYTES))
        head = head or block[:32]
        checksum = zlib.crc32(block, checksum)
        length -= len(block)
    if _exactly(file, 4) != checksum.to_bytes(4, "big"):
        raise Undecodable("a part of it is damaged")
    return head


class _Frames:
    """Whether an animation has all its parts: they are numbered, and its head counts the frames."""

    def __init__(self) -> None:
        self._announced = self._frames = self._numbers = 0
        self._in_order = True

    def note(self, kind: bytes, head: bytes) -> None:
        if kind == b"acTL":
            self._announced = int.from_bytes(head[:4], "big")
        elif kind in _OF_ANIMATIONS:
            self._in_order = self._in_order and int.from_bytes(head[:4], "big") == self._numbers
            self._numbers += 1
            self._frames += kind == b"fcTL"

    def check(self) -> None:
        if not self._in_order or self._frames != self._announced:
            raise Undecodable("a frame of the animation is missing")


# --- JPEG ----------------------------------------------------------------------------------------

_SCAN: Final = 0xDA
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xDA)})
"""Markers without a length."""

_BESIDE: Final = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
"""Application segments and comments. JFIF's (E0) and Adobe's (EE) tell what the colours mean."""


def _jpeg(file: IO[bytes]) -> Iterator[Part]:
    """Everything but application segments, up to the first scan; from there on all of it."""
    yield _exactly(file, 2)
    while True:
        marker = _next_marker(file)
        start = file.tell() - 2
        if marker == _SCAN:
            yield (start, file.seek(0, io.SEEK_END))
            return
        if marker in _ALONE:
            continue
        length = int.from_bytes(_exactly(file, 2), "big")
        if length < 2:
            raise Undecodable("one of its segments has no length")
        _skip(file, length - 2)
        if marker not in _BESIDE:
            yield (start, file.tell())


def _next_marker(file: IO[bytes]) -> int:
    """Decoders skip what lies between segments, and so do we; up to a bound."""
    before, skipped = 0, 0
    while skipped < _BLOCK_BYTES:
        byte = _exactly(file, 1)[0]
        if before == 0xFF and byte not in (0x00, 0xFF):
            return byte
        before, skipped = byte, skipped + 1
    raise Undecodable("there is no picture in it")


# --- WebP ----------------------------------------------------------------------------------------

_WEBP_PIXELS: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"})
_WEBP_METADATA_FLAGS: Final = 0x20 | 0x08 | 0x04  # profile, EXIF, XMP


def _webp(file: IO[bytes]) -> list[Part]:
    """The chunks of pixels, under a head that announces no others."""
    size = int.from_bytes(_exactly(file, 12)[4:8], "little")
    end = 8 + size
    parts: list[Part] = []
    while file.tell() + 8 <= end:
        start = file.tell()
        kind, length = struct.unpack("<4sI", _exactly(file, 8))
        padded = min(length + length % 2, max(length, end - file.tell()))
        if kind == b"VP8X":
            flags, *rest = _exactly(file, max(1, padded))
            head = kind + length.to_bytes(4, "little")
            parts.append(head + bytes((flags & ~_WEBP_METADATA_FLAGS & 0xFF, *rest)))
            continue
        _skip(file, padded)
        if kind in _WEBP_PIXELS:
            parts.append((start, file.tell()))
    total = sum(_length(part) for part in parts) + 4
    return [b"RIFF" + total.to_bytes(4, "little") + b"WEBP", *parts]


# --- GIF -----------------------------------------------------------------------------------------


def _gif(file: IO[bytes]) -> list[Part]:
    """The frames and what they need, up to the end mark; comments and applications are left out."""
    head = _exactly(file, 13)
    _skip(file, _table_bytes(head[10]))
    parts: list[Part] = [(0, file.tell())]
    while True:
        start = file.tell()
        match _exactly(file, 1):
            case b";":
                return [*parts, b";"]
            case b",":
                _skip(file, _table_bytes(_exactly(file, 9)[8]) + 1)
                _skip_blocks(file)
                parts.append((start, file.tell()))
            case b"!":
                label = _exactly(file, 1)
                _skip_blocks(file)
                if label == b"\xf9":  # how the next frame is shown
                    parts.append((start, file.tell()))
            case _:
                raise Undecodable("a part of it is damaged")


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(file: IO[bytes]) -> None:
    while size := _exactly(file, 1)[0]:
        _skip(file, size)


# --- JPEG 2000 -----------------------------------------------------------------------------------


def _jp2(file: IO[bytes]) -> list[Part]:
    """All of it: its decoder leaves out in silence what is missing behind a head."""
    while True:
        start = file.tell()
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        if length == 1:
            length = int.from_bytes(_exactly(file, 8), "big")
        elif length == 0:
            length = file.seek(0, io.SEEK_END) - start
        if length < file.tell() - start and kind != b"jp2c":
            raise Undecodable("a part of it is damaged")
        if kind != b"jp2c":
            file.seek(start + length)
            continue
        file.seek(max(start, start + length - 2))
        if _exactly(file, 2) != b"\xff\xd9":
            raise Undecodable("a part of it is damaged")
        return [(0, file.seek(0, io.SEEK_END))]


_SPLITTERS: Final[Mapping[str, Callable[[IO[bytes]], Iterable[Part]]]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WebP": _webp,
    "GIF": _gif,
    "JPEG 2000": _jp2,
}
