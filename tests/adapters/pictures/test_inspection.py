"""What counts as one whole picture, for each format and each way to break it."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_samples import KINDS, noise, picture, saved

from gateway.adapters.pictures.decoders import Inspection
from gateway.adapters.pictures.inspection import inspect as inspect_within
from gateway.core.picture_errors import NotAPicture

EXTENSIONS = {"jpeg": "jpg"}


def inspect(path: Path) -> Inspection:
    return inspect_within(path, max_pixels=64_000_000)


@pytest.fixture
def put(tmp_path: Path):
    """Writes bytes to a file and gives its path."""

    def write(data: bytes) -> Path:
        path = tmp_path / "picture"
        path.write_bytes(data)
        return path

    return write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for the properties, which cannot have a fixture per example."""
    return tmp_path_factory.mktemp("inspection") / "picture"


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_picture_is_recognised(put, kind: str) -> None:
    family = kind.partition("-")[0]
    expected = Inspection(f"image/{family}", EXTENSIONS.get(family, family), 40, 24)
    assert inspect(put(picture(kind))) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("junk", [b"\0", b"<script>alert(1)</script>", bytes(5000)])
def test_bytes_after_the_end_are_tolerated(put, kind: str, junk: bytes) -> None:
    assert inspect(put(picture(kind) + junk)).width == 40


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "jpeg-two-pictures"])
def test_a_picture_cut_at_any_byte_is_refused(scratch: Path, kind: str) -> None:
    """But a JPEG that lacks nothing but the mark of its end, and so no pixel."""
    whole = picture(kind)
    end = len(whole) - 2 * (kind.startswith("jpeg") and whole.endswith(b"\xff\xd9"))
    cuts = [*range(0, end, 37), *range(len(whole) - 40, end)]
    for cut in cuts:
        scratch.write_bytes(whole[:cut])
        with pytest.raises(NotAPicture):
            inspect(scratch)


def test_a_second_picture_inside_a_jpeg_is_like_any_other_tail(put) -> None:
    whole = picture("jpeg-two-pictures")
    assert inspect(put(whole[: len(whole) - 100])).extension == "jpg"
    with pytest.raises(NotAPicture):
        inspect(put(whole[: len(whole) // 4]))


@pytest.mark.parametrize("place", [2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s", 1, b"free"),
        b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s", 1, b"jp2c"),
        b"II\x2b\0\x08\0\0\0",
    ],
    ids=["jp2", "jp2-pixels", "big-tiff"],
)
def test_a_place_beyond_any_file_is_the_pictures_fault(put, head: bytes, place: int) -> None:
    """No file system has such a place, and says so with an error number of its own."""
    order = "<" if head.startswith(b"II") else ">"
    with pytest.raises(NotAPicture):
        inspect(put(head + struct.pack(f"{order}Q", place) + bytes(40)))


@settings(deadline=None)  # the disk's time, not ours
@given(st.data())
def test_a_damaged_png_is_refused(scratch: Path, data: st.DataObject) -> None:
    whole = bytearray(picture(data.draw(st.sampled_from(["png", "png-palette", "png-animated"]))))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    scratch.write_bytes(whole)
    with pytest.raises(NotAPicture):
        inspect(scratch)


@settings(deadline=None)  # the disk's time, not ours
@given(st.data())
def test_no_damage_ever_raises_anything_else(scratch: Path, data: st.DataObject) -> None:
    whole = bytearray(picture(data.draw(st.sampled_from(KINDS))))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    scratch.write_bytes(whole)
    try:
        inspect_within(scratch, max_pixels=100_000)  # a damaged header may claim any size
    except NotAPicture as problem:
        assert str(problem)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"<!doctype html><h1>Not found</h1>",
        b'{"error": "expired"}',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"8BPS\0\x01" + bytes(40),
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        saved(noise(8, 8), "ICO"),
        saved(noise(8, 8), "PPM"),
        os.urandom(4000),
    ],
    ids=range(12),
)
def test_anything_else_is_refused(put, data: bytes) -> None:
    with pytest.raises(NotAPicture):
        inspect(put(data))


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(8001, 8000), (10_000, 10_000), (65_535, 65_535), (2**31 - 1, 1)])
def test_more_pixels_than_the_limit_are_refused_undecoded(put, size: tuple[int, int]) -> None:
    with pytest.raises(NotAPicture, match=r"pixels|decompression bomb"):
        inspect(put(png_that_claims(*size)))


def test_the_pixel_limit_is_the_callers(put) -> None:
    path = put(picture("png"))
    assert inspect_within(path, max_pixels=40 * 24).width == 40
    with pytest.raises(NotAPicture, match="40x24 is more than 959 pixels"):
        inspect_within(path, max_pixels=40 * 24 - 1)


def test_a_damaged_later_frame_of_an_animation_is_refused(put) -> None:
    frames = [noise(20, 20) for _ in range(3)]
    data = bytearray(
        saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    )
    last = data.rindex(b"VP8L") + 20
    data[last:] = bytes(len(data) - last)
    with pytest.raises(NotAPicture):
        inspect(put(data))


def test_an_animation_is_looked_at_no_further_than_the_pixel_limit(put) -> None:
    frames = [noise(20, 20) for _ in range(9)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert inspect_within(put(data), max_pixels=400 * 3).extension == "webp"


def test_a_file_that_is_not_there_is_the_disks_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "missing")
