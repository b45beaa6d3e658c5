"""The document: OpenAPI 3.1, put together from the tables of endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from gateway import __version__
from gateway.errors import GatewayError, Unauthorized, UnsupportedCoding
from gateway.web.openapi import clients, operations, operators
from gateway.web.openapi.operation import REF, Door, Header, Operation, Schema, Shape
from gateway.web.openapi.schema import ref
from gateway.web.query import Query

DOORS: Final[Mapping[Door, Schema]] = {
    Door.TEAM: {"type": "http", "scheme": "bearer", "description": "A team's key."},
    Door.ADMIN: {
        "type": "http",
        "scheme": "bearer",
        "description": "An operator's key: one of `server.admin_keys`.",
    },
    Door.SCRAPER: {
        "type": "http",
        "scheme": "bearer",
        "description": "One of `server.metrics_keys`. Without any, callers on the same machine "
        "need none while `server.public_url` is loopback.",
    },
}

INTRODUCTION: Final = (
    "A caching gateway in front of EvoLink's image API. Existing clients change their base URL "
    "and their key. Success is always 200, every answer carries `X-Request-Id`, and an error's "
    "message says what to do."
)


def all_operations() -> Sequence[Operation]:
    return (*clients.OPERATIONS, *operators.OPERATIONS, *operations.OPERATIONS)


@cache
def document() -> Mapping[str, Any]:
    """The document without `servers`: what it says depends on no settings."""
    listed = all_operations()
    made, definitions = _made_schemas(listed)
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, made)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Image gateway", "version": __version__, "description": INTRODUCTION},
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in listed)],
        "paths": paths,
        "components": {
            "schemas": {**clients.SCHEMAS, **operators.SCHEMAS, **definitions},
            "securitySchemes": {door.value: scheme for door, scheme in DOORS.items()},
        },
    }


# --- schemas of models ---------------------------------------------------------------------------

Made = Mapping[type[Any], Schema]


def _made_schemas(listed: Iterable[Operation]) -> tuple[Made, Mapping[str, Schema]]:
    """The schema of each model or TypedDict that an operation names, and their definitions."""
    models = list(dict.fromkeys(_models(listed)))
    adapters: list[tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = [
        (number, "validation", TypeAdapter(model)) for number, model in enumerate(models)
    ]
    made, rest = TypeAdapter.json_schemas(adapters, ref_template=REF)
    by_model = {model: made[number, "validation"] for number, model in enumerate(models)}
    return by_model, rest.get("$defs", {})


def _models(listed: Iterable[Operation]) -> Iterable[type[Any]]:
    for one in listed:
        shapes = [*one.answers.values(), *(one.body.content.values() if one.body else ())]
        yield from (shape for shape in shapes if isinstance(shape, type))


def _schema(shape: Shape, made: Made) -> Schema:
    return made[shape] if isinstance(shape, type) else shape


# --- one operation -------------------------------------------------------------------------------


def _operation(one: Operation, made: Made) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "tags": [one.tag],
        "summary": one.summary,
        "operationId": _name(one),
        "security": [{one.door.value: []}] if one.door else [],
        "parameters": [*_in_path(one), *_in_query(one), *map(_in_header, one.headers)],
        "responses": {"200": _answer(one, made), **_others(one), **_refusals(one)},
    }
    if one.description:
        shown["description"] = one.description
    if one.body:
        content = {
            kind: {"schema": _schema(shape, made)} for kind, shape in one.body.content.items()
        }
        shown["requestBody"] = {"required": one.body.required, "content": content}
    return shown


def _name(one: Operation) -> str:
    words = one.path.replace("{", "by_").replace("}", "").replace("-", "_").strip("/").split("/")
    return "_".join([one.method.lower(), *words]).replace(".", "_")


def _in_path(one: Operation) -> Iterable[Mapping[str, Any]]:
    for name, text in one.path_words.items():
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": text,
            "schema": {"type": "string"},
        }


def _in_query(one: Operation) -> Iterable[Mapping[str, Any]]:
    for name, schema in _query_schemas(one).items():
        plain = {key: value for key, value in schema.items() if key not in ("description", "title")}
        described = {"description": schema["description"]} if "description" in schema else {}
        yield {"name": name, "in": "query", **described, "schema": plain}


def _query_schemas(one: Operation) -> Mapping[str, Schema]:
    if one.query is None:
        return clients.QUERY_SCHEMAS.get(one.path, {}) if one.method == "GET" else {}
    return _properties(one.query)


def _properties(model: type[Query]) -> Mapping[str, Schema]:
    """A model of query parameters; what may be left out there is absent here and never null."""
    schema = model.model_json_schema(ref_template=REF)
    known = schema.get("$defs", {})
    return {name: _present(one, known) for name, one in schema.get("properties", {}).items()}


def _present(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Schema:
    whole = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            whole |= choice
    if schema.get("default") is not None:
        whole["default"] = schema["default"]
    if "$ref" in whole:
        whole |= known[whole.pop("$ref").rpartition("/")[2]]
    return whole


def _in_header(header: Header) -> Mapping[str, Any]:
    shown = {"name": header.name, "in": "header", "description": header.description}
    return {**shown, "schema": header.schema}


def _answer(one: Operation, made: Made) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"description": one.summary}
    if one.answers:
        shown["content"] = {
            kind: {} if shape is None else {"schema": _schema(shape, made)}
            for kind, shape in one.answers.items()
        }
    headers = {
        header.name: {"description": header.description, "schema": header.schema}
        for header in one.answer_headers
    }
    return {**shown, **({"headers": headers} if headers else {})}


def _others(one: Operation) -> Mapping[str, Any]:
    return {str(status): {"description": text} for status, text in one.other_answers.items()}


def _refusals(one: Operation) -> Mapping[str, Any]:
    """By status; of several errors with one status, each is named."""
    behind_door = (Unauthorized,) if one.door and one.door is not Door.SCRAPER else ()
    of_body = (UnsupportedCoding,) if one.body else ()
    by_status: dict[int, list[type[GatewayError]]] = {}
    for error in (*behind_door, *of_body, *one.refusals):
        by_status.setdefault(error.status, []).append(error)
    content = {"application/json": {"schema": ref(one.tongue.value)}}
    return {
        str(status): {"description": _codes(errors), "content": content}
        for status, errors in sorted(by_status.items())
    }


def _codes(errors: Iterable[type[GatewayError]]) -> str:
    return ", ".join(dict.fromkeys(f"`{error.code}`" for error in errors))
