"""What clients send: bodies of orders, forms, headers, queries.

A line names the reader, and what follows is for it.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from core_samples import CATALOG, MODEL, NOW, a_policy
from starlette.requests import Request

from gateway.core.catalog import Team
from gateway.core.orders.asked import Asked
from gateway.core.orders.fingerprint import fingerprint
from gateway.core.orders.pricing import offers
from gateway.core.orders.validation import read_order
from gateway.core.stretches import read_begin, read_end
from gateway.errors import GatewayError
from gateway.ports.pictures import Found
from gateway.web.auth import carries_key, operator_of
from gateway.web.body import parse, read_body
from gateway.web.evolink import wire
from gateway.web.evolink.images import freshness_of, read_key
from gateway.web.evolink.prefer import MAX_WAIT_SECONDS, read_wait
from gateway.web.multipart import pieces, read_boundary
from gateway.web.openai.errors import error_body
from gateway.web.openai.wire import read_fields, read_wish
from gateway.web.picture_answer import PictureAnswer
from gateway.web.query import Timed, read_query

TEAM: Final = Team("alpha", defaults=(("quality", "low"),))
POLICY: Final = a_policy(admin_keys={"a" * 64: "ops"})
ZONES: Final = (ZoneInfo("UTC"), ZoneInfo("America/Sao_Paulo"), ZoneInfo("Pacific/Apia"))
BODY_BYTES: Final = 65_536
NAME: Final = "0" * 64 + ".png"

_loop = asyncio.new_event_loop()


def a_request(body: bytes = b"", query: bytes = b"", **headers: bytes) -> Request:
    """A piece of the body at a time, as it may come."""
    size = max(1, len(body) // 3)
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    coming = [{"type": "http.request", "body": one, "more_body": True} for one in parts]
    coming[-1]["more_body"] = False
    waiting = iter(coming)

    async def receive() -> dict[str, Any]:
        return next(waiting, None) or await asyncio.get_running_loop().create_future()

    named = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "headers": named, "query_string": query}
    return Request(scope, receive)


# --- readers -------------------------------------------------------------------------------------


def order(body: bytes) -> None:
    _judged(parse(body))


def openai(body: bytes) -> None:
    _judged(read_wish(parse(body), CATALOG, TEAM).body)


def fields(body: bytes) -> None:
    lines = (line.partition("=") for line in body.decode("utf-8", "replace").splitlines())
    _judged(read_wish(read_fields((name, value) for name, _, value in lines), CATALOG).body)


def _judged(body: object) -> None:
    json.loads(Asked(TEAM, body=body).told(with_prompt=True))
    wish = read_order(body, CATALOG, TEAM)
    assert len(fingerprint(wish, TEAM, MODEL)) == 64
    assert offers(MODEL, wish)
    orjson.dumps([wish.body, wish.labels])


def coded(body: bytes) -> None:
    coding, _, rest = body.partition(b"\n")
    _loop.run_until_complete(read_body(a_request(rest, content_encoding=coding), BODY_BYTES))


def form(body: bytes) -> None:
    kind, _, rest = body.partition(b"\n")

    async def taken_apart() -> None:
        request = a_request(rest, content_type=kind)
        async for piece in pieces(read_boundary(request), request.stream()):
            assert piece is not None

    _loop.run_until_complete(taken_apart())


def headers(value: bytes) -> None:
    """The same value wherever a header is read."""
    request = a_request(
        prefer=value, cache_control=value, idempotency_key=value, authorization=b"Bearer " + value
    )
    wait, age = read_wait(request), freshness_of(request).max_age_seconds
    assert wait is None or 0 <= wait.seconds <= MAX_WAIT_SECONDS
    assert age is None or 0 <= age <= 2**31
    carries_key(request, POLICY.admin_keys)
    with suppress(GatewayError):
        operator_of(request, POLICY)
    key = read_key(request)
    assert key is None or key.isascii()


def ranges(value: bytes) -> None:
    path = Path(__file__)
    answer = PictureAnswer(NAME, Found(path.stat().st_size, 0.0, path), {})
    sent: list[Mapping[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "headers": [(b"range", value), (b"if-range", value)]}
    _loop.run_until_complete(answer(scope, a_request().receive, send))
    assert sent[0]["status"] in (200, 206, 400, 416)


def query(value: bytes) -> None:
    asked = read_query(a_request(query=value), Timed)
    after = asked.after
    assert after is None or math.isfinite(after[0])
    for zone in ZONES:
        asked.between(NOW, zone)


def times(value: bytes) -> None:
    text = value.decode("utf-8", "replace")
    for zone in ZONES:
        for read in (read_begin, read_end):
            with suppress(ValueError):
                assert math.isfinite(read(text, now=NOW, zone=zone))


READERS: Final[Mapping[bytes, Callable[[bytes], None]]] = {
    one.__name__.encode(): one
    for one in (order, openai, fields, coded, form, headers, ranges, query, times)
}


# --- the target ----------------------------------------------------------------------------------

WHOLE: Final[dict[str, Any]] = {
    "model": MODEL.name, "prompt": "a caf\u00e9", "n": 2, "size": "1:1", "quality": "low",
    "image_urls": ["https://a.example/x.png?y#z"], "callback_url": "https://b.example:8443/c",
    "user": "u", "metadata": {"a": [1.5, None, True]}, "seed": 18446744073709551615,
}  # fmt: skip
OPENAI: Final = {
    "model": "dall-e-3", "prompt": "x", "response_format": "url", "stream": False, "style": "vivid",
    "background": "opaque", "output_compression": 100, "quality": "hd", "moderation": "low",
}  # fmt: skip
FORM: Final = (
    b'multipart/form-data; boundary="b"\n--b\r\nContent-Disposition: form-data; name="file"; '
    b'filename="a.png"\r\nContent-Type: image/png\r\n\r\nxyz\r\n--b\r\n'
    b"Content-Disposition: form-data; name=n\r\n\r\n1\r\n--b--\r\n"
)
GIVEN: Final = (
    ("order", json.dumps(WHOLE).encode()),
    ("order", b'{"model":1e400,"prompt":"\\ud800","n":99999999999999999999}'),
    ("openai", json.dumps(OPENAI).encode()),
    ("openai", json.dumps({**OPENAI, "model": MODEL.name, "images": []}).encode()),
    ("fields", b"model=gpt-image-1.5\nprompt=x\nn=2\nstream=false\nsvg[model]=y"),
    ("coded", b"gzip, deflate\n" + bytes.fromhex("1f8b0800000000000003")),
    ("coded", b"deflate\n" + bytes.fromhex("789cab56020000a30079")),
    ("form", FORM),
    ("headers", b'wait=30; a="b", respond-async'),
    ("headers", b'no-cache, max-age=60, private="x", only-if-cached'),
    ("ranges", b"bytes=0-0,5-9,-3"),
    ("query", b"from=last-month&to=2026-11&limit=5&cursor=WzEuMCwieCJd"),
    ("times", b"2026-11-29T12:00:00.5+01:00"),
    ("times", b"30m"),
    ("times", b"9998-12"),
)


def seeds() -> Iterator[bytes]:
    for name, given in GIVEN:
        yield name.encode() + b"\n" + given


def give(data: bytes) -> None:
    name, _, given = data.partition(b"\n")
    try:
        READERS.get(name, order)(given)
    except GatewayError as error:
        assert 400 <= error.status < 500, error
        wire.error_body(error, "https://gateway.example")
        error_body(error, "https://gateway.example")
