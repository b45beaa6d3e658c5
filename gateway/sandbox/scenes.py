"""Generated scenes for the sandbox's pictures: a soft sky and one of a few motifs over it.

Painted at half size, blurred a little and enlarged: what is lost in sharpness is won in smooth
edges and speed.
"""

import math
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
# Five colours each, from the darkest to the lightest.
_PALETTES: tuple[tuple[str, ...], ...] = (
    ("1b1b3a", "693668", "a74482", "f84aa7", "ffb3a7"),
    ("0b2545", "13415f", "2a7f9e", "8fd3e8", "fdf0d5"),
    ("10302b", "1f5c4d", "4f9d69", "b5d99c", "fff3b0"),
    ("2d1e2f", "7a3b3f", "d1603d", "f2a541", "ffe3a3"),
    ("14213d", "2f3e75", "5c6bc0", "9fa8f5", "f5d0fe"),
    ("231942", "5e548e", "9f86c0", "e0b1cb", "ffe5ec"),
    ("0d1b2a", "1b4965", "5fa8d3", "bee9e8", "ffd6a5"),
    ("2b2d42", "6d3f5b", "ef476f", "ffa69e", "ffe8d6"),
)


def paint_scene(width: int, height: int, chance: random.Random) -> Image.Image:
    """A picture of that size; all that varies is drawn from `chance`."""
    half = (max(8, width // 2), max(8, height // 2))
    palette = [_colour(text) for text in chance.choice(_PALETTES)]
    image = _sky(half, palette, chance)
    pen = ImageDraw.Draw(image, "RGBA")
    chance.choice(_MOTIFS)(pen, half, palette, chance)
    smooth = image.filter(ImageFilter.BoxBlur(0.8))
    return smooth.resize((width, height), Image.Resampling.BILINEAR)


def _sky(size: tuple[int, int], palette: list[Colour], chance: random.Random) -> Image.Image:
    """A smooth field of colours: a few large pixels, enlarged."""
    field = Image.new("RGB", (4, 5))
    for row in range(5):
        for column in range(4):
            shade = row * 0.75 + 1 + chance.uniform(-0.55, 0.55)
            field.putpixel((column, row), _between(palette, shade))
    return field.resize(size, Image.Resampling.BICUBIC)


def _ridges(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], palette: list[Colour], chance: random.Random
) -> None:
    """A sun over rows of hills that grow darker as they come nearer."""
    width, height = size
    radius = min(size) * chance.uniform(0.09, 0.15)
    x, y = width * chance.uniform(0.2, 0.8), height * chance.uniform(0.16, 0.32)
    _glow(pen, x, y, radius, palette[4])
    _disc(pen, x, y, radius, (*palette[4], 235))
    rows = 6
    for row in range(rows):
        base = height * (0.3 + 0.12 * row)
        shade = _between(palette, 3.1 - 3.1 * row / (rows - 1))
        _hill(pen, size, base, shade=shade, chance=chance)


def _hill(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    base: float,
    *,
    shade: Colour,
    chance: random.Random,
) -> None:
    """A silhouette from the foot of the picture up to about `base`."""
    waves = [
        (chance.uniform(0.6, 1.6), chance.uniform(0, math.tau), 1.0),
        (chance.uniform(2.0, 3.6), chance.uniform(0, math.tau), 0.45),
        (chance.uniform(5.0, 8.0), chance.uniform(0, math.tau), 0.16),
    ]
    width, height = size
    points = [(0.0, float(height))]
    for step in range(65):
        along = step / 64
        lift = sum(part * math.sin(math.tau * rate * along + shift) for rate, shift, part in waves)
        points.append((along * width, base - height * 0.058 * lift))
    pen.polygon([*points, (float(width), float(height))], fill=shade)


def _orbs(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], palette: list[Colour], chance: random.Random
) -> None:
    """Translucent discs with a highlight, from large and faint to small and clear."""
    width, height = size
    for number in range(16):
        radius = min(size) * chance.uniform(0.05, 0.12 + 0.2 * (1 - number / 16))
        x, y = chance.uniform(0, width), chance.uniform(0, height * 0.8)
        shade = _between(palette, chance.uniform(1.2, 4))
        _disc(pen, x, y, radius, (*shade, 90))
        _disc(pen, x, y, radius * 0.82, (*shade, 70))
        _disc(pen, x - radius * 0.3, y - radius * 0.34, radius * 0.2, (255, 255, 255, 60))


def _ribbons(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], palette: list[Colour], chance: random.Random
) -> None:
    """Broad bands that swing across the picture."""
    width, height = size
    rate, shift = chance.uniform(0.5, 1.1), chance.uniform(0, math.tau)
    slope = chance.uniform(-0.35, 0.35)
    for number in range(9):
        top: list[tuple[float, float]] = []
        foot: list[tuple[float, float]] = []
        for step in range(49):
            along = step / 48
            swing = math.sin(math.tau * rate * along + shift + number * 0.34)
            y = height * (0.02 + 0.105 * number + slope * (along - 0.5) + 0.075 * swing)
            thick = height * (0.055 + 0.03 * math.cos(math.tau * along + number))
            top.append((along * width, y))
            foot.append((along * width, y + thick))
        shade = _between(palette, 4 - number * 0.42)
        pen.polygon([*top, *reversed(foot)], fill=(*shade, 165))


def _petals(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], palette: list[Colour], chance: random.Random
) -> None:
    """A flower of many turned petals."""
    width, height = size
    x, y = width * chance.uniform(0.35, 0.65), height * chance.uniform(0.26, 0.38)
    petals, reach = chance.randint(7, 13), min(size) * 0.46
    for ring in range(4):
        length = reach * (1 - ring * 0.22)
        shade = (*_between(palette, 1.4 + ring * 0.85), 120)
        turn = chance.uniform(0, math.tau)
        for petal in range(petals):
            angle = turn + math.tau * petal / petals
            pen.polygon(_petal(x, y, length, angle, math.pi / petals * 1.25), fill=shade)
    _disc(pen, x, y, reach * 0.12, (*palette[4], 235))


def _petal(
    x: float, y: float, length: float, angle: float, spread: float
) -> list[tuple[float, float]]:
    points = []
    for step in range(25):
        turn = -1 + step / 12
        reach = length * max(0.0, math.cos(turn * math.pi / 2)) ** 0.6
        toward = angle + turn * spread
        points.append((x + reach * math.cos(toward), y + reach * math.sin(toward)))
    return points


def _night(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], palette: list[Colour], chance: random.Random
) -> None:
    """Stars and a moon over dark hills."""
    width, height = size
    pen.rectangle((0, 0, width, height), fill=(*palette[0], 150))
    for _ in range(140):
        glow = chance.randint(60, 220)
        x, y = chance.uniform(0, width), chance.uniform(0, height * 0.62)
        _disc(pen, x, y, chance.uniform(0.4, 1.5) * min(size) / 512, (255, 255, 255, glow))
    radius = min(size) * chance.uniform(0.08, 0.12)
    x, y = width * chance.uniform(0.2, 0.8), height * chance.uniform(0.15, 0.28)
    _glow(pen, x, y, radius, palette[4])
    _disc(pen, x, y, radius, (*palette[4], 245))
    for row in range(4):
        shade = _between([(6, 8, 18), *palette[:2]], 1.6 - row * 0.5)
        _hill(pen, size, height * (0.46 + 0.13 * row), shade=shade, chance=chance)


def _glow(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, shade: Colour) -> None:
    """A halo of many faint rings, close enough together to look smooth."""
    for ring in range(20, 0, -1):
        _disc(pen, x, y, radius * (1 + ring * 0.085), (*shade, 6))


def _disc(
    pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, shade: tuple[int, ...]
) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade)


def _between(palette: list[Colour], place: float) -> Colour:
    """The colour at `place` (0 is the first one), blended with its neighbour."""
    place = min(max(place, 0.0), len(palette) - 1.001)
    low = int(place)
    share = place - low
    red, green, blue = (
        round(a + (b - a) * share) for a, b in zip(palette[low], palette[low + 1], strict=True)
    )
    return red, green, blue


def _colour(text: str) -> Colour:
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


_Motif = Callable[[ImageDraw.ImageDraw, tuple[int, int], list[Colour], random.Random], None]
_MOTIFS: tuple[_Motif, ...] = (_ridges, _orbs, _ribbons, _petals, _night)
