"""`/`: a person's browser is led to the console, a program is told where things are.

The redirect is relative, so that it holds below whatever path a proxy serves the gateway at. Only
pages for people are ever redirected; the API is not.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from gateway import __version__
from gateway.core.policy import Current
from gateway.web.chapters import WATCHING
from gateway.web.operation import Header, Operation
from gateway.web.responses import json_response

PAGES: Final = "text/html"
_ANYTHING: Final = ("*/*", "application/*", "application/json")


class RootShape(TypedDict):
    """Where things are."""

    name: str
    version: str
    api: str
    openai: str
    docs: str
    console: str


class Root:
    def __init__(self, current: Current) -> None:
        self._current = current

    @Operation(
        "GET /",
        WATCHING,
        "Where things are",
        headers=(Header("Accept", "What prefers `text/html`, as browsers do, is redirected."),),
        answer=RootShape,
        other_answers={307: "A browser is led to the console."},
    )
    async def root(self, request: Request) -> Response:
        if prefers_pages(request.headers.get("accept", "")):
            return Response(status_code=307, headers={"Location": "console", "Vary": "Accept"})
        base = self._current.policy.public_url
        found: RootShape = {
            "name": "image-gateway",
            "version": __version__,
            "api": f"{base}/v1",
            "openai": f"{base}/openai/v1",
            "docs": f"{base}/docs",
            "console": f"{base}/console",
        }
        answer = json_response(found)
        answer.headers["Vary"] = "Accept"
        return answer


def prefers_pages(accept: str) -> bool:
    """Whether a page is named and liked more than JSON (RFC 9110, 12.5.1)."""
    liked = dict(_quality(one) for one in accept.split(","))
    pages = liked.get(PAGES, 0.0)
    named = [liked[kind] for kind in reversed(_ANYTHING) if kind in liked]
    return pages > 0 and pages >= next(iter(named), 0.0)


def _quality(media: str) -> tuple[str, float]:
    """The media range, and how much it is liked; 0 for what cannot be read."""
    kind, *parameters = (part.strip().lower() for part in media.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return kind, float(value)
            except ValueError:
                return kind, 0.0
    return kind, 1.0
