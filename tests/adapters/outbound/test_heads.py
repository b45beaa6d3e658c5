"""Heads that agree with themselves are read, however often they say how long the body is."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import replace
from ipaddress import ip_address

import pytest
from raw_server import Line, RawServer, Received, Serve

from gateway.adapters.outbound.fetching import Fetcher, FetchFailed
from gateway.adapters.outbound.heads import MAX_HEAD_BYTES, HeadReader, mended
from gateway.adapters.outbound.line import HttpLine
from gateway.core.addresses import Address
from gateway.ports.calls import Call, CallBroken, LineBounds

OK = "HTTP/1.1 200 OK\r\n"
PLAIN = "Content-Length: 5\r\n\r\nhello"
CODED = "Transfer-Encoding: chunked\r\n"
CHUNKED = "\r\n5\r\nhello\r\n0\r\n\r\n"

READABLE = {
    "a length twice": f"{OK}Content-Length: 5\r\nA: b\r\ncontent-length:5 \r\n\r\nhello",
    "a length twice in one line": f"{OK}Content-Length: 5, 5\r\n\r\nhello",
    "a length before chunks": f"{OK}Content-Length: 9\r\nTransfer-Encoding: chunked\r\n{CHUNKED}",
    "a length after chunks": f"{OK}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n{CHUNKED}",
    "chunks told of twice": OK + "Transfer-Encoding: chunked\r\n" * 2 + CHUNKED,
    "300 lines": OK + "".join(f"X-{number}: a\r\n" for number in range(300)) + PLAIN,
    "lines without returns": OK.replace("\r", "") + "Content-Length: 5\nContent-Length: 5\n\nhello",
    "no coding beside a length": f"{OK}Transfer-Encoding: identity\r\n{PLAIN}",
    "an empty coding": f"{OK}Transfer-Encoding:\r\n{PLAIN}",
    "no coding beside chunks": f"{OK}Transfer-Encoding: identity, chunked\r\n{CHUNKED}",
    "empty lines before": f"\r\n\n{OK}{PLAIN}",
    "an empty line behind hints": f"HTTP/1.1 100 Continue\r\n\r\n\r\n{OK}{PLAIN}",
    "another version": f"HTTP/2.0 200 OK\r\n{PLAIN}",
    "an old version": f"HTTP/1.0 200 OK\r\n{PLAIN}",
    "no reason": f"HTTP/1.1 200\r\n{PLAIN}",
    "up to the end": f"{OK}\r\nhello",
    "more behind it": f"{OK}{PLAIN}HTTP/1.1 500 No\r\n\r\nnonsense",
    "nonsense behind it": f"{OK}{PLAIN}\0\0\0",
    "a chunk's extension": f"{OK}{CODED}\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
    "lines behind chunks": f"{OK}{CODED}\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "hints before": f"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{OK}Content-Length: 5\r\n{PLAIN}",
}
UNREADABLE = {
    "two lengths": f"{OK}Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
    "two lengths in one line": f"{OK}Content-Length: 5, 4\r\n\r\nhello",
    "no number": f"{OK}Content-Length: x, x\r\n\r\nhello",
    "no head": "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "half a head": f"{OK}Content-Length: 5\r\n",
    "too long a line": f"{OK}A: {'b' * 70_000}\r\n{PLAIN}",
    "too many hints": "HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" * 9_000,
    "another coding": f"{OK}Transfer-Encoding: gzip, chunked\r\n{CHUNKED}",
    "too large a head": OK + "A: b\r\n" * (MAX_HEAD_BYTES // 6) + PLAIN,
}


async def here(name: str, port: int, *, team: str = "") -> list[Address]:
    return [ip_address("127.0.0.1")]


async def polled(server: RawServer) -> bytes | None:
    one = HttpLine(here, LineBounds(10, 5.0, None), tls=ssl.create_default_context())
    call = Call("GET", server.url(host="api.example.com"), {}, 10.0, 1000)
    try:
        first = await one.ask(call)
        again = await one.ask(replace(call, method="POST"))
        assert again == first
        return again.body
    finally:
        await one.aclose()


async def fetched(server: RawServer) -> bytes:
    one = Fetcher(allow_private=True, resolver=here)
    url = server.url(host="files.example.com")
    async with one.stream(url, max_bytes=1000, timeout_seconds=10) as body:
        return b"".join([chunk async for chunk in body])


def saying(answer: str, step: int) -> object:
    async def handler(_: Received, way: Line) -> None:
        raw = answer.encode()
        for start in range(0, len(raw), step):
            await way.send(raw[start : start + step])
            await asyncio.sleep(0)

    return handler


@pytest.mark.parametrize("step", [7, 100_000])
@pytest.mark.parametrize("answer", READABLE.values(), ids=READABLE)
async def test_what_is_paid_for_is_read_however_its_length_is_told(
    serve: Serve, answer: str, step: int
) -> None:
    server = await serve(saying(answer, step))
    assert await polled(server) == b"hello"
    assert await fetched(server) == b"hello"


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_contradicts_itself_is_not_read(serve: Serve, answer: str) -> None:
    server = await serve(saying(answer, 100_000))
    with pytest.raises(CallBroken):
        await polled(server)
    with pytest.raises(FetchFailed):
        await fetched(server)


LONG = {
    "a long line": "A: " + "b" * 65_000,
    "blanks": "Transfer-Encoding:" + " " * 65_000 + "x",
    "blanks and a coding": "Transfer-Encoding: identity" + " " * 65_000 + "x",
    "commas": "Transfer-Encoding:" + ", " * 32_000 + "x",
    "blanks before chunked": "Transfer-Encoding: gzip," + " " * 65_000 + "x",
    "a length of blanks": "Content-Length:" + " " * 65_000 + "x",
}


@pytest.mark.parametrize("line", LONG.values(), ids=LONG)
def test_a_head_of_long_lines_holds_nobody_up(line: str) -> None:
    """Looking through it takes as long as it is, whatever it looks like: the loop waits for it."""

    def seconds(line: str) -> float:
        head = f"HTTP/1.1 103 Early\r\n{line}\r\n\r\n{OK}{line}\r\n{line}\r\n{PLAIN}".encode()
        began = time.perf_counter()
        found = HeadReader().feed(head)
        assert found is not None
        mended(found[0])
        return time.perf_counter() - began

    plain = min(seconds("\r\n".join(["A: bcdef"] * 6_500)) for _ in range(5))
    assert min(seconds(line) for _ in range(5)) < 50 * plain


async def test_an_answer_that_breaks_off_where_its_end_would_be_is_read(serve: Serve) -> None:
    """As of a balancer that answers what it has not read, and hangs up."""

    async def refuse(_: Received, way: Line) -> None:
        await way.send(b"HTTP/1.1 503 Busy\r\n\r\nhello")
        await asyncio.sleep(0.05)
        way.reset()

    assert await polled(await serve(refuse)) == b"hello"


def test_over_a_connection_whose_ends_may_disagree_comes_nothing_more() -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n"
    told = head + b"Connection: close\r\n\r\n"
    assert mended(head + b"Content-Length: 5\r\n\r\n") == told
    assert mended(told) == told
