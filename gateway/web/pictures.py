"""Kept pictures over HTTP: immutable, so cacheable for ever and answerable from the name alone.

No key is needed: the name is the digest of the bytes, which nobody can guess.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.core.picture_errors import MEDIA_TYPES, PictureProblem
from gateway.errors import NotFound, Unavailable
from gateway.web import chapters
from gateway.web.operation import Header, Operation

CHUNK_BYTES: Final = 256 * 1024
AWAY_SECONDS: Final = 30.0
"""A disk that is not mounted does not come back within the second."""


class KeptPictures:
    """`GET, HEAD /pictures/{name}`. `locate` gives the file of a well-formed name, or None.

    `require` raises when the store is not itself: what is not found is then not gone.
    """

    def __init__(
        self, locate: Callable[[str], Path | None], require: Callable[[], Awaitable[None]]
    ) -> None:
        self._locate = locate
        self._require = require

    @Operation(
        "GET /pictures/{name}",
        chapters.PICTURES,
        "A kept picture",
        "Permanent. No key is needed: the name is the SHA-256 of the bytes.",
        path_words={"name": f"The digest and the ending of its kind: {', '.join(MEDIA_TYPES)}"},
        headers=(
            Header("If-None-Match", "Answered 304 when it names the picture."),
            Header("Range", "A part of it."),
        ),
        media=dict.fromkeys(MEDIA_TYPES.values()),
        answer_headers=(Header("ETag", "The digest."),),
        other_answers={
            206: "The part that `Range` asks for.",
            304: "It is the picture that `If-None-Match` names.",
            416: "`Range` asks for what is not there.",
        },
        errors=(NotFound,),
    )
    async def picture(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        path = self._locate(name)
        if path is None:
            raise NotFound("There is no such picture.")
        headers = _headers(name)
        if names_tag(request.headers.get("if-none-match", ""), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        stat = await self._stat(path)
        media_type = MEDIA_TYPES[path.suffix.removeprefix(".")]
        response = FileResponse(path, headers=headers, media_type=media_type, stat_result=stat)
        response.chunk_size = CHUNK_BYTES
        return response

    async def _stat(self, path: Path) -> os.stat_result:
        with suppress(FileNotFoundError, NotADirectoryError):
            return await asyncio.to_thread(path.stat)
        try:
            await self._require()
            return await asyncio.to_thread(path.stat)  # it may have come back in between
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound("There is no such picture.") from None
        except PictureProblem:
            message = "The picture store cannot be read just now; try again."
            raise Unavailable(message, retry_after_seconds=AWAY_SECONDS) from None


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
