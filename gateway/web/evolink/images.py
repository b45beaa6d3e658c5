"""The mirrored endpoints: take an order, tell of a task."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.core.addresses import MAX_URL_CHARACTERS
from gateway.core.catalog import Team
from gateway.core.model import Freshness, Task
from gateway.core.orders.admission import Replayed
from gateway.core.orders.receipt import Receipt, receipt
from gateway.core.policy import Current
from gateway.errors import (
    BudgetExhausted,
    GatewayError,
    GenerationTimeout,
    IdempotencyConflict,
    InvalidRequest,
    InvalidTaskId,
    ModelAccessDenied,
    NotCached,
    OutcomeUnknown,
    RateLimited,
    ResultLost,
    TaskNotFound,
    Unavailable,
    UpstreamError,
)
from gateway.ports.clock import Clock
from gateway.services.orders import Answer, Orders, Sent
from gateway.services.tasks import Tasks
from gateway.web.body import Bodies
from gateway.web.chapters import ORDERS
from gateway.web.edge import REQUEST_ID, add_upstream_seconds
from gateway.web.evolink import prefer, wire
from gateway.web.evolink.prefer import Wait
from gateway.web.evolink.tasks import TASK
from gateway.web.heads import has, lines
from gateway.web.openai.errors import WrongBaseUrl
from gateway.web.operation import Header, Operation
from gateway.web.receipts import RECEIPT, tell
from gateway.web.schema import INTEGER, STRING, Component, listed, open_object, text

TASK_PREFIX: Final = "task-unified-"
OPENAI_SDK: Final = "x-stainless-lang"
"""OpenAI's clients name their language in this header."""

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_NO_WISHES: Final = Freshness()
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

MOST_PICTURES: Final = 10
MOST_REFERENCES: Final = 16
"""What any model takes at most (`limits` in the settings); one may take less."""

N: Final = {**INTEGER, "minimum": 1, "maximum": MOST_PICTURES}

ORDER: Final = Component(
    "Order",
    {
        **open_object(
            {
                "model": text("One of `GET /v1/models`, or an alias of it."),
                "prompt": text("What to draw. The model's limit is in tokens.", minLength=1),
                "n": {**N, "default": 1, "description": "How many pictures."},
                "size": text("One of the model's sizes, such as `1:1` or `1024x1024`."),
                "quality": text("One of the model's qualities."),
                "resolution": text("One of the model's resolutions, such as `2K`."),
                "user": text("Whom the order is for: recorded, not forwarded."),
                "safety_identifier": text("The same."),
                "metadata": {"description": "What the order is for: recorded, not forwarded."},
                "image_urls": listed(
                    {**STRING, "maxLength": MAX_URL_CHARACTERS},
                    maxItems=MOST_REFERENCES,
                    description="Links to reference pictures, http or https: JPEG, PNG or WebP. A "
                    "name that ends like a document or a film is refused.",
                ),
                "callback_url": text(
                    "https; called once the task has ended and its pictures are kept.",
                    maxLength=MAX_URL_CHARACTERS,
                ),
            },
            ["model", "prompt"],
            text="Fields that are not listed are forwarded, and count for the cache.",
        ),
        "examples": [
            {"model": "gpt-image-1.5", "prompt": "A red bicycle", "size": "1:1", "quality": "low"}
        ],
    },
)

WAIT: Final = Header(
    "Prefer",
    "`wait=N` (RFC 7240) holds the answer until the task has ended, or N seconds "
    f"(at most {prefer.MAX_WAIT_SECONDS}) have passed.",
    {**STRING, "examples": ["wait=30"]},
)
FRESHNESS: Final = Header(
    "Cache-Control",
    "As in RFC 9111: `no-cache` makes a new one and stores it, `no-store` makes a new one and "
    "does not, `max-age=N` takes no older answer, `only-if-cached` never makes one. Where the "
    "operator says so, all but the last are ignored, and `Cache-Status` tells.",
    {**STRING, "examples": ["no-cache"]},
)
_KEY_HEADER: Final = Header(
    IDEMPOTENCY_KEY,
    "The same key and order get the first task again, and nothing is paid twice.",
    {**STRING, "minLength": 1, "maxLength": 255},
)
_CACHE_STATUS: Final = Header(
    "Cache-Status",
    "RFC 9211: hit, joined (`collapsed`) or made; `detail=client-control-ignored` where the "
    "request's `Cache-Control` was.",
)
_REPLAYED: Final = Header("Idempotency-Replayed", "`true` when the key came before.")

ORDER_ERRORS: Final[Sequence[type[GatewayError]]] = (
    InvalidRequest,
    BudgetExhausted,
    ModelAccessDenied,
    ResultLost,
    GenerationTimeout,
    RateLimited,
    UpstreamError,
    Unavailable,
    OutcomeUnknown,
)
"""What may come of any order, however it is asked."""


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

    @Operation(
        "POST /v1/images/generations",
        ORDERS,
        "Order pictures",
        "Answers with a task. An order that was made before is answered from the "
        "cache at once and for nothing; one that is being made now is joined.",
        headers=(WAIT, FRESHNESS, _KEY_HEADER),
        body=ORDER,
        answer=TASK,
        answer_headers=(_CACHE_STATUS, _REPLAYED, *RECEIPT),
        errors=(*ORDER_ERRORS, IdempotencyConflict, NotCached),
    )
    async def generate(self, request: Request, team: Team) -> Response:
        policy = self._current.policy
        request_id = request.scope[REQUEST_ID]

        def told(receipt: Receipt) -> None:
            tell(request, receipt, self._clock())

        with self._service.reading(team, Sent(told, request_id)):
            if has(request, OPENAI_SDK) and not policy.openai_sdk_on_v1:
                raise WrongBaseUrl(policy.public_url)
            wait = prefer.read_wait(request)
            key = read_key(request)
            body = await self._bodies.read_json(request, policy.body_limit_bytes, team.name)
            freshness = freshness_of(request)
        answer = await self._service.submit(team, body, freshness, Sent(told, request_id, key))
        add_upstream_seconds(request, answer.upstream_seconds)
        headers = decision_headers(answer)
        if wait is None:
            return self._answer(answer.task, headers)
        task, applied = await self._waited(request, answer.task, wait)
        told(receipt(answer.decision, task.run))
        return self._answer(task, {**headers, **applied})

    @Operation(
        "GET /v1/tasks/{task_id}",
        ORDERS,
        "A task",
        path_words={"task_id": "The id of one of the team's own tasks."},
        headers=(WAIT,),
        answer=TASK,
        errors=(TaskNotFound,),
    )
    async def task(self, request: Request, team: Team) -> Response:
        wait = prefer.read_wait(request)
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
            async with prefer.while_connected(request):
                task = await self._tasks.ended(task, wait.left_seconds)
        return task, {"Preference-Applied": wait.applied}

    def _answer(self, task: Task, headers: Mapping[str, str]) -> Response:
        now = self._clock()
        body = wire.task_body(task.job, task.run, self._current.policy.public_url, now)
        soon = prefer.retry_after(task.run, now)
        return Response(body, media_type="application/json", headers={**headers, **soon})


def decision_headers(answer: Answer) -> Mapping[str, str]:
    """How the order was decided: by the cache, or by its idempotency key."""
    if isinstance(answer.decision, Replayed):
        return {"Idempotency-Replayed": "true"}
    status = wire.cache_status(answer.decision, answer.freshness, ignored=answer.ignored)
    return {"Cache-Status": status}


def freshness_of(request: Request) -> Freshness:
    """What the client asks of the cache; most ask nothing."""
    return wire.read_freshness(request.headers) if has(request, "cache-control") else _NO_WISHES


def read_key(request: Request) -> str | None:
    """The request's `Idempotency-Key`. Raises `InvalidRequest` for one that is none."""
    keys = lines(request, IDEMPOTENCY_KEY.lower())
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise InvalidRequest(
            f"'{IDEMPOTENCY_KEY}' must be one key of 1 to 255 visible ASCII characters.",
            param=IDEMPOTENCY_KEY,
        )
    return keys[0]
