"""How prompts are searched: every word must occur, in any order; "what is quoted" as a whole.

Pure. A prompt is kept beside itself in the form in which it is searched, so that neither case nor
accents nor line breaks decide, and a search is brought into the same form. A word is found inside
longer ones, as languages without spaces need it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_PHRASES: Final = re.compile(r'"([^"]*)"')
_QUOTES: Final = str.maketrans(
    dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u301d\u301e", '"')
)

_MARKS: Final = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]")
"""Accents of European scripts, Hebrew points, Arabic vowels. Other marks make other letters."""

_UNSEEN: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""What joins, parts or turns letters and is none: it comes along with a text that is copied."""

_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f]")

_STROKES: Final = str.maketrans(
    {"\u0131": "i", "\u00f8": "o", "\u0142": "l", "\u0111": "d", "\u00e6": "ae", "\u0153": "oe"}
)
"""Letters that Unicode does not take apart, and that people type without their strokes."""


def folded(text: str) -> str:
    """The text as it is searched: without case, accents and more than one space in a row."""
    seen = _UNSEEN.sub("", _CONTROLS.sub(" ", text))
    apart = unicodedata.normalize("NFKD", seen).casefold()
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", apart)).translate(_STROKES)
    return " ".join(unicodedata.normalize("NFKC", plain).split())


def sought(search: str) -> tuple[str, ...]:
    """What must occur, folded, the longest first, since it is found least often.

    A quote that is never closed quotes nothing. What lies in another part is not looked for twice.
    """
    text = search.translate(_QUOTES)
    phrases = [folded(one) for one in _PHRASES.findall(text)]
    words = folded(_PHRASES.sub(" ", text).replace('"', " ")).split(" ")
    kept: list[str] = []
    for part in sorted({*phrases, *words} - {""}, key=lambda one: (-len(one), one)):
        if not any(part in longer for longer in kept):
            kept.append(part)
    return tuple(kept)


def occurs(parts: tuple[str, ...], *texts: str) -> bool:
    """Whether all parts occur in these texts together, each in any of them."""
    told = [folded(text) for text in texts]
    return all(any(part in text for text in told) for part in parts)
