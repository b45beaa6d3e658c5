"""The way to hosts of links: what is dialled is judged, each link has a connection of its own, and
what came before a break is read."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address

import pytest
from raw_server import Line, RawServer, Received, Serve

from gateway.adapters.outbound.fetching import Fetcher, FetchFailed, FetchRefused
from gateway.adapters.outbound.judging import AddressRefused, Judge
from gateway.adapters.outbound.pinned import STRAIGHT, Way
from gateway.adapters.outbound.resolver import Lookups
from gateway.adapters.outbound.streaming import LinkLine
from gateway.core.addresses import Address
from gateway.ports.calls import CallBroken


class Names:
    """A resolver whose answers a test chooses; each look-up takes the next answer."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
        self.asked.append((name, team))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ip_address(text) for text in answer]


async def _target(request: Received, line: Line) -> None:
    await line.answer(request.target.encode())


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    server = RawServer(_target)
    await server.start()
    yield server
    await server.stop()


def fetcher(names: Names, way: Way = STRAIGHT) -> Fetcher:
    return Fetcher(allow_private=True, resolver=names, way=way)


async def read(one: Fetcher, url: str) -> bytes:
    async with one.stream(url, max_bytes=1000, timeout_seconds=5) as body:
        return b"".join([chunk async for chunk in body])


@pytest.fixture
async def strict(trust: ssl.SSLContext) -> LinkLine:
    judge = Judge(Lookups(), allow_private=False)
    return LinkLine(judge, Way(), tls=trust, stall_seconds=5)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "127.1", "0x7f.1", "017700000001", "localhost", "[::1]"]
)
async def test_whatever_the_library_reads_into_a_host_is_judged_before_it_is_dialled(
    server: RawServer, strict: LinkLine, host: str
) -> None:
    with pytest.raises((AddressRefused, CallBroken)):
        await strict.get(server.url(host=host), host=host, port=server.port, team="")
    assert server.connections == 0


async def test_a_name_with_any_refused_answer_is_not_dialled(server: RawServer) -> None:
    one = fetcher(Names(["127.0.0.1", "169.254.169.254"]))
    with pytest.raises(FetchRefused, match="metadata"):
        await read(one, server.url(host="files.example.com"))
    assert server.connections == 0


async def test_every_fresh_connection_is_judged_anew(server: RawServer) -> None:
    one = fetcher(Names(["127.0.0.1"], ["169.254.169.254"]), Way())
    url = server.url("/a", host="files.example.com")
    assert await read(one, url) == b"/a"
    with pytest.raises(FetchRefused, match="metadata"):
        await read(one, url)
    assert server.requests[0].headers["connection"] == "close"


async def test_what_a_host_says_once_too_often_is_nobody_elses_picture(serve: Serve) -> None:
    """It says keep-alive, and all again: each link has its own answer."""

    async def twice(request: Received, line: Line) -> None:
        for _ in range(2):
            await line.answer(request.target.encode(), "Connection: keep-alive")

    server, one = await serve(twice), fetcher(Names(["127.0.0.1"]))
    for path in ("/a", "/b", "/c"):
        assert await read(one, server.url(path, host="files.example.com")) == path.encode()
        await asyncio.sleep(0.05)
    assert server.connections == 3


async def test_names_are_looked_up_on_behalf_of_the_team(server: RawServer) -> None:
    names = Names(["127.0.0.1"])
    one = fetcher(names, Way())
    teams = ["", "red", "blue"]
    await asyncio.gather(
        *(read(one.on_behalf_of(t), server.url(host="files.example.com.")) for t in teams)
    )
    assert sorted(names.asked) == sorted(("files.example.com", team) for team in teams)


async def test_what_came_before_a_break_is_read_however_late_the_reader_comes(
    serve: Serve,
) -> None:
    """A picture that is whole under a length that is wrong is worth what was paid for it."""

    async def cut(request: Received, line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"x" * 500)

    server, one, came = await serve(cut), fetcher(Names(["127.0.0.1"])), b""
    with pytest.raises(FetchFailed, match="hung up"):
        async with one.stream(
            server.url(host="files.example.com"), max_bytes=1000, timeout_seconds=5
        ) as body:
            await asyncio.sleep(0.1)  # the break has come, too
            async for chunk in body:
                came += chunk
    assert came == b"x" * 500


async def test_a_failure_names_no_more_than_the_host(serve: Serve) -> None:
    async def nonsense(request: Received, line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n")

    server, one = await serve(nonsense), fetcher(Names(["127.0.0.1"]))
    with pytest.raises(FetchFailed) as failed:
        await read(one, server.url("/a?signature=secret", host="files.example.com"))
    assert "secret" not in str(failed.value) and "files.example.com" in str(failed.value)


async def test_the_time_ends_also_for_who_takes_more_slowly_than_it_comes(serve: Serve) -> None:
    """What is here already is taken until then; what is all here, also later."""

    async def more_and_more(request: Received, line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 500)
        for _ in range(100):
            await line.send(b"x" * 500)
            await asyncio.sleep(0.02)

    server, came = await serve(more_and_more), 0
    one = Fetcher(allow_private=True, resolver=Names(["127.0.0.1"]), stall_seconds=5)
    began = time.monotonic()
    with pytest.raises(FetchFailed, match="too slow"):
        async with one.stream(
            server.url(host="files.example.com"), max_bytes=10**7, timeout_seconds=0.5
        ) as body:
            async for chunk in body:
                came += len(chunk)
                await asyncio.sleep(0.1)
    assert came and time.monotonic() - began < 1.5
