"""Answers that bring pictures, and all that can be wrong with one. Errors are in `refusals`."""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.responses import RedirectResponse, Response, StreamingResponse

from gateway.sandbox.answers import Cut, Silence, garbage
from gateway.sandbox.links import INTERNAL_ADDRESS, HalfThenCut
from gateway.sandbox.openai.refusals import (
    FAILURES,
    PAGE_STATUSES,
    Refusal,
    RefusedError,
    Style,
    failure,
    of_status,
    page,
)
from gateway.sandbox.openai.state import Call, OpenAIState
from gateway.sandbox.openai.tokens import Tokens
from gateway.sandbox.openai.workshop import Made
from gateway.sandbox.options import MIB

_JSON = "application/json"
_HTML = b"<!doctype html><title>One moment</title><h1>Checking your browser</h1>"
_HUGE_CHUNK = b"A" * (64 * 1024)


def at_once(call: Call) -> Response | None:
    """What refuses a call before any work; None lets it in. Raises RefusedError."""
    if call.acts("redirect"):
        return RedirectResponse(INTERNAL_ADDRESS, 307)
    return refused(call, call.status("http"), call.text("fail"), is_late=False)


def afterwards(call: Call) -> Response | None:
    """What comes instead of the pictures when the work is done. Raises RefusedError."""
    if call.acts("hang"):
        return Silence()
    if call.acts("drop"):
        return Cut()
    return refused(call, call.status("late-http"), call.text("late-fail"), is_late=True)


def refused(
    call: Call, status: tuple[int, str | None] | None, code: str | None, *, is_late: bool
) -> Response | None:
    """A page that a proxy shows, or None. Raises RefusedError for every other refusal."""
    if status is not None:
        if status[0] in PAGE_STATUSES:
            return page(status[0])
        raise _raised(call, of_status(*status))
    if code is not None:
        raise _raised(call, failure(code, is_late=is_late))
    return None


def _raised(call: Call, refusal: Refusal) -> RefusedError:
    told = call.number("retry-after")
    return RefusedError(refusal.waiting(told), is_detail=call.acts("detail"))


def answer(call: Call, made: Made, state: OpenAIState) -> Response:
    """The pictures, or what the call's magic words make of them."""
    if call.acts("garbage"):
        return garbage()
    if call.acts("error-200"):
        error = FAILURES["rate_limit_exceeded"].body(Style.OPENAI)
        return Response(orjson.dumps(error), media_type=_JSON)
    megabytes = call.number("huge")
    if megabytes is not None:
        return StreamingResponse(_huge(int(megabytes * MIB)), media_type=_JSON)
    body = orjson.dumps(answer_json(call, made, state))
    if call.acts("cut"):
        return HalfThenCut(body, media_type=_JSON)
    seconds = call.number("drip")
    if seconds is not None:
        length = {"content-length": str(len(body))}
        return StreamingResponse(_drip(body, seconds), 200, length, _JSON)
    if call.acts("gzip"):
        squeezed = gzip.compress(body, compresslevel=1)
        return Response(squeezed, 200, {"content-encoding": "gzip"}, _JSON)
    return Response(body, media_type=_JSON)


def answer_json(call: Call, made: Made, state: OpenAIState) -> dict[str, Any]:
    """The body of an answer, with what was made in the place of `auto`."""
    wish = call.wish
    body: dict[str, Any] = {
        "created": int(state.clock()),
        "background": wish.background,
        "output_format": wish.output_format,
        "quality": wish.quality,
        "size": wish.size,
        "data": [] if call.acts("empty-data") else _data(call, made, state),
    }
    if wish.safety_identifier is not None:
        body["safety_identifier"] = wish.safety_identifier
    if not (call.acts("no-usage") or state.options.compatible):
        body["usage"] = usage_json(call, made.tokens, state)
    return body


def usage_json(call: Call, tokens: Tokens, state: OpenAIState) -> dict[str, Any]:
    """What a call took, in tokens."""
    if call.acts("bad-usage"):
        return {"input_tokens": -18, "output_tokens": "196", "total_tokens": None}
    coming, going = tokens.text_in + tokens.image_in, tokens.text_out + tokens.image_out
    usage: dict[str, Any] = {
        "input_tokens": coming,
        "input_tokens_details": {"image_tokens": tokens.image_in, "text_tokens": tokens.text_in},
        "output_tokens": going,
        "total_tokens": coming + going,
    }
    if state.options.output_details and not call.acts("no-details"):
        details = {"image_tokens": tokens.image_out, "text_tokens": tokens.text_out}
        usage["output_tokens_details"] = details
    return usage


def encoded(call: Call, content: bytes) -> str:
    """A picture in base64, or what stands in its place."""
    if call.acts("bad-base64"):
        return "!this is no base64!" * 8
    if call.acts("not-a-picture"):
        content = _HTML
    return base64.b64encode(content).decode("ascii")


def _data(call: Call, made: Made, state: OpenAIState) -> list[dict[str, str]]:
    if not (call.acts("url") or call.wish.as_links):
        return [{"b64_json": encoded(call, content)} for content in made.contents]
    links = []
    for picture in made.pictures:
        name = f"{call.serial}-{picture.index}.{picture.output_format}"
        state.link(name, picture)
        links.append({"url": f"{(state.public_url or '').rstrip('/')}/sandbox/pictures/{name}"})
    return links


async def _drip(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    for start in range(len(body)):
        yield body[start : start + 1]
        await asyncio.sleep(seconds)


async def _huge(size: int) -> AsyncIterator[bytes]:
    """One picture of that many characters, never held in memory."""
    yield b'{"created":1795870000,"data":[{"b64_json":"'
    for _ in range(size // len(_HUGE_CHUNK)):
        yield _HUGE_CHUNK
    yield b'"}]}'
