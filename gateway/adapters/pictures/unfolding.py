"""Undoes the codings that object stores put around a picture: gzip, zlib, raw deflate.

The bytes decide and no header does: what begins like a picture is left alone, and what is folded
is known by that something unfolds from it that begins like a picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from gateway.core.picture_errors import PictureTooLarge
from gateway.core.picture_signatures import HEAD_BYTES, kind_of

_GZIP: Final = zlib.MAX_WBITS | 16
_CODINGS: Final = (_GZIP, zlib.MAX_WBITS, -zlib.MAX_WBITS)
_MOST_LAYERS: Final = 2
"""A store that codes what was coded already; more is nobody's mistake."""

_LOOK_BYTES: Final = 16 * 1024
_BLOCK_BYTES: Final = 64 * 1024


def codings_of(path: Path) -> tuple[int, ...]:
    """The layers around the picture in this file, the outermost first; empty for none."""
    with path.open("rb") as file:
        return _layers(file.read(_LOOK_BYTES), _MOST_LAYERS) or ()


def _layers(head: bytes, most: int) -> tuple[int, ...] | None:
    """None: there is no picture within."""
    if kind_of(head[:HEAD_BYTES]) is not None:
        return ()
    if most == 0:
        return None
    for coding in _CODINGS:
        inner = _beginning(head, coding)
        rest = _layers(inner, most - 1) if inner else None
        if rest is not None:
            return (coding, *rest)
    return None


def _beginning(head: bytes, coding: int) -> bytes:
    try:
        return zlib.decompressobj(coding).decompress(head, _LOOK_BYTES)
    except zlib.error:
        return b""


def unfolded(path: Path, codings: Iterable[int], *, max_bytes: int) -> Iterator[bytes]:
    """What is within, block by block. One that is cut ends early: the picture tells.

    Raises PictureTooLarge as soon as more than `max_bytes` would come out.
    """
    with path.open("rb") as file:
        blocks = _blocks(file)
        for coding in codings:
            blocks = _undone(blocks, coding)
        size_bytes = 0
        for block in blocks:
            size_bytes += len(block)
            if size_bytes > max_bytes:
                raise PictureTooLarge(f"more than {max_bytes} bytes once it is unfolded")
            yield block


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block


def _undone(blocks: Iterator[bytes], coding: int) -> Iterator[bytes]:
    """A small block may become a huge one, so each is taken out in pieces."""
    unfolder = zlib.decompressobj(coding)
    for block in blocks:
        rest = block
        while rest and not unfolder.eof:
            try:
                piece = unfolder.decompress(rest, _BLOCK_BYTES)
            except zlib.error:
                return
            rest = unfolder.unconsumed_tail
            if piece:
                yield piece
