"""`/admin/v1/pictures`: every picture on record, and taking one away for good."""

from __future__ import annotations

from pydantic import Field
from starlette.responses import Response

from gateway.ports.ledger import Lists, PictureFilter
from gateway.services.erasure import Erasure, PictureNotFound
from gateway.services.runs import light_page
from gateway.web.calls import OperatorCall
from gateway.web.chapters import STORES
from gateway.web.operation import Operation
from gateway.web.query import NoParameters, PromptSearch, Timed
from gateway.web.responses import json_response, page_response
from gateway.web.shown import PictureShape, PicturesShape, picture


class FindPictures(Timed):
    """Which pictures."""

    team: str | None = Field(None, description="Made by this team's runs.")
    task: str | None = Field(None, description="Shown by this task.")
    run: str | None = Field(None, description="Made by this run.")
    q: PromptSearch = None


class PictureRegister:
    def __init__(self, ledger: Lists, erasure: Erasure) -> None:
        self._ledger = ledger
        self._erasure = erasure

    @Operation(
        "GET /admin/v1/pictures",
        STORES,
        "Pictures, newest first",
        query=FindPictures,
        answer=PicturesShape,
    )
    async def listed(self, call: OperatorCall[FindPictures]) -> Response:
        asked, policy = call.query, call.policy
        since, until = asked.between(call.clock(), policy.zone)
        wanted = PictureFilter(asked.team, asked.run, asked.task, asked.q, since, until)
        found, last = await light_page(
            lambda mark, count: self._ledger.find_pictures(wanted, after=mark, limit=count),
            after=asked.after,
            limit=asked.limit,
            mark=lambda one: (one.created_at, one.key),
            weigh=lambda one: len(one.prompt),
        )
        return page_response([picture(one, policy.public_url) for one in found], last)

    @Operation(
        "DELETE /admin/v1/pictures/{digest}",
        STORES,
        "Erase a picture",
        "Its bytes, its provenance, its prompt and its place in the cache are gone "
        "for good; what was paid stays in the books.",
        path_words={"digest": "The SHA-256 that names it."},
        answer=PictureShape,
        errors=(PictureNotFound,),
    )
    async def erase(self, call: OperatorCall[NoParameters]) -> Response:
        erased = await self._erasure.erase(call.word("digest"), call.act())
        return json_response(picture(erased, call.policy.public_url))
