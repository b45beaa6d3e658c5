"""The organisation's key in what upstream says: masked in every encoding, for every adapter."""

from __future__ import annotations

import asyncio
import base64
import html
import inspect
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx2 as httpx
import pytest

from gateway.adapters.openai_images.spool import AnswerSpool
from gateway.adapters.outbound.masking import Mask, received
from gateway.config import convert, parse
from gateway.core.model import Run
from gateway.core.money.accounts import Amounts, Windows
from gateway.core.policy import Current
from gateway.ports.files import FormField, FormFile
from gateway.wiring.adapters import make_pictures
from gateway.wiring.connections import Connections, ConnectionsDeps, Outside, Trust
from gateway.wiring.kinds import KINDS

KEY = "sk-Org/secret+key-0123456789_~"
MASK = Mask(KEY)


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(one):04x}" for one in text)


def percent(text: str) -> str:
    return "".join(f"%{ord(one):02X}" for one in text)


ENCODED: dict[str, str] = {
    "plain": KEY,
    "lower case": KEY.lower(),
    "a bearer header": f"Bearer {KEY}",
    "JSON, the solidus escaped": KEY.replace("/", "\\/"),
    "JSON, some escaped": KEY.replace("-", "\\u002d").replace("+", "\\u002B"),
    "JSON, all escaped": escaped(KEY),
    "JSON, all escaped, capitals": escaped(KEY).upper().replace("\\U", "\\u"),
    "JSON in JSON": json.dumps(escaped(KEY))[1:-1],
    "JSON in JSON in JSON": json.dumps(json.dumps(KEY.replace("/", "\\/")))[1:-1],
    "percent": quote(KEY, safe=""),
    "percent, all": percent(KEY),
    "percent, small": percent(KEY).lower(),
    "percent, twice": quote(percent(KEY)),
    "mixed": KEY[:9] + percent(KEY[9:15]) + escaped(KEY[15:]),
    "HTML": "".join(f"&#{ord(one)};" for one in KEY),
    "HTML, hexadecimal": "".join(f"&#x{ord(one):X};" for one in KEY),
    "hexadecimal": KEY.encode().hex(),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 for links": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "base64 of a header": base64.b64encode(f"Authorization: Bearer {KEY}\n".encode()).decode(),
    "base64, shifted": base64.b64encode(f"x{KEY}y".encode()).decode(),
    "base64, shifted twice": base64.b64encode(f"xy{KEY}".encode()).decode(),
}


def gives_away(text: str) -> bool:
    """Whether the key can be read from it, by undoing one encoding after the other."""
    seen, todo = set(), [text]
    while todo:
        one = todo.pop()
        if one in seen or len(seen) > 300:
            continue
        seen.add(one)
        if KEY.lower() in one.lower():
            return True
        todo += [unquote(one), html.unescape(one), one.replace("\\/", "/"), _unescaped(one)]
        todo += [_from_base64(found) for found in re.findall(r"[\w+/=-]{16,}", one)]
        todo += [
            bytes.fromhex(f).decode("latin-1") for f in re.findall(r"(?:[0-9a-f]{2}){16,}", one)
        ]
    return False


def _unescaped(text: str) -> str:
    return re.sub(r"\\+u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)


def _from_base64(text: str) -> str:
    plain = text.translate(str.maketrans("-_", "+/")).rstrip("=")
    if len(plain) % 4 == 1:
        return ""
    return base64.b64decode(plain + "=" * (-len(plain) % 4)).decode("latin-1")


@pytest.mark.parametrize("name", ENCODED)
def test_the_key_is_masked_however_it_is_written(name: str) -> None:
    text = f'{{"error": {{"code": "x", "message": "the key {ENCODED[name]} may not"}}}}'
    assert gives_away(text)
    masked = MASK.text(text)
    assert not gives_away(masked) and "[redacted]" in masked
    assert masked.startswith('{"error": {"code": "x", "message": "the key ')
    assert masked.endswith(' may not"}}')


def test_what_is_not_the_key_stays() -> None:
    other = f'{{"id":"task-unified-1","n":1,"url":"https://x.test/%2F?a={KEY[:-1]}","é":"\\u002d"}}'
    assert MASK.text(other) == other
    assert Mask("").bytes(b"anything") == b"anything"


@pytest.mark.alone
def test_no_body_makes_the_search_slow() -> None:
    for piece in (b"\\", b"%25", b"&amp;", b"&#0000", KEY[:-1].encode(), b"sk-", b"\\u0073"):
        body, start = (piece * 1_000_000)[:1_000_000], time.perf_counter()
        MASK.bytes(body)
        assert time.perf_counter() - start < 5


class InPieces(httpx.AsyncByteStream):
    def __init__(self, body: bytes, size: int) -> None:
        self._pieces = [body[at : at + size] for at in range(0, len(body), size)]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


@pytest.mark.parametrize("size", [1, 2, 7, 40])
async def test_the_key_may_lie_across_pieces_and_in_headers(size: int) -> None:
    for text in ENCODED.values():
        headers = {"retry-after": text, "server": text, "x-other": text}
        stream = InPieces(b"before " + text.encode() + b" after", size)
        response = httpx.Response(200, headers=headers, stream=stream)
        answer = await received(response, MASK, max_bytes=10_000)
        assert answer.body is not None and answer.body.startswith(b"before ")
        assert not gives_away(answer.text()) and not gives_away(str(dict(answer.headers)))
    response = httpx.Response(200, stream=InPieces(b"x" * 100, size))
    assert (await received(response, MASK, max_bytes=99)).body is None


# --- every adapter that sends the key ------------------------------------------------------------


class Echo:
    """An upstream that repeats the key it was sent, in every encoding, whatever it is asked."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.status = 200
        self.success = True

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        sent = re.search(r"(?im)^authorization: bearer (\S+)", head)
        self.keys.append(sent[1] if sent else "")
        body = self._body()
        length = re.search(r"(?im)^content-length: (\d+)", head)
        if length:
            await reader.readexactly(int(length[1]))
        elif "transfer-encoding" in head.lower():
            await reader.readuntil(b"0\r\n\r\n")
        lines = [f"HTTP/1.1 {self.status} X", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name}: {KEY}" for name in ("Retry-After", "Server", "CF-RAY", "X-Key")]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        writer.close()

    def _body(self) -> bytes:
        said = json.dumps("and ".join(f"{name} {text} " for name, text in ENCODED.items()))
        said = said.replace("sk-Org", "sk\\u002dOrg", 1)
        link = f"https://files.test/{percent(KEY)}"
        task = f'"id": "task-unified-1", "status": "completed", "results": ["{link}", "{link}.png"]'
        error = f'"error": {{"code": "invalid_size", "message": {said}}}'
        told = f'"file_id": "f1", "file_url": "{link}", "note": {said}'
        code, success = (200, "true") if self.success else (400, "false")
        return (
            f'{{{task if self.success else error}, "msg": {said}, "code": {code}, '
            f'"success": {success}, "data": {{{told}, "token": {{"used_credits": 1.5}}}}}}'
        ).encode()


async def content() -> AsyncIterator[bytes]:
    yield b"bytes"


async def form() -> AsyncIterator[Any]:
    yield FormFile("a.png", "image/png")
    yield b"bytes"


A_RUN = Run(
    id="run_" + "a" * 32,
    fingerprint="f" * 64,
    team="blue",
    model="m",
    quality="",
    n=1,
    request='{"prompt":"a red bicycle"}',
    upstream="one",
    upstream_model="m",
    price_usd_micros=10_000,
    windows=Windows(0, 0, 0, 0, 0),
    hold=Amounts(10_000, 1, 1),
    created_at=0.0,
    deadline_at=900.0,
    due_at=0.0,
)
CALLS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "submit": lambda one: one.submit(A_RUN),
    "poll": lambda one: one.poll("task-unified-1"),
    "usage": lambda one: one.usage(0.0, 60.0),
    "models": lambda one: one.models(),
    "credits": lambda one: one.credits(),
    "evidence": lambda one: one.evidence(0.0, 1.0),
    "recovered": lambda one: one.recovered(A_RUN),
    "forget": lambda one: one.forget(A_RUN),
    "upload_form": lambda one: one.upload_form(form(), folder="f"),
    "upload_content": lambda one: one.upload_content(
        content(), {FormField.NAME: "a.png"}, media_type="image/png", folder="f"
    ),
    "upload_link": lambda one: one.upload_link("https://x.test/a.png", {}, folder="f"),
    "quota": lambda one: one.quota(folder=""),
    "delete": lambda one: one.delete("f1"),
}
"""How each call of an adapter is made; a new call has to be added here."""


def adapters(connections: Connections) -> list[Any]:
    """Everything that the settings connect."""
    return [one for known in connections._connected.values() for one in known.closing]


def calls_of(adapter: Any) -> list[str]:
    return [
        name
        for name, one in inspect.getmembers(type(adapter), inspect.iscoroutinefunction)
        if not name.startswith("_") and name != "aclose"
    ]


@pytest.mark.parametrize("success", [True, False])
@pytest.mark.parametrize("status", [200, 400, 401, 429, 500, 503])
async def test_no_adapter_that_sends_the_key_passes_it_on(
    status: int, success: bool, tmp_path: Path
) -> None:
    echo = Echo()
    echo.status, echo.success = status, success
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    upstream = {"base_url": address, "api_key": KEY, "allow_private_addresses": True}
    upstreams = {
        "one": {**upstream, "files_url": address},
        "two": {**upstream, "kind": "openai", "usage_key": KEY},
    }
    route = {"upstream": "one", "model": "m", "price": 0.1}
    stored = {"data_dir": str(tmp_path)}
    models = {"m": {"routes": [route]}}
    text = json.dumps({"upstreams": upstreams, "models": models, "storage": stored})
    tls = httpx.create_ssl_context()
    settings = parse(text, {})
    deps = ConnectionsDeps(
        trust=Trust(tls, tls),
        clock=time.time,
        current=Current(convert.policy(settings, port=1, kinds=KINDS), time.time),
        callback_url=lambda _: "",
        spool=AnswerSpool(tmp_path),
        pictures=make_pictures(settings, {}),
        outside=Outside(),
    )
    connections = Connections(settings, deps=deps)
    asked = 0
    async with server:
        for adapter in adapters(connections):
            for name in calls_of(adapter):
                assert name in CALLS, f"say how {type(adapter).__name__}.{name} is called"
                try:
                    told = repr(await CALLS[name](adapter))
                except Exception as error:
                    told = f"{error!r} {vars(error)!r}"
                asked += 1
                assert not gives_away(told), f"{name}: {told}"
        await connections.aclose()
    assert asked >= len(CALLS) and set(echo.keys) == {KEY}


@pytest.mark.parametrize("key", ["", "x", "data", "none", "token", "x234567"])
def test_what_fills_the_place_of_a_key_is_no_secret(key: str) -> None:
    said = '{"data": [{"token": "x234567"}], "next": "none"}'
    assert Mask(key).text(said) == said
    assert Mask("x2345678").text("a x2345678 b") == "a [redacted] b"
