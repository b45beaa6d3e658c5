"""An upstream that lies in every detail of HTTP and of its task objects."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from house import ORGANISATION_KEY, PRICE_USD, House
from house import settings_text as house_settings
from PIL import Image

from gateway.config import parse
from gateway.serving import InProcessServer
from gateway.wiring import Gateway

SPEND = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
HELD = 'gateway_budget_held_usd{team="blue",window="day"}'


def png(colour: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(file, "PNG")
    return file.getvalue()


def bomb() -> bytes:
    """A PNG that says 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_of_both = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum_of_both)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    )


def answer(body: object, *headers: str, status: int = 200, length: int | None = None) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(data) if length is None else length
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {size}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + data


Reply = Callable[[int], bytes]
"""How often it was asked for this before, beginning with 1, to the bytes on the wire."""


class Liar:
    """An upstream whose answers are bytes that a test chooses."""

    def __init__(self) -> None:
        self.submit: Reply = lambda _: answer(self.task())
        self.poll: Reply = lambda _: answer(self.completed("/p.png"))
        self.link: Reply = lambda _: answer(png())
        self.asked = {"submit": 0, "poll": 0, "link": 0}
        self.heads: list[str] = []

    def task(self, **more: Any) -> dict[str, Any]:
        return {"id": f"task-upstream-number-{self.asked['submit']:06}", "status": "pending"} | more

    def completed(self, *paths: str, **more: Any) -> dict[str, Any]:
        links = [path if ":" in path else self.base_url + path for path in paths]
        return self.task(status="completed", progress=100, results=links, **more)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Liar]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            what = "submit" if head.startswith("POST") else "poll" if "/v1/tasks/" in head else ""
            what = what or "link"
            self.asked[what] += 1
            writer.write(getattr(self, what)(self.asked[what]))
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def deceived(folder: Path, deadline: str = "2s") -> AsyncIterator[tuple[House, Liar]]:
    """A gateway whose upstream is a liar."""
    async with Liar().serving() as liar, believing(liar, folder, deadline) as one:
        yield one, liar


@contextlib.asynccontextmanager
async def believing(liar: Liar, folder: Path, deadline: str) -> AsyncIterator[House]:
    """A gateway in front of this liar."""
    teams = {"blue": {"budgets": [{"usd": 100, "per": "day"}]}}
    models = {"gpt-image-1.5": {"deadline": deadline}}
    settings = parse(house_settings(liar.base_url, folder, teams=teams, models=models), {})
    gateway = Gateway(settings)
    await gateway.start()
    http = InProcessServer(gateway.app)
    await http.start()
    gateway.bound(http.bound_port)
    client = httpx.AsyncClient(base_url=http.base_url, timeout=10)
    one = House(gateway, http, client, None, folder, settings)  # type: ignore[arg-type]
    try:
        yield one
    finally:
        await one.stop()


async def test_a_lost_result_tells_nothing_of_our_inside(tmp_path: Path) -> None:
    async with deceived(tmp_path) as (one, liar):
        told = []
        for number, link in enumerate((answer(b"<html>"), answer(b"", status=404), answer(bomb()))):
            liar.link = lambda _, link=link: link  # type: ignore[misc]
            task = await one.made(f"lost {number}")
            assert task["error"]["code"] == "result_lost"
            told.append(task["error"]["message"])
        liar.poll = lambda _: answer(liar.completed("http://10.1.2.3/", "http://[::1"))
        told.append((await one.made("lost inside"))["error"]["message"])
        for message in told:
            for secret in (str(tmp_path), "127.0.0.1", "10.1.2.3", "object", "Error", "<", "Not"):
                assert secret not in message
        assert await one.violations() == []


async def test_our_key_in_their_words_reaches_nobody(tmp_path: Path) -> None:
    async with deceived(tmp_path) as (one, liar):
        error = {"code": "invalid_size", "message": f"{ORGANISATION_KEY} may not", "type": "x"}
        liar.submit = lambda _: answer({"error": error}, status=400)
        refused = await one.post("refused")
        assert refused.status_code == 400 and "may not" in refused.text
        liar.submit = lambda _: answer(liar.task(note=ORGANISATION_KEY))
        liar.poll = lambda _: answer(liar.task(status="failed", error=error))
        failed = await one.made("failed")
        assert failed["error"]["code"] == "invalid_size"
        assert ORGANISATION_KEY not in refused.text + json.dumps(failed)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or ORGANISATION_KEY.encode() not in path.read_bytes(), path


READABLE = {
    "HTTP/1.0": lambda task: answer(task).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "early hints": lambda task: b"HTTP/1.1 103 X\r\n\r\n" * 50 + answer(task),
    "created": lambda task: answer(task, status=201),
    "partial": lambda task: answer(task, status=206),
    "a cookie": lambda task: answer(task, "Set-Cookie: a=b; Path=/"),
    "gzip": lambda task: answer(gzip.compress(json.dumps(task).encode()), "Content-Encoding: gzip"),
    "deep": lambda task: answer({**task, "x": json.loads("[" * 200 + "]" * 200)}),
}
UNREADABLE = {
    "no content": lambda _: answer(b"", status=204),
    "cut": lambda task: answer(task, length=9_999),
    "too short": lambda task: answer(task, length=9),
    "negative": lambda task: answer(task, length=-5),
    "bad chunks": lambda _: b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nx\r\n",
    "a long header": lambda task: answer(task, "X: " + "x" * 200_000),
    "a bomb": lambda _: answer(gzip.compress(b"[" + bytes(50_000_000)), "Content-Encoding: gzip"),
    "too large": lambda task: answer({**task, "x": "x" * 3_000_000}),
    "too deep": lambda _: answer(b'{"id":"task-x","x":' + b"[" * 900 + b"]" * 900 + b"}"),
    "a number": lambda _: answer({"id": 7, "status": "pending"}),
    "not HTTP": lambda _: b"\x16\x03\x01\x00\x00",
    "an HTML 502": lambda _: answer(b"<html>", status=502),
}


async def test_every_answer_to_a_submit_is_accepted_or_in_doubt(tmp_path: Path) -> None:
    async with deceived(tmp_path) as (one, liar):
        for name, lie in {**READABLE, **UNREADABLE}.items():
            before = liar.asked["submit"]
            liar.submit = lambda _, lie=lie: lie(liar.task())  # type: ignore[misc]
            said = await one.post(name)
            assert said.status_code == (200 if name in READABLE else 504), (name, said.text)
            assert liar.asked["submit"] == before + 1
        await one.settled()
        shown = await one.metrics()
        assert round(shown[SPEND], 6) == round(PRICE_USD * (len(READABLE) + len(UNREADABLE)), 6)
        assert shown[HELD] == 0
        assert await one.violations() == []
        assert not any("cookie" in head.lower() for head in liar.heads)


async def test_redirects_and_patience_that_is_asked_for(tmp_path: Path) -> None:
    async with deceived(tmp_path, deadline="1s") as (one, liar):
        liar.submit = lambda _: answer(b"", f"Location: {liar.base_url}/thief", status=307)
        assert (await one.made("redirected"))["error"]["code"] == "service_unavailable"
        later = {"error": {"code": "busy", "message": "later"}}
        liar.submit = lambda _: answer(later, "Retry-After: 31536000", status=503)
        assert (await one.made("in a year"))["error"]["code"] == "service_unavailable"
        assert liar.asked["link"] == 0 and (await one.metrics())[SPEND] == 0


async def test_one_task_for_two_runs(tmp_path: Path) -> None:
    async with deceived(tmp_path) as (one, liar):
        liar.submit = lambda _: answer(liar.task(id="task-upstream-of-everyone"))
        first = await one.post("first")
        second = await one.post("second")
        assert (first.status_code, second.status_code) == (200, 504)
        assert (await one.ended(first.json()["id"]))["status"] == "completed"
        await one.settled()
        assert round((await one.metrics())[SPEND], 6) == 2 * PRICE_USD
        assert await one.violations() == []


@pytest.mark.parametrize("paths", [["/a.png"] * 3, [f"/{i}.png" for i in range(20)]])
async def test_more_links_than_pictures_asked_for(tmp_path: Path, paths: list[str]) -> None:
    async with deceived(tmp_path) as (one, liar):
        liar.poll = lambda _: answer(liar.completed(*paths))
        liar.link = lambda nth: answer(png(nth))
        task = await one.made("many")
        assert len(task["results"]) == len(paths)
        for link in task["results"]:
            assert (await one.client.get(link)).status_code == 200
        assert round((await one.metrics())[SPEND], 6) == PRICE_USD
        assert await one.violations() == []


async def test_polls_that_lie(tmp_path: Path) -> None:
    lies = [
        *(answer(b"", status=status) for status in (204, 304, 401, 403, 404, 418, 599)),
        answer({"status": "dreaming"}),
        answer({"status": 3}),
        answer(b'{"status":"completed","usage":{"credits_used":1e400}}'),
        answer(gzip.compress(b"[" + bytes(50_000_000)), "Content-Encoding: gzip"),
    ]
    async with deceived(tmp_path, deadline="20s") as (one, liar):
        true = liar.poll
        liar.poll = lambda nth: lies[nth - 1] if nth <= len(lies) else true(nth)
        assert (await one.made("patience"))["status"] == "completed"
        assert liar.asked["submit"] == 1 and await one.violations() == []
