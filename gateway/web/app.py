"""The composition: which path leads where, and how errors leave the house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.ports import Observer
from gateway.web import wire
from gateway.web.edge import UPSTREAM_SECONDS, Edge
from gateway.web.images import Images
from gateway.web.operations import Operations
from gateway.web.pictures import KeptPictures

log = structlog.get_logger("gateway.http")


@dataclass(frozen=True, slots=True)
class Endpoints:
    images: Images
    pictures: KeptPictures
    operations: Operations


def build_app(
    endpoints: Endpoints,
    *,
    observer: Observer,
    http_request: Callable[[str, str, int, float], None],
) -> ASGIApp:
    """The ASGI application. `http_request` counts one: route template, method, status, seconds."""
    listed = routes(endpoints)
    app = Starlette(
        routes=listed,
        exception_handlers={
            GatewayError: _gateway_error,
            HTTPException: _http_exception,
            Exception: _defect,
        },
    )
    app.router.redirect_slashes = False  # clients here refuse redirects
    templates: dict[object, str] = {route.endpoint: route.path for route in listed}
    return Edge(app, templates=templates, observer=observer, http_request=http_request)


def routes(to: Endpoints) -> list[Route]:
    """Every path of the public surface."""
    return [
        Route("/v1/images/generations", to.images.generate, methods=["POST"]),
        Route("/v1/tasks/{task_id}", to.images.task, methods=["GET"]),
        Route("/pictures/{name}", to.pictures.picture, methods=["GET"]),
        Route("/healthz", to.operations.healthz, methods=["GET"]),
        Route("/readyz", to.operations.readyz, methods=["GET"]),
        Route("/metrics", to.operations.metrics, methods=["GET"]),
    ]


async def _gateway_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, GatewayError):
        raise error
    request.scope[UPSTREAM_SECONDS] = error.upstream_seconds
    return _answer(error)


async def _http_exception(request: Request, error: Exception) -> Response:
    """The router's own words for an unknown path or method, in upstream's shape."""
    where = f"{request.method} {request.url.path[:200]}"
    if isinstance(error, HTTPException) and error.status_code == 405:
        answer = _answer(MethodNotAllowed(f"This path does not take {request.method} ({where})."))
        answer.headers.update(error.headers or {})
        return answer
    return _answer(NotFound(f"Invalid URL ({where})"))


async def _defect(_: Request, __: Exception) -> Response:
    """A defect of ours: logged in full by the edge, shown without a word about its inside."""
    return _answer(GatewayError("The gateway failed on this request; its log says why."))


def _answer(error: GatewayError) -> Response:
    return Response(
        wire.error_body(error),
        status_code=error.status,
        headers=wire.error_headers(error),
        media_type="application/json",
    )
