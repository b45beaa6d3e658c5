"""Proves that a file is one whole picture by decoding it in full: its pixels, and nothing else.

It runs in a process of its own (see `decoders`), which alone loads the image library. Bytes
after the picture's end are tolerated. Nothing here knows about the store.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from PIL import AvifImagePlugin, Image, UnidentifiedImageError

# Named here, so that Pillow need not load its forty other plugins to look for WebP.
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gateway.adapters.pictures.cost import at_most, check_scans, die_with
from gateway.adapters.pictures.decoders import Inspection
from gateway.adapters.pictures.pixels import pixels_of
from gateway.core.picture_errors import MEDIA_TYPES, NotAPicture, TooCostly, Undecodable
from gateway.core.picture_signatures import HEAD_BYTES, kind_of

_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    # What the first bytes announce: the decoder's format, and the ending of the picture's name.
    "PNG": (PngImageFile.format, "png"),
    "JPEG": (JpegImageFile.format, "jpg"),
    "WebP": (WebPImageFile.format, "webp"),
    "GIF": (GifImageFile.format, "gif"),
    "AVIF": (AvifImageFile.format, "avif"),
    "BMP": (BmpImageFile.format, "bmp"),
    "TIFF": (TiffImageFile.format, "tiff"),
    "JPEG 2000": (Jpeg2KImageFile.format, "jp2"),
}
_MAX_FRAMES: Final = 100  # of an animation; a million tiny frames would take minutes
_NO_PLACE: Final = frozenset({errno.EINVAL, errno.EOVERFLOW})
"""What a system says of a place beyond any file, which only the bytes can have named."""

_NICENESS: Final = 10  # answering clients comes before decoding


def inspect(path: Path, *, max_pixels: int) -> Inspection:
    """Decodes the file, every pixel of it.

    Raises NotAPicture, or OSError or MemoryError when the machine and not the file is at fault.
    """
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES))
    if kind is None:
        raise NotAPicture("its bytes do not begin like those of any picture")
    if kind not in _KINDS:
        raise Undecodable(f"it begins like a picture ({kind}) of a kind that is not decoded here")
    _, extension = _KINDS[kind]
    with _opened(path, kind, max_pixels) as image:
        image.load()
        _load_more_frames(image, max_pixels)
        return Inspection(MEDIA_TYPES[extension], extension, image.width, image.height)


@contextmanager
def _opened(path: Path, kind: str, max_pixels: int) -> Iterator[Image.Image]:
    """The picture, its header read and its size allowed; complaints become Undecodable."""
    try:
        with path.open("rb") as file:
            pixels = pixels_of(kind, file)
            with Image.open(pixels, formats=[_KINDS[kind][0]]) as image:
                if image.width * image.height > max_pixels:
                    size = f"{image.width}x{image.height}"
                    raise Undecodable(f"{size} is more than {max_pixels} pixels")
                yield image
    except MemoryError:
        raise
    except Exception as error:
        # On hostile bytes the decoders raise nearly anything. Only an error number is the disk's.
        if isinstance(error, OSError) and error.errno not in (None, *_NO_PLACE):
            raise
        raise Undecodable(f"it begins like {kind} and does not decode{_why(error)}") from error


def _why(error: Exception) -> str:
    """What the decoder says, where that is more than the name of an object of ours."""
    said = " ".join(str(error).split())
    if not said or isinstance(error, UnidentifiedImageError) or "<" in said:
        return ""
    return f": {said}"


def _load_more_frames(image: Image.Image, max_pixels: int) -> None:
    """Decodes an animation's other frames, as many as the pixel limit has room for."""
    room = max_pixels // (image.width * image.height)
    for number in range(1, min(getattr(image, "n_frames", 1), room, _MAX_FRAMES)):
        image.seek(number)
        image.load()


# --- the decoding process --------------------------------------------------------------------


def main(parent: int) -> None:
    """Answers each line of standard input, which names a picture and what it may cost, with a
    line of JSON.

    The answer has the fields of an Inspection, or `refused` (it is no picture), `undecodable` (it
    only begins like one), `costly` (it costs too much) or `failed` (it could not be found out),
    each with the reason. Ends with its input, with its parent, or at a picture that costs more of
    a processor than it may.
    """
    die_with(parent)
    os.nice(_NICENESS)
    # Pillow would print a warning for what our own limit refuses anyway.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # how much is decoded at once is the gateway's to say
    for line in sys.stdin:
        path, max_pixels, cpu_seconds, scans = json.loads(line)
        with at_most(cpu_seconds):
            outcome = _outcome(Path(path), max_pixels, scans)
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


def _outcome(path: Path, max_pixels: int, scans: int | None) -> dict[str, object]:
    try:
        check_scans(path, scans)
        return asdict(inspect(path, max_pixels=max_pixels))
    except TooCostly as problem:
        return {"costly": str(problem)}
    except Undecodable as problem:
        return {"undecodable": str(problem)}
    except NotAPicture as problem:
        return {"refused": str(problem)}
    except (OSError, MemoryError) as error:
        return {"failed": str(error) or type(error).__name__}
