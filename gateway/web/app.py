"""The composition: which path leads where, and how errors leave the gateway."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.core.policy import Current
from gateway.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.web.calls import ALWAYS, Confirmed, let_in
from gateway.web.cors import Cors
from gateway.web.dialects import dialect_of
from gateway.web.edge import UPSTREAM_SECONDS, CountRequest, Edge, EdgeDeps
from gateway.web.evolink.prefer import ClientGone
from gateway.web.openai import endpoints as openai
from gateway.web.openai.errors import right_base_url
from gateway.web.operation import Endpoint, Handler, Operation


def build_app(
    endpoints: Sequence[Endpoint],
    *,
    current: Current,
    http_request: CountRequest,
    confirmed: Confirmed = ALWAYS,
) -> ASGIApp:
    """The ASGI application. `http_request` is told of each answer."""

    answers = ErrorAnswers(current)
    served = [
        (one.operation, Served(let_in(one, current, confirmed), answers)) for one in endpoints
    ]
    app = Application([_route(operation, each) for operation, each in served], answers)
    templates: dict[object, str] = {each: operation.path for operation, each in served}
    edge = EdgeDeps(templates=templates, http_request=http_request, defect=answers.defect)
    return Edge(Cors(app, current), edge)


class Application:
    """The routes, and what is said where none fits.

    Starlette's own application has two layers around each request that look for errors, and a
    third around each endpoint: a sixth of the time of an answer that is held ready. Here an error
    is answered where it is known, by `Served`, and a defect at the edge. Its router tries one path
    after the other, half a microsecond each; here only those that begin as the request's does, and
    none where the path has no variable: then it is looked up.
    """

    def __init__(self, routes: Sequence[Route], answers: ErrorAnswers) -> None:
        self._plain = {
            (method, route.path): route.app
            for route in routes
            for method in route.methods or ()
            if "{" not in route.path
        }
        starts = dict.fromkeys(_start(route.path) for route in routes)
        self._routers = {
            start: _router([route for route in routes if _start(route.path) == start])
            for start in starts
        }
        self._unknown = _router(())
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # then the router raises what it would answer itself
        served = self._plain.get((scope.get("method", ""), scope.get("path", "")))
        if served is not None:
            scope["endpoint"], scope["path_params"] = served, {}
            await served(scope, receive, send)
            return
        router = self._routers.get(_start(scope.get("path", "")), self._unknown)
        try:
            await router(scope, receive, send)
        except HTTPException as error:
            request = Request(scope, receive, send)
            answer = self._answers.unrouted(request, error, router.routes)
            await answer(scope, receive, send)


def _start(path: str) -> str:
    """The first word of a path; a route never has a variable there."""
    return path[1:].partition("/")[0]


def _router(routes: Sequence[Route]) -> Router:
    return Router(routes, redirect_slashes=False)  # clients here refuse redirects


class Served:
    """An endpoint as an application: its answer, or that of the error that it raises."""

    def __init__(self, serve: Handler, answers: ErrorAnswers) -> None:
        self._serve = serve
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            answer = await self._serve(request)
        except GatewayError as error:
            answer = self._answers.gateway_error(request, error)
        except ClientGone:
            answer = Response(status_code=499)  # nobody reads it; the status is for the metrics
        await answer(scope, receive, send)


def _route(operation: Operation, served: ASGIApp) -> Route:
    return Route(operation.path, served, methods=[operation.method])


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

    def gateway_error(self, request: Request, error: GatewayError) -> Response:
        waited = request.scope.get(UPSTREAM_SECONDS, 0.0)
        request.scope[UPSTREAM_SECONDS] = max(error.upstream_seconds, waited)
        return self._told(request, error)

    def unrouted(
        self, request: Request, error: HTTPException, routes: Sequence[BaseRoute]
    ) -> Response:
        """The router's own words for an unknown path or method, in upstream's shape."""
        where = f"{request.method} {request.url.path[:200]}"
        if error.status_code == 405:
            answer = self._told(
                request, MethodNotAllowed(f"This path does not take {request.method} ({where}).")
            )
            answer.headers["Allow"] = ", ".join(_methods(request, routes))
            return answer
        message = f"Invalid URL ({where})"
        if openai.is_meant(request):
            message += f". {right_base_url(self._current.policy.public_url)}"
        return self._told(request, NotFound(message))

    def defect(self, request: Request) -> Response:
        """A defect of ours: logged in full by the edge, shown without a word about its inside."""
        return self._told(
            request, GatewayError("The gateway failed on this request; its log says why.")
        )

    def _told(self, request: Request, error: GatewayError) -> Response:
        dialect = dialect_of(request.scope["path"])
        return dialect.answer(error, self._current.policy.public_url)


def _methods(request: Request, routes: Sequence[BaseRoute]) -> Sequence[str]:
    """What the path takes; the router itself names only those of the first route that has it."""
    fitting = [
        one
        for one in routes
        if isinstance(one, Route) and one.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for route in fitting for method in route.methods or ()})
