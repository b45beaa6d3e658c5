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
    """`run_of` gives the id of the run behind a token, None where it is not one of ours."""

    def __init__(
        self, run_of: Callable[[str], str | None], hint: Callable[[str], Awaitable[None]]
    ) -> None:
        self._run_of = run_of
        self._hint = hint

    @Operation(
        "POST /callbacks/{token}",
        chapters.PICTURES,
        "Upstream's own call",
        "Only upstream calls here, at addresses that it was told.",
        path_words={"token": "What the address was made with."},
        errors=(NotFound,),
    )
    async def called(self, request: Request) -> Response:
        run_id = self._run_of(request.path_params["token"])
        if run_id is None:
            raise NotFound("There is nothing to call here.")
        await self._hint(run_id)
        return Response(status_code=200)
