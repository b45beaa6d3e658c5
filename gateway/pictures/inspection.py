"""Proves that a file is one whole PNG, JPEG or WebP by decoding it in full.

Everything here blocks, so it is called in a thread. A large picture is decoded in a process of
its own, which keeps its memory, and the moments when the decoder lets no other thread run, out
of ours. Bytes after the picture's end are tolerated. Nothing here knows about the store.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from PIL import Image

# Named here, so that Pillow need not load its forty other plugins to look for WebP.
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gateway.core.pictures import NotAPicture

MAX_PIXELS: Final = 64_000_000

_FORMATS: Final = (PngImageFile.format, JpegImageFile.format, WebPImageFile.format)
_MAX_FRAMES: Final = 100  # of an animation; a million tiny frames would take minutes
_LARGE_PIXELS: Final = 2_000_000  # above, WebP holds the interpreter's lock for over 5 ms
_LARGE_BYTES: Final = 8 * 2**20  # WebP files are copied in memory before anything else
_APART_SECONDS: Final = 60.0
_BLOCK_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a picture turned out to be. `extension` is png, jpg or webp, without a dot."""

    media_type: str
    extension: str
    width: int
    height: int


def prepare() -> None:
    """Makes Pillow refuse what it only warns about. For each process, before `inspect`."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def inspect(path: Path, *, max_pixels: int = MAX_PIXELS) -> Inspection:
    """Decodes the file here or, when it is large, in a process of its own.

    Raises NotAPicture, or OSError when the file cannot be read or the process fails.
    """
    if _is_large(path, max_pixels):
        return _decode_apart(path, max_pixels)
    return _decode(path, max_pixels)


def _is_large(path: Path, max_pixels: int) -> bool:
    if path.stat().st_size > _LARGE_BYTES:
        return True
    with _opened(path, max_pixels) as (image, _):
        return image.width * image.height > _LARGE_PIXELS


def _decode(path: Path, max_pixels: int) -> Inspection:
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


# --- in a process of its own -----------------------------------------------------------------


def _decode_apart(path: Path, max_pixels: int) -> Inspection:
    """Runs `main` in a fresh interpreter, without our environment, which holds secrets."""
    passed_on = {k: v for k, v in os.environ.items() if k in {"PATH", "LD_LIBRARY_PATH"}}
    program = f"from {__name__} import main; main()"
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, and no shell
            [sys.executable, "-P", "-c", program, os.fspath(path), str(max_pixels)],
            env={**passed_on, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_APART_SECONDS,
            start_new_session=True,  # an interrupt at the terminal is for us, not for it
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise OSError(f"the decoding process failed: {error}") from error
    outcome: dict[str, Any] = json.loads(done.stdout)
    if "refused" in outcome:
        raise NotAPicture(outcome["refused"])
    return Inspection(**outcome)


def main() -> None:
    """The other process: decodes argv[1] within argv[2] pixels, writes the outcome as JSON."""
    prepare()
    try:
        outcome = asdict(_decode(Path(sys.argv[1]), int(sys.argv[2])))
    except NotAPicture as problem:
        outcome = {"refused": str(problem)}
    sys.stdout.write(json.dumps(outcome))
