"""How pictures begin: the first bytes tell what a body claims to be, whatever its headers say.

Also of kinds that are not decoded here, so that a picture is told from a page about an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

HEAD_BYTES: Final = 64
"""As much of a body as a signature needs."""

_SIGNATURES: Final[Mapping[str, re.Pattern[bytes]]] = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in (
        ("PNG", rb"\x89PNG\r\n\x1a\n"),
        ("JPEG", rb"\xff\xd8\xff"),
        ("WebP", rb"RIFF....WEBP"),
        ("GIF", rb"GIF8[79]a"),
        ("AVIF", rb"...[\x08-\x40]ftyp(avif|avis|.{4,32}?avi[fs])"),
        ("HEIF", rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)"),
        ("BMP", rb"BM.{4}\0\0\0\0"),
        ("TIFF", rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
        ("JPEG 2000", rb"\0\0\0\x0cjP  \r\n\x87\n"),
        ("JPEG 2000 codestream", rb"\xff\x4f\xff\x51"),
        ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
        ("Photoshop", rb"8BPS\0[\x01\x02]"),
        ("icon", rb"\0\0[\x01\x02]\0[^\0]\0.{3}\0"),
        ("netpbm", rb"P[1-7]\s+(#|\d)"),
        ("QOI", rb"qoif"),
        ("DDS", rb"DDS \x7c\0\0\0"),
        ("OpenEXR", rb"\x76\x2f\x31\x01"),
        ("SVG", rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<svg[\s>]"),
    )
}


def kind_of(head: bytes) -> str | None:
    """The kind of picture that these first bytes announce; None when they announce none."""
    found = (name for name, pattern in _SIGNATURES.items() if pattern.match(head))
    return next(found, None)
