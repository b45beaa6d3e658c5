"""Orders and their tasks, in upstream's own JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.addresses import MAX_URL_CHARACTERS
from gateway.errors import (
    BudgetExhausted,
    GatewayError,
    GenerationTimeout,
    IdempotencyConflict,
    InvalidRequest,
    ModelAccessDenied,
    NotCached,
    OutcomeUnknown,
    RateLimited,
    RequestTooLarge,
    ResultLost,
    TaskNotFound,
    Unavailable,
    UpstreamError,
)
from gateway.web.evolink import prefer, tasks
from gateway.web.openapi.operation import Door, Header, Operation, Schema, answers_json, takes_json
from gateway.web.openapi.schema import (
    MOST_PICTURES,
    MOST_REFERENCES,
    STATUS,
    URL,
    listed,
    open_object,
    ref,
    text,
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Error": open_object(
        {
            "error": open_object(
                {
                    "code": text("What happened, for programs."),
                    "message": text("What happened and what to do, for people."),
                    "type": text("The kind of fault."),
                    "param": text("The field at fault."),
                    "limit_scope": text("The limit that decided, such as `usd_per_day`."),
                    "resets_at": {"type": ["string", "null"], "description": "When it renews."},
                },
                "code",
                "message",
                "type",
            )
        },
        "error",
        text="Every error. Upstream's own refusals of a request come as they are.",
    ),
    "Order": {
        **open_object(
            {
                "model": text("One of `GET /v1/models`, or an alias of it."),
                "prompt": text("What to draw. The model's limit is in tokens.", minLength=1),
                "n": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST_PICTURES,
                    "default": 1,
                    "description": "How many pictures.",
                },
                "size": text("One of the model's sizes, such as `1:1` or `1024x1024`."),
                "quality": text("One of the model's qualities."),
                "resolution": text("One of the model's resolutions, such as `2K`."),
                "user": text("Whom the order is for: recorded, not forwarded."),
                "safety_identifier": text("The same."),
                "metadata": {"description": "What the order is for: recorded, not forwarded."},
                "image_urls": listed(
                    URL,
                    maxItems=MOST_REFERENCES,
                    description="Links to reference pictures, http or https: JPEG, PNG or WebP. A "
                    "name that ends like a document or a film is refused.",
                ),
                "callback_url": text(
                    "https; called once the task has ended and its pictures are kept.",
                    maxLength=MAX_URL_CHARACTERS,
                ),
            },
            "model",
            "prompt",
            text="Fields that are not listed are forwarded, and count for the cache.",
        ),
        "examples": [
            {"model": "gpt-image-1.5", "prompt": "A red bicycle", "size": "1:1", "quality": "low"}
        ],
    },
    "Task": open_object(
        {
            "id": text("The task's id."),
            "object": {"const": "image.generation.task"},
            "type": {"const": "image"},
            "model": text("The public name of the model."),
            "status": STATUS,
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
            "created": {"type": "integer", "description": "Unix seconds."},
            "results": listed({"type": "string"}, description="Permanent links."),
            "result_data": listed({"type": "object"}),
            "task_info": {"type": "object"},
            "usage": {"type": "object"},
            "error": open_object({"code": {"type": "string"}, "message": {"type": "string"}}),
        },
        "id",
        "model",
        "status",
        "progress",
        "created",
    ),
    "TaskRow": open_object(
        {
            "id": {"type": "string"},
            "status": STATUS,
            "model": {"type": "string"},
            "type": {"type": "string"},
            "progress": {"type": "integer"},
            "created_at": {"type": "integer"},
            "has_results": {"type": "boolean"},
            "has_error": {"type": "boolean"},
            "credits_used": {"type": "number"},
        },
        "id",
        "status",
    ),
}


def _page_parameters() -> Schema:
    whole = {"type": "integer", "minimum": 1}
    return {
        "status": STATUS,
        "type": {"type": "string", "enum": ["image"]},
        "model": {"type": "string"},
        "page": {**whole, "default": 1},
        "page_size": {**whole, "maximum": tasks.MAX_AT_ONCE, "default": tasks.PAGE_SIZE},
    }


QUERY_SCHEMAS: Final[Mapping[str, Schema]] = {"/v1/tasks": _page_parameters()}

WAIT: Final = Header(
    "Prefer",
    "`wait=N` (RFC 7240) holds the answer until the task has ended, or N seconds "
    f"(at most {prefer.MAX_WAIT_SECONDS}) have passed.",
    {"type": "string", "examples": ["wait=30"]},
)
FRESHNESS: Final = Header(
    "Cache-Control",
    "As in RFC 9111: `no-cache` makes a new one and stores it, `no-store` makes a new one and "
    "does not, `max-age=N` takes no older answer, `only-if-cached` never makes one. Where the "
    "operator says so, all but the last are ignored, and `Cache-Status` tells.",
    {"type": "string", "examples": ["no-cache"]},
)
IDEMPOTENCY: Final = Header(
    "Idempotency-Key",
    "The same key and order get the first task again, and nothing is paid twice.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
CACHE_STATUS: Final = Header(
    "Cache-Status",
    "RFC 9211: hit, joined (`collapsed`) or made; `detail=client-control-ignored` where the "
    "request's `Cache-Control` was.",
)
REPLAYED: Final = Header("Idempotency-Replayed", "`true` when the key came before.")

ORDER_REFUSALS: Final[Sequence[type[GatewayError]]] = (
    InvalidRequest,
    BudgetExhausted,
    ModelAccessDenied,
    RequestTooLarge,
    ResultLost,
    GenerationTimeout,
    RateLimited,
    UpstreamError,
    Unavailable,
    OutcomeUnknown,
)
"""What may come of any order, however it is asked."""

_ORDERS: Final = "Orders and tasks"
_TASK: Final = answers_json(ref("Task"))
_TASK_ID: Final = {"task_id": "The id of one of the team's own tasks."}

OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        "POST",
        "/v1/images/generations",
        _ORDERS,
        "Order pictures",
        Door.TEAM,
        _TASK,
        description="Answers with a task. An order that was made before is answered from the "
        "cache at once and for nothing; one that is being made now is joined.",
        body=takes_json(ref("Order")),
        headers=(WAIT, FRESHNESS, IDEMPOTENCY),
        answer_headers=(CACHE_STATUS, REPLAYED),
        refusals=(*ORDER_REFUSALS, IdempotencyConflict, NotCached),
    ),
    Operation(
        "GET",
        "/v1/tasks/{task_id}",
        _ORDERS,
        "A task",
        Door.TEAM,
        _TASK,
        path_words=_TASK_ID,
        headers=(WAIT,),
        refusals=(InvalidRequest, TaskNotFound, Unavailable),
    ),
    Operation(
        "GET",
        "/v1/tasks",
        _ORDERS,
        "The team's tasks, newest first",
        Door.TEAM,
        answers_json(
            open_object(
                {
                    "data": listed(ref("TaskRow")),
                    "total": {"type": "integer"},
                    "page": {"type": "integer"},
                    "page_size": {"type": "integer"},
                },
                "data",
                "total",
                "page",
                "page_size",
            )
        ),
        refusals=(InvalidRequest, Unavailable),
    ),
    Operation(
        "POST",
        "/v1/tasks/batch",
        _ORDERS,
        "Several tasks at once",
        Door.TEAM,
        answers_json(open_object({"data": listed(ref("Task"))}, "data")),
        body=takes_json(
            open_object(
                {"task_ids": listed({"type": "string"}, minItems=1, maxItems=tasks.MAX_AT_ONCE)},
                "task_ids",
            )
        ),
        refusals=(InvalidRequest, RequestTooLarge, Unavailable),
    ),
)
