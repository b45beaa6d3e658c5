"""Draws the sandbox's pictures: a generated landscape with the prompt in large letters.

Pure in effect: the same `Picture` gives the same bytes, another seed another scene. It runs in
worker threads and shares nothing between calls but the fonts it has found.
"""

import io
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

from gateway.sandbox.lettering import fit_text, font_of_size, typeface_for
from gateway.sandbox.scenes import paint_scene

# Below this side length letters cannot be read, so none are drawn.
_LEAST_LETTERED_SIDE = 160
# More of a prompt than this would be too small to read.
_MAX_SHOWN_CHARACTERS = 900
_WHITE = (255, 255, 255)
_PALE = (226, 230, 240)


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


def draw(picture: Picture) -> bytes:
    """The encoded picture, in its output format (png, jpeg or webp)."""
    width, height = (max(16, round(side * picture.scale)) for side in picture.pixels)
    image = paint_scene(width, height, random.Random(f"{picture.seed}:{picture.prompt}"))
    if min(width, height) >= _LEAST_LETTERED_SIDE:
        _letter(image, picture)
    return _encode(image, picture)


def _letter(image: Image.Image, picture: Picture) -> None:
    """Puts the prompt and the caption on a frosted panel at the foot of the picture."""
    width, height = image.size
    unit = min(width, height) / 1024
    margin, padding = round(56 * unit), round(44 * unit)
    prompt = picture.prompt or "(no words but magic ones)"
    if len(prompt) > _MAX_SHOWN_CHARACTERS:
        prompt = prompt[:_MAX_SHOWN_CHARACTERS].rstrip() + "..."
    face = typeface_for(prompt)
    inner = width - 2 * (margin + padding)
    text = fit_text(
        prompt,
        face,
        width=inner,
        height=round(height * 0.62),
        sizes=(round(96 * unit), max(9, round(22 * unit))),
    )
    caption_size = max(9, round(30 * unit))
    caption_height = round(caption_size * 2.4)
    top = height - margin - 2 * padding - text.height - caption_height
    box = (margin, top, width - margin, height - margin)
    _frost(image, box, radius=round(36 * unit))
    pen = ImageDraw.Draw(image, "RGBA")
    left = margin + padding
    text.draw(pen, left, top + padding, _WHITE)
    line = top + padding + text.height + round(caption_size * 0.9)
    thickness = max(1, round(2 * unit))
    pen.line((left, line, left + inner, line), fill=(*_WHITE, 90), width=thickness)
    _caption(pen, picture, (left, line + round(caption_size * 0.65), inner), caption_size)


def _caption(
    pen: ImageDraw.ImageDraw, picture: Picture, place: tuple[int, int, int], size: int
) -> None:
    """One line: what was asked on the left, which picture of how many on the right."""
    left, top, width = place
    face = typeface_for(picture.caption)
    count = f"{picture.index + 1} of {picture.count}"
    gap = size
    font = font_of_size(face, size)
    wanted = font.getlength(picture.caption) + gap + font.getlength(count)
    if wanted > width:
        font = font_of_size(face, max(7, int(size * width / wanted)))
    pen.text((left, top), picture.caption, font=font, fill=_PALE)
    pen.text((left + width - font.getlength(count), top), count, font=font, fill=_WHITE)


def _frost(image: Image.Image, box: tuple[int, int, int, int], *, radius: int) -> None:
    """Blurs and darkens a rounded rectangle, so that white letters stand out on any scene."""
    # An eighth of the size is enough for what gets blurred anyway, and sixty times quicker.
    region = image.crop(box)
    size = region.size
    small = region.resize((max(1, size[0] // 8), max(1, size[1] // 8)), Image.Resampling.BOX)
    small = small.filter(ImageFilter.GaussianBlur(max(1.0, radius / 9)))
    small = Image.blend(small, Image.new("RGB", small.size, (14, 16, 30)), 0.58)
    glass = small.resize(size, Image.Resampling.BILINEAR)
    # Drawn at twice the size and halved, the corners get smooth edges.
    mask = Image.new("L", (size[0] * 2, size[1] * 2), 0)
    corners = (0, 0, size[0] * 2 - 1, size[1] * 2 - 1)
    ImageDraw.Draw(mask).rounded_rectangle(corners, radius * 2, fill=255)
    image.paste(glass, box[:2], mask.reduce(2))


def _encode(image: Image.Image, picture: Picture) -> bytes:
    out = io.BytesIO()
    if picture.output_format == "jpeg":
        image.save(out, "JPEG", quality=86, comment=_label(picture).encode())
    elif picture.output_format == "webp":
        image.save(out, "WEBP", quality=84, method=0)
    else:
        notes = PngInfo()
        notes.add_itxt("Description", _label(picture))
        notes.add_text("Software", "image-gateway sandbox")
        image.save(out, "PNG", compress_level=1, pnginfo=notes)
    return out.getvalue()


def _label(picture: Picture) -> str:
    return f"{picture.prompt[:2000]} ({picture.caption}, {picture.index + 1} of {picture.count})"
