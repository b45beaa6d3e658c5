"""The words that schemas are put together from, and those that more than one part uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.addresses import MAX_URL_CHARACTERS
from gateway.web.evolink.wire import STATES_OF_STATUS
from gateway.web.openapi.operation import Schema

MOST_PICTURES: Final = 10
MOST_REFERENCES: Final = 16
"""What any model takes at most (`limits` in the settings); one may take less."""

STATUS: Final = {"type": "string", "enum": sorted(STATES_OF_STATUS)}
URL: Final = {"type": "string", "maxLength": MAX_URL_CHARACTERS}
USD: Final = {"type": "number", "description": "US dollars."}
OPTIONAL_USD: Final = {"type": ["number", "null"], "description": "US dollars."}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def listed(items: Schema, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def open_object(properties: Mapping[str, Schema], *required: str, text: str = "") -> dict[str, Any]:
    """An object to which upstream may add."""
    shown: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required:
        shown["required"] = list(required)
    if text:
        shown["description"] = text
    return shown


def null_or(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}
