"""Fetching what is behind a link: bounded, re-checked at each redirect, with typed failures."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address

import pytest
from raw_server import Handler, Line, Received, Serve

from gateway.adapters.outbound.fetching import (
    Fetcher,
    FetchFailed,
    FetchGone,
    FetchRefused,
    FetchTooLarge,
)
from gateway.core.addresses import Address
from gateway.core.picture_errors import LinkBroken, LinkDead, PictureProblem, PictureTooLarge

ADDRESSES = {"metadata.example.com": "169.254.169.254"}


async def resolver(name: str, port: int, *, team: str = "") -> Sequence[Address]:
    """Every name lives on loopback, but for one that leads inside."""
    return [ip_address(ADDRESSES.get(name, "127.0.0.1"))]


@pytest.fixture
async def fetcher() -> Fetcher:
    return Fetcher(allow_private=True, resolver=resolver, stall_seconds=5.0)


@pytest.fixture
async def impatient() -> Fetcher:
    return Fetcher(allow_private=True, resolver=resolver, stall_seconds=0.15)


async def read(
    fetcher: Fetcher, url: str, *, max_bytes: int = 10**6, timeout_seconds: float = 10.0
) -> bytes:
    async with fetcher.stream(url, max_bytes=max_bytes, timeout_seconds=timeout_seconds) as body:
        return b"".join([chunk async for chunk in body])


def always(data: bytes) -> Handler:
    async def handler(request: Received, line: Line) -> None:
        await line.send(data)

    return handler


def status(code: int) -> Handler:
    async def handler(request: Received, line: Line) -> None:
        await line.answer(b"<html>no</html>", status=code)

    return handler


def redirecting(target: Callable[[int], str], times: int, code: int = 302) -> Handler:
    """Redirects `times` times to what `target` says of the number of the hop, then answers."""

    async def handler(request: Received, line: Line) -> None:
        hop = int(request.target.rpartition("/")[2])
        if hop < times:
            await line.redirect(target(hop + 1), code)
        else:
            await line.answer(b"arrived")

    return handler


# --- what is sent and what comes back ----------------------------------------------------------


async def test_the_body_comes_in_chunks_with_what_the_server_says_about_it(
    serve: Serve, fetcher: Fetcher
) -> None:
    picture = bytes(range(256)) * 2000

    async def handler(request: Received, line: Line) -> None:
        await line.answer(picture, "Content-Type: Image/PNG; charset=binary")

    server = await serve(handler)
    url = server.url("/a/b.png?sig=1#part", host="files.example.com")
    async with fetcher.stream(url, max_bytes=len(picture), timeout_seconds=10) as body:
        assert body.media_type == "image/png"
        assert body.content_length == len(picture)
        chunks = [chunk async for chunk in body]
    assert b"".join(chunks) == picture
    assert max(len(chunk) for chunk in chunks) <= 128 * 1024
    [request] = server.requests
    assert request.target == "/a/b.png?sig=1"
    assert request.headers["user-agent"].startswith("image-gateway/")
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["host"] == f"files.example.com:{server.port}"
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers


async def test_a_chunked_body_has_no_promised_length(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(
        always(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
    )
    async with fetcher.stream(server.url(), max_bytes=5, timeout_seconds=10) as body:
        assert body.content_length is None
        assert body.media_type == ""
        assert b"".join([chunk async for chunk in body]) == b"abcde"


async def test_a_body_that_ends_with_the_connection_is_whole(
    serve: Serve, fetcher: Fetcher
) -> None:
    server = await serve(always(b"HTTP/1.0 200 OK\r\n\r\nabc"))
    assert await read(fetcher, server.url()) == b"abc"


async def test_https_is_checked_against_the_name(
    serve: Serve, certify: Callable[[str], ssl.SSLContext], trust: ssl.SSLContext
) -> None:
    server = await serve(status(200), tls=certify("files.example.com"))
    fetcher = Fetcher(allow_private=True, resolver=resolver, verify=trust)
    assert await read(fetcher, server.url(host="files.example.com")) == b"<html>no</html>"
    with pytest.raises(FetchFailed, match="certificate") as failed:
        await read(fetcher, server.url(host="other.example.com"))
    assert failed.value.transient


# --- statuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [404, 410])
async def test_a_link_that_is_gone_says_so(serve: Serve, fetcher: Fetcher, code: int) -> None:
    server = await serve(status(code))
    with pytest.raises(FetchGone, match=str(code)) as gone:
        await read(fetcher, server.url())
    assert gone.value.status == code
    assert isinstance(gone.value, LinkDead)


@pytest.mark.parametrize(
    "head",
    [
        b"201 Created",
        b"203 Non-Authoritative Information",
        b"206 Partial Content",
        b"206 Partial Content\r\nContent-Range: bytes 0-2/3",
    ],
)
async def test_a_body_is_one_under_whatever_good_status(
    serve: Serve, fetcher: Fetcher, head: bytes
) -> None:
    server = await serve(always(b"HTTP/1.1 " + head + b"\r\nContent-Length: 3\r\n\r\nabc"))
    assert await read(fetcher, server.url()) == b"abc"


@pytest.mark.parametrize("told", [b"bytes 0-2/9", b"bytes 6-8/9"])
async def test_a_part_is_not_the_body(serve: Serve, fetcher: Fetcher, told: bytes) -> None:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: " + told
    server = await serve(always(head + b"\r\nContent-Length: 3\r\n\r\nabc"))
    with pytest.raises(FetchFailed, match="206"):
        await read(fetcher, server.url())


@pytest.mark.parametrize(
    ("code", "transient"),
    [
        (400, False),
        (401, False),
        (403, True),
        (408, True),
        (425, True),
        (429, True),
        (451, False),
        (500, True),
        (502, True),
        (503, True),
        (504, True),
        (202, False),
        (204, False),
        (302, False),
        (304, False),
    ],
)
async def test_any_other_status_is_a_failure_that_knows_whether_to_retry(
    serve: Serve, fetcher: Fetcher, code: int, transient: bool
) -> None:
    head = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code
    server = await serve(always(head))
    with pytest.raises(FetchFailed, match=str(code)) as failed:
        await read(fetcher, server.url())
    assert (failed.value.status, failed.value.transient) == (code, transient)
    assert isinstance(failed.value, LinkBroken)


@pytest.mark.parametrize("coding", ["gzip", "aws-chunked", "UTF-8", "", "br, gzip", "deflate"])
async def test_a_body_comes_as_it_was_sent_whatever_its_coding_is_called(
    serve: Serve, fetcher: Fetcher, coding: str
) -> None:
    async def handler(request: Received, line: Line) -> None:
        await line.answer(b"\x1f\x8b bytes", f"Content-Encoding: {coding}")

    server = await serve(handler)
    assert await read(fetcher, server.url()) == b"\x1f\x8b bytes"


# --- sizes -------------------------------------------------------------------------------------


async def test_a_promised_length_over_the_limit_is_refused_before_the_body(
    serve: Serve, fetcher: Fetcher
) -> None:
    server = await serve(always(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"))
    with pytest.raises(FetchTooLarge, match="more than 1000 bytes") as problem:
        await read(fetcher, server.url(), max_bytes=1000)
    assert isinstance(problem.value, PictureTooLarge)


async def test_an_endless_body_is_cut_at_the_limit(serve: Serve, fetcher: Fetcher) -> None:
    async def endless(request: Received, line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await line.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    server = await serve(endless)
    received = 0
    with pytest.raises(FetchTooLarge):
        async with fetcher.stream(server.url(), max_bytes=10**6, timeout_seconds=10) as body:
            async for chunk in body:
                received += len(chunk)
    assert received <= 10**6
    await asyncio.wait_for(server.client_gone.wait(), 5)


# --- lines that break or hang ------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x00\xa5garbage",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_a_broken_answer_is_a_transient_failure(
    serve: Serve, fetcher: Fetcher, reply: bytes
) -> None:
    server = await serve(always(reply))
    with pytest.raises(FetchFailed) as failed:
        await read(fetcher, server.url())
    assert failed.value.transient


async def test_a_reset_in_the_middle_is_a_transient_failure(serve: Serve, fetcher: Fetcher) -> None:
    async def handler(request: Received, line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        line.reset()

    server = await serve(handler)
    with pytest.raises(FetchFailed) as failed:
        await read(fetcher, server.url())
    assert failed.value.transient
    assert failed.value.status is None


async def test_a_server_that_is_down_is_a_transient_failure(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(status(200))
    await server.stop()
    with pytest.raises(FetchFailed, match="ConnectionRefusedError") as failed:
        await read(fetcher, server.url())
    assert failed.value.transient


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"]
)
async def test_a_server_that_hangs_is_left_after_the_stall_time(
    serve: Serve, impatient: Fetcher, start: bytes
) -> None:
    async def hang(request: Received, line: Line) -> None:
        await line.send(start)
        await asyncio.Event().wait()

    server = await serve(hang)
    with pytest.raises(FetchFailed) as failed:
        await read(impatient, server.url(), timeout_seconds=60)
    assert failed.value.transient
    await asyncio.wait_for(server.client_gone.wait(), 5)


async def test_framing_without_any_byte_of_the_body_counts_as_a_stall(
    serve: Serve, impatient: Fetcher
) -> None:
    async def trickle(request: Received, line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
        while not line.client_gone.is_set():
            await line.send(b"x")
            await asyncio.sleep(0.02)

    server = await serve(trickle)
    with pytest.raises(FetchFailed, match="too slow"):
        await read(impatient, server.url(), timeout_seconds=60)


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
async def test_a_server_that_trickles_is_left_after_the_total_time(
    serve: Serve, fetcher: Fetcher, start: bytes
) -> None:
    async def trickle(request: Received, line: Line) -> None:
        await line.send(start)
        while not line.client_gone.is_set():
            await line.send(b"x")
            await asyncio.sleep(0.02)

    server = await serve(trickle)
    with pytest.raises(FetchFailed, match="too slow") as failed:
        await read(fetcher, server.url(), timeout_seconds=0.3)
    assert failed.value.transient


async def test_the_total_time_covers_every_redirect(serve: Serve, fetcher: Fetcher) -> None:
    async def slow_hops(request: Received, line: Line) -> None:
        await asyncio.sleep(0.15)
        await line.redirect("/again")

    server = await serve(slow_hops)
    with pytest.raises(FetchFailed, match="too slow"):
        await read(fetcher, server.url(), timeout_seconds=0.35)
    assert len(server.requests) < 4


# --- redirects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(serve: Serve, fetcher: Fetcher, code: int) -> None:
    server = await serve(redirecting(lambda hop: f"../x/{hop}", times=2, code=code))
    assert await read(fetcher, server.url("/a/0")) == b"arrived"
    assert [request.target for request in server.requests] == ["/a/0", "/x/1", "/x/2"]


async def test_five_redirects_are_followed_and_six_are_not(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(redirecting(lambda hop: f"/{hop}", times=5))
    assert await read(fetcher, server.url("/0")) == b"arrived"
    server = await serve(redirecting(lambda hop: f"/{hop}", times=6))
    with pytest.raises(FetchRefused, match="more than 5 redirects"):
        await read(fetcher, server.url("/0"))


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:127.0.0.1]/",
        "http://0xa9fea9fe/",
        "//169.254.169.254/",
        "http://metadata.example.com/",
        "http://user:secret@files.example.com/",
        "file:///etc/passwd",
        "ftp://files.example.com/x.png",
        "gopher://files.example.com/",
        "http://[::1",
        "http://files.example.com:99999/",
        "http://files.example.com\\@evil.example.com/",
    ],
)
async def test_a_redirect_that_breaks_the_rules_is_refused(
    serve: Serve, fetcher: Fetcher, location: str
) -> None:
    async def handler(request: Received, line: Line) -> None:
        await line.redirect(location)

    server = await serve(handler)
    with pytest.raises(FetchRefused) as refused:
        await read(fetcher, server.url(host="files.example.com"))
    assert isinstance(refused.value, LinkDead)
    assert len(server.requests) == 1


async def test_a_redirect_from_https_to_http_is_refused(
    serve: Serve, certify: Callable[[str], ssl.SSLContext], trust: ssl.SSLContext
) -> None:
    plain = await serve(status(200))

    async def handler(request: Received, line: Line) -> None:
        await line.redirect(plain.url(host="files.example.com"))

    server = await serve(handler, tls=certify("files.example.com"))
    fetcher = Fetcher(allow_private=True, resolver=resolver, verify=trust)
    with pytest.raises(FetchRefused, match="from https to http"):
        await read(fetcher, server.url(host="files.example.com"))
    assert plain.connections == 0


# --- the first link ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "files.example.com", "2130706433", "[::1]"]
)
async def test_by_default_nothing_internal_is_reached(serve: Serve, host: str) -> None:
    server = await serve(status(200))
    fetcher = Fetcher(resolver=resolver)
    with pytest.raises(FetchRefused):
        await read(fetcher, server.url(host=host))
    assert server.connections == 0


@pytest.mark.parametrize("url", ["", "x.png", "ftp://example.com/x", "http://a b/", "http://x:0/"])
async def test_a_link_that_is_none_is_refused(fetcher: Fetcher, url: str) -> None:
    with pytest.raises(FetchRefused):
        await read(fetcher, url)


async def test_no_message_shows_more_of_a_link_than_its_host(
    serve: Serve, fetcher: Fetcher
) -> None:
    async def handler(request: Received, line: Line) -> None:
        match request.target.partition("?")[0]:
            case "/gone":
                await line.answer(b"", status=404)
            case "/broken":
                await line.send(b"nonsense")
            case "/huge":
                await line.answer(b"x" * 20)
            case "/inside":
                await line.redirect("http://169.254.169.254/?signature=secret")

    server = await serve(handler)
    for path in ("/gone", "/broken", "/huge", "/inside"):
        with pytest.raises(PictureProblem) as problem:
            await read(fetcher, server.url(f"{path}?signature=secret"), max_bytes=10)
        assert "secret" not in str(problem.value)


# --- leaving early -----------------------------------------------------------------------------


async def endless_picture(request: Received, line: Line) -> None:
    await line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc")
    await line.client_gone.wait()


async def test_leaving_the_block_early_hangs_up(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(endless_picture)
    async with fetcher.stream(server.url(), max_bytes=10**6, timeout_seconds=10) as body:
        assert await anext(body) == b"abc"
    await asyncio.wait_for(server.client_gone.wait(), 5)


async def test_an_error_of_the_reader_comes_out_unchanged(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(endless_picture)
    with pytest.raises(ZeroDivisionError):
        async with fetcher.stream(server.url(), max_bytes=10**6, timeout_seconds=10):
            raise ZeroDivisionError
    await asyncio.wait_for(server.client_gone.wait(), 5)


@pytest.mark.parametrize("code", [302, 404, 503])
async def test_a_body_that_nobody_wants_costs_no_slot(
    serve: Serve, fetcher: Fetcher, code: int
) -> None:
    async def unfinished(request: Received, line: Line) -> None:
        if request.target == "/whole":
            await line.answer(b"whole")
        else:
            head = f"HTTP/1.1 {code} X\r\nLocation: ftp://x/\r\nContent-Length: 9\r\n\r\n"
            await line.send(head.encode() + b"half")
            await line.client_gone.wait()

    server = await serve(unfinished)
    for _ in range(110):
        with pytest.raises((FetchRefused, FetchGone, FetchFailed)):
            await read(fetcher, server.url("/half"))
    assert await read(fetcher, server.url("/whole")) == b"whole"


async def test_hundreds_of_cancelled_fetches_cost_no_slot(serve: Serve, fetcher: Fetcher) -> None:
    async def half(request: Received, line: Line) -> None:
        if request.target == "/whole":
            await line.answer(b"whole")
        else:
            await endless_picture(request, line)

    server = await serve(half)
    for delay_steps in range(12):
        tasks = [asyncio.create_task(read(fetcher, server.url("/half"))) for _ in range(20)]
        for _ in range(delay_steps * 3):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    tasks = [asyncio.create_task(read(fetcher, server.url("/whole"))) for _ in range(110)]
    assert await asyncio.gather(*tasks) == [b"whole"] * 110
