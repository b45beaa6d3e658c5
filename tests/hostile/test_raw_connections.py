"""Bytes on a socket: requests within requests, framing that two readers read differently, clients
that send slowly, too much or nothing, and a crowd of them beside one who only wants an answer."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import Final

import pytest
from house import TEAM_KEY
from hypothesis import given
from hypothesis import strategies as st
from siege import Siege, besieged, examples, share

HIDDEN: Final = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
POST: Final = b"POST /v1/images/estimate HTTP/1.1\r\nHost: x\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
ANSWER: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("raw")) as one:
        yield one


def connected(siege: Siege) -> socket.socket:
    return socket.create_connection(("127.0.0.1", siege.port), timeout=10)


def answers(siege: Siege, *pieces: bytes) -> bytes:
    """All that comes for these bytes until the gateway closes; the client has no more to say."""
    told = b""
    with connected(siege) as client, suppress(OSError):
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        while more := client.recv(65_536):
            told += more
    return told


AMBIGUOUS: Final = {
    "both lengths": b"Content-Length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "both, turned": CHUNKED + b"Content-Length: 6\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 34\r\n\r\n",
    "one length twice": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": b"Content-Length: +2\r\n\r\n{}",
    "a hexadecimal length": b"Content-Length: 0x2\r\n\r\n{}",
    "a negative length": b"Content-Length: -2\r\n\r\n{}",
    "no length": b"Content-Length: \r\n\r\n",
    "a length beyond 64 bits": b"Content-Length: 18446744073709551618\r\n\r\n{}",
    "a space before the colon": b"Content-Length : 2\r\n\r\n{}",
    "a coding nobody knows": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no coding": b"Transfer-Encoding: identity\r\n\r\n",
    "chunked, but not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "a vertical tab": b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a quoted coding": b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a folded length": b"Content-Length: 1\r\n 0\r\n\r\n0123456789",
    "a bare LF": b"X: y\nContent-Length: 2\r\n\r\n{}",
    "a bare CR": b"X: y\rContent-Length: 2\r\n\r\n{}",
    "a NUL": b"X: a\0b\r\n\r\n",
    "no name": b": x\r\n\r\n",
    "chunks behind LF": CHUNKED + b"\r\n2\n{}\n0\n\n",
    "an extension behind LF": CHUNKED + b"\r\n2;a\n{}\r\n0\r\n\r\n",
    "an open quote": CHUNKED + b'\r\n2;a="\r\n{}\r\n0\r\n\r\n',
    "a chunk size with a space": CHUNKED + b"\r\n2 \r\n{}\r\n0\r\n\r\n",
    "a chunk size with 0x": CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a sign": CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": CHUNKED + b"\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"\r\n2\r\n{}!!\r\n0\r\n\r\n",
    "a length in the trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nContent-Length: 50\r\n\r\n",
}


@pytest.mark.parametrize("rest", AMBIGUOUS.values(), ids=list(AMBIGUOUS))
def test_what_two_readers_read_differently_is_read_by_none(siege: Siege, rest: bytes) -> None:
    """Were one reading taken, a proxy with the other one would let a hidden request through."""
    told = answers(siege, POST + rest + HIDDEN)
    assert ANSWER.findall(told)[-1] == b"400", told
    assert b"hidden" not in told


LINES: Final = st.sampled_from(
    [
        *(b"GET /healthz HTTP/1.1\r\n", POST, b"HEAD / HTTP/1.0\r\n", b"GET //[ HTTP/1.1\r\n"),
        *(
            b"PUT * HTTP/1.1\r\n",
            b"GET http://x:99999/ HTTP/1.1\r\n",
            b"GET /?%00=%ff HTTP/1.1\r\n",
        ),
        *(b"GET /v1/tasks/%2e%2e%2f HTTP/1.1\r\n", b"OPTIONS /v1/models HTTP/1.1\r\n"),
        *(b"POST /callbacks/%00 HTTP/1.1\r\n", b"GET /pictures/%c0%ae.png HTTP/1.1\r\n"),
    ]
)
HEADS: Final = st.sampled_from(
    [
        *(
            b"Host: x\r\n",
            b"Host: [\r\n",
            b"Content-Length: 2\r\n",
            CHUNKED,
            b"Expect: 100-continue\r\n",
        ),
        *(b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"X: \xff\xfe\r\n"),
        *(b"Authorization: Bearer %s\r\n" % TEAM_KEY.encode(), b"Authorization: \xe9 \xe9\r\n"),
        *(b"Content-Type: application/json; charset=\xff\r\n", b"Content-Encoding: gzip\r\n"),
        *(b"A" * 3000 + b": b\r\n", b"Cookie: a=b; c\r\n", b"Range: bytes=0-0,1-1\r\n", b"\r\n"),
    ]
)
BODIES: Final = st.one_of(
    st.sampled_from([b"", b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"0\r\n\r\n", b"ffffffff\r\n", HIDDEN]),
    st.binary(max_size=60),
)
MESSAGE: Final = st.builds(
    lambda line, heads, body: line + b"".join(heads) + b"\r\n" + body,
    LINES,
    st.lists(HEADS, max_size=6),
    BODIES,
)


@pytest.mark.timeout(7200)
def test_no_bytes_break_it(siege: Siege) -> None:
    @examples(share(150, 300))
    @given(st.lists(MESSAGE, min_size=1, max_size=4), st.lists(st.integers(1, 400), max_size=4))
    def sent(messages: list[bytes], cuts: list[int]) -> None:
        whole = b"".join(messages)
        places = [0, *sorted({cut for cut in cuts if cut < len(whole)}), len(whole)]
        pieces = [whole[a:b] for a, b in pairwise(places)]
        told = answers(siege, *pieces)
        assert told == b"" or ANSWER.match(told), told
        assert all(int(status) < 500 for status in ANSWER.findall(told)), told

    sent()


def test_a_crowd_that_sends_nothing_takes_nobodys_turn(siege: Siege) -> None:
    """Half a head, half a body, nothing at all: of each a hundred, while others are served."""
    halves = (b"", b"GET /healthz HTTP/1.1\r\nHo", POST + b"Content-Length: 99\r\n\r\n{")
    with ExitStack() as crowd:
        for half in halves * 100:
            crowd.enter_context(connected(siege)).sendall(half)
        before = siege.neighbour.served
        end = time.monotonic() + 20
        while siege.neighbour.served < before + 3:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert siege.neighbour.failed == []
