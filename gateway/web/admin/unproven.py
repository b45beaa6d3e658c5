"""`/admin/v1/pictures/unproven`: paid bytes that are no picture, listed and fetched as they came.

What they are nobody knows, so they are only ever a download and never shown.
"""

from __future__ import annotations

from pydantic import Field
from starlette.responses import Response, StreamingResponse
from typing_extensions import TypedDict

from gateway.core.picture_errors import PictureProblem, SetAside
from gateway.errors import NotFound, Unavailable
from gateway.ports.pictures import Pictures
from gateway.services.runs import page
from gateway.web.calls import OperatorCall
from gateway.web.chapters import STORES
from gateway.web.operation import Operation
from gateway.web.query import NoParameters, Page
from gateway.web.responses import page_response
from gateway.web.shown import instant

BYTES: str = "application/octet-stream"


class SetAsideShape(TypedDict):
    """Paid bytes that are no picture. `kind` is what they begin like, `media_type` what the other
    side calls them; `name` is the place where they are fetched."""

    name: str
    run: str
    index: int
    team: str
    upstream: str
    host: str
    media_type: str
    kind: str
    reason: str
    digest: str
    size_bytes: int
    at: str


class UnprovenShape(TypedDict):
    data: list[SetAsideShape]
    next: str | None


class FindUnproven(Page):
    """Which of the bytes that are set aside."""

    team: str | None = Field(None, description="Paid by this team.")
    run: str | None = Field(None, description="Of this run.")


class UnprovenPages:
    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    @Operation(
        "GET /admin/v1/pictures/unproven",
        STORES,
        "Paid bytes that are no picture, newest first",
        query=FindUnproven,
        answer=UnprovenShape,
    )
    async def listed(self, call: OperatorCall[FindUnproven]) -> Response:
        asked = call.query
        try:
            every = await self._pictures.set_aside(asked.run)
        except PictureProblem as problem:
            raise _unreadable() from problem
        wanted = [one for one in every if asked.team in (None, one.origin.team)]
        after = asked.after
        behind = [one for one in wanted if after is None or _mark(one) < after]
        found, last = page(behind, asked.limit, _mark)
        return page_response([set_aside_shape(one) for one in found], last)

    @Operation(
        "GET /admin/v1/pictures/unproven/{name}",
        STORES,
        "Such bytes, as they came",
        path_words={"name": "Its `name` in the list."},
        media={BYTES: None},
        errors=(NotFound,),
    )
    async def content(self, call: OperatorCall[NoParameters]) -> Response:
        name = call.word("name")
        try:
            chunks = await self._pictures.set_aside_content(name)
        except PictureProblem as problem:
            raise _unreadable() from problem
        if chunks is None:
            raise NotFound("Nothing is set aside under this name.", param="name")
        headers = {
            "Content-Disposition": f'attachment; filename="{name}.bin"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return StreamingResponse(chunks, headers=headers, media_type=BYTES)


def _mark(one: SetAside) -> tuple[float, str]:
    return one.origin.at, one.name


def _unreadable() -> Unavailable:
    return Unavailable("The picture store cannot be read just now.", retry_after_seconds=5)


def set_aside_shape(one: SetAside) -> SetAsideShape:
    return {
        "name": one.name,
        "run": one.origin.run_id,
        "index": one.origin.index,
        "team": one.origin.team,
        "upstream": one.origin.upstream,
        "host": one.origin.host,
        "media_type": one.origin.media_type,
        "kind": one.kind,
        "reason": one.reason,
        "digest": one.digest,
        "size_bytes": one.size_bytes,
        "at": instant(one.origin.at),
    }
