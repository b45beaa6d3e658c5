"""What JSON schemas (2020-12) are put together from, where no model of ours stands for one.

The JSON of upstream and of OpenAI is read and written without models; these words describe it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Schema = Mapping[str, Any]
"""A JSON schema. Components may stand anywhere in it."""

REF: Final = "#/components/schemas/{model}"
"""How a schema refers to one of the components."""


@dataclass(frozen=True, slots=True)
class Component:
    """A schema with a name of its own in the document.

    `definitions` are schemas that it refers to by name without holding them.
    """

    name: str
    schema: Schema
    definitions: Mapping[str, Schema] = field(default_factory=dict)


Shape = type[Any] | Component | Schema
"""A model or a TypedDict that a schema is made from, or a schema."""

STRING: Final[Schema] = {"type": "string"}
INTEGER: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
OBJECT: Final[Schema] = {"type": "object"}
FILE: Final[Schema] = {**STRING, "contentMediaType": "application/octet-stream"}
USD: Final[Schema] = {**NUMBER, "description": "US dollars."}


def text(description: str, **more: Any) -> Schema:
    return {**STRING, "description": description, **more}


def listed(items: Schema | Component, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def open_object(
    properties: Mapping[str, Any], required: Sequence[str] = (), text: str = ""
) -> Schema:
    """An object to which upstream may add."""
    shown: dict[str, Any] = {**OBJECT, "properties": dict(properties)}
    if required:
        shown["required"] = list(required)
    if text:
        shown["description"] = text
    return shown


def null_or(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}
