"""JSON of any length, read without what is long in it: its structure, and where its texts lie.

A body may be a hundred megabytes of base64 in a few texts. It is gone through once, in blocks: of
each text only the place is noted, and its number stands for it in what is parsed. Nothing here
searches with a pattern, so that no body makes it slow. What follows the JSON, whatever it is, takes
nothing from it, for what is in it is paid; nor do blanks before it, which some send to be waited
for.
"""

from __future__ import annotations

import json
import math
from codecs import BOM_UTF8
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

MAX_STRUCTURE: Final = 1_048_576
"""Bytes of what is no text: braces, numbers, blanks."""

MAX_TEXTS: Final = 20_000
MAX_ESCAPED_QUOTES: Final = 1_000_000
"""Each is a step of Python's; no base64 has any."""

BEFORE: Final = b" \t\r\n" + BOM_UTF8
"""What some servers put before their JSON."""


class Unreadable(Exception):
    """It is no JSON, not all of it, or more than anybody means."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a text lies in its file, between its quotes and still escaped."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Outline:
    """`plain` is the JSON with a number, written as a text, in place of each text: its index in
    `spans`."""

    plain: Any
    spans: tuple[Span, ...]


def outlined(blocks: Iterable[bytes], offset: int = 0) -> Outline:
    """The outline of the JSON in these blocks, which begin at `offset`. Raises `Unreadable`."""
    walk, too_much = _Walk(offset), None
    try:
        for block in blocks:
            walk.through(block)
    except Unreadable as error:
        too_much = error  # it may follow the JSON
    try:
        return Outline(walk.parsed(), tuple(walk.spans))
    except Unreadable as error:
        raise too_much or error from None


class _Walk:
    """Through blocks, in or outside a text. `_run` is how many backslashes came last in it."""

    def __init__(self, offset: int) -> None:
        self.spans: list[Span] = []
        self._structure = bytearray()
        self._offset = offset
        self._start: int | None = None
        self._run = 0
        self._escaped_quotes = 0

    def through(self, block: bytes) -> None:
        at = 0
        while at < len(block):
            at = self._outside(block, at) if self._start is None else self._inside(block, at)
        self._offset += len(block)

    def _outside(self, block: bytes, at: int) -> int:
        """Up to where a text begins, or to the end."""
        quote = block.find(b'"', at)
        piece = block[at : len(block) if quote < 0 else quote]
        self._structure += piece if self._structure else piece.lstrip(BEFORE)
        if len(self._structure) > MAX_STRUCTURE:
            del self._structure[MAX_STRUCTURE:]
            raise Unreadable("too much that is no text")
        if quote < 0:
            return len(block)
        self._start, self._run = self._offset + quote + 1, 0
        return quote + 1

    def _inside(self, block: bytes, at: int) -> int:
        """Up to the text's end, to an escaped quote in it, or to the end of the block."""
        quote = block.find(b'"', at)
        piece = block[at : len(block) if quote < 0 else quote]
        backslashes = len(piece) - len(piece.rstrip(b"\\"))
        self._run = backslashes + (self._run if backslashes == len(piece) else 0)
        if quote < 0:
            return len(block)
        if self._run % 2 == 0:
            self._end(self._offset + quote)
        else:
            self._escaped_quotes += 1
            if self._escaped_quotes > MAX_ESCAPED_QUOTES:
                raise Unreadable("too many escaped quotes")
        self._run = 0
        return quote + 1

    def _end(self, stop: int) -> None:
        if self._start is None or len(self.spans) >= MAX_TEXTS:
            raise Unreadable("too many texts")
        self._structure += b'"%d"' % len(self.spans)
        self.spans.append(Span(self._start, stop))
        self._start = None

    def parsed(self) -> Any:
        """The JSON at the beginning. A text that has no end is not in the structure."""
        try:
            return _JSON.raw_decode(self._structure.decode("ascii", "replace"))[0]
        except (ValueError, RecursionError) as error:
            cut = "it ends within a text" if self._start is not None else f"no JSON: {error}"
            raise Unreadable(cut) from None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _nothing(_: str) -> None:
    """What JSON does not know (NaN, Infinity) says nothing, and spoils nothing else."""


_JSON: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_nothing)
