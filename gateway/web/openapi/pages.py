"""`/openapi.json`, and `/docs`: the same for people, as one of the console's static pages."""

from __future__ import annotations

import asyncio
import hashlib

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.policy import Current
from gateway.web import console_files
from gateway.web.openapi.document import document
from gateway.web.pictures import names_tag

PAGE = "docs.html"


class Described:
    """Open to everyone: it says what there is, and nothing of the settings but the address."""

    def __init__(self, pages: console_files.Console, current: Current) -> None:
        self._pages = pages
        self._current = current
        self._made: tuple[str, bytes, str] | None = None

    def routes(self) -> list[Route]:
        return [
            Route("/openapi.json", self.document, methods=["GET"]),
            Route("/docs", self.page, methods=["GET"]),
        ]

    async def document(self, request: Request) -> Response:
        base = self._current.policy.public_url
        if self._made is None or self._made[0] != base:
            body = await asyncio.to_thread(_render, base)
            self._made = (base, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        _, body, etag = self._made
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}
        if names_tag(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    async def page(self, request: Request) -> Response:
        return await self._pages.answer(request, PAGE)


def _render(base: str) -> bytes:
    return orjson.dumps({**document(), "servers": [{"url": base}]})
