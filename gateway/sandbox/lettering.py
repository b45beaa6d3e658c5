"""Text for the sandbox's pictures: which typeface can show it, and how large it fits.

Pillow carries one typeface with the letters of ASCII; for any other text the usual system fonts
are looked for. A character that no font has is drawn as an empty box, never an error.
"""

import functools
import unicodedata
from dataclasses import dataclass

from PIL import ImageDraw, ImageFont

Face = ImageFont.FreeTypeFont
_LINE_SPACING = 1.24
_MEASURE_SIZE = 64
_SYSTEM_FONTS = (
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "PingFang.ttc",
)


@dataclass(frozen=True)
class FittedText:
    """Lines of text in a font size that fits; sizes in pixels."""

    lines: tuple[str, ...]
    font: Face
    line_height: int

    @property
    def height(self) -> int:
        return self.line_height * len(self.lines)

    def draw(
        self, pen: ImageDraw.ImageDraw, left: int, top: int, colour: tuple[int, int, int]
    ) -> None:
        for number, line in enumerate(self.lines):
            pen.text((left, top + number * self.line_height), line, font=self.font, fill=colour)


def typeface_for(text: str) -> Face:
    """The first typeface that has all characters of `text`, else the one that has most."""
    characters = set(text)
    if all(" " <= character <= "~" for character in characters - {"·"}):
        return _built_in()
    faces = [_built_in(), *(face for name in _SYSTEM_FONTS if (face := _system_font(name)))]
    return min(faces, key=lambda face: sum(not _has(face, one) for one in characters))


def font_of_size(face: Face, size: int) -> Face:
    """The typeface in `size` pixels; a new object, so that threads never share one."""
    return face.font_variant(size=size)


def fit_text(
    text: str, face: Face, *, width: int, height: int, sizes: tuple[int, int]
) -> FittedText:
    """`text` in the largest size of `sizes` (largest, smallest) that fits into the box.

    What does not fit in the smallest size is cut and ends in dots.
    """
    largest, smallest = sizes
    words = _measured(_drawable(text).split(), font_of_size(face, _MEASURE_SIZE))
    size, step = largest, max(1, largest // 24)
    lines = _wrap(words, width * _MEASURE_SIZE / size)
    while size > smallest and len(lines) * int(size * _LINE_SPACING) > height:
        size = max(smallest, size - step)
        lines = _wrap(words, width * _MEASURE_SIZE / size)
    line_height = int(size * _LINE_SPACING)
    most = max(1, height // line_height)
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1].rstrip(".") + "..."]
    return FittedText(tuple(lines), font_of_size(face, size), line_height)


def _measured(words: list[str], font: Face) -> list[tuple[str, float]]:
    """Each word with its width; a word wider than a line is later broken by characters."""
    widths = {word: font.getlength(word) for word in set(words)}
    return [(word, widths[word]) for word in words]


def _wrap(words: list[tuple[str, float]], width: float) -> list[str]:
    """Lines of words no wider than `width`, in the units of the words' widths."""
    space = _MEASURE_SIZE * 0.28
    lines: list[str] = []
    line, used = "", 0.0
    for word, wide in (piece for entry in words for piece in _pieces(*entry, width)):
        if line and used + space + wide > width:
            lines.append(line)
            line, used = word, wide
        else:
            used += (space if line else 0) + wide
            line = f"{line} {word}" if line else word
    return [*lines, line]


def _pieces(word: str, wide: float, width: float) -> list[tuple[str, float]]:
    """The word, or its parts when it is wider than a line (scripts that write no blanks)."""
    if wide <= width:
        return [(word, wide)]
    per_part = max(1, int(len(word) * width / wide * 0.95))
    parts = [word[start : start + per_part] for start in range(0, len(word), per_part)]
    return [(part, wide * len(part) / len(word)) for part in parts]


def _drawable(text: str) -> str:
    """Without control characters, which fonts cannot draw."""
    return "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in text)


@functools.cache
def _built_in() -> Face:
    face = ImageFont.load_default(_MEASURE_SIZE)
    if not isinstance(face, ImageFont.FreeTypeFont):
        raise RuntimeError("the sandbox's pictures need a Pillow with FreeType")
    return face


@functools.cache
def _system_font(name: str) -> Face | None:
    try:
        return ImageFont.truetype(name, _MEASURE_SIZE)
    except OSError:
        return None


def _has(face: Face, character: str) -> bool:
    if character.isspace() or unicodedata.category(character).startswith("C"):
        return True
    return _glyph(face, character) != _glyph(face, "\U0010fffd")


@functools.lru_cache(maxsize=4096)
def _glyph(face: Face, character: str) -> bytes:
    return bytes(face.getmask(character))
