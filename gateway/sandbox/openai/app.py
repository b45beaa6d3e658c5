"""The simulated OpenAI as one ASGI application: both vendors' addresses on one port."""

import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.sandbox.answers import Cut
from gateway.sandbox.openai.beside_api import BesideApi
from gateway.sandbox.openai.gate import key_in, style_of
from gateway.sandbox.openai.images_api import ImagesApi
from gateway.sandbox.openai.options import OpenAIOptions
from gateway.sandbox.openai.refusals import FAILURES, RefusedError, no_route
from gateway.sandbox.openai.state import OpenAIState
from gateway.sandbox.openai.workshop import Workshop
from gateway.sandbox.state import SeenRequest
from gateway.sandbox.studio import Studio

_API_PREFIXES = ("/v1/", "/openai/")
_ENDS = ("/images/generations", "/images/edits")
_VERSION = "2020-10-01"


def build_openai(options: OpenAIOptions, *, clock: Callable[[], float] = time.time) -> Starlette:
    """A simulated OpenAI, whose `app.state.sandbox` is its `OpenAIState`.

    `clock` gives Unix seconds; how long work takes is real time.
    """
    state = OpenAIState(options, clock)
    studio = Studio(threads=options.drawing_threads, cache_bytes=options.picture_cache_bytes)
    workshop = Workshop(state, studio)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await workshop.close()
        studio.close()

    app = Starlette(
        routes=[*ImagesApi(state, workshop).routes(), *BesideApi(state, studio).routes()],
        middleware=[Middleware(_Reception, state=state)],
        exception_handlers={RefusedError: _refused, HTTPException: _no_route},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.sandbox = state
    return app


class _Reception:
    """Notes and counts every request, turns all away while the service is down, and gives every
    answer its headers."""

    def __init__(self, app: ASGIApp, state: OpenAIState) -> None:
        self._app = app
        self._state = state
        self._ids = random.Random(f"{state.options.seed}:requests")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        is_for_pictures = path.endswith(_ENDS)
        if not path.startswith("/sandbox/"):
            headers = tuple(scope["headers"])
            seen = SeenRequest(scope["method"], path, headers, self._state.clock())
            self._state.requests.append(seen)
        if is_for_pictures:
            self._state.opened()
        try:
            await self._answer(scope, receive, send)
        finally:
            if is_for_pictures:
                self._state.closed()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.monotonic()
        style = style_of(scope["path"])
        request_id = f"req_{self._ids.getrandbits(128):032x}"
        scope["sandbox_request_id"] = request_id
        key = key_in(Request(scope), style) or ""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in self._state.pace.headers(key).items():
                    headers[name] = value
                if style.is_azure:
                    headers["apim-request-id"] = request_id.removeprefix("req_")
                else:
                    headers["openai-processing-ms"] = str(round((time.monotonic() - begun) * 1000))
                    headers["openai-organization"] = "org-sandbox"
                    headers["openai-version"] = _VERSION
            await send(message)

        if self._state.down and scope["path"].startswith(_API_PREFIXES):
            away = FAILURES["server_is_overloaded"].answer(style)
            if self._state.down_mode == "cut":
                away = Cut()
            await away(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


async def _refused(request: Request, error: Exception) -> Response:
    refused = cast(RefusedError, error)
    style = style_of(request.url.path)
    is_compatible = request.app.state.sandbox.options.compatible
    return refused.refusal.answer(style, is_detail=refused.is_detail or is_compatible)


async def _no_route(request: Request, _error: Exception) -> Response:
    return await _refused(request, no_route(request.method, request.url.path))
