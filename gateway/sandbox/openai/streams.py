"""Answers in events: partial pictures while the work goes on, and the whole ones at its end."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.sandbox.answers import client_gone, cut_connection
from gateway.sandbox.openai.answers import encoded, usage_json
from gateway.sandbox.openai.refusals import STREAM_FAILURE, Style, failure
from gateway.sandbox.openai.state import Call, OpenAIState
from gateway.sandbox.openai.workshop import Work, Workshop, partials_of

_PREFIXES = {"image.generation": "image_generation", "image.edit": "image_edit"}


class EventStream(Response):
    """The events of one call. The head of the answer goes out with the first of them."""

    media_type = "text/event-stream"

    def __init__(self, call: Call, work: Work, workshop: Workshop, state: OpenAIState) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._call = call
        self._work = work
        self._workshop = workshop
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(scope, receive, send))
        gone = asyncio.create_task(client_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = [task for task in (sending, gone) if not task.done()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        if sending.done() and not sending.cancelled():
            sending.result()

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_started = False
        async for event in self._events():
            if not is_started:
                is_started = True
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
            await send({"type": "http.response.body", "body": event, "more_body": True})
            if event and self._call.acts("cut") and not event.endswith(b"\n\n"):
                await cut_connection(scope, receive)
        if not is_started:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b""})

    async def _events(self) -> AsyncIterator[bytes]:
        """The events as bytes; with `cut` the last one is half of an event."""
        call, prefix = self._call, _PREFIXES[self._call.wish.source]
        count = partials_of(call)
        for index in range(count):
            await asyncio.wait({self._work.making}, timeout=self._work.seconds / (count + 1))
            content = await self._workshop.partial(call, index)
            yield _event(f"{prefix}.partial_image", self._picture(content, index))
        made = await asyncio.shield(self._work.making)
        if call.acts("unfinished"):
            return
        code = call.text("late-fail")
        if code is not None:
            yield _event("error", {"error": _error(code)})
            return
        for picture, content in zip(made.pictures, made.contents, strict=True):
            body = self._picture(content, None)
            if picture.index == picture.count - 1 and not call.acts("no-usage"):
                body["usage"] = usage_json(call, made.tokens, self._state)
            event = _event(f"{prefix}.completed", body)
            yield event[: len(event) // 2] if call.acts("cut") else event

    def _picture(self, content: bytes, index: int | None) -> dict[str, Any]:
        wish = self._call.wish
        text = (
            encoded(self._call, content)
            if index is None
            else base64.b64encode(content).decode("ascii")
        )
        body: dict[str, Any] = {
            "b64_json": text,
            "created_at": int(self._state.clock()),
            "size": wish.size,
            "quality": wish.quality,
            "background": wish.background,
            "output_format": wish.output_format,
        }
        return body if index is None else {**body, "partial_image_index": index}


def _error(code: str) -> dict[str, Any]:
    refusal = STREAM_FAILURE if code == "server_error" else failure(code, is_late=True)
    return refusal.error(Style.OPENAI)


def _event(name: str, body: dict[str, Any]) -> bytes:
    data = orjson.dumps({"type": name, **body})
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
