"""Numbers are carried exactly or refused by name, and so is text that is none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.web.body import parse


@pytest.mark.parametrize("number", [0, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), 10**18])
def test_what_64_bits_hold_is_carried_exactly(number: int) -> None:
    read: Any = parse(b'{"a": {"seed": %d}}' % number)
    assert read == {"a": {"seed": number}} and orjson.loads(orjson.dumps(read)) == read


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"seed": 18446744073709551616}', "seed"),
        (b'{"seed": -9223372036854775809}', "seed"),
        (b'{"a": [1, {"b": 9007199254740993000001}]}', "a[1].b"),
        (b'{"n": 1' + b"0" * 400 + b"}", "n"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a"),
        (b'{"a": {"scale": -1e400}}', "a.scale"),
        (b'{"prompt": "\\ud800"}', "prompt"),
        (b'{"a": {"b": ["\\udc00x"]}}', "a.b[0]"),
        (b"123456789012345678901234", None),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": "123456789012345678901234567890"}',
        b'{"prompt": "\\ud83d\\ude00", "seed": 0.1234567890123456789012}',
        b'{"seed": 1234567890123456789}',
    ],
)
def test_what_only_looks_like_it_is_taken(body: bytes) -> None:
    assert parse(body) == orjson.loads(body)


@pytest.mark.parametrize("depth", [900, 100_000])
def test_no_depth_breaks_it(depth: int) -> None:
    for inner in (b"123456789012345678901234", b'"\\ud800"'):
        with pytest.raises(InvalidRequest):
            parse(b"[" * depth + inner + b"]" * depth)


@given(st.binary(max_size=40) | st.text('[]{}\\ud8 0123456789",:', max_size=40).map(str.encode))
def test_any_bytes_are_json_or_a_refusal(body: bytes) -> None:
    try:
        assert parse(body) == orjson.loads(body)
    except InvalidRequest as refused:
        assert refused.message.endswith(".")
