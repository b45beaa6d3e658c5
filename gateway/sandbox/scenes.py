"""Generated scenes for the sandbox's pictures: a soft sky, and hills under a sun or a flower on it.

Painted at half size and enlarged: what is lost in sharpness is won in smooth edges and speed.
"""

import math
import random

from PIL import Image, ImageColor, ImageDraw

Pen = ImageDraw.ImageDraw
Size = tuple[int, int]
Colour = tuple[int, ...]
# Five colours each, from the darkest to the lightest.
_PALETTES = (
    "#1b1b3a #693668 #a74482 #f84aa7 #ffb3a7",
    "#0b2545 #13415f #2a7f9e #8fd3e8 #fdf0d5",
    "#10302b #1f5c4d #4f9d69 #b5d99c #fff3b0",
    "#2d1e2f #7a3b3f #d1603d #f2a541 #ffe3a3",
    "#14213d #2f3e75 #5c6bc0 #9fa8f5 #f5d0fe",
    "#231942 #5e548e #9f86c0 #e0b1cb #ffe5ec",
    "#0d1b2a #1b4965 #5fa8d3 #bee9e8 #ffd6a5",
    "#2b2d42 #6d3f5b #ef476f #ffa69e #ffe8d6",
)


def paint_scene(width: int, height: int, chance: random.Random) -> Image.Image:
    """A picture of that size; all that varies is drawn from `chance`."""
    half = (max(8, width // 2), max(8, height // 2))
    palette: list[Colour] = [ImageColor.getrgb(text) for text in chance.choice(_PALETTES).split()]
    image = _sky(half, palette, chance)
    motif = chance.choice((_hills, _flower))
    motif(ImageDraw.Draw(image, "RGBA"), half, palette, chance)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _sky(size: Size, palette: list[Colour], chance: random.Random) -> Image.Image:
    """A smooth field of colours, the light ones at its foot: a few large pixels, enlarged."""
    field = Image.new("RGB", (4, 4))
    shades = [chance.choice(palette[row : row + 2]) for row in range(4) for _ in range(4)]
    field.putdata(shades)
    return field.resize(size, Image.Resampling.BICUBIC)


def _hills(pen: Pen, size: Size, palette: list[Colour], chance: random.Random) -> None:
    """A sun or moon over rows of hills that grow darker as they come nearer."""
    width, height = size
    radius = min(size) * chance.uniform(0.09, 0.15)
    x, y = width * chance.uniform(0.2, 0.8), height * chance.uniform(0.16, 0.32)
    for ring in range(20, 0, -1):  # so many faint ones that they look like a glow
        pen.circle((x, y), radius * (1 + ring * 0.085), fill=(*palette[4], 6))
    pen.circle((x, y), radius, fill=(*palette[4], 235))
    for row, shade in enumerate(reversed(palette[:4])):
        waves = [chance.uniform(0, math.tau) for _ in range(3)]
        base, steps = 0.34 + 0.16 * row, [step / 64 for step in range(65)]
        points = [(width * along, height * (base - _lift(along, waves))) for along in steps]
        pen.polygon([(0, height), *points, (width, height)], fill=shade)


def _lift(along: float, waves: list[float]) -> float:
    """How far a hill rises above its base, as a share of the height: three waves upon another."""
    return 0.06 * sum(math.sin(math.tau * along * 2.2**n + w) / 2.0**n for n, w in enumerate(waves))


def _flower(pen: Pen, size: Size, palette: list[Colour], chance: random.Random) -> None:
    """Rings of translucent petals, each ring smaller and lighter."""
    centre = size[0] * chance.uniform(0.35, 0.65), size[1] * chance.uniform(0.26, 0.38)
    petals, reach = chance.randint(7, 13), min(size) * 0.46
    for ring, shade in enumerate(palette[1:]):
        turn = chance.uniform(0, math.tau)
        for petal in range(petals):
            angle, spread = turn + math.tau * petal / petals, math.pi / petals * 1.25
            points = _petal(centre, reach * (1 - ring * 0.22), angle, spread)
            pen.polygon(points, fill=(*shade, 120))
    pen.circle(centre, reach * 0.12, fill=(*palette[4], 235))


def _petal(
    centre: tuple[float, float], length: float, angle: float, spread: float
) -> list[tuple[float, float]]:
    points = []
    for step in range(-12, 13):
        reach = length * abs(math.cos(step / 12 * math.pi / 2)) ** 0.6
        toward = angle + step / 12 * spread
        points.append((centre[0] + reach * math.cos(toward), centre[1] + reach * math.sin(toward)))
    return points
