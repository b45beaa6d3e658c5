"""Connections as bytes: offers to change the protocol, and answers that come before their request.

A small application that answers with what it was sent stands behind the server of the gateway.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from gateway.serving import InProcessServer

REFUSAL = 413
CHUNKED_POST = b"POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """What came, as JSON; a path that begins with /refuse is refused before its body is read."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    status, body = REFUSAL, b""
    if not scope["path"].startswith("/refuse"):
        status, more = 200, True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
    names = sorted(name.decode() for name, _ in scope["headers"])
    told = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "version": scope["http_version"],
        "headers": names,
        "body": body.decode("latin-1"),
    }
    answer = json.dumps(told).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with InProcessServer(echo).running(1.0) as server:
        yield server.bound_port


async def talk(port: int, *pieces: bytes, answers: int) -> list[tuple[int, dict[str, object]]]:
    """Sends the pieces as packets of their own and reads that many answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        return [await read_answer(reader) for _ in range(answers)]
    finally:
        await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, object]]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None, head
    return int(head.split()[1]), json.loads(await reader.readexactly(int(length[1])))


OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAAB\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    "several": b"Upgrade: TLS/1.0, h2c\r\nconnection: keep-alive, upgrade\r\n",
    "unknown": b"UPGRADE: x/9\r\nCONNECTION: uPGRADE\r\n",
}
CHUNKS = b"4\r\nabcd\r\n6\r\nefghij\r\n0\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS.values(), ids=list(OFFERS))
@pytest.mark.parametrize("coded", ["length", "chunked"])
@pytest.mark.parametrize("cut", ["one packet", "two packets", "single bytes"])
async def test_an_offer_to_upgrade_changes_nothing(
    port: int, offer: bytes, coded: str, cut: str
) -> None:
    how = b"Content-Length: 10\r\n" if coded == "length" else b"Transfer-Encoding: chunked\r\n"
    head = b"POST /v1/x?a=b HTTP/1.1\r\nHost: x\r\n" + offer + how + b"\r\n"
    request = head + (b"abcdefghij" if coded == "length" else CHUNKS)
    then = b"GET /after HTTP/1.1\r\nHost: x\r\n\r\n"
    pieces = {
        "one packet": [request + then],
        "two packets": [head, request[len(head) :] + then],
        "single bytes": [request[i : i + 1] for i in range(len(request))] + [then],
    }[cut]
    (status, first), (_, second) = await talk(port, *pieces, answers=2)
    assert status == 200
    assert first["body"] == "abcdefghij"
    assert (first["method"], first["path"], first["query"]) == ("POST", "/v1/x", "a=b")
    assert second["path"] == "/after"


async def test_a_get_with_an_offer_is_a_get(port: int) -> None:
    request = b"GET /a HTTP/1.1\r\nHost: x\r\n" + OFFERS["h2c"] + b"\r\n"
    (status, told), (_, again) = await talk(port, request, request, answers=2)
    assert status == 200 and told["path"] == again["path"] == "/a"
    assert "upgrade" not in told["headers"]  # type: ignore[operator]


async def test_many_offers_in_one_packet_are_answered_in_turn(port: int) -> None:
    head = b"POST /%d HTTP/1.1\r\nHost: x\r\n" + OFFERS["h2c"] + b"Content-Length: 2\r\n\r\nhi"
    packet = b"".join(head % i for i in range(300))
    answers = await talk(port, packet, answers=300)
    assert [told["path"] for _, told in answers] == [f"/{i}" for i in range(300)]
    assert {told["body"] for _, told in answers} == {"hi"}


async def test_an_offer_with_close_is_closed_after_its_answer(port: int) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b"Content-Length: 2\r\n\r\nhi")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert b'"body": "hi"' in answer and b"connection: close" in answer
    await closed(writer)


async def test_an_offer_of_an_older_client_keeps_its_version(port: int) -> None:
    head = b"POST /a HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n"
    ((_, told),) = await talk(port, head + b"hi", answers=1)
    assert told["version"] == "1.0" and told["body"] == "hi"


async def test_connect_is_refused_and_ends(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"CONNECT x.example:443 HTTP/1.1\r\nHost: x.example\r\n\r\nwhatever")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400 ")
    await closed(writer)


async def test_a_smuggled_request_behind_an_offer_is_no_body(port: int) -> None:
    """Two lengths that disagree are as invalid behind an offer as without one."""
    head = (
        b"POST /a HTTP/1.1\r\nHost: x\r\n"
        + OFFERS["h2c"]
        + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"smuggled" not in answer
    await closed(writer)


def send_all_then_read(port: int, body: bytes, *, close: bool, chunked: bool) -> bytes:
    """As simple clients do: everything is sent before anything is read."""
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
        head = b"POST /refuse HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\n"
        connection.sendall(head % (length, b"Connection: close\r\n" if close else b""))
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        return connection.recv(1000)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("close", [False, True], ids=["kept", "close"])
@pytest.mark.parametrize("size", [0, 300_000, 5_000_000, 20_000_000])
async def test_an_early_answer_reaches_whoever_sends_first(
    port: int, size: int, close: bool, chunked: bool
) -> None:
    body = b"a" * size
    for _ in range(3):
        answer = await asyncio.to_thread(
            send_all_then_read, port, body, close=close, chunked=chunked
        )
        assert answer.startswith(b"HTTP/1.1 413 "), answer


async def test_the_standard_client_reads_an_early_refusal(port: int) -> None:
    import urllib.error
    import urllib.request

    def ask() -> int:
        url = f"http://127.0.0.1:{port}/refuse"
        try:
            urllib.request.urlopen(urllib.request.Request(url, data=b"a" * 20_000_000))
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 0

    assert [await asyncio.to_thread(ask) for _ in range(6)] == [REFUSAL] * 6


async def test_after_an_early_answer_the_connection_goes_on(port: int) -> None:
    refused = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    then = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    answers = await talk(port, refused, b"a" * 1_000_000, then, answers=2)
    assert [status for status, _ in answers] == [REFUSAL, 200]
    assert answers[1][1]["body"] == "hi"


@pytest.mark.parametrize("how", [b"keep-alive", b"close"])
@pytest.mark.parametrize(
    "rest",
    [
        b"zz\r\n",
        b"2\r\n{}!!\r\n",
        b"0\r\n\r\nno request\r\n\r\n",
        b"0\r\n\r\nCONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"0\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
)
async def test_after_an_early_answer_a_broken_rest_breaks_nothing(
    port: int, how: bytes, rest: bytes
) -> None:
    """The loop would tell of what the protocol raises. Only what is no rest may be answered."""
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: wrong.append(told))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CHUNKED_POST + b"Connection: " + how + b"\r\n\r\n")
    assert (await read_answer(reader))[0] == REFUSAL
    writer.write(rest)
    more = await asyncio.wait_for(reader.read(), 5)
    assert wrong == []
    is_request = how == b"keep-alive" and rest.startswith(b"0\r\n\r\n")
    assert more.count(b"HTTP/1.1") == is_request, more
    await closed(writer)


async def test_hearing_out_has_an_end(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http_protocol.LINGER_SECONDS", 0.2)
    monkeypatch.setattr("gateway.http_protocol.LINGER_BYTES", 1_000_000)
    head = b"POST /refuse HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    for length, sent in ((1000, b"a"), (90_000_000, b"a" * 30_000_000)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head % length)
        assert (await asyncio.wait_for(reader.readuntil(b"}"), 5)).startswith(b"HTTP/1.1 413 ")
        with pytest.raises((ConnectionError, BrokenPipeError)):
            for _ in range(200):
                writer.write(sent)
                await writer.drain()
                await asyncio.sleep(0.01)
        await closed(writer)


ASKING = b"Host: x\r\nExpect: 100-continue\r\nContent-Length: 50\r\n\r\n"


async def test_nothing_follows_a_refusal_that_asked_for_no_body(port: int) -> None:
    """The client may leave the body out: its next request would be read as that body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /refuse HTTP/1.1\r\n" + ASKING)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 413 ") and b"\r\nconnection: close\r\n" in head
    writer.write(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"/b" not in await asyncio.wait_for(reader.read(), 5)
    await closed(writer)


async def test_a_body_that_was_asked_for_keeps_the_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(b"POST /a HTTP/1.1\r\n" + ASKING)
        asked = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert asked == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"a" * 50)
        status, told = await read_answer(reader)
        assert status == 200 and told["body"] == "a" * 50
    await closed(writer)


async def test_an_older_client_is_asked_for_nothing(port: int) -> None:
    """To HTTP/1.0 there is no "100 Continue": it would be taken for the answer."""
    head = b"POST /a HTTP/1.0\r\n" + ASKING
    ((status, told),) = await talk(port, head + b"a" * 50, answers=1)
    assert status == 200 and told["body"] == "a" * 50


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "header"),
        (b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", "url"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "length"),
        (b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 70_000), "longer than 64 kb"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "method"),
    ],
)
async def test_what_is_no_request_is_told_why_like_every_error(
    port: int, sent: bytes, why: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"content-type: application/json" in head
    error = json.loads(body)["error"]
    assert error["code"] == "invalid_request" and why in error["message"].lower()
    await closed(writer)


# --- how an answer leaves ------------------------------------------------------------------------


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """/slow says how it begins, and what it says only when it is let."""
    if scope["type"] == "lifespan" or scope["path"] != "/slow":
        await echo(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.sleep(0.2)
    await send({"type": "http.response.body", "body": b"late"})


async def pieces_of(port: int, request: bytes, until: bytes) -> list[bytes]:
    """What came at a time, up to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        found = [await reader.read(65_536)]
        while until not in b"".join(found):
            found.append(await reader.read(65_536))
        return found
    finally:
        await closed(writer)


async def test_an_answer_that_is_ready_leaves_in_one_piece(port: int) -> None:
    for _ in range(20):
        pieces = await pieces_of(port, b"GET /it HTTP/1.1\r\nHost: x\r\n\r\n", b"}")
        assert len(pieces) == 1


async def test_the_head_does_not_wait_for_a_body_that_is_not_there() -> None:
    async with InProcessServer(slow).running(1.0) as server:
        pieces = await pieces_of(
            server.bound_port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", b"0\r\n\r\n"
        )
        assert pieces[0].endswith(b"\r\n\r\n")
        assert b"late" not in pieces[0]


async def test_a_head_without_a_body_leaves_too(port: int) -> None:
    for _ in range(20):
        pieces = await pieces_of(port, b"HEAD /it HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n\r\n")
        assert len(pieces) == 1


def test_answers_that_are_late_for_a_closed_connection_reach_nobody() -> None:
    """On the loop that serves, which raises where the other is silent about what is closed."""
    wrong: list[object] = []

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await asyncio.sleep(0.1)
        try:
            await echo(scope, receive, send)
        except RuntimeError as error:
            wrong.append(error)

    async def cut_short() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: wrong.append(told))
        async with InProcessServer(late).running(1.0) as server:
            requests = 2 * b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"
            assert (await talk(server.bound_port, requests + b"none\r\n\r\n", answers=1))[0][
                0
            ] == 400
            await asyncio.sleep(0.3)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(cut_short())
    assert wrong == []


async def came(scope: Scope, receive: Receive, send: Send) -> None:
    """The body as far as the server has it at once, or what was received then."""
    if scope["type"] == "lifespan":
        await echo(scope, receive, send)
        return
    at_once = scope["extensions"]["body.came"]["body"](100)
    body, how = (at_once, "at once") if at_once is not None else (b"", "received")
    while at_once is None and (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    answer = json.dumps({"body": body.decode(), "how": how}).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def test_a_body_that_is_here_already_need_not_be_waited_for() -> None:
    def post(body: bytes) -> bytes:
        return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    whole, long = post(b"abcdef"), post(b"x" * 101)
    async with InProcessServer(came).running(1.0) as server:
        port = server.bound_port
        assert (await talk(port, whole + whole, answers=2))[1][1]["body"] == "abcdef"
        expected = {"body": "abcdef", "how": "at once"}
        assert [told for _, told in await talk(port, whole, whole, answers=2)] == [expected] * 2
        [(_, told)] = await talk(port, whole[:-3], whole[-3:], answers=1)
        assert told == {"body": "abcdef", "how": "received"}
        [(_, told)] = await talk(port, long, answers=1)
        assert told == {"body": "x" * 101, "how": "received"}


HEADERS = {
    "ordinary": [(b"Content-Type", b"text/plain"), (b"content-length", b"2"), (b"x-a", b"b\t c")],
    "no length": [(b"x-a", b"b")],
    "it closes": [(b"content-length", b"2"), (b"connection", b"close")],
    "doubled": [(b"content-length", b"2"), (b"content-length", b"2")],
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=list(HEADERS))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_head_in_one_piece_is_the_same(
    monkeypatch: pytest.MonkeyPatch, headers: list[tuple[bytes, bytes]], method: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await echo(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def said() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
        writer.write(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        body = b"" if method == "HEAD" else await asyncio.wait_for(reader.read(2), 5)
        await closed(writer)
        return re.sub(rb"date: [^\r]*", b"date", head) + body

    async with InProcessServer(app).running(1.0) as server:
        quick = await said()
        monkeypatch.setattr("gateway.http_protocol._Cycle._ordinary_head", lambda *_: None)
        assert await said() == quick


@pytest.mark.parametrize("header", [(b"x a", b"b"), (b"x-a", b"b\r\nset-cookie: c")])
async def test_a_header_that_is_none_is_never_sent(header: tuple[bytes, bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await echo(scope, receive, send)
            return
        headers = [(b"content-length", b"0"), header]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async with InProcessServer(app).running(1.0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.bound_port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        await closed(writer)
    assert b"set-cookie" not in answer and b"x a" not in answer
