"""What stands beside the pixels proves nothing and is in nobody's way, however odd it is."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_samples import noise, picture, saved

from gateway.adapters.pictures.inspection import inspect as inspect_within
from gateway.core.picture_errors import Undecodable

MEGABYTE = 1_000_000


@pytest.fixture
def extension(tmp_path: Path) -> Callable[[bytes], str]:
    def of(data: bytes) -> str:
        path = tmp_path / "picture"
        path.write_bytes(data)
        return inspect_within(path, max_pixels=64_000_000).extension

    return of


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for the property, which cannot have a fixture per example."""
    return tmp_path_factory.mktemp("metadata") / "picture"


def chunk(kind: bytes, data: bytes, *, checksum: int | None = None) -> bytes:
    right = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum or right)


def with_chunk(one: bytes, *, late: bool = False) -> bytes:
    """A PNG with this chunk behind its head, or before its end mark."""
    whole = picture("png")
    at = len(whole) - 12 if late else 33
    return whole[:at] + one + whole[at:]


CHUNKS = {
    "folded text": chunk(b"zTXt", b"note\0\0" + zlib.compress(b"x" * 2 * MEGABYTE)),
    "a bomb of text": chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(200 * MEGABYTE))),
    "international text": chunk(b"iTXt", b"note\0\1\0\0\0" + zlib.compress(b"x" * 70 * MEGABYTE)),
    "long plain text": chunk(b"tEXt", b"note\0" + b"x" * 3 * MEGABYTE),
    "text without a keyword": chunk(b"tEXt", b"\xff" * 200),
    "a large profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(20 * MEGABYTE))),
    "a profile of junk": chunk(b"iCCP", b"icc\0\x07junk"),
    "EXIF of junk": chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
    "no time": chunk(b"tIME", b""),
    "an unknown part": chunk(b"vpAg", b"?" * 9),
    "physical sizes cut": chunk(b"pHYs", b"\0"),
    "a histogram": chunk(b"hIST", b"\0" * 7),
    **{
        f"a wrong checksum in {kind.decode()}": chunk(kind, b"note\0text", checksum=1)
        for kind in (
            b"tEXt",
            b"zTXt",
            b"iTXt",
            b"iCCP",
            b"eXIf",
            b"pHYs",
            b"tIME",
            b"gAMA",
            b"sRGB",
        )
    },
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", CHUNKS)
def test_a_png_with(name: str, late: bool, extension: Callable[[bytes], str]) -> None:
    assert extension(with_chunk(CHUNKS[name], late=late)) == "png"


@pytest.mark.parametrize("kind", [b"IDAX", b"ZZZZ"])
def test_a_part_that_pixels_may_need_and_nobody_knows_is_no_metadata(
    kind: bytes, extension: Callable[[bytes], str]
) -> None:
    with pytest.raises(Undecodable, match="unknown kind"):
        extension(with_chunk(chunk(kind, b"?")))


def test_a_damaged_checksum_of_pixels_is_still_damage(extension: Callable[[bytes], str]) -> None:
    whole = bytearray(picture("png"))
    whole[whole.index(b"IDAT") + 4 + struct.unpack(">I", whole[33:37])[0]] ^= 1
    with pytest.raises(Undecodable, match="damaged"):
        extension(bytes(whole))


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


SEGMENTS = {
    "EXIF of junk": segment(0xE1, b"Exif\0\0" + b"\xff" * 60),
    "EXIF that is cut": segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
    "a broken list of pictures": segment(0xE2, b"MPF\0" + b"\xff" * 30),
    "part 9 of 3 of a profile": segment(0xE2, b"ICC_PROFILE\0\x09\x03" + b"x" * 99),
    "a huge profile": segment(0xE2, b"ICC_PROFILE\0\x01\xff" + b"x" * 60_000) * 100,
    "Photoshop's": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\xff\xff"),
    "FlashPix": segment(0xE2, b"FPXR\0"),
    "empty": b"".join(segment(0xE0 + n, b"") for n in range(1, 14)),
    "a comment": segment(0xFE, b"\xff" * 60_000),
    "fill bytes": b"\xff" * 40,
    "a cut JFIF after the first": segment(0xE0, b"JF"),
}


@pytest.mark.parametrize("name", SEGMENTS)
@pytest.mark.parametrize("kind", ["jpeg", "jpeg-progressive", "jpeg-cmyk"])
def test_a_jpeg_with(name: str, kind: str, extension: Callable[[bytes], str]) -> None:
    whole = picture(kind)
    assert extension(whole[:2] + SEGMENTS[name] + whole[2:]) == "jpg"


def riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


@pytest.mark.parametrize(
    "more",
    [
        riff(b"EXIF", b"\xff" * 33),
        riff(b"ICCP", bytes(3 * MEGABYTE)),
        riff(b"XMP ", b"<broken"),
        riff(b"what", b"?"),
    ],
    ids=["EXIF", "profile", "XMP", "unknown"],
)
@pytest.mark.parametrize("kind", ["webp", "webp-lossless", "webp-metadata", "webp-animated"])
def test_a_webp_with(kind: str, more: bytes, extension: Callable[[bytes], str]) -> None:
    body = picture(kind)[12:] + more
    assert extension(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body) == "webp"


def test_a_gif_with_applications_and_comments(extension: Callable[[bytes], str]) -> None:
    whole = picture("gif-animated")
    at = 13 + (3 << (whole[10] & 7) + 1)
    odd = b"!\xff\x0bXMP DataXMP" + b"\xff" + b"?" * 255 + b"\0" + b"!\xfe\x02hi\0" + b"!\x99\0"
    assert extension(whole[:at] + odd + whole[at:]) == "gif"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32))
def test_any_metadata_at_all(scratch: Path, seed: int) -> None:
    """Random ancillary chunks with random checksums, anywhere before the end mark."""
    dice = random.Random(seed)
    whole = saved(noise(9, 9), "PNG")
    odd = b"".join(
        struct.pack(">I", len(data)) + bytes(kind) + data + dice.randbytes(4)
        for data in (dice.randbytes(dice.randrange(99)) for _ in range(5))
        for kind in [[97 + dice.randrange(26), *(65 + dice.randrange(26) for _ in range(3))]]
    )
    scratch.write_bytes(whole[:33] + odd + whole[33:])
    assert inspect_within(scratch, max_pixels=1000).width == 9


def test_a_kind_that_is_not_decoded_here_is_told_from_a_page(
    extension: Callable[[bytes], str],
) -> None:
    for head in (b"\0\0\0\x18ftypheic\0\0\0\0", b"\xff\x0a" + bytes(40), b"8BPS\0\x01" + bytes(40)):
        with pytest.raises(Undecodable, match="begins like a picture"):
            extension(head)
    with pytest.raises(Undecodable, match="SVG"):
        extension(b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>')


def test_the_reason_is_a_sentence(extension: Callable[[bytes], str]) -> None:
    for kind in ("png", "jpeg", "webp", "gif", "avif", "bmp", "tiff", "jp2"):
        with pytest.raises(Undecodable) as problem:
            extension(picture(kind)[:200])
        assert "<" not in str(problem.value) and "object" not in str(problem.value)


def test_a_jpeg_2000_is_whole_up_to_its_end_mark(extension: Callable[[bytes], str]) -> None:
    """Its decoder makes a picture of a bare head, and of one without its last tile."""
    whole = picture("jp2")
    head = whole.index(b"\xff\x90") + 12
    for size in (head, len(whole) - 1, len(whole) // 2):
        with pytest.raises(Undecodable):
            extension(whole[:size])
    box = whole.index(b"jp2c") - 4
    for length in (bytes(4), (1).to_bytes(4, "big")):
        more = (len(whole) - box + 8).to_bytes(8, "big") if length != bytes(4) else b""
        assert extension(whole[:box] + length + b"jp2c" + more + whole[box + 8 :]) == "jp2"
    assert extension(whole + b"\0\0\0\x0cxml <x/>") == "jp2"
