"""Text for the sandbox's pictures: which typeface can show it, and how large it fits.

Pillow carries one typeface with the letters of ASCII; for any other text the usual system fonts
are looked for. A character that no font has is drawn as an empty box, never an error.
"""

import functools
import re
import textwrap
from dataclasses import dataclass

from PIL import ImageFont

Face = ImageFont.FreeTypeFont
_LINE_SPACING = 1.24
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
# Control characters and line ends, which fonts cannot draw.
_UNDRAWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class FittedText:
    """Lines of text in a font size that fits; sizes in pixels."""

    lines: list[str]
    font: Face
    line_height: int

    @property
    def height(self) -> int:
        return self.line_height * len(self.lines)


def typeface_for(text: str) -> Face:
    """The first typeface that has all characters of `text`, else the one that has most."""
    strange = {one for one in text if one != "·" and one.isprintable() and not one.isascii()}
    faces = [_built_in(), *(face for name in _SYSTEM_FONTS if (face := _system_font(name)))]
    return min(faces, key=lambda face: sum(_lacks(face, one) for one in strange))


def font_of_size(face: Face, size: int) -> Face:
    """The typeface in `size` pixels; a new object, so that threads never share one."""
    return face.font_variant(size=size)


def fit_text(
    text: str, face: Face, *, width: int, height: int, sizes: tuple[int, int]
) -> FittedText:
    """`text` in the largest size of `sizes` (largest, smallest) that fits into the box.

    What does not fit in the smallest size is cut and ends in dots.
    """
    size, smallest = sizes
    text = _UNDRAWABLE.sub(" ", text)
    while True:
        font, line_height = font_of_size(face, size), int(size * _LINE_SPACING)
        most = max(1, height // line_height)
        lines = _wrapped(text, font, width)
        if len(lines) <= most or size <= smallest:
            break
        size = max(smallest, size * 19 // 20)
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][:-3] + "..."]
    return FittedText(lines, font, line_height)


def _wrapped(text: str, font: Face, width: int) -> list[str]:
    """Lines no wider than `width` pixels; words are broken where one alone is wider."""
    columns = len(text)
    while True:
        lines = textwrap.wrap(text, columns) or [""]
        widest = max(map(font.getlength, lines))
        if widest <= width or columns == 1:
            return lines
        columns = max(1, min(columns - 1, int(columns * width / widest)))


@functools.cache
def _built_in() -> Face:
    face = ImageFont.load_default(64)
    if not isinstance(face, ImageFont.FreeTypeFont):
        raise RuntimeError("the sandbox's pictures need a Pillow with FreeType")
    return face


@functools.cache
def _system_font(name: str) -> Face | None:
    try:
        return ImageFont.truetype(name, 64)
    except OSError:
        return None


@functools.lru_cache(maxsize=4096)
def _lacks(face: Face, character: str) -> bool:
    return bytes(face.getmask(character)) == bytes(face.getmask("\U0010fffd"))
