"""Clients that drip, flood, disappear and write what no client should."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from house import TEAM_KEY, House

from gateway import http_protocol

AUTH = f"Authorization: Bearer {TEAM_KEY}"


def post(body: bytes, *headers: str) -> bytes:
    head = ["POST /v1/images/generations HTTP/1.1", "Host: x", AUTH, *headers]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


def order(prompt: str) -> bytes:
    return json.dumps({"model": "gpt-image-1.5", "prompt": prompt}).encode()


async def connected(one: House) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", one.http.bound_port)


async def is_cut(reader: asyncio.StreamReader, seconds: float = 5) -> bool:
    """Whether the gateway ends the connection by itself."""
    try:
        async with asyncio.timeout(seconds):
            while await reader.read(65_536):
                pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


async def status(one: House, request: bytes) -> int:
    reader, writer = await connected(one)
    writer.write(request)
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return int(line.split()[1])


@pytest.mark.parametrize("endless", [b"x" * 65_536, b"A: b\r\n" * 10_000])
@pytest.mark.parametrize(
    "start",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ",
        b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: ",
    ],
)
async def test_headers_without_end_are_cut(a_house: House, start: bytes, endless: bytes) -> None:
    reader, writer = await connected(a_house)
    writer.write(start)
    sent = 0
    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            writer.write(endless)
            await writer.drain()
            sent += len(endless)
    assert sent < 200 * len(endless)
    assert await is_cut(reader)
    assert (await a_house.client.get("/healthz")).status_code == 200


async def test_more_requests_in_a_packet_than_anybody_waits_for_are_cut(a_house: House) -> None:
    """None of them is answered before the first, and each is held meanwhile."""
    reader, writer = await connected(a_house)
    first = post(order("first"))
    writer.write(first + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
    assert await is_cut(reader)
    writer.close()
    assert (await a_house.client.get("/healthz")).status_code == 200


async def test_a_large_head_is_still_taken(a_house: House) -> None:
    assert await status(a_house, post(order("fat"), "X: " + "x" * 60_000)) == 200


@pytest.mark.parametrize(
    "begin", [b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost", post(order("x"))[:-3]]
)
async def test_dripping_clients_are_cut(
    a_house: House, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.3)
    reader, writer = await connected(a_house)
    writer.write(begin)
    assert await is_cut(reader)
    writer.close()
    assert a_house.sandbox.state.submits == 0


async def test_kept_connections_are_not_cut(
    a_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bounds are for requests on their way, not for connections that rest or are answered."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.2)
    reader, writer = await connected(a_house)
    for prompt in ("one [sandbox:hang=0.5]", "two"):
        writer.write(post(order(prompt)))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert head.startswith(b"HTTP/1.1 ") and await reader.readexactly(size)
        await asyncio.sleep(0.3)
    writer.close()


@pytest.mark.parametrize("word", ["", "[sandbox:delay=0.3]"])
async def test_an_order_survives_its_client(a_house: House, word: str) -> None:
    prompt = f"orphan {word}"
    _, writer = await connected(a_house)
    writer.write(post(order(prompt)))
    await writer.drain()
    writer.transport.abort()
    async with asyncio.timeout(10):
        while not a_house.sandbox.state.submits:
            await asyncio.sleep(0.01)
    again = await a_house.post(prompt)
    assert again.status_code == 200
    assert "stored" not in again.headers["cache-status"]
    assert (await a_house.ended(again.json()["id"]))["status"] == "completed"
    assert a_house.sandbox.state.submits == 1


ODD = {
    400: [
        post(b'{"model":"gpt-image-1.5","prompt":"\\ud800"}'),
        post(b'{"model":"gpt-image-1.5","prompt":"\\u0000"}'),
        post(b'{"model":"gpt-image-1.5","prompt":"a","\\u0000":[[]]}'),
        post(b'{"model":"gpt-image-1.5","prompt":"\xff"}'),
        post(b'{"model":"gpt-image-1.5","prompt":"a","n":1,"n":99}'),
        post(b'{"model":"gpt-image-1.5","prompt":"a","seed":1e400}'),
        post(b"[" * 1_000_000),
        post(b'{"model":{"a":1},"prompt":"a"}'),
        post(b""),
        f"GET /v1/tasks/%ff%00 HTTP/1.1\r\nHost: x\r\n{AUTH}\r\n\r\n".encode(),
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
    401: [
        b"GET /v1/tasks/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xe9\r\n\r\n",
        b"GET /v1/tasks/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n\r\n",
        f"GET /v1/tasks/x HTTP/1.1\r\nAuthorization: Bearer no\r\n{AUTH}\r\n\r\n".encode(),
    ],
    404: [
        b"GET /nope HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET //[/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /pictures/..%2fledger.sqlite3 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /pictures/%00.png HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /v1/tasks/task-unified-%2f..%2fx HTTP/1.1\r\nHost: x\r\n{AUTH}\r\n\r\n".encode(),
        f"GET /v1/tasks/task-unified-%00%ff HTTP/1.1\r\nHost: x\r\n{AUTH}\r\n\r\n".encode(),
    ],
    405: [
        b"TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS /v1/images/generations HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    200: [
        post(b'\xef\xbb\xbf{"model":"gpt-image-1.5","prompt":"a"}'),
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        post(b'{"model":"gpt-image-1.5","prompt":"a","n":99,"n":1}'),
        post(b'{"model":"gpt-image-1.5","prompt":"\\u001b[31m\\u202e"}'),
        post(order("cc"), 'Cache-Control: max-age="999999999999999999999999", ,;;=,x="\\'),
    ],
}


async def test_odd_requests_are_answered_and_never_500(
    a_house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    for expected, requests in ODD.items():
        for request in requests:
            assert await status(a_house, request) == expected, request[:200]
    assert "Traceback" not in "".join(capsys.readouterr())
    await a_house.settled()
    assert await a_house.violations() == []


async def test_a_request_id_is_taken_only_when_it_is_one(a_house: House) -> None:
    for given, kept in {"abc-1": True, "a" * 129: False, "a<b>": False, "a b": False}.items():
        answer = await a_house.client.get("/healthz", headers={"X-Request-Id": given})
        assert (answer.headers["x-request-id"] == given) is kept
