"""`/openapi.json`, and `/docs`: the same for people, as one of the console's static pages."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.core.policy import Current
from gateway.web import console_files
from gateway.web.chapters import CONSOLE, WATCHING
from gateway.web.openapi.document import document
from gateway.web.operation import Endpoint, Operation, endpoints_of
from gateway.web.pictures import names_tag
from gateway.web.schema import OBJECT

PAGE = "docs.html"


class Described:
    """Open to everyone: it says what there is, and nothing of the settings but the address.

    `others` are all endpoints but its own.
    """

    def __init__(
        self, others: Sequence[Endpoint], pages: console_files.Console, current: Current
    ) -> None:
        self._others = others
        self._pages = pages
        self._current = current
        self._made: tuple[str, bytes, str] | None = None

    @Operation("GET /openapi.json", WATCHING, "This document", answer=OBJECT)
    async def document(self, request: Request) -> Response:
        base = self._current.policy.public_url
        if self._made is None or self._made[0] != base:
            body = await asyncio.to_thread(self._render, base)
            self._made = (base, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        _, body, etag = self._made
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}
        if names_tag(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    @Operation("GET /docs", WATCHING, "This document, for people", media={"text/html": None})
    async def page(self, request: Request) -> Response:
        return await self._pages.answer(request, PAGE)

    @Operation("GET /docs/", CONSOLE, "This document, for people")
    async def page_elsewhere(self, _: Request) -> Response:
        """What the page loads is relative to where it is."""
        return Response(status_code=308, headers={"Location": "../docs"})

    def _render(self, base: str) -> bytes:
        listed = [*self._others, *endpoints_of(self)]
        described = document(one.operation for one in listed)
        return orjson.dumps({**described, "servers": [{"url": base}]})


def with_description(
    sections: Sequence[object], pages: console_files.Console, current: Current
) -> Sequence[Endpoint]:
    """Every endpoint of the sections, and those that describe them."""
    listed = [one for section in sections for one in endpoints_of(section)]
    return [*listed, *endpoints_of(Described(listed, pages, current))]
