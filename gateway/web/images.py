"""The mirrored endpoints: take an order, tell of a task."""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.core.policy import Current
from gateway.errors import InvalidRequest, InvalidTaskId, RequestTooLarge
from gateway.service import Service
from gateway.web import wire
from gateway.web.auth import team_of
from gateway.web.edge import UPSTREAM_SECONDS

BODY_SECONDS: Final = 30.0
"""A client that needs longer for its request's body is not going to finish it."""

TASK_PREFIX: Final = "task-unified-"


class Images:
    """`POST /v1/images/generations` and `GET /v1/tasks/{task_id}`."""

    def __init__(self, service: Service, current: Current) -> None:
        self._service = service
        self._current = current

    async def generate(self, request: Request) -> Response:
        policy = self._current.policy
        team = team_of(request, policy)
        body = parse(await read_body(request, policy.body_limit_bytes))
        freshness = wire.read_freshness(request.headers)
        answer = await self._service.submit(team, body, freshness)
        request.scope[UPSTREAM_SECONDS] = answer.upstream_seconds
        task = wire.task_object(answer.job, answer.run, policy.public_url)
        return _json(wire.to_json(task), wire.cache_status(answer.decision, freshness))

    async def task(self, request: Request) -> Response:
        policy = self._current.policy
        team = team_of(request, policy)
        task_id = request.path_params["task_id"]
        if not task_id.startswith(TASK_PREFIX):
            raise InvalidTaskId(f"A task id starts with '{TASK_PREFIX}'.", param="task_id")
        found = await self._service.status(team, task_id)
        return _json(wire.to_json(wire.task_object(found.job, found.run, policy.public_url)))


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body, counted while it comes in. Raises `RequestTooLarge`."""
    too_large = RequestTooLarge(f"The body may have at most {limit_bytes} bytes.")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit_bytes:
                    raise too_large
    except (TimeoutError, ClientDisconnect):
        raise InvalidRequest("The body did not arrive in time.") from None
    return bytes(body)


def parse(body: bytes) -> object:
    """The body's JSON. Raises `InvalidRequest`."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None


def _json(body: bytes, cache_status: str | None = None) -> Response:
    headers = {"Cache-Status": cache_status} if cache_status else None
    return Response(body, media_type="application/json", headers=headers)
