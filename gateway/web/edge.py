"""The outermost layer, plain ASGI: what is true of every request and every answer.

A request id, timings, one metric, no stack trace ever. Base URLs are given with and without `/v1`
and with and without a slash at their end: doubles of both are taken for one, without a redirect.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.ids import new_request_id

log = structlog.get_logger("gateway.http")

UPSTREAM_SECONDS: Final = "gateway.upstream_seconds"
"""Scope key: how long the endpoint waited for upstream, in seconds."""

REQUEST_ID: Final = "gateway.request_id"
"""Scope key: the id that the answer carries as `X-Request-Id`."""

ANSWER_HEADERS: Final = "gateway.answer_headers"
"""Scope key: headers of the answer, whatever it will be: also of an error."""

CountRequest = Callable[[str, str, int, float, float], None]
"""Told of each answer: route template, method, status, its seconds, and how many were ours."""

UNKNOWN_ROUTE: Final = "unknown"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SLASHES: Final = re.compile(r"//+")
_DOUBLED: Final = re.compile(r"^(/openai)?(?:/v1)+(?=/v1/)")
_PAGES: Final = ("/console", "/docs")
"""Their addresses are relative to where they are: a slash at the end is another place."""


@dataclass(frozen=True, slots=True)
class EdgeDeps:
    """`templates` maps what serves to its route template; `defect` answers where it raised."""

    templates: Mapping[object, str]
    http_request: CountRequest
    defect: Callable[[Request], Response]


class Edge:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, deps: EdgeDeps) -> None:
        self._app = app
        self._deps = deps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        scope["path"] = folded(scope["path"])
        scope[REQUEST_ID] = request_id = _request_id(scope)
        status = 0

        async def send_stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _stamp(message, scope, start)
            await send(message)

        # Each request is a task of its own: what is bound here ends with it.
        structlog.contextvars.bind_contextvars(request=request_id)
        try:
            await self._app(scope, receive, send_stamped)
        except Exception:
            log.exception("request failed", path=scope["path"])
            if not status:
                await self._deps.defect(Request(scope))(scope, receive, send_stamped)
        finally:
            self._count(scope, status or 500, time.perf_counter() - start)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._deps.templates.get(scope.get("endpoint"), UNKNOWN_ROUTE)
        ours = max(0.0, seconds - scope.get(UPSTREAM_SECONDS, 0.0))
        self._deps.http_request(route, scope["method"], status, seconds, ours)


def _request_id(scope: Scope) -> str:
    """The client's own, where it can be one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            return given if _REQUEST_ID.fullmatch(given) else new_request_id()
    return new_request_id()


def add_upstream_seconds(request: Request, seconds: float) -> None:
    """Counts this time as upstream's and not as ours."""
    request.scope[UPSTREAM_SECONDS] = request.scope.get(UPSTREAM_SECONDS, 0.0) + seconds


def answer_with(request: Request, headers: Mapping[str, str]) -> None:
    """The answer to this request carries these headers, which take the place of former ones."""
    request.scope[ANSWER_HEADERS] = headers


def folded(path: str) -> str:
    """The path as it was meant: `//v1//v1/models/` is `/v1/models`."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    if path.endswith("/") and path != "/" and not path.startswith(_PAGES):
        path = path[:-1]
    return _DOUBLED.sub(r"\1", path) if "/v1/v1/" in path else path


def _stamp(message: Message, scope: Scope, start: float) -> None:
    """Nobody else says these: they need not be looked for among those that there are."""
    total = time.perf_counter() - start
    upstream = scope.get(UPSTREAM_SECONDS, 0.0)
    ours = max(0.0, total - upstream)
    timing = f"gateway;dur={ours * 1000:.1f}, upstream;dur={upstream * 1000:.1f}"
    told = [(b"x-request-id", scope[REQUEST_ID].encode()), (b"server-timing", timing.encode())]
    if not any(name == b"cache-control" for name, _ in message["headers"]):
        told.append((b"cache-control", b"no-store"))
    for name, value in scope.get(ANSWER_HEADERS, {}).items():
        told.append((name.lower().encode(), value.encode()))
    message["headers"] = [*message["headers"], *told]  # the answer's own list may serve again
