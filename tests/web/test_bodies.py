"""What a body is, seen before it is parsed: zipped, in another encoding, a form, nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from gateway.errors import GatewayError, InvalidRequest, RequestTooLarge, UnsupportedCoding
from gateway.web.body import LARGE_BYTES, Bodies, parse, read_body

ORDER = {"model": "gpt-image-1.5", "prompt": "café", "size": "1:1", "quality": "low"}
BODY = json.dumps(ORDER, ensure_ascii=False).encode()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def request(body: bytes, *codings: str) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-encoding", coding.encode()) for coding in codings]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


ZIPPED = {
    "gzip": ([gzip.compress(BODY)], ["gzip"]),
    "x-gzip": ([gzip.compress(BODY)], ["X-GZip"]),
    "two members": ([gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])], ["gzip"]),
    "deflate": ([zlib.compress(BODY)], ["deflate"]),
    "raw deflate": ([raw_deflate(BODY)], ["deflate"]),
    "twice": ([gzip.compress(zlib.compress(BODY))], ["deflate, gzip"]),
    "two lines": ([gzip.compress(zlib.compress(BODY))], ["deflate", "gzip"]),
    "identity": ([BODY], ["identity"]),
    "empty": ([BODY], [""]),
}


@pytest.mark.parametrize(("bodies", "codings"), ZIPPED.values(), ids=list(ZIPPED))
async def test_zipped_bodies_are_read(bodies: list[bytes], codings: list[str]) -> None:
    assert await read_body(request(bodies[0], *codings), 1000) == BODY


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "gzip,gzip,gzip"])
async def test_other_codings_are_named(coding: str) -> None:
    with pytest.raises(UnsupportedCoding) as caught:
        await read_body(request(BODY, coding), 1000)
    assert coding.split(",", maxsplit=1)[0] in caught.value.message and caught.value.status == 415


@pytest.mark.parametrize(
    "body",
    [gzip.compress(BODY)[:-9], BODY, gzip.compress(BODY) + b"more"],
    ids=["cut", "plain", "more"],
)
async def test_what_is_no_whole_stream_is_said_so(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no whole gzip stream"):
        await read_body(request(body, "gzip"), 1000)


@pytest.mark.parametrize("codings", [["gzip"], ["gzip", "gzip"]])
async def test_a_bomb_is_counted_while_it_unfolds(codings: list[str]) -> None:
    bomb = b"\0" * 30_000_000
    for _ in codings:
        bomb = gzip.compress(bomb)
    assert len(bomb) < 50_000
    with pytest.raises(RequestTooLarge, match="at most 50000 bytes when it is unzipped"):
        await read_body(request(bomb, *codings), 50_000)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "x-gzip"]))
async def test_any_bytes_are_refused_in_words_or_read(body: bytes, coding: str) -> None:
    try:
        assert len(await read_body(request(body, coding), 1000)) <= 1000
    except GatewayError as error:
        assert error.status in (400, 413)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"", "application/json", "empty"),
        (b" \n\t", "application/json", "empty"),
        (b"\xef\xbb\xbf", "application/json", "empty"),
        ("café".join('""').encode("latin-1"), "application/json", "not UTF-8 (byte 5 is 0xe9)"),
        (BODY.decode().encode("utf-16"), "application/json", "looks like UTF-16"),
        (BODY.decode().encode("utf-16-le"), "application/json", "looks like UTF-16"),
        (BODY.decode().encode("utf-16-be"), "application/json", "looks like UTF-16"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--", "text/plain", "a form"),
        (b"whatever", "multipart/form-data; boundary=x", "a form"),
        (b"model=gpt-image-1.5&prompt=x", "application/x-www-form-urlencoded", "a form"),
        (b'{"model":', "application/json", "not valid JSON"),
        (b"{'model': 1}", "application/json", "not valid JSON"),
        (b"[1,]", "application/x-www-form-urlencoded", "not valid JSON"),
    ],
)
def test_a_mistake_is_told_in_words_about_it(body: bytes, kind: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(body, kind)
    assert said in caught.value.message
    assert "surrogates" not in caught.value.message


@pytest.mark.parametrize("body", [b"[%s1]" % (b"1," * 60_000), b"[" * 60_000, b"{}" * 60_000])
def test_a_crowd_of_values_is_refused_before_it_is_read(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="more than 50000 values"):
        parse(body)


def test_a_mark_in_front_is_skipped() -> None:
    assert parse(b"\xef\xbb\xbf" + BODY) == ORDER


def parted(parts: int) -> Request:
    """An order whose prompt comes in so many parts, each of them large."""
    left = [b'{"prompt":"', *[b"x" * LARGE_BYTES] * parts, b'"}']

    async def receive() -> dict[str, object]:
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def test_large_bodies_of_a_team_are_read_by_turns_and_small_ones_at_once() -> None:
    bodies, ended = Bodies(), list[str]()

    async def read(name: str, of: Request, team: str) -> None:
        await bodies.read_json(of, 1 << 22, team)
        ended.append(name)

    crowd = [read(f"green {number}", parted(9), "green") for number in range(20)]
    small = request(BODY)
    others = [read("small", small, "green"), read("blue", parted(9), "blue")]
    await asyncio.gather(*crowd, *others)
    assert ended[0] == "small" and ended.index("blue") <= 2


async def test_nothing_large_is_unfolded_or_read_without_a_rest() -> None:
    """The loop serves others between any two bodies of a team."""
    bodies, served = Bodies(), 0
    zipped = gzip.compress(b'{"prompt":"' + b"x" * 500_000 + b'"}')

    async def others() -> None:
        nonlocal served
        while True:
            await asyncio.sleep(0)
            served += 1

    other = asyncio.ensure_future(others())
    many = [bodies.read_json(request(zipped, "gzip"), 1 << 20, "green") for _ in range(20)]
    await asyncio.gather(*many)
    other.cancel()
    assert served > 100
