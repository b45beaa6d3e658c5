"""What comes for a picture, from upstream or as a reference: unfolded, counted and decoded."""

from __future__ import annotations

import gzip
import struct
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from picture_samples import KINDS, jpeg_of_many_scans, picture
from PIL import Image

from gateway.adapters.pictures.cost import UNPAID, check_scans
from gateway.adapters.pictures.inspection import inspect
from gateway.adapters.pictures.unfolding import codings_of, unfolded
from gateway.core.picture_errors import NotAPicture, PictureTooLarge

MAX_BYTES: Final = 1_000_000
MAX_PIXELS: Final = 100_000

_folder = tempfile.TemporaryDirectory()
_came, _within = Path(_folder.name, "came"), Path(_folder.name, "within")
warnings.simplefilter("error", Image.DecompressionBombWarning)


def seeds() -> Iterator[bytes]:
    for kind in KINDS:
        yield picture(kind, 8, 6)
    yield gzip.compress(picture("webp", 8, 6))
    yield jpeg_of_many_scans(8, 3)
    yield b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4sQ", 1, b"free", 99)
    yield b"II\x2b\0\x08\0\0\0" + struct.pack("<Q", 16) + bytes(40)


def give(data: bytes) -> None:
    _came.write_bytes(data)
    with suppress(NotAPicture, PictureTooLarge):
        path = _came
        if codings := codings_of(path):
            path = _within
            path.write_bytes(b"".join(unfolded(_came, codings, max_bytes=MAX_BYTES)))
        check_scans(path, UNPAID.scans)
        assert inspect(path, max_pixels=MAX_PIXELS).width > 0
