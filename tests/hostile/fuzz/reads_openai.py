"""What a server of the OpenAI kind answers: kept in the spool, read, billed, its pictures taken
out; or a refusal."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from core_samples import NOW, a_run, some_rules
from openai_upstream import RATES, USAGE

from gateway.adapters.openai_images.answers import Heard, read_refusal
from gateway.adapters.openai_images.bill import counted, worth
from gateway.adapters.openai_images.coded import CodedPicture
from gateway.adapters.openai_images.kind import NAME
from gateway.adapters.openai_images.outline import Span
from gateway.adapters.openai_images.spool import AnswerSpool
from gateway.adapters.outbound.masking import Mask
from gateway.adapters.outbound.said import VendorAnswer
from gateway.adapters.result_links import ResultLinks
from gateway.core.model import RunState
from gateway.core.picture_errors import LinkDead, PictureTooLarge
from gateway.core.runs.docket import Docket, written
from gateway.core.runs.events import Delivered, SubmitEvent
from gateway.core.runs.lifecycle import advance
from gateway.core.runs.redaction import wordless
from gateway.web.openai import wire

MAX_BYTES: Final = 1_000_000
NAMED: Final = "run_a-1"
KEY: Final = "sk-test-key-0123456789"
PROMPT: Final = "a red bicycle on a wooden table"
STATUSES: Final = (200, 400, 401, 403, 404, 408, 409, 413, 429, 499, 500, 502, 503)
RULES: Final = some_rules()
RUN: Final = a_run(NOW, state=RunState.SUBMITTING)
CODED: Final = base64.b64encode(bytes(range(60))).decode()
ERROR: Final = {"message": f"No: {PROMPT}", "type": "invalid_request_error", "param": "size"}
DETAILS: Final = {"moderation_stage": "output", "categories": ["x"]}
BODIES: Final = (
    {"created": 1, "data": [{"b64_json": CODED}], "usage": USAGE, "size": "1024x1024"},
    {"data": [{"url": "https://a.example/x.png"}, {"url": f"data:image/png;base64,{CODED}"}]},
    {"data": [{"b64_json": None, "url": f"{KEY}/x", "revised_prompt": "\u00fc\\\""}]},
    {"data": [], "error": None},
    {"error": {**ERROR, "code": "invalid_value"}},
    {"error": {**ERROR, "code": "moderation_blocked", "moderation_details": DETAILS}},
    {"error": {"message": "Rate limit reached", "type": "requests", "code": None}},
    {"error": "server_error"},
)  # fmt: skip

_folder = tempfile.TemporaryDirectory()
_spool = AnswerSpool(Path(_folder.name))
_loop = asyncio.new_event_loop()


def seeds() -> Iterator[bytes]:
    """A digit for the status and whether it was slow, and the body."""
    for number, body in enumerate(BODIES):
        for first in (0, number, 128 + number):
            yield bytes([first]) + json.dumps(body).encode()
    yield (
        b'\x00{"data":[{"b64_json":"iVBO\\u0052\\/w0K\\n"}],"n":1e400,"x":NaN,"y":'
        + b"9" * 99
        + b"}"
    )


def give(data: bytes) -> None:
    first, body = data[0] if data else 0, data[1:]
    status, is_slow = STATUSES[first % 128 % len(STATUSES)], first >= 128
    _goes_on(read_refusal(Heard(VendorAnswer(status, body, {}), is_slow, PROMPT)))
    if status == 200:
        _loop.run_until_complete(_spooled(body, is_slow))


async def _spooled(body: bytes, is_slow: bool) -> None:
    path = _spool.path(NAMED)
    path.write_bytes(b'{"status":200,"headers":{"x-request-id":"r"}}\n' + body)
    spooled = await _spool.read(NAMED, Mask(KEY))
    assert spooled is not None and spooled.status == 200
    if spooled.answer is None:
        assert spooled.trouble
        return
    said = json.dumps(spooled.answer.said)
    assert KEY not in said
    _goes_on(read_refusal(Heard(VendorAnswer(200, said.encode(), {}), is_slow, PROMPT)))
    pictures = len(spooled.answer.pictures)
    tokens = counted(spooled.answer.said, references=is_slow, pictures=pictures)
    bill = worth(tokens, RATES) if tokens else None
    task = written(Docket(NAME, tokens=tokens, said=spooled.answer.said))
    links = tuple(one if isinstance(one, str) else "spool:x" for one in spooled.answer.pictures)
    if links:
        _goes_on(Delivered(task, links, bill))
    for one in spooled.answer.pictures:
        with suppress(LinkDead, PictureTooLarge):
            await _taken_out(path, one)


async def _taken_out(path: Path, picture: Span | str) -> None:
    if isinstance(picture, Span):
        async for piece in CodedPicture(path, picture, max_bytes=MAX_BYTES):
            assert piece
    elif picture.lower().lstrip().startswith("data:"):
        links = ResultLinks(None, base_url="https://a.example")  # type: ignore[arg-type]
        async with links.stream(picture, max_bytes=MAX_BYTES, timeout_seconds=1) as body:
            assert [piece async for piece in body]


def _goes_on(event: SubmitEvent) -> None:
    after = advance(RUN, event, NOW + 1, RULES)
    assert 0 <= after.spent.usd_micros + after.hold.usd_micros < math.inf
    for one in (after, wordless(after)):
        failure = one.failure
        told = [one.task, *one.links]
        if failure is not None:
            told += [failure.code, failure.message, failure.body or ""]
        "".join(told).encode()
        wire.links_body(one, "https://gateway.example")
