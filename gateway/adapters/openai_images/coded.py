"""Base64 in a file as the bytes that it stands for, a piece in memory at a time.

It is read as generously as can be without a doubt: escaped as JSON allows, in lines, for links,
without its padding, or behind `data:…,`.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from pathlib import Path
from typing import Final, Self

from gateway.adapters.openai_images.outline import Span
from gateway.core.picture_errors import LinkBroken, LinkDead, PictureTooLarge

PIECE_BYTES: Final = 256 * 1024
"""One hop to a thread costs as much as reading about this."""

_ESCAPE: Final = re.compile(rb"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_LONGEST_ESCAPE: Final = 6
_BLANK_ESCAPES: Final = frozenset(b"bfnrt")
_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
_BLANKS: Final = b" \t\r\n\x0b\x0c"
_HEAD: Final = re.compile(rb"[ \t\r\n]*data:[^,]{0,256},", re.IGNORECASE)


class CodedPicture:
    """The bytes of one picture: iterate over it once.

    Raises `LinkDead` for what is no base64, `PictureTooLarge`, or `LinkBroken` where the disk
    fails.
    """

    media_type: str = ""

    def __init__(self, path: Path, span: Span, *, max_bytes: int) -> None:
        self._path = path
        self._at, self._stop = span.start, span.stop
        self._max_bytes = max_bytes
        self._decoded = 0
        self._begun = False
        self._decoder = _Decoder()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while self._at < self._stop:
            piece = await asyncio.to_thread(self._next)
            if piece:
                return piece
        raise StopAsyncIteration

    def _next(self) -> bytes:
        """Opened for each, so that nothing stays open when the reader goes away meanwhile."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                raw = file.read(min(PIECE_BYTES, self._stop - self._at))
        except FileNotFoundError:
            raise LinkDead("the answer does not lie here any more") from None
        except OSError as error:
            raise LinkBroken(f"the spool cannot be read: {error}") from error
        if not raw:
            raise LinkDead("the answer has become shorter")
        self._at += len(raw)
        if not self._begun:
            self._begun = True
            raw = raw[match.end() :] if (match := _HEAD.match(raw)) else raw
        try:
            piece = self._decoder.decoded(raw, is_last=self._at >= self._stop)
        except binascii.Error:
            raise LinkDead("what came is no base64") from None
        self._decoded += len(piece)
        if self._decoded > self._max_bytes:
            raise PictureTooLarge(f"more than {self._max_bytes} bytes")
        return piece


class _Decoder:
    """Pieces of base64, escaped for JSON, as bytes. Raises `binascii.Error`."""

    def __init__(self) -> None:
        self._escape = b""
        self._rest = b""
        self._is_padded = False

    def decoded(self, raw: bytes, *, is_last: bool) -> bytes:
        text = self._unescaped(self._escape + raw, is_last)
        plain = self._rest + text.translate(_ALPHABET, _BLANKS)
        if self._is_padded and plain:
            raise binascii.Error("more after the padding")
        if is_last:
            plain += b"=" * (-len(plain) % 4)
        whole = len(plain) - len(plain) % 4
        self._rest = plain[whole:]
        self._is_padded = plain[:whole].endswith(b"=")
        return binascii.a2b_base64(plain[:whole], strict_mode=True)

    def _unescaped(self, text: bytes, is_last: bool) -> bytes:
        """An escape that may go on in the next piece waits for it."""
        self._escape = b""
        if b"\\" not in text:
            return text
        at = text.rfind(b"\\", max(0, len(text) - _LONGEST_ESCAPE))
        if at >= 0 and not is_last:
            text, self._escape = text[:at], text[at:]
        return _ESCAPE.sub(_meant, text)


def _meant(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if len(escape) > 1:
        code = int(escape[1:], 16)
        return bytes([code]) if code < 128 else b"!"  # which no base64 has
    return b"" if escape[0] in _BLANK_ESCAPES else escape
