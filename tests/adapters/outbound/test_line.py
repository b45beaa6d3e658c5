"""The way to a vendor: what is on the wire, what is bounded, when a request has left."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address

import pytest
from raw_server import Line, RawServer, Received, Serve

from gateway.adapters.outbound.dialing import HEAD_START_SECONDS, first_through
from gateway.adapters.outbound.line import HttpLine
from gateway.core.addresses import Address
from gateway.ports.calls import Call, CallBroken, LineBounds

NAME = "api.example.com"
HEADERS = {"Authorization": "Bearer sk-key", "User-Agent": "test", "Accept": "application/json"}

Certify = Callable[[str], ssl.SSLContext]


def call(server: RawServer, *, host: str = NAME, max_bytes: int = 1000) -> Call:
    url = server.url("/a%2Fb", host=host)
    return Call("POST", url, {**HEADERS, "Content-Type": "a/b"}, 2.0, max_bytes, b"{}")


def line(
    trust: ssl.SSLContext, *answers: str, kept_seconds: float | None = None, most: int = 10
) -> HttpLine:
    async def look_up(name: str, port: int, *, team: str = "") -> Sequence[Address]:
        if not answers:
            await asyncio.Event().wait()
        return [ip_address(text) for text in answers]

    return HttpLine(look_up, LineBounds(most, 0.3, kept_seconds), tls=trust)


async def hello(_: Received, way: Line) -> None:
    await way.answer(b"hello", "Set-Cookie: a=b; Path=/")


async def test_on_the_wire_is_what_was_asked_for_and_nothing_of_the_library(
    serve: Serve, certify: Certify, trust: ssl.SSLContext
) -> None:
    server, one = await serve(hello, tls=certify(NAME)), line(trust, "127.0.0.9", "127.0.0.1")
    for _ in range(2):
        answer = await one.ask(call(server))
        assert (answer.status, answer.body) == (200, b"hello")
    await one.aclose()
    assert server.connections == 2
    for request in server.requests:
        assert request.target == "/a%2Fb"
        assert request.headers == {
            "host": f"{NAME}:{server.port}",
            "authorization": "Bearer sk-key",
            "user-agent": "test",
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "connection": "keep-alive",
            "content-type": "a/b",
            "content-length": "2",
        }


async def test_a_body_is_unpacked_and_bounded(serve: Serve, trust: ssl.SSLContext) -> None:
    async def packed(_: Received, way: Line) -> None:
        await way.answer(gzip.compress(b"x" * 1000), "Content-Encoding: gzip")

    server, one = await serve(packed), line(trust, "127.0.0.1")
    assert (await one.ask(call(server))).body == b"x" * 1000
    assert (await one.ask(call(server, max_bytes=999))).body is None
    await one.aclose()


def without_its_checksum(packed: bytes, tail: int) -> bytes:
    return packed[:-tail] + bytes(tail)


PACKED = {
    "in parts": (gzip.compress(b"he") + gzip.compress(b"") + gzip.compress(b"llo"), "gzip"),
    "padded": (gzip.compress(b"hello") + bytes(9), "gzip"),
    "under a wrong checksum": (without_its_checksum(gzip.compress(b"hello"), 8), "gzip"),
    "zlib": (zlib.compress(b"hello"), "deflate"),
    "zlib under a wrong checksum": (without_its_checksum(zlib.compress(b"hello"), 4), "deflate"),
    "deflate without a head": (zlib.compress(b"hello")[2:-4], "deflate"),
    "twice": (gzip.compress(gzip.compress(b"hello")), "gzip, gzip"),
    "among nothing": (gzip.compress(b"hello"), ", identity, GZIP,"),
    "not at all": (b"hello", "gzip"),
    "by too many": (b"hello", "gzip, gzip, gzip, gzip"),
    "by nobody": (b"hello", "unheard-of"),
}


@pytest.mark.parametrize(("packed", "coding"), PACKED.values(), ids=PACKED)
async def test_whatever_can_be_unpacked_is(
    serve: Serve, trust: ssl.SSLContext, packed: bytes, coding: str
) -> None:
    async def handler(_: Received, way: Line) -> None:
        await way.answer(packed, "Content-Encoding: identity", f"Content-Encoding: {coding}")

    server, one = await serve(handler), line(trust, "127.0.0.1")
    assert (await one.ask(call(server))).body == b"hello"
    await one.aclose()


async def test_a_body_of_tiny_chunks_is_read_in_time_that_grows_with_it(
    serve: Serve, trust: ssl.SSLContext
) -> None:
    async def crumbs(_: Received, way: Line) -> None:
        await way.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(30):
            await way.send(b"1\r\nx\r\n" * 10_000)
        await way.send(b"0\r\n\r\n")

    server, one = await serve(crumbs), line(trust, "127.0.0.1")
    asked = replace(call(server, max_bytes=300_000), seconds=20.0)
    assert (await one.ask(asked)).body == b"x" * 300_000
    await one.aclose()


async def test_framing_without_a_body_ends(serve: Serve, trust: ssl.SSLContext) -> None:
    async def much(_: Received, way: Line) -> None:
        await way.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
        while not way.client_gone.is_set():
            await way.send(b"x" * 100_000)

    server, one = await serve(much), line(trust, "127.0.0.1")
    with pytest.raises(CallBroken, match="no more of the body"):
        await one.ask(replace(call(server), seconds=20.0))
    await one.aclose()


async def test_who_speaks_before_he_is_asked_is_sent_nothing(trust: ssl.SSLContext) -> None:
    """As a balancer that has no room does; what an order would mean to it nobody knows."""
    heard: list[bytes] = []

    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            heard.append(await reader.read(100))

    server, one = await asyncio.start_server(busy, "127.0.0.1", 0), line(trust, "127.0.0.1")
    url = f"http://{NAME}:{server.sockets[0].getsockname()[1]}/"

    async def sure() -> None:
        await asyncio.sleep(0.1)

    with pytest.raises(CallBroken) as caught:
        await one.ask(Call("POST", url, HEADERS, 5.0, 1000, b"{}"), sure=sure)
    async with asyncio.timeout(5):
        while not heard:
            await asyncio.sleep(0.01)
    assert not caught.value.left and heard == [b""]
    server.close()
    await one.aclose()


async def test_who_is_silent_under_tls_has_as_long_as_a_connection(trust: ssl.SSLContext) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.read()

    server, one = await asyncio.start_server(silent, "127.0.0.1", 0), line(trust, "127.0.0.1")
    url = f"https://{NAME}:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises(CallBroken) as caught:
        async with asyncio.timeout(10):
            await one.ask(Call("POST", url, HEADERS, 30.0, 1000, b"{}"))
    assert not caught.value.left
    server.close()
    await one.aclose()


async def test_an_answer_before_all_was_sent_is_read(serve: Serve, trust: ssl.SSLContext) -> None:
    async def too_large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.read(100)
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            await asyncio.sleep(0.2)

    server = await asyncio.start_server(too_large, "127.0.0.1", 0)
    one = line(trust, "127.0.0.1", kept_seconds=20.0)
    url = f"http://{NAME}:{server.sockets[0].getsockname()[1]}/"
    for _ in range(2):  # over a connection each: nothing goes into the middle of a body
        answer = await one.ask(Call("POST", url, HEADERS, 5.0, 1000, b"x" * 20_000_000))
        assert (answer.status, answer.body) == (413, b"no")
    server.close()
    await one.aclose()


async def test_what_is_closed_sends_nothing_more_and_keeps_nothing(
    serve: Serve, trust: ssl.SSLContext
) -> None:
    async def slow(_: Received, way: Line) -> None:
        await way.client_gone.wait()

    server = await serve(slow)
    one = line(trust, "127.0.0.1", kept_seconds=20.0, most=1)
    under_way = [asyncio.create_task(one.ask(call(server))) for _ in range(3)]
    async with asyncio.timeout(5):
        while not server.requests:
            await asyncio.sleep(0.01)
        await one.aclose()
        ends = await asyncio.gather(*under_way, one.ask(call(server)), return_exceptions=True)
    assert [isinstance(end, CallBroken) and end.left for end in ends] == [True, *[False] * 3]
    assert len(server.requests) == 1 and server.client_gone.is_set()


async def test_of_several_connections_all_but_one_are_let_go() -> None:
    """Also those that come through when another one was chosen, or nobody waits any more."""
    addresses = [ip_address(f"127.0.0.{number}") for number in range(1, 4)]
    gates = {address: asyncio.Event() for address in addresses}
    let_go: list[Address] = []

    async def dial(address: Address) -> Address:
        with contextlib.suppress(asyncio.CancelledError):
            await gates[address].wait()
        return address

    dialling = asyncio.create_task(first_through(addresses, dial, let_go.append))
    await asyncio.sleep(HEAD_START_SECONDS * 1.5)
    gates[addresses[0]].set()
    assert await dialling == addresses[0]
    await asyncio.sleep(0)
    assert let_go == [addresses[1]]
    gates[addresses[0]].clear()
    dialling = asyncio.create_task(first_through(addresses, dial, let_go.append))
    await asyncio.sleep(HEAD_START_SECONDS * 1.5)
    dialling.cancel()
    await asyncio.gather(dialling, return_exceptions=True)
    await asyncio.sleep(0)
    assert let_go == [addresses[1], *addresses[:2]]


@pytest.mark.parametrize("url", ["http:///a", "http://[::1/", "http://a:b/", f"ftp://{NAME}/"])
async def test_what_is_no_url_leaves_nothing(trust: ssl.SSLContext, url: str) -> None:
    with pytest.raises(CallBroken) as caught:
        await line(trust, "127.0.0.1").ask(Call("GET", url, HEADERS, 1.0, 1000))
    assert not caught.value.left


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0b"])
async def test_a_header_is_one_line(trust: ssl.SSLContext, value: str) -> None:
    with pytest.raises(CallBroken) as caught:
        await line(trust, "127.0.0.1").ask(Call("GET", f"http://{NAME}/", {"A": value}, 1.0, 1000))
    assert not caught.value.left


async def test_a_redirect_is_an_answer(serve: Serve, trust: ssl.SSLContext) -> None:
    async def away(_: Received, way: Line) -> None:
        await way.redirect("/elsewhere")

    server, one = await serve(away), line(trust, "127.0.0.1")
    assert (await one.ask(call(server))).status == 302
    await one.aclose()
    assert len(server.requests) == 1


async def test_a_certificate_for_another_name_is_not_taken(
    serve: Serve, certify: Certify, trust: ssl.SSLContext
) -> None:
    server, one = await serve(hello, tls=certify("other.example.com")), line(trust, "127.0.0.1")
    with pytest.raises(CallBroken) as caught:
        await one.ask(call(server))
    await one.aclose()
    assert not caught.value.left and not server.requests


@pytest.mark.parametrize("answers", [(), ("127.0.0.8", "127.0.0.9")])
async def test_who_is_not_reached_was_sent_nothing(
    serve: Serve, trust: ssl.SSLContext, answers: tuple[str, ...]
) -> None:
    server, one = await serve(hello), line(trust, *answers)
    with pytest.raises(CallBroken) as caught:
        await one.ask(call(server))
    await one.aclose()
    assert not caught.value.left


async def test_what_breaks_off_behind_the_leave_had_left(
    serve: Serve, trust: ssl.SSLContext
) -> None:
    async def hang_up(_: Received, way: Line) -> None:
        way.reset()

    server, one, asked = await serve(hang_up), line(trust, "127.0.0.1"), []

    async def sure() -> None:
        asked.append(len(server.requests))

    with pytest.raises(CallBroken) as caught:
        await one.ask(call(server), sure=sure)
    await one.aclose()
    assert caught.value.left and asked == [0] and len(server.requests) == 1


async def test_what_came_over_a_connection_that_was_kept_answers_nobody(
    serve: Serve, trust: ssl.SSLContext
) -> None:
    class Babbling(RawServer):
        """Says everything twice, the second time when the answer has been read."""

        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError), closing(writer):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    body = head.split(" ")[1].encode()
                    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                    writer.write(said)
                    await asyncio.sleep(0.05)
                    writer.write(said)

    server, one = Babbling(hello), line(trust, "127.0.0.1", kept_seconds=20.0)
    await server.start()
    for path in ("/a", "/b", "/c"):
        asked = replace(call(server), method="GET", url=server.url(path, host=NAME), body=b"")
        assert (await one.ask(asked)).body == path.encode()
        await asyncio.sleep(0.15)
    await one.aclose()
    await server.stop()
