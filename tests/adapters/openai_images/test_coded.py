"""Base64 read from a file in pieces: what it stands for, or that it is none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from core_samples import STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.openai_images import coded
from gateway.adapters.openai_images.coded import CodedPicture, _Decoder
from gateway.adapters.openai_images.outline import Span
from gateway.core.picture_errors import LinkBroken, LinkDead, PictureTooLarge


async def read(path: Path, text: bytes, *, max_bytes: int = 1_000_000) -> bytes:
    path.write_bytes(b'{"x":"' + text + b'"}')
    picture = CodedPicture(path, Span(6, 6 + len(text)), max_bytes=max_bytes)
    return b"".join([piece async for piece in picture])


def decoded(text: bytes, size: int) -> bytes:
    decoder = _Decoder()
    cuts = range(0, len(text), size)
    return b"".join(decoder.decoded(text[at : at + size], is_last=at == cuts[-1]) for at in cuts)


def lines(text: bytes) -> bytes:
    return b"\\n".join(text[at : at + 76] for at in range(0, len(text), 76))


def links(text: bytes) -> bytes:
    return text.replace(b"+", b"-").replace(b"/", b"_")


SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "slashes escaped": lambda text: text.replace(b"/", b"\\/"),
    "all escaped": lambda text: b"".join(b"\\u%04x" % one for one in text),
    "in lines": lines,
    "for links": links,
    "without padding": lambda text: text.rstrip(b"="),
    "for links, without padding": lambda text: links(text).rstrip(b"="),
    "as JSON": lambda text: json.dumps(text.decode()).encode()[1:-1],
}


@pytest.mark.parametrize("name", SPELLINGS)
@STEADY
@given(content=st.binary(min_size=1, max_size=200), size=st.integers(1, 300))
def test_every_spelling_means_the_same(name: str, content: bytes, size: int) -> None:
    assert decoded(SPELLINGS[name](base64.b64encode(content)), size) == content


@pytest.mark.parametrize("name", SPELLINGS)
async def test_a_file_is_read_in_pieces(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 40
    for size in (64, 1000, 4096, 10**6):
        monkeypatch.setattr(coded, "PIECE_BYTES", size)
        text = SPELLINGS[name](base64.b64encode(content))
        assert await read(tmp_path / "a", text) == content


async def test_what_a_data_link_begins_with_is_passed_over(tmp_path: Path) -> None:
    assert await read(tmp_path / "a", b"data:image/png;base64,QUJD") == b"ABC"
    assert await read(tmp_path / "a", b"DATA:;base64,QUJD") == b"ABC"


@pytest.mark.parametrize(
    "text", [b"!", b"QUJ!", b"QUJDQ", b"QQ==QUJD", b"QU=D", b"=", b"\\u00e9AAA", b"<html>", b"Q"]
)
async def test_what_is_no_base64_is_dead(text: bytes, tmp_path: Path) -> None:
    for name in ("plain", "without padding"):
        with pytest.raises(LinkDead):
            await read(tmp_path / "a", SPELLINGS[name](text) if name == "plain" else text)


async def test_more_bytes_than_a_picture_may_have(tmp_path: Path) -> None:
    text = base64.b64encode(b"x" * 100)
    assert len(await read(tmp_path / "a", text, max_bytes=100)) == 100
    with pytest.raises(PictureTooLarge):
        await read(tmp_path / "a", text, max_bytes=99)


async def test_a_file_that_is_gone_shorter_or_unreadable(tmp_path: Path) -> None:
    with pytest.raises(LinkDead):
        await anext(CodedPicture(tmp_path / "gone", Span(0, 4), max_bytes=9))
    (tmp_path / "short").write_bytes(b"QUJD")
    with pytest.raises(LinkDead):
        await anext(CodedPicture(tmp_path / "short", Span(4, 8), max_bytes=9))
    with pytest.raises(LinkBroken):
        await anext(CodedPicture(tmp_path, Span(0, 4), max_bytes=9))
