"""The composition: which path leads where, and how errors leave the house."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from gateway.core.policy import Current
from gateway.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.ports.observer import Observer
from gateway.web.cors import Cors
from gateway.web.edge import UPSTREAM_SECONDS, Edge
from gateway.web.evolink import files, wire
from gateway.web.evolink.account import AccountPages
from gateway.web.evolink.files import FilesApi
from gateway.web.evolink.images import Images
from gateway.web.evolink.prefer import ClientGone
from gateway.web.evolink.tasks import TaskLists
from gateway.web.monitoring import Operations
from gateway.web.openai import endpoints as openai
from gateway.web.openai.endpoints import OpenAI
from gateway.web.openai.errors import right_base_url
from gateway.web.pictures import KeptPictures
from gateway.web.upstream_callbacks import Hints

log = structlog.get_logger("gateway.http")


class Section(Protocol):
    """A part of the house with paths of its own."""

    def routes(self) -> list[Route]: ...


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What answers. `sections` are the operator's and the team's pages."""

    images: Images
    files: FilesApi
    tasks: TaskLists
    enquiries: AccountPages
    openai: OpenAI
    pictures: KeptPictures
    operations: Operations
    hints: Hints
    sections: Sequence[Section] = ()


def build_app(
    endpoints: Endpoints,
    *,
    current: Current,
    observer: Observer,
    http_request: Callable[[str, str, int, float], None],
) -> ASGIApp:
    """The ASGI application. `http_request` counts one: route template, method, status, seconds."""

    async def unrouted(request: Request, error: Exception) -> Response:
        return _http_exception(request, error, current.policy.public_url)

    listed = routes(endpoints)
    app = Starlette(
        routes=listed,
        exception_handlers={
            GatewayError: _gateway_error,
            ClientGone: _client_gone,
            HTTPException: unrouted,
            Exception: _defect,
        },
    )
    app.router.redirect_slashes = False  # clients here refuse redirects
    templates: dict[object, str] = {route.endpoint: route.path for route in listed}
    opened = Cors(app, current)
    return Edge(opened, templates=templates, observer=observer, http_request=http_request)


def routes(to: Endpoints) -> list[Route]:
    """Every path of the public surface."""
    return [
        Route("/v1/images/generations", to.images.generate, methods=["POST"]),
        Route("/v1/tasks/{task_id}", to.images.task, methods=["GET"]),
        Route("/v1/tasks", to.tasks.page, methods=["GET"]),
        Route("/v1/tasks/batch", to.tasks.batch, methods=["POST"]),
        Route("/v1/images/estimate", to.enquiries.estimate, methods=["POST"]),
        Route("/v1/credits", to.enquiries.credits, methods=["GET"]),
        Route("/v1/models", to.enquiries.models, methods=["GET"]),
        Route(f"{files.BASE}/upload/base64", to.files.upload_base64, methods=["POST"]),
        Route(f"{files.BASE}/upload/stream", to.files.upload_stream, methods=["POST"]),
        Route(f"{files.BASE}/upload/url", to.files.upload_url, methods=["POST"]),
        Route(f"{files.BASE}/list", to.files.list_files, methods=["GET"]),
        Route(f"{files.BASE}/quota", to.files.quota, methods=["GET"]),
        Route(f"{files.BASE}/{{file_id}}", to.files.delete, methods=["DELETE"]),
        Route("/openai/v1/images/generations", to.openai.generate, methods=["POST"]),
        Route("/openai/v1/images/edits", to.openai.edit, methods=["POST"]),
        Route("/openai/v1/models", to.openai.models, methods=["GET"]),
        Route("/openai/v1/models/{model}", to.openai.model, methods=["GET"]),
        Route("/pictures/{name}", to.pictures.picture, methods=["GET"]),
        Route("/callbacks/{token}", to.hints.called, methods=["POST"]),
        Route("/healthz", to.operations.healthz, methods=["GET"]),
        Route("/readyz", to.operations.readyz, methods=["GET"]),
        Route("/metrics", to.operations.metrics, methods=["GET"]),
        *(route for section in to.sections for route in section.routes()),
    ]


async def _gateway_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, GatewayError):
        raise error
    waited = request.scope.get(UPSTREAM_SECONDS, 0.0)
    request.scope[UPSTREAM_SECONDS] = max(error.upstream_seconds, waited)
    return _answer(request, error)


async def _client_gone(_: Request, __: Exception) -> Response:
    """Nobody reads this answer; the status is for the metrics."""
    return Response(status_code=499)


def _http_exception(request: Request, error: Exception, public_url: str) -> Response:
    """The router's own words for an unknown path or method, in upstream's shape."""
    where = f"{request.method} {request.url.path[:200]}"
    if isinstance(error, HTTPException) and error.status_code == 405:
        answer = _answer(
            request, MethodNotAllowed(f"This path does not take {request.method} ({where}).")
        )
        answer.headers["Allow"] = ", ".join(_methods(request))
        return answer
    message = f"Invalid URL ({where})"
    if openai.is_meant(request):
        message += f". {right_base_url(public_url)}"
    return _answer(request, NotFound(message))


def _methods(request: Request) -> Sequence[str]:
    """What the path takes; the router itself names only those of the first route that has it."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    fitting = [one for one in routes if one.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in fitting for method in route.methods or ()})


async def _defect(request: Request, _: Exception) -> Response:
    """A defect of ours: logged in full by the edge, shown without a word about its inside."""
    return _answer(request, GatewayError("The gateway failed on this request; its log says why."))


def _answer(request: Request, error: GatewayError) -> Response:
    if files.is_files(request.scope["path"]):
        return files.error_answer(error)
    if openai.is_openai(request.scope["path"]):
        return openai.error_answer(error)
    return Response(
        wire.error_body(error),
        status_code=error.status,
        headers=wire.error_headers(error),
        media_type="application/json",
    )
