"""Proves that a file is one whole PNG, JPEG or WebP by decoding it in full.

It runs in a process of its own (see `decoders`), which alone loads the image library. Bytes
after the picture's end are tolerated. Nothing here knows about the store.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final

from PIL import Image

# Named here, so that Pillow need not load its forty other plugins to look for WebP.
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gateway.core.pictures import NotAPicture, TooCostly
from gateway.pictures.cost import at_most, check_scans, die_with
from gateway.pictures.decoders import Inspection

_FORMATS: Final = (PngImageFile.format, JpegImageFile.format, WebPImageFile.format)
_MAX_FRAMES: Final = 100  # of an animation; a million tiny frames would take minutes
_BLOCK_BYTES: Final = 256 * 1024
_NICENESS: Final = 10  # answering clients comes before decoding


def inspect(path: Path, *, max_pixels: int) -> Inspection:
    """Decodes the file, every pixel of it.

    Raises NotAPicture, or OSError or MemoryError when the machine and not the file is at fault.
    """
    with _opened(path, max_pixels) as (image, file):
        image.load()
        if isinstance(image, PngImageFile | WebPImageFile):
            _load_more_frames(image, max_pixels)
        if isinstance(image, PngImageFile):
            _check_chunks(file)
        # A camera's JPEG with a second picture inside has another format name.
        extension = {"PNG": "png", "WEBP": "webp"}.get(image.format or "", "jpg")
        media_type = "image/jpeg" if extension == "jpg" else f"image/{extension}"
        return Inspection(media_type, extension, image.width, image.height)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[tuple[Image.Image, IO[bytes]]]:
    """The picture, its header read and its size allowed; complaints become NotAPicture."""
    try:
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise NotAPicture(f"{image.width}x{image.height} is more than {max_pixels} pixels")
            yield image, file
    except (NotAPicture, MemoryError):
        raise
    except Exception as error:
        # On hostile bytes the decoders raise nearly anything. Only an error number is the disk's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise NotAPicture(f"it does not decode: {error}") from error


def _load_more_frames(image: PngImageFile | WebPImageFile, max_pixels: int) -> None:
    """Decodes an animation's other frames, as many as the pixel limit has room for."""
    room = max_pixels // (image.width * image.height)
    for number in range(1, min(image.n_frames, room, _MAX_FRAMES)):
        image.seek(number)
        image.load()


def _check_chunks(file: IO[bytes]) -> None:
    """Reads a PNG's chunks up to its end mark; Pillow overlooks a cut or damaged tail."""
    file.seek(8)
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        checksum = zlib.crc32(kind)
        while length > 0:
            block = _exactly(file, min(length, _BLOCK_BYTES))
            checksum = zlib.crc32(block, checksum)
            length -= len(block)
        if _exactly(file, 4) != checksum.to_bytes(4, "big"):
            raise NotAPicture("a part of it is damaged")


def _exactly(file: IO[bytes], size_bytes: int) -> bytes:
    block = file.read(size_bytes)
    if len(block) < size_bytes:
        raise NotAPicture("it ends too early")
    return block


# --- the decoding process --------------------------------------------------------------------


def main(parent: int) -> None:
    """Answers each line of standard input, which names a picture and what it may cost, with a
    line of JSON.

    The answer has the fields of an Inspection, or `refused` (it is no picture), `costly` (it
    costs too much) or `failed` (it could not be found out), each with the reason. Ends with its
    input, with its parent, or at a picture that costs more of a processor than it may.
    """
    die_with(parent)
    os.nice(_NICENESS)
    # Pillow would print a warning for what our own limit refuses anyway.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
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
    except NotAPicture as problem:
        return {"refused": str(problem)}
    except (OSError, MemoryError) as error:
        return {"failed": str(error) or type(error).__name__}
