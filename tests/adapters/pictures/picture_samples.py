"""Small real pictures in each format, and ways to stream bytes."""

from __future__ import annotations

import io
import random
from collections.abc import AsyncIterator
from functools import cache

from PIL import Image

NOISE = random.Random(7)

KINDS = [
    "png",
    "png-palette",
    "png-16-bit",
    "png-animated",
    "jpeg",
    "jpeg-progressive",
    "jpeg-cmyk",
    "jpeg-two-pictures",
    "webp",
    "webp-lossless",
    "webp-metadata",
    "webp-animated",
    "gif",
    "gif-animated",
    "avif",
    "avif-animated",
    "bmp",
    "tiff",
    "tiff-lzw",
    "jp2",
]


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (width, height), NOISE.randbytes(width * height * bands))


@cache
def picture(kind: str, width: int = 40, height: int = 24) -> bytes:
    """Always the same one, whichever were made before it."""
    NOISE.seed(f"{kind} {width} {height}")
    image = noise(width, height)
    more = {"save_all": True, "append_images": [noise(width, height), noise(width, height)]}
    match kind:
        case "png":
            return saved(image, "PNG")
        case "png-palette":
            return saved(image.quantize(16), "PNG")
        case "png-16-bit":
            wide = Image.frombytes("I;16", (width, height), NOISE.randbytes(width * height * 2))
            return saved(wide, "PNG")
        case "png-animated":
            return saved(image, "PNG", **more)
        case "jpeg":
            return saved(image, "JPEG")
        case "jpeg-progressive":
            return saved(image, "JPEG", progressive=True)
        case "jpeg-cmyk":
            return saved(image.convert("CMYK"), "JPEG")
        case "jpeg-two-pictures":
            return saved(image, "MPO", **more)
        case "webp":
            return saved(image, "WEBP")
        case "webp-lossless":
            return saved(image, "WEBP", lossless=True)
        case "webp-metadata":
            return saved(image, "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0", icc_profile=b"x" * 99)
        case "webp-animated":
            return saved(image, "WEBP", **more)
        case "gif":
            return saved(image.quantize(16), "GIF", comment=b"a comment")
        case "gif-animated":
            return saved(image, "GIF", **more)
        case "avif":
            return saved(image, "AVIF")
        case "avif-animated":
            return saved(image, "AVIF", **more)
        case "bmp":
            return saved(image, "BMP")
        case "tiff":
            return saved(image, "TIFF")
        case "tiff-lzw":
            return saved(image, "TIFF", compression="tiff_lzw")
        case "jp2":
            return saved(image, "JPEG2000")
    raise ValueError(kind)


def saved(image: Image.Image, format_name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


async def stream(data: bytes, chunk_bytes: int = 16 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(data), chunk_bytes):
        yield data[start : start + chunk_bytes]


@cache
def jpeg_of_many_scans(side: int, scans: int) -> bytes:
    """A small file that decodes for as long as its scans say: each is a pass over all pixels."""
    flat = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = flat.rindex(b"\xff\xda")
    return flat[:last] + flat[last:-2] * scans + flat[-2:]
