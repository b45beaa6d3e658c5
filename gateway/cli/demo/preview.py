"""A picture as coloured half blocks: two pixels in each character cell of a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

COLUMNS: Final = 48
MAX_LINES: Final = 16
UPPER_HALF: Final = "\N{UPPER HALF BLOCK}"


def preview(path: Path) -> Text:
    """The picture, at most 48 columns by 16 lines."""
    with Image.open(path) as image:
        width, height = image.size
        scale = min(COLUMNS / width, 2 * MAX_LINES / height)
        columns, lines = max(1, round(width * scale)), max(1, round(height * scale / 2))
        small = image.convert("RGB").resize((columns, 2 * lines), Image.Resampling.LANCZOS)
    pixels = small.tobytes()
    text = Text(no_wrap=True)
    for line in range(lines):
        for column in range(columns):
            upper = _color(pixels, 2 * line * columns + column)
            lower = _color(pixels, (2 * line + 1) * columns + column)
            text.append(UPPER_HALF, Style(color=upper, bgcolor=lower))
        text.append("\n")
    text.right_crop(1)
    return text


def _color(pixels: bytes, index: int) -> Color:
    return Color.from_rgb(*pixels[3 * index : 3 * index + 3])
