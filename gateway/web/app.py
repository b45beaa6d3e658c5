"""The composition: which path leads where, and how errors leave the gateway."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from gateway.core.policy import Current
from gateway.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.web.calls import ALWAYS, Confirmed, let_in
from gateway.web.cors import Cors
from gateway.web.dialects import dialect_of
from gateway.web.edge import UPSTREAM_SECONDS, CountRequest, Edge
from gateway.web.evolink.prefer import ClientGone
from gateway.web.openai import endpoints as openai
from gateway.web.openai.errors import right_base_url
from gateway.web.operation import Endpoint

log = structlog.get_logger("gateway.http")


def build_app(
    endpoints: Sequence[Endpoint],
    *,
    current: Current,
    http_request: CountRequest,
    confirmed: Confirmed = ALWAYS,
) -> ASGIApp:
    """The ASGI application. `http_request` is told of each answer."""

    answers = ErrorAnswers(current)
    served = [Endpoint(one.operation, let_in(one, current, confirmed)) for one in endpoints]
    app = Starlette(
        routes=routes(served),
        exception_handlers={
            GatewayError: answers.gateway_error,
            ClientGone: _client_gone,
            HTTPException: answers.unrouted,
            Exception: answers.defect,
        },
    )
    app.router.redirect_slashes = False  # clients here refuse redirects
    templates: dict[object, str] = {one.handler: one.operation.path for one in served}
    opened = Cors(app, current)
    return Edge(opened, templates=templates, http_request=http_request)


def routes(endpoints: Sequence[Endpoint]) -> list[Route]:
    return [
        Route(one.operation.path, one.handler, methods=[one.operation.method]) for one in endpoints
    ]


def labels(endpoints: Sequence[Endpoint]) -> Sequence[tuple[str, Collection[str]]]:
    """What the metrics tell requests apart by: route templates, each with methods it takes."""
    return [(route.path, route.methods or ()) for route in routes(endpoints)]


class ErrorAnswers:
    """How errors leave, in the shape of their path."""

    def __init__(self, current: Current) -> None:
        self._current = current

    async def gateway_error(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, GatewayError):
            raise error
        waited = request.scope.get(UPSTREAM_SECONDS, 0.0)
        request.scope[UPSTREAM_SECONDS] = max(error.upstream_seconds, waited)
        return self._told(request, error)

    async def unrouted(self, request: Request, error: Exception) -> Response:
        """The router's own words for an unknown path or method, in upstream's shape."""
        where = f"{request.method} {request.url.path[:200]}"
        if isinstance(error, HTTPException) and error.status_code == 405:
            answer = self._told(
                request, MethodNotAllowed(f"This path does not take {request.method} ({where}).")
            )
            answer.headers["Allow"] = ", ".join(_methods(request))
            return answer
        message = f"Invalid URL ({where})"
        if openai.is_meant(request):
            message += f". {right_base_url(self._current.policy.public_url)}"
        return self._told(request, NotFound(message))

    async def defect(self, request: Request, _: Exception) -> Response:
        """A defect of ours: logged in full by the edge, shown without a word about its inside."""
        return self._told(
            request, GatewayError("The gateway failed on this request; its log says why.")
        )

    def _told(self, request: Request, error: GatewayError) -> Response:
        dialect = dialect_of(request.scope["path"])
        return dialect.answer(error, self._current.policy.public_url)


async def _client_gone(_: Request, __: Exception) -> Response:
    """Nobody reads this answer; the status is for the metrics."""
    return Response(status_code=499)


def _methods(request: Request) -> Sequence[str]:
    """What the path takes; the router itself names only those of the first route that has it."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    fitting = [one for one in routes if one.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in fitting for method in route.methods or ()})
