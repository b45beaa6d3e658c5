"""Where upstream calls: `POST /callbacks/{token}`, without a key, since the token is one.

The body is not even read: whoever knows the address can only make us look at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import NotFound
from gateway.web import chapters
from gateway.web.operation import Operation


class Hints:
    """`take` acts on a token, and tells whether it is one of ours."""

    def __init__(self, take: Callable[[str], Awaitable[bool]]) -> None:
        self._take = take

    @Operation(
        "POST /callbacks/{token}",
        chapters.PICTURES,
        "Upstream's own call",
        "Only upstream calls here, at addresses that it was told.",
        path_words={"token": "What the address was made with."},
        errors=(NotFound,),
    )
    async def called(self, request: Request) -> Response:
        if not await self._take(request.path_params["token"]):
            raise NotFound("There is nothing to call here.")
        return Response(status_code=200)
