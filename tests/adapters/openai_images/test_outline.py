"""The walk through a body: whatever is JSON is read as JSON is, whatever is not is unreadable."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from core_samples import STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.openai_images.outline import Outline, Span, Unreadable, outlined
from gateway.adapters.openai_images.whole import MAX_TEXT, AnswerRead, read_whole
from gateway.adapters.outbound.masking import Mask

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30) | st.sampled_from(
    ['"', "\\", '\\"', '"\\', "\\\\", "b64_json", "data", "{}", ',"', "\\u0022", "0", "1"]
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
JSON = st.recursive(
    PLAIN, lambda one: st.lists(one, max_size=4) | st.dictionaries(TEXT, one, max_size=4),
    max_leaves=20,
)  # fmt: skip
OBJECTS = st.dictionaries(TEXT, JSON, max_size=5)
WRITTEN = st.tuples(st.booleans(), st.sampled_from([None, 2]))


def written(value: Any, how: tuple[bool, int | None]) -> bytes:
    ascii_only, indent = how
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()


def blocks(body: bytes, size: int) -> Iterator[bytes]:
    yield from (body[at : at + size] for at in range(0, len(body), size))


def outline(body: bytes, size: int = 7) -> Outline:
    return outlined(blocks(body, size))


def read(body: bytes, size: int = 7, key: str = "") -> AnswerRead:
    return read_whole(outline(body, size), lambda span: body[span.start : span.stop], Mask(key))


def finite(value: Any) -> Any:
    """Infinity is written as JSON does not know it, and says nothing."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


@STEADY
@given(OBJECTS, WRITTEN, st.integers(1, 40))
def test_it_reads_what_json_reads(value: Any, how: Any, size: int) -> None:
    value.pop("data", None)
    assert read(written(value, how), size).said == finite(value)


@STEADY
@given(OBJECTS, st.lists(TEXT.filter(bool), max_size=4), WRITTEN, st.integers(1, 40))
def test_pictures_lie_where_they_are_said_to(
    others: Any, texts: list[str], how: Any, size: int
) -> None:
    value = {**others, "data": [{"b64_json": text, "revised_prompt": "p"} for text in texts]}
    body = written(value, how)
    answer = read(body, size)
    spans = [one for one in answer.pictures if isinstance(one, Span)]
    found = [json.loads(b'"' + body[one.start : one.stop] + b'"') for one in spans]
    assert found == texts
    without = {**others, "data": [{"revised_prompt": "p"}] * len(texts)}
    assert answer.said == finite(without)


@STEADY
@given(OBJECTS, WRITTEN, st.data())
def test_a_part_is_never_the_whole(value: Any, how: Any, data: Any) -> None:
    body = written(value, how)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(Unreadable):
        read(body[:cut])


@STEADY
@given(st.binary(max_size=60), st.integers(1, 9))
def test_nothing_else_comes_out_of_anything(body: bytes, size: int) -> None:
    try:
        parsed = read(body, size)
    except Unreadable:
        return
    assert isinstance(parsed.said, dict)


def test_strings_full_of_quotes_do_not_fool_it() -> None:
    trap = '"},{"b64_json":"AAAA"}],"x":"\\'
    answer = read(json.dumps({"created": 1, "note": trap, "data": [{"b64_json": "QUJD"}]}).encode())
    assert len(answer.pictures) == 1 and answer.said["note"] == trap


def test_names_may_be_escaped_and_come_twice() -> None:
    body = rb'{"data":[],"d\u0061ta":[{"b64\u005fjson":"QUJD","b64_json":"REVG"}]}'
    (span,) = read(body).pictures
    assert isinstance(span, Span) and body[span.start : span.stop] == b"REVG"


@pytest.mark.parametrize(
    ("entry", "picture", "left"),
    [
        ({"b64_json": None, "url": "https://files.test/1.png"}, "https://files.test/1.png",
         {"url": "https://files.test/1.png"}),
        ({"b64_json": "", "url": "https://files.test/1.png"}, "https://files.test/1.png",
         {"url": "https://files.test/1.png"}),
        ({"url": "file:///etc/passwd"}, None, {"url": "file:///etc/passwd"}),
        ({"url": "/generated/1.png"}, "/generated/1.png", {"url": "/generated/1.png"}),
        ({"url": 5}, None, {"url": 5}),
        ({"b64_json": None, "url": None}, None, {"url": None}),
        ({"b64_json": 5}, None, {}),
    ],
)  # fmt: skip
def test_an_entry_may_have_a_link(entry: Any, picture: Any, left: Any) -> None:
    answer = read(json.dumps({"data": [entry]}).encode())
    assert answer.pictures == (() if picture is None else (picture,))
    assert answer.said == {"data": [left]}


def test_a_picture_written_out_in_a_link_is_one_in_the_file() -> None:
    body = b'{"data":[{"url":"data:image/png;base64,QUJD"}]}'
    answer = read(body)
    (span,) = answer.pictures
    assert isinstance(span, Span) and body[span.start : span.stop].endswith(b"QUJD")
    assert answer.said == {"data": [{}]}


def test_the_key_is_masked_and_long_texts_are_left_out() -> None:
    key = "sk-a-secret-key-0123456789"
    body = json.dumps({"a": f"say {key}", "b": "x" * (MAX_TEXT + 1), key: 1}).encode()
    assert read(body, 1000, key).said == {"a": "say [redacted]", "b": "", "[redacted]": 1}


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"null", b"[]", b'"x"', b"x{}", b"{'a':1}", b'{"a":1', b'{"a":"}"',
     b'{"a":1,}{}', b"{" + b"\xef\xbb\xbf" + b"}", b"[]{}", b"<html>", b'{"a":1e}',
     b"data: {}\n\n", b'{"a":' * 50 + b"1" + b"}" * 50, b'{"a":' * 5000 + b"1" + b"}" * 5000,
     b"{" + b" " * 1_100_000 + b"}", b"[" + b'"",' * 20_001 + b'""]',
     b'{"a":"' + b'\\"' * 1_000_001,
     b'{"a":' + b"9" * 5000 + b"}", b'{"a":"\\"}'],
    ids=lambda body: str(body[:20]),
)  # fmt: skip
def test_what_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(body, 65_536)


def test_what_is_almost_json_is_read_all_the_same() -> None:
    """A picture that was paid is not lost for a bad letter beside it."""
    body = b'\xef\xbb\xbf{"a":NaN,"b":"\xff\\q\\ud800","c":1e999,"d":"a\nb"}'
    said = read(body).said
    assert said["a"] is None and said["c"] is None and said["d"] == "a\nb"
    said["b"].encode()


AFTER = [
    b"{}", b" {}", b"x", b"\n<!-- served by b2 -->", b"<p class=\"a\">it's</p>", b'"', b'"open',
    b'"\\"', b"\x00\xff", b"]}", b",", b" " * 2_000_000, b"{" * 2_000_000, b'"",' * 20_001,
    b'"' + b'\\"' * 1_000_001, b"data: [DONE]\n\n", "…".encode(),
]  # fmt: skip


@pytest.mark.parametrize("after", AFTER, ids=lambda one: str(one[:12]))
@pytest.mark.parametrize("size", [65_536, 10**7])
def test_what_follows_takes_nothing_from_it(after: bytes, size: int) -> None:
    """The pictures in it are paid."""
    body = b'{"n":1,"data":[{"b64_json":"QUJD"}]}'
    answer = read(body + after, size)
    (span,) = answer.pictures
    assert isinstance(span, Span) and body[span.start : span.stop] == b"QUJD"
    assert answer.said == {"n": 1, "data": [{}]}


@pytest.mark.parametrize(
    "before",
    [
        b" " * 2_000_000,
        b"\r\n" * 1_000_000,
        b"\xef\xbb\xbf" + b"\n" * 2_000_000,
        b"\t\xef\xbb\xbf ",
    ],
    ids=lambda one: str(one[:8]),
)
@pytest.mark.parametrize("size", [7, 65_536, 10**7])
def test_blanks_before_it_take_nothing_from_it(before: bytes, size: int) -> None:
    """Some send them, so that the line is not taken for dead."""
    body = before + b'{"data":[{"b64_json":"QUJD"}]}'
    (span,) = read(body, size).pictures
    assert isinstance(span, Span) and body[span.start : span.stop] == b"QUJD"


@pytest.mark.alone
@pytest.mark.parametrize("piece", [b"A", b"\\/", b"\\\\", b'\\"', b'"",', b"\\"])
def test_no_body_makes_it_slow(piece: bytes) -> None:
    body = b'{"a":"' + (piece * 30_000_000)[:30_000_000]
    start = time.perf_counter()
    with pytest.raises(Unreadable):
        outline(body, 262_144)
    assert time.perf_counter() - start < 5
