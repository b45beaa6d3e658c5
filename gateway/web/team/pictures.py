"""`GET /team/v1/pictures`: the pictures that the team's own tasks show, newest first."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.core.policy import Current
from gateway.ports.ledger import Lists, PictureFilter
from gateway.services.runs import light_page
from gateway.web.auth import team_of
from gateway.web.chapters import OWN
from gateway.web.operation import Operation
from gateway.web.query import Timed, next_cursor, read_query
from gateway.web.responses import json_response
from gateway.web.shown import PicturesShape, picture


class FindOwnPictures(Timed):
    """Which of the team's pictures; days and times are of when the team first asked for them."""

    q: str | None = Field(
        None, max_length=1000, description="Part of the prompt, whatever its case."
    )


class Gallery:
    def __init__(self, ledger: Lists, current: Current) -> None:
        self._ledger = ledger
        self._current = current

    @Operation(
        "GET /team/v1/pictures",
        OWN,
        "The team's pictures, newest first",
        query=FindOwnPictures,
        answer=PicturesShape,
    )
    async def listed(self, request: Request) -> Response:
        """What another team's run made was given to this one, which need not know whose it was."""
        policy = self._current.policy
        team = team_of(request, self._current)
        asked = read_query(request, FindOwnPictures)
        since, until = asked.between(policy.zone)
        wanted = PictureFilter(text=asked.q, since=since, until=until)
        found, last = await light_page(
            lambda mark, count: self._ledger.gallery(team.name, wanted, after=mark, limit=count),
            after=asked.after,
            limit=asked.limit,
            mark=lambda one: (one.created_at, one.key),
            weigh=lambda one: len(one.prompt),
        )
        answer: PicturesShape = {
            "data": [picture(replace(one, team=team.name), policy.public_url) for one in found],
            "next": next_cursor(last),
        }
        return json_response(answer)
