"""The console's page and its files, as they lie in `console/`: read once, then served from memory.

What is not among them does not exist, so no path leads anywhere else. Everything is the same for
everyone and holds no secret; what it shows, it asks the API for with the reader's own key.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import NotFound
from gateway.web.chapters import CONSOLE
from gateway.web.operation import Operation
from gateway.web.pictures import names_tag

FOLDER: Final = Path(__file__).parent / "console"
PAGE: Final = "index.html"
MEDIA_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
"""Files of any other kind are not served."""

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # blob: previews of files before they are sent
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Cache-Control": "no-cache",  # kept, and asked after: a new version is seen at once
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    media_type: str
    etag: str


class Console:
    """`GET, HEAD /console` and `/console/{asset}`."""

    def __init__(self) -> None:
        self._assets: Mapping[str, Asset] | None = None

    @Operation("GET /console", CONSOLE, "The console")
    async def page(self, request: Request) -> Response:
        return await self.answer(request, PAGE)

    @Operation("GET /console/{asset:path}", CONSOLE, "Its files")
    async def asset(self, request: Request) -> Response:
        name: str = request.path_params["asset"]
        if not name:
            return Response(status_code=308, headers={"Location": "../console"})
        return await self.answer(request, name)

    async def answer(self, request: Request, name: str) -> Response:
        """One of the files. Raises `NotFound`."""
        if self._assets is None:
            self._assets = await asyncio.to_thread(read_assets, FOLDER)
        asset = self._assets.get(name)
        if asset is None:
            raise NotFound("The console has no such file.")
        headers = {**HEADERS, "ETag": asset.etag}
        if names_tag(request.headers.get("if-none-match", ""), asset.etag):
            return Response(status_code=304, headers=headers)
        return Response(asset.content, headers=headers, media_type=asset.media_type)


def read_assets(folder: Path) -> Mapping[str, Asset]:
    """Every file that is served, by its path below the folder. Blocks."""
    return {
        path.relative_to(folder).as_posix(): _asset(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in MEDIA_TYPES
    }


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Asset(content, MEDIA_TYPES[path.suffix], f'"{digest[:32]}"')
