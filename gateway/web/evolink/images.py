"""The mirrored endpoints: take an order, tell of a task."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.core.model import Task
from gateway.core.orders.admission import Replayed
from gateway.core.policy import Current
from gateway.errors import InvalidRequest, InvalidTaskId
from gateway.ports.clock import Clock
from gateway.services.orders import Answer, Orders
from gateway.services.tasks import Tasks
from gateway.web.auth import team_of
from gateway.web.body import Bodies
from gateway.web.edge import REQUEST_ID, UPSTREAM_SECONDS
from gateway.web.evolink import prefer, wire
from gateway.web.evolink.prefer import Wait
from gateway.web.openai.errors import WrongBaseUrl

TASK_PREFIX: Final = "task-unified-"
OPENAI_SDK: Final = "x-stainless-lang"
"""OpenAI's clients name their language in this header."""

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Images:
    """`POST /v1/images/generations` and `GET /v1/tasks/{task_id}`."""

    def __init__(
        self,
        service: Orders,
        tasks: Tasks,
        current: Current,
        bodies: Bodies,
        clock: Clock = time.time,
    ) -> None:
        self._service = service
        self._bodies = bodies
        self._tasks = tasks
        self._current = current
        self._clock = clock

    async def generate(self, request: Request) -> Response:
        policy = self._current.policy
        team = team_of(request, self._current)
        request_id = request.scope[REQUEST_ID]
        with self._service.reading(team, request_id):
            if OPENAI_SDK in request.headers and not policy.openai_sdk_on_v1:
                raise WrongBaseUrl(policy.public_url)
            wait = prefer.read_wait(request)
            key = read_key(request)
            body = await self._bodies.read_json(request, policy.body_limit_bytes, team.name)
            freshness = wire.read_freshness(request.headers)
        answer = await self._service.submit(team, body, freshness, key=key, request_id=request_id)
        request.scope[UPSTREAM_SECONDS] = answer.upstream_seconds
        headers = decision_headers(answer)
        if wait is None:
            return self._answer(answer.task, headers)
        task, applied = await self._waited(request, answer.task, wait)
        return self._answer(task, {**headers, **applied})

    async def task(self, request: Request) -> Response:
        wait = prefer.read_wait(request)
        team = team_of(request, self._current)
        task_id = request.path_params["task_id"]
        if not task_id.startswith(TASK_PREFIX):
            raise InvalidTaskId(f"A task id starts with '{TASK_PREFIX}'.", param="task_id")
        found = await self._tasks.status(team, task_id)
        if wait is None:
            return self._answer(found, {})
        return self._answer(*await self._waited(request, found, wait))

    async def _waited(
        self, request: Request, task: Task, wait: Wait
    ) -> tuple[Task, Mapping[str, str]]:
        """The task once it has ended or the client's time is over, and what to say of that."""
        if not (task.run.is_final or self._tasks.may_wait(task.job.team)):
            return task, {}
        if not task.run.is_final:
            start = time.perf_counter()
            async with prefer.while_connected(request):
                task = await self._tasks.ended(task, wait.left_seconds)
            waited = time.perf_counter() - start
            request.scope[UPSTREAM_SECONDS] = request.scope.get(UPSTREAM_SECONDS, 0.0) + waited
        return task, {"Preference-Applied": wait.applied}

    def _answer(self, task: Task, headers: Mapping[str, str]) -> Response:
        body = wire.task_body(task.job, task.run, self._current.policy.public_url)
        soon = prefer.retry_after(task.run, self._clock())
        return Response(body, media_type="application/json", headers={**headers, **soon})


def decision_headers(answer: Answer) -> Mapping[str, str]:
    """How the order was decided: by the cache, or by its idempotency key."""
    if isinstance(answer.decision, Replayed):
        return {"Idempotency-Replayed": "true"}
    status = wire.cache_status(answer.decision, answer.freshness, ignored=answer.ignored)
    return {"Cache-Status": status}


def read_key(request: Request) -> str | None:
    """The request's `Idempotency-Key`. Raises `InvalidRequest` for one that is none."""
    keys = request.headers.getlist(IDEMPOTENCY_KEY)
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise InvalidRequest(
            f"'{IDEMPOTENCY_KEY}' must be one key of 1 to 255 visible ASCII characters.",
            param=IDEMPOTENCY_KEY,
        )
    return keys[0]
