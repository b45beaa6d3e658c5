"""Draws the sandbox's pictures: a generated scene with the prompt in large letters.

Pure in effect: the same `Picture` gives the same bytes, another seed another scene. It runs in
worker threads and shares nothing between calls but the fonts it has found.
"""

import io
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from gateway.sandbox.lettering import fit_text, font_of_size, typeface_for
from gateway.sandbox.scenes import paint_scene

# Below this side length letters cannot be read, so none are drawn.
_LEAST_LETTERED_SIDE = 160
# More of a prompt than this would be too small to read.
_MAX_SHOWN_CHARACTERS = 900
_PANEL = (14, 16, 30, 165)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """All that determines a picture. `pixels` times `scale` is its size; `seed` its scene."""

    prompt: str
    caption: str
    index: int
    count: int
    pixels: tuple[int, int]
    scale: float
    output_format: str
    seed: str

    @property
    def number(self) -> str:
        return f"{self.index + 1} of {self.count}"


def draw(picture: Picture) -> bytes:
    """The encoded picture, in its output format (png, jpeg or webp)."""
    width, height = (max(16, round(side * picture.scale)) for side in picture.pixels)
    image = paint_scene(width, height, random.Random(f"{picture.seed}:{picture.prompt}"))
    if min(width, height) >= _LEAST_LETTERED_SIDE:
        _letter(image, picture)
    return _encoded(image, picture)


def _letter(image: Image.Image, picture: Picture) -> None:
    """The prompt, and beneath it what was asked for and which picture of how many, on a panel."""
    width, height = image.size
    unit = min(width, height) / 1024
    margin, left, small = round(56 * unit), round(100 * unit), max(9, round(30 * unit))
    prompt = picture.prompt or "(no words but magic ones)"
    text = fit_text(
        prompt[:_MAX_SHOWN_CHARACTERS] + "..." * (len(prompt) > _MAX_SHOWN_CHARACTERS),
        typeface_for(prompt[:_MAX_SHOWN_CHARACTERS]),
        width=width - 2 * left,
        height=round(height * 0.62),
        sizes=(round(96 * unit), max(9, round(22 * unit))),
    )
    foot = height - left - small
    top = foot - small - text.height
    pen = ImageDraw.Draw(image, "RGBA")
    box = (margin, top - (left - margin), width - margin, height - margin)
    pen.rounded_rectangle(box, round(36 * unit), fill=_PANEL)
    for number, line in enumerate(text.lines):
        pen.text((left, top + number * text.line_height), line, font=text.font, fill="white")
    face = typeface_for(picture.caption)
    caption = fit_text(
        picture.caption, face, width=width - 2 * left - 5 * small, height=small, sizes=(small, 7)
    )
    pen.text((left, foot), caption.lines[0], font=caption.font, fill="white")
    counted = font_of_size(face, small)
    pen.text((width - left, foot), picture.number, font=counted, fill="white", anchor="ra")


def _encoded(image: Image.Image, picture: Picture) -> bytes:
    out = io.BytesIO()
    label = f"{picture.prompt[:2000]} ({picture.caption}, {picture.number})"
    if picture.output_format == "jpeg":
        image.save(out, "JPEG", quality=86, comment=label.encode())
    elif picture.output_format == "webp":
        image.save(out, "WEBP", quality=84, method=0)
    else:
        notes = PngInfo()
        notes.add_itxt("Description", label)
        notes.add_text("Software", "image-gateway sandbox")
        image.save(out, "PNG", compress_level=1, pnginfo=notes)
    return out.getvalue()
