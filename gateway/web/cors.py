"""Who may read answers from a page in a browser (CORS).

Pictures need no key, so every page may read them. The API may be called from the pages of the
origins that the settings name, and no others: a key that stands in a page is everybody's.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.policy import Current
from gateway.web.receipts import RECEIPT

PICTURES: Final = "/pictures/"
PREFLIGHT_SECONDS: Final = 86_400
"""How long a browser may remember what it was allowed; browsers cut this to hours themselves."""

PICTURE_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Content-Length, Content-Range, Accept-Ranges",
}
EXPOSED: Final = (
    *(header.name for header in RECEIPT),
    "Accept-Encoding",
    "Cache-Status",
    "Content-Disposition",
    "ETag",
    "Idempotency-Replayed",
    "Preference-Applied",
    "Retry-After",
    "Server-Timing",
    "X-Request-Id",
    "X-Should-Retry",
)
"""What a page may see of an answer beside what every page sees."""


class Cors:
    """Wraps the application. It says of pictures always whose they are, also in refusals: a copy
    that a cache has made for a request without `Origin` must serve one with it."""

    def __init__(self, app: ASGIApp, current: Current) -> None:
        self._app = app
        self._current = current
        self._named = _NamedOrigins(app, current)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PICTURES):
            # Without named origins the API says nothing of origins, not even a refusal.
            app = self._named if self._current.policy.cors_origins else self._app
            await app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await _picture_preflight()(scope, receive, send)
        else:
            await self._app(scope, receive, _open_to_all(send))


def _open_to_all(send: Send) -> Send:
    async def send_open(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(PICTURE_HEADERS)
        await send(message)

    return send_open


def _picture_preflight() -> Response:
    headers = {
        **PICTURE_HEADERS,
        "Access-Control-Allow-Methods": "GET, HEAD",
        "Access-Control-Allow-Headers": "*",
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        "Allow": "GET, HEAD, OPTIONS",
    }
    return Response(status_code=204, headers=headers)


class _NamedOrigins(CORSMiddleware):
    """Starlette's own, for the origins of the policy in force."""

    def __init__(self, app: ASGIApp, current: Current) -> None:
        super().__init__(
            app,
            allow_methods=("GET", "HEAD", "POST", "PATCH", "DELETE"),
            allow_headers=("*",),
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_SECONDS,
        )
        self._current = current

    def is_allowed_origin(self, origin: str) -> bool:
        return origin in self._current.policy.cors_origins
