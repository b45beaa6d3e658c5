"""OpenAI's Images API, as its unmodified SDKs call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.errors import NotFound
from gateway.web.openai import wire
from gateway.web.openapi.operation import (
    Door,
    Operation,
    RequestBody,
    Schema,
    Tongue,
    answers_json,
    takes_json,
)
from gateway.web.openapi.orders import ORDER_REFUSALS
from gateway.web.openapi.schema import MOST_PICTURES, listed, open_object, ref, text

SCHEMAS: Final[Mapping[str, Schema]] = {
    "OpenAIError": open_object(
        {
            "error": open_object(
                {
                    "message": text("What happened and what to do."),
                    "type": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                    "param": {"type": ["string", "null"]},
                },
                "message",
            )
        },
        "error",
    ),
    "Images": open_object(
        {
            "created": {"type": "integer"},
            "data": listed(
                open_object({"b64_json": {"type": "string"}, "url": {"type": "string"}}),
            ),
            "usage": {"type": "object"},
        },
        "created",
        "data",
        text="As OpenAI's Images API answers.",
    ),
    "Edit": open_object(
        {
            "model": {"type": "string"},
            "prompt": {"type": "string"},
            "image": listed(
                {"type": "string", "contentMediaType": "application/octet-stream"},
                minItems=1,
                maxItems=wire.MAX_PICTURES,
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

_OPENAI: Final = "OpenAI's Images API"

OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        "POST",
        "/openai/v1/images/generations",
        _OPENAI,
        "Generate, synchronously",
        Door.TEAM,
        answers_json(ref("Images")),
        description="For the unmodified OpenAI SDKs: set their base URL to `/openai/v1`.",
        body=takes_json(
            open_object(
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
        body=RequestBody({"multipart/form-data": ref("Edit")}),
        refusals=ORDER_REFUSALS,
        tongue=Tongue.OPENAI,
    ),
    Operation(
        "GET",
        "/openai/v1/models",
        _OPENAI,
        "The models that the team may use",
        Door.TEAM,
        answers_json(open_object({"data": listed({"type": "object"})}, "data")),
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
)
