"""The sandbox as one ASGI application: API, file API and file host on one port."""

import contextlib
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

from gateway.sandbox.answers import Cut, RefusedError, invalid_url, no_channel
from gateway.sandbox.callbacks import Callbacks
from gateway.sandbox.files_api import FilesApi
from gateway.sandbox.images_api import ImagesApi
from gateway.sandbox.links import FileHost
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.state import SandboxState, SeenRequest
from gateway.sandbox.studio import Studio

_API_PREFIXES = ("/v1/", "/api/")


def build_sandbox(options: SandboxOptions, *, clock: Callable[[], float] = time.time) -> Starlette:
    """A simulated EvoLink, whose `app.state.sandbox` is its `SandboxState`.

    `clock` gives Unix seconds.
    """
    state = SandboxState(options, clock)
    studio = Studio(threads=options.drawing_threads, cache_bytes=options.picture_cache_bytes)
    callbacks = Callbacks(state)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await callbacks.close()
        studio.close()

    app = Starlette(
        routes=[
            *ImagesApi(state, callbacks).routes(),
            *FilesApi(state).routes(),
            *FileHost(state, studio).routes(),
        ],
        middleware=[Middleware(_Reception, state=state)],
        exception_handlers={RefusedError: _refused, HTTPException: _no_route},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.sandbox = state
    return app


class _Reception:
    """Notes every request, turns all away while the sandbox is down, and numbers the answers."""

    def __init__(self, app: ASGIApp, state: SandboxState) -> None:
        self._app = app
        self._state = state
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._note(scope)
        if self._state.down and scope["path"].startswith(_API_PREFIXES):
            away = Cut() if self._state.down_mode == "cut" else no_channel()
            await away(scope, receive, send)
            return
        self._count += 1
        request_id = f"{int(self._state.clock())}{self._count:010d}"

        async def numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Oneapi-Request-Id"] = request_id
            await send(message)

        await self._app(scope, receive, numbered)

    def _note(self, scope: Scope) -> None:
        headers = tuple(scope["headers"])
        seen = SeenRequest(scope["method"], scope["path"], headers, self._state.clock())
        self._state.requests.append(seen)
        for name, value in headers:
            if name == b"authorization":
                self._state.keys_seen.add(value.decode("latin-1"))


async def _refused(_request: Request, error: Exception) -> Response:
    return cast(RefusedError, error).answer()


async def _no_route(request: Request, _error: Exception) -> Response:
    return invalid_url(request.method, request.url.path)
