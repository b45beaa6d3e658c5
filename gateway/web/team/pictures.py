"""`GET /team/v1/pictures`: the pictures that the team's own tasks show, newest first."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field
from starlette.responses import Response

from gateway.ports.ledger import Lists, PictureFilter
from gateway.services.runs import light_page
from gateway.web.calls import TeamCall
from gateway.web.chapters import OWN
from gateway.web.operation import Operation
from gateway.web.query import PromptSearch, Timed
from gateway.web.responses import page_response
from gateway.web.shown import PicturesShape, picture


class FindOwnPictures(Timed):
    """Which of the team's pictures; days and times are of when the team first asked for them."""

    q: PromptSearch = None
    digest: str | None = Field(
        None, max_length=200, description="The picture with this digest alone, or none."
    )


class Gallery:
    def __init__(self, ledger: Lists) -> None:
        self._ledger = ledger

    @Operation(
        "GET /team/v1/pictures",
        OWN,
        "The team's pictures, newest first",
        query=FindOwnPictures,
        answer=PicturesShape,
    )
    async def listed(self, call: TeamCall[FindOwnPictures]) -> Response:
        """What another team's run made was given to this one, which need not know whose it was."""
        asked, policy = call.query, call.policy
        team, (since, until) = call.team.name, asked.between(call.clock(), policy.zone)
        wanted = PictureFilter(digest=asked.digest, text=asked.q, since=since, until=until)
        found, last = await light_page(
            lambda mark, count: self._ledger.gallery(team, wanted, after=mark, limit=count),
            after=asked.after,
            limit=asked.limit,
            mark=lambda one: (one.created_at, one.key),
            weigh=lambda one: len(one.prompt),
        )
        own = [replace(one, team=team) for one in found]
        return page_response([picture(one, policy.public_url) for one in own], last)
