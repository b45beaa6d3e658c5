"""Kept pictures over HTTP: immutable, so cacheable for ever and answerable from the name alone.

No key is needed: the name is the digest of the bytes, which nobody can guess.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.config.words import HandOver
from gateway.core.picture_errors import MEDIA_TYPES, PictureProblem
from gateway.core.picture_names import is_picture_name
from gateway.errors import NotFound, Unavailable
from gateway.ports.pictures import Pictures
from gateway.web import chapters
from gateway.web.handed_over import HandedOver, may_be_handed_over
from gateway.web.operation import Header, Operation
from gateway.web.picture_answer import PictureAnswer, StreamedAnswer, WholeAnswer

AWAY_SECONDS: Final = 30.0
"""A disk that is not mounted does not come back within the second."""

PAGE_MODES: Final = frozenset({"cors", "same-origin"})
"""How a page's own scripts fetch (`Sec-Fetch-Mode`): another host would have to allow them."""


class KeptPictures:
    """`GET, HEAD /pictures/{name}`."""

    def __init__(self, pictures: Pictures, hand_over: HandOver = HandOver.NONE) -> None:
        self._pictures = pictures
        self._hand_over = hand_over

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
            307: "Where it is fetched, with `storage.s3.serve: redirect`.",
            304: "It is the picture that `If-None-Match` names.",
            416: "`Range` asks for what is not there.",
        },
        errors=(NotFound,),
    )
    async def picture(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        if not is_picture_name(name):
            raise NotFound("There is no such picture.")
        headers = _headers(name)
        if names_tag(request.headers.get("if-none-match", ""), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        try:
            return await self._answer(request, name, headers)
        except PictureProblem:
            message = "The picture store cannot be read just now; try again."
            raise Unavailable(message, retry_after_seconds=AWAY_SECONDS) from None

    async def _answer(self, request: Request, name: str, headers: dict[str, str]) -> Response:
        """All of it in one go, where nothing but that is asked for."""
        pictures = self._pictures
        address = await pictures.address(name)
        if address is not None and not _may_go_elsewhere(request):
            address = None
        opened = None
        leaves = may_be_handed_over(request, self._hand_over)
        is_all = request.method == "GET" and "range" not in request.headers
        if address is None and is_all and not leaves:
            found, opened = await pictures.read(name) or (None, None)
        else:
            found = await pictures.find(name)
        if found is None or found.size_bytes == 0:  # an answer of no length cannot be broken off
            raise NotFound("There is no such picture.")
        if address is not None:
            return Response(status_code=307, headers=_elsewhere(address))
        if found.path is not None and leaves:
            return HandedOver(name, found.path, headers, self._hand_over)
        if found.whole is not None:
            return WholeAnswer(name, found, found.whole, headers)
        if found.path is not None:
            return PictureAnswer(name, found, headers)
        return StreamedAnswer(name, found, headers, pictures, opened)


def _may_go_elsewhere(request: Request) -> bool:
    """Not what asks for a picture's facts alone, nor pages that no other host has let in."""
    asked = request.headers
    is_ours = asked.get("sec-fetch-site") == "same-origin"
    return request.method == "GET" and not is_ours and asked.get("sec-fetch-mode") not in PAGE_MODES


def _elsewhere(address: str) -> dict[str, str]:
    """The address is good for some minutes, so that nobody may keep it."""
    return {
        "Location": address,
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Referrer-Policy": "no-referrer",
    }


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
