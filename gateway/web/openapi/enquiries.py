"""What a team asks before it orders: an estimate, its budget, its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.errors import InvalidRequest, RequestTooLarge, Unavailable
from gateway.web.openapi.operation import Door, Operation, Schema, answers_json, takes_json
from gateway.web.openapi.orders import FRESHNESS
from gateway.web.openapi.schema import OPTIONAL_USD, USD, listed, null_or, open_object, ref, text

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Limit": open_object(
        {
            "rule": text("Such as `usd_per_day`."),
            "unit": text("usd, images, runs or live."),
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
    "Estimate": open_object(
        {
            "object": {"const": "image.generation.estimate"},
            "model": {"type": "string"},
            "n": {"type": "integer"},
            "verdict": {
                "type": "string",
                "enum": ["hit", "join", "start", "deny", "unknown"],
                "description": "What would become of the order now.",
            },
            "price_usd": {**OPTIONAL_USD, "description": "A new run's price at most."},
            "cost_usd": {**OPTIONAL_USD, "description": "What this order would cost."},
            "budgets": listed(ref("Limit")),
            "denial": open_object(
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
    "Credits": open_object(
        {
            "data": open_object({"token": {"type": "object"}, "user": {"type": "object"}}),
            "message": {"type": "string"},
            "success": {"type": "boolean"},
        },
        "data",
    ),
    "Model": open_object(
        {
            "id": {"type": "string"},
            "object": {"const": "model"},
            "owned_by": {"type": "string"},
            "max_n": {"type": "integer"},
            "sizes": null_or(listed({"type": "string"})),
            "qualities": null_or(listed({"type": "string"})),
            "resolutions": null_or(listed({"type": "string"})),
            "prices": listed(open_object({"usd": USD}, "usd")),
        },
        "id",
        "object",
    ),
}

_ASKING: Final = "Enquiries"

OPERATIONS: Final[Sequence[Operation]] = (
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
        answers_json(
            open_object({"data": listed(ref("Model")), "object": {"const": "list"}}, "data")
        ),
    ),
)
