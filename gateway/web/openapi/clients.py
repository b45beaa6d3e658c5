"""What client programs meet: orders, tasks, enquiries, files, OpenAI's endpoints, pictures.

Their JSON is upstream's and OpenAI's, validated where it is read; the bounds told here are taken
from there. What upstream may add to an object is allowed in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.core.addresses import MAX_URL_CHARACTERS
from gateway.core.orders import IMAGE_EXTENSIONS
from gateway.errors import (
    BudgetExhausted,
    GatewayError,
    IdempotencyConflict,
    InvalidRequest,
    ModelAccessDenied,
    NotCached,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RequestTooLarge,
    TaskNotFound,
    Unavailable,
    UpstreamError,
)
from gateway.web import files, openai_wire, prefer, tasks
from gateway.web.openapi.operation import (
    Body,
    Door,
    Header,
    Operation,
    Schema,
    Tongue,
    answers_json,
    takes_json,
)
from gateway.web.wire import STATES_OF_STATUS

MOST_PICTURES: Final = 10
MOST_REFERENCES: Final = 16
"""What any model takes at most (`limits` in the settings); one may take less."""


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _listed(items: Schema, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def _open(properties: Mapping[str, Schema], *required: str, text: str = "") -> dict[str, Any]:
    """An object to which upstream may add."""
    shown: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required:
        shown["required"] = list(required)
    if text:
        shown["description"] = text
    return shown


def _null_or(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


STATUS: Final = {"type": "string", "enum": sorted(STATES_OF_STATUS)}
_URL: Final = {"type": "string", "maxLength": MAX_URL_CHARACTERS}
_USD: Final = {"type": "number", "description": "US dollars."}
_OPTIONAL_USD: Final = {"type": ["number", "null"], "description": "US dollars."}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Error": _open(
        {
            "error": _open(
                {
                    "code": _text("What happened, for programs."),
                    "message": _text("What happened and what to do, for people."),
                    "type": _text("The kind of fault."),
                    "param": _text("The field at fault."),
                    "limit_scope": _text("The limit that decided, such as `usd_per_day`."),
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
    "FilesError": _open(
        {
            "code": {"type": "integer"},
            "msg": _text("What happened and what to do."),
            "success": {"const": False},
        },
        "code",
        "msg",
        "success",
    ),
    "OpenAIError": _open(
        {
            "error": _open(
                {
                    "message": _text("What happened and what to do."),
                    "type": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                    "param": {"type": ["string", "null"]},
                },
                "message",
            )
        },
        "error",
    ),
    "Order": {
        **_open(
            {
                "model": _text("One of `GET /v1/models`, or an alias of it."),
                "prompt": _text("What to draw. The model's limit is in tokens.", minLength=1),
                "n": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST_PICTURES,
                    "default": 1,
                    "description": "How many pictures.",
                },
                "size": _text("One of the model's sizes, such as `1:1` or `1024x1024`."),
                "quality": _text("One of the model's qualities."),
                "image_urls": _listed(
                    _URL,
                    maxItems=MOST_REFERENCES,
                    description="Links to reference pictures, http or https. A file name must end "
                    f"in one of: {', '.join(sorted(IMAGE_EXTENSIONS))}.",
                ),
                "callback_url": _text(
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
    "Task": _open(
        {
            "id": _text("The task's id."),
            "object": {"const": "image.generation.task"},
            "type": {"const": "image"},
            "model": _text("The public name of the model."),
            "status": STATUS,
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
            "created": {"type": "integer", "description": "Unix seconds."},
            "results": _listed({"type": "string"}, description="Permanent links."),
            "result_data": _listed({"type": "object"}),
            "task_info": {"type": "object"},
            "usage": {"type": "object"},
            "error": _open({"code": {"type": "string"}, "message": {"type": "string"}}),
        },
        "id",
        "model",
        "status",
        "progress",
        "created",
    ),
    "TaskRow": _open(
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
    "Limit": _open(
        {
            "rule": _text("Such as `usd_per_day`."),
            "unit": _text("usd, images, runs or live."),
            "window": {"type": "string"},
            "limit": {"type": "number"},
            "spent": {"type": "number"},
            "held": {"type": "number"},
            "left": {"type": "number"},
            "resets_at": {"type": ["string", "null"]},
        },
        "rule",
        "unit",
        "window",
        "limit",
        "spent",
        "held",
        "left",
        text="How the team stands with one limit: dollars for `usd`, else counts.",
    ),
    "Estimate": _open(
        {
            "object": {"const": "image.generation.estimate"},
            "model": {"type": "string"},
            "n": {"type": "integer"},
            "verdict": {
                "type": "string",
                "enum": ["hit", "join", "start", "deny", "unknown"],
                "description": "What would become of the order now.",
            },
            "price_usd": {**_OPTIONAL_USD, "description": "A new run's price at most."},
            "cost_usd": {**_OPTIONAL_USD, "description": "What this order would cost."},
            "budgets": _listed(ref("Limit")),
            "denial": _open(
                {
                    "rule": {"type": "string"},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                    "resets_at": {"type": ["string", "null"]},
                    "enforced": {"type": "boolean"},
                }
            ),
        },
        "verdict",
        "price_usd",
        "cost_usd",
        "budgets",
    ),
    "Credits": _open(
        {
            "data": _open({"token": {"type": "object"}, "user": {"type": "object"}}),
            "message": {"type": "string"},
            "success": {"type": "boolean"},
        },
        "data",
    ),
    "Model": _open(
        {
            "id": {"type": "string"},
            "object": {"const": "model"},
            "owned_by": {"type": "string"},
            "max_n": {"type": "integer"},
            "sizes": _null_or(_listed({"type": "string"})),
            "qualities": _null_or(_listed({"type": "string"})),
            "prices": _listed(_open({"usd": _USD}, "usd")),
        },
        "id",
        "object",
    ),
    "File": _open(
        {
            "success": {"type": "boolean"},
            "code": {"type": "integer"},
            "msg": {"type": "string"},
            "data": {"type": "object", "description": "Upstream's: the file's id and links."},
        },
        "success",
    ),
    "Images": _open(
        {
            "created": {"type": "integer"},
            "data": _listed(
                _open({"b64_json": {"type": "string"}, "url": {"type": "string"}}),
            ),
            "usage": {"type": "object"},
        },
        "created",
        "data",
        text="As OpenAI's Images API answers.",
    ),
    "Edit": _open(
        {
            "model": {"type": "string"},
            "prompt": {"type": "string"},
            "image": _listed(
                {"type": "string", "contentMediaType": "application/octet-stream"},
                minItems=1,
                maxItems=openai_wire.MAX_PICTURES,
            ),
            "mask": {"type": "string", "contentMediaType": "application/octet-stream"},
            "n": {"type": "integer", "minimum": 1, "maximum": MOST_PICTURES},
            "size": {"type": "string"},
            "quality": {"type": "string"},
            "response_format": {"type": "string", "enum": ["b64_json", "url"]},
        },
        "model",
        "prompt",
        "image",
    ),
}

WAIT: Final = Header(
    "Prefer",
    "`wait=N` (RFC 7240) holds the answer until the task has ended, or N seconds "
    f"(at most {prefer.MAX_WAIT_SECONDS}) have passed.",
    {"type": "string", "examples": ["wait=30"]},
)
FRESHNESS: Final = Header(
    "Cache-Control",
    "As in RFC 9111: `no-cache` makes a new one and stores it, `no-store` makes a new one and "
    "does not, `max-age=N` takes no older answer, `only-if-cached` never makes one.",
    {"type": "string", "examples": ["no-cache"]},
)
IDEMPOTENCY: Final = Header(
    "Idempotency-Key",
    "The same key and order get the first task again, and nothing is paid twice.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
CACHE_STATUS: Final = Header("Cache-Status", "RFC 9211: hit, joined (`collapsed`) or made.")
REPLAYED: Final = Header("Idempotency-Replayed", "`true` when the key came before.")

_ORDERS: Final = "Orders and tasks"
_ASKING: Final = "Enquiries"
_FILES: Final = "Reference files"
_OPENAI: Final = "OpenAI's Images API"
_PICTURES: Final = "Pictures"

ORDER_REFUSALS: Final[Sequence[type[GatewayError]]] = (
    InvalidRequest,
    BudgetExhausted,
    ModelAccessDenied,
    RequestTooLarge,
    RateLimited,
    UpstreamError,
    Unavailable,
    OutcomeUnknown,
)


def _page_parameters() -> Schema:
    whole = {"type": "integer", "minimum": 1}
    return {
        "status": STATUS,
        "type": {"type": "string", "enum": ["image"]},
        "model": {"type": "string"},
        "page": {**whole, "default": 1},
        "page_size": {**whole, "maximum": tasks.MAX_AT_ONCE, "default": tasks.PAGE_SIZE},
    }


QUERY_SCHEMAS: Final[Mapping[str, Schema]] = {
    # Path: query parameters of an endpoint that reads them as upstream does, without a model.
    "/v1/tasks": _page_parameters(),
    f"{files.BASE}/list": {
        "page": {"type": "integer", "default": 1},
        "pageSize": {
            "type": "integer",
            "default": files.PAGE_SIZE,
            "maximum": files.MAX_PAGE_SIZE,
        },
    },
}

_TASK: Final = answers_json(ref("Task"))
_TASK_ID: Final = {"task_id": "The id of one of the team's own tasks."}
_UPLOADED: Final = answers_json(ref("File"))
_UPLOAD_WORDS: Final = {
    "upload_path": _text("A folder of your own."),
    "file_name": _text("A name; without one it gets one."),
}

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
            _open(
                {
                    "data": _listed(ref("TaskRow")),
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
        answers_json(_open({"data": _listed(ref("Task"))}, "data")),
        body=takes_json(
            _open(
                {"task_ids": _listed({"type": "string"}, minItems=1, maxItems=tasks.MAX_AT_ONCE)},
                "task_ids",
            )
        ),
        refusals=(InvalidRequest, RequestTooLarge, Unavailable),
    ),
    Operation(
        "POST",
        "/v1/images/estimate",
        _ASKING,
        "What an order would come to",
        Door.TEAM,
        answers_json(ref("Estimate")),
        description="Takes the body of an order. Spends nothing, reserves nothing.",
        body=takes_json(ref("Order")),
        headers=(FRESHNESS,),
        refusals=(InvalidRequest, RequestTooLarge, Unavailable),
    ),
    Operation(
        "GET",
        "/v1/credits",
        _ASKING,
        "What is left, in upstream's shape",
        Door.TEAM,
        answers_json(ref("Credits")),
        refusals=(Unavailable,),
    ),
    Operation(
        "GET",
        "/v1/models",
        _ASKING,
        "The models that the team may use",
        Door.TEAM,
        answers_json(_open({"data": _listed(ref("Model")), "object": {"const": "list"}}, "data")),
    ),
    Operation(
        "POST",
        f"{files.BASE}/upload/base64",
        _FILES,
        "Upload a file as base64",
        Door.TEAM,
        _UPLOADED,
        body=takes_json(
            _open(
                {"base64_data": _text("The file, with or without `data:`."), **_UPLOAD_WORDS},
                "base64_data",
            )
        ),
        refusals=(InvalidRequest, RequestTooLarge, UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
    Operation(
        "POST",
        f"{files.BASE}/upload/stream",
        _FILES,
        "Upload a file as a form",
        Door.TEAM,
        _UPLOADED,
        body=Body(
            {
                "multipart/form-data": _open(
                    {
                        "file": {
                            "type": "string",
                            "contentMediaType": "application/octet-stream",
                        },
                        **_UPLOAD_WORDS,
                    },
                    "file",
                )
            }
        ),
        refusals=(InvalidRequest, RequestTooLarge, UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
    Operation(
        "POST",
        f"{files.BASE}/upload/url",
        _FILES,
        "Have a file fetched",
        Door.TEAM,
        _UPLOADED,
        body=takes_json(_open({"file_url": _text("http or https."), **_UPLOAD_WORDS}, "file_url")),
        refusals=(InvalidRequest, RequestTooLarge, UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
    Operation(
        "GET",
        f"{files.BASE}/list",
        _FILES,
        "The team's files",
        Door.TEAM,
        _UPLOADED,
        refusals=(Unavailable,),
        tongue=Tongue.FILES,
    ),
    Operation(
        "GET",
        f"{files.BASE}/quota",
        _FILES,
        "The file store's numbers",
        Door.TEAM,
        _UPLOADED,
        refusals=(UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
    Operation(
        "DELETE",
        f"{files.BASE}/{{file_id}}",
        _FILES,
        "Delete a file",
        Door.TEAM,
        _UPLOADED,
        path_words={"file_id": "The id that its upload was answered with."},
        refusals=(NotFound, UpstreamError, Unavailable),
        tongue=Tongue.FILES,
    ),
    Operation(
        "POST",
        "/openai/v1/images/generations",
        _OPENAI,
        "Generate, synchronously",
        Door.TEAM,
        answers_json(ref("Images")),
        description="For the unmodified OpenAI SDKs: set their base URL to `/openai/v1`.",
        body=takes_json(
            _open(
                {
                    "model": {"type": "string"},
                    "prompt": {"type": "string"},
                    "n": {"type": "integer", "minimum": 1, "maximum": MOST_PICTURES},
                    "size": {"type": "string"},
                    "quality": {"type": "string"},
                    "response_format": {"type": "string", "enum": ["b64_json", "url"]},
                },
                "model",
                "prompt",
            )
        ),
        refusals=ORDER_REFUSALS,
        tongue=Tongue.OPENAI,
    ),
    Operation(
        "POST",
        "/openai/v1/images/edits",
        _OPENAI,
        "Edit pictures, synchronously",
        Door.TEAM,
        answers_json(ref("Images")),
        body=Body({"multipart/form-data": ref("Edit")}),
        refusals=ORDER_REFUSALS,
        tongue=Tongue.OPENAI,
    ),
    Operation(
        "GET",
        "/openai/v1/models",
        _OPENAI,
        "The models that the team may use",
        Door.TEAM,
        answers_json(_open({"data": _listed({"type": "object"})}, "data")),
        tongue=Tongue.OPENAI,
    ),
    Operation(
        "GET",
        "/openai/v1/models/{model}",
        _OPENAI,
        "One model",
        Door.TEAM,
        answers_json({"type": "object"}),
        path_words={"model": "Its name or an alias."},
        refusals=(NotFound,),
        tongue=Tongue.OPENAI,
    ),
    Operation(
        "GET",
        "/pictures/{name}",
        _PICTURES,
        "A kept picture",
        Door.OPEN,
        dict.fromkeys(("image/png", "image/jpeg", "image/webp")),
        description="Permanent. No key is needed: the name is the SHA-256 of the bytes.",
        path_words={"name": "`<digest>.png`, `.jpg` or `.webp`."},
        headers=(
            Header("If-None-Match", "Answered 304 when it names the picture."),
            Header("Range", "A part of it."),
        ),
        answer_headers=(Header("ETag", "The digest."),),
        refusals=(NotFound,),
    ),
    Operation(
        "POST",
        "/callbacks/{token}",
        _PICTURES,
        "Upstream's own call",
        Door.OPEN,
        {},
        description="Only upstream calls here, at addresses that it was told.",
        path_words={"token": "What the address was made with."},
        refusals=(NotFound,),
    ),
)
