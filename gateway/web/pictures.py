"""Kept pictures over HTTP: immutable, so cacheable for ever and answerable from the name alone.

No key is needed: the name is the digest of the bytes, which nobody can guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.core.pictures import MEDIA_TYPES
from gateway.errors import NotFound

CHUNK_BYTES: Final = 256 * 1024


class KeptPictures:
    """`GET, HEAD /pictures/{name}`. `locate` gives the file of a well-formed name, or None."""

    def __init__(self, locate: Callable[[str], Path | None]) -> None:
        self._locate = locate

    async def picture(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        path = self._locate(name)
        if path is None:
            raise NotFound("There is no such picture.")
        headers = _headers(name)
        if names_tag(request.headers.get("if-none-match", ""), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        try:
            stat = await asyncio.to_thread(path.stat)
        except FileNotFoundError:
            raise NotFound("There is no such picture.") from None
        media_type = MEDIA_TYPES[path.suffix.removeprefix(".")]
        response = FileResponse(path, headers=headers, media_type=media_type, stat_result=stat)
        response.chunk_size = CHUNK_BYTES
        return response


def _headers(name: str) -> dict[str, str]:
    return {
        "ETag": f'"{name.partition(".")[0]}"',
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def names_tag(if_none_match: str, etag: str) -> bool:
    """Weak comparison of `If-None-Match` (RFC 9110, section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]
