"""All that costs nothing: models, the usage report, pictures behind links, the bill for tests."""

from collections.abc import Iterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.sandbox.openai.gate import AZURE_V1, OPENAI, require_admin_key, require_key, style_of
from gateway.sandbox.openai.models import Model
from gateway.sandbox.openai.refusals import FAILURES, RefusedError
from gateway.sandbox.openai.state import OpenAIState
from gateway.sandbox.openai.usage import read_query, report
from gateway.sandbox.studio import Studio

_LINES = 1_000


class BesideApi:
    """Routes that make nothing."""

    def __init__(self, state: OpenAIState, studio: Studio) -> None:
        self._state = state
        self._studio = studio

    def routes(self) -> list[Route]:
        return [
            *(Route(f"{base}/models", self.models, methods=["GET"]) for base in _BASES),
            *(Route(f"{base}/models/{{name}}", self.model, methods=["GET"]) for base in _BASES),
            Route(f"{OPENAI}/organization/usage/images", self.usage, methods=["GET"]),
            Route("/sandbox/pictures/{name}", self.picture, methods=["GET"]),
            Route("/sandbox/bill", self.bill, methods=["GET"]),
        ]

    async def models(self, request: Request) -> Response:
        """GET /v1/models: a key may list a model and still be refused for it."""
        require_key(request, self._state, style_of(request.url.path))
        data = [_model_json(name, model) for name, model in self._listed()]
        return _json({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/{name}."""
        require_key(request, self._state, style_of(request.url.path))
        for name, model in self._listed():
            if name == request.path_params["name"]:
                return _json(_model_json(name, model))
        raise RefusedError(FAILURES["model_not_found"])

    async def usage(self, request: Request) -> Response:
        """GET /v1/organization/usage/images: what was done, by time; with an admin key."""
        require_admin_key(request)
        now = self._state.clock()
        query = read_query(request.query_params, now)
        newest = now - self._state.options.usage_delay_seconds
        lines = [line for line in self._state.bill.lines() if line.at <= newest]
        return _json(report(lines, query))

    async def picture(self, request: Request) -> Response:
        """GET /sandbox/pictures/{name}: a picture that was answered as a link."""
        picture = self._state.linked(request.path_params["name"])
        if picture is None:
            return PlainTextResponse("not found", 404)
        content = await self._studio.picture(picture)
        return Response(content, media_type=f"image/{picture.output_format}")

    async def bill(self, request: Request) -> Response:
        """GET /sandbox/bill: what every key owes and what was asked so far, for tests."""
        lines = request.query_params.get("lines", "")
        state = self._state
        return _json(
            {
                **state.bill.as_json(int(lines) if lines.isdecimal() else _LINES),
                "requests": state.image_requests,
                "open_now": state.open_now,
                "most_open": state.most_open,
                "under_way": state.under_way,
                "links": list(state.links.noted),
            }
        )

    def _listed(self) -> Iterator[tuple[str, Model]]:
        for name, model in self._state.models.items():
            if name not in self._state.options.denied_models:
                yield name, model


_BASES = (OPENAI, AZURE_V1)


def _model_json(name: str, model: Model) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": "system",
        "shutdown_date": model.shutdown_date,
    }


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
