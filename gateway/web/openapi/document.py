"""The document: OpenAPI 3.1, put together from the tables of endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from gateway import __version__
from gateway.errors import GatewayError
from gateway.web.dialects import dialect_of
from gateway.web.openapi.links import links_of
from gateway.web.operation import Caller, Header, Operation
from gateway.web.query import Query
from gateway.web.remedies import REMEDIES, Remedy
from gateway.web.schema import REF, STRING, Component, Schema, Shape

KEYS: Final[Mapping[Caller, Schema]] = {
    Caller.TEAM: {"type": "http", "scheme": "bearer", "description": "A team's key."},
    Caller.OPERATOR: {
        "type": "http",
        "scheme": "bearer",
        "description": "An operator's key: one of `server.admin_keys`.",
    },
    Caller.SCRAPER: {
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


def document(operations: Iterable[Operation]) -> Mapping[str, Any]:
    """The document without `servers`: what it says depends on no settings."""
    listed = [one for one in operations if one.chapter.described]
    schemas, named = _Schemas(listed), {_name(one): one for one in listed}
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        shown = _operation(one, schemas)
        if links := links_of(one, named):
            shown["responses"]["200"]["links"] = links
        paths.setdefault(one.path, {})[one.method.lower()] = shown
    return {
        "openapi": "3.1.0",
        "info": {"title": "Image gateway", "version": __version__, "description": INTRODUCTION},
        "tags": [{"name": title} for title in dict.fromkeys(one.chapter.title for one in listed)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {caller.value: scheme for caller, scheme in KEYS.items()},
        },
        "x-error-codes": {code: _explained(remedy) for code, remedy in REMEDIES.items()},
    }


def _explained(remedy: Remedy) -> Mapping[str, object]:
    statuses = [status for status in (remedy.status, remedy.openai_status) if status]
    return {"statuses": statuses, "cause": remedy.cause, "cure": remedy.cure}


class _Schemas:
    """The schemas of an answer's or a body's shapes; what they refer to gathers as components."""

    def __init__(self, listed: Iterable[Operation]) -> None:
        shapes = [
            shape for one in listed for shape in (*one.answers.values(), *one.bodies.values())
        ]
        models = list(dict.fromkeys(shape for shape in shapes if isinstance(shape, type)))
        adapters: list[tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = [
            (number, "validation", TypeAdapter(model)) for number, model in enumerate(models)
        ]
        made, rest = TypeAdapter.json_schemas(adapters, ref_template=REF)
        self._of_models = {models[number]: schema for (number, _), schema in made.items()}
        self.components: dict[str, Schema] = rest.get("$defs", {})

    def of(self, shape: Shape) -> Schema:
        return self._of_models[shape] if isinstance(shape, type) else self._plain(shape)

    def _plain(self, value: Any) -> Any:
        """The same with a reference in place of each component."""
        if isinstance(value, Component):
            if value.name not in self.components:
                self.components |= {**value.definitions, value.name: self._plain(value.schema)}
            return {"$ref": REF.format(model=value.name)}
        if isinstance(value, Mapping):
            return {name: self._plain(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._plain(one) for one in value]
        return value


# --- one operation -------------------------------------------------------------------------------


def _operation(one: Operation, schemas: _Schemas) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "tags": [one.chapter.title],
        "summary": one.summary,
        "operationId": _name(one),
        "security": [{one.caller.value: []}] if one.caller else [],
        "parameters": [*_in_path(one), *_in_query(one), *map(_in_header, one.headers)],
        "responses": {"200": _answer(one, schemas), **_others(one), **_errors(one, schemas)},
    }
    if one.description:
        shown["description"] = one.description
    if one.bodies:
        content = {kind: {"schema": schemas.of(shape)} for kind, shape in one.bodies.items()}
        shown["requestBody"] = {"required": _must_have(one), "content": content}
    return shown


def _must_have(one: Operation) -> bool:
    """Whether its body may not be empty: a model may have a default for all of it."""
    if isinstance(one.body, type) and issubclass(one.body, BaseModel):
        return any(field.is_required() for field in one.body.model_fields.values())
    return True


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
            "schema": STRING,
        }


def _in_query(one: Operation) -> Iterable[Mapping[str, Any]]:
    asked = one.parameters
    schemas = _properties(asked) if isinstance(asked, type) else asked
    for name, schema in schemas.items():
        plain = {key: value for key, value in schema.items() if key not in ("description", "title")}
        described = {"description": schema["description"]} if "description" in schema else {}
        yield {"name": name, "in": "query", **described, "schema": plain}


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


def _answer(one: Operation, schemas: _Schemas) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"description": one.summary}
    if one.answers:
        shown["content"] = {
            kind: {} if shape is None else {"schema": schemas.of(shape)}
            for kind, shape in one.answers.items()
        }
    headers = {
        header.name: {"description": header.description, "schema": header.schema}
        for header in one.answer_headers
    }
    return {**shown, **({"headers": headers} if headers else {})}


def _others(one: Operation) -> Mapping[str, Any]:
    return {str(status): {"description": text} for status, text in one.other_answers.items()}


def _errors(one: Operation, schemas: _Schemas) -> Mapping[str, Any]:
    """By status; of several errors with one status, each is named."""
    by_status: dict[int, list[type[GatewayError]]] = {}
    for error in one.every_error():
        by_status.setdefault(error.status, []).append(error)
    content = {"application/json": {"schema": schemas.of(dialect_of(one.path).shape)}}
    return {
        str(status): {"description": _codes(errors), "content": content}
        for status, errors in sorted(by_status.items())
    }


def _codes(errors: Iterable[type[GatewayError]]) -> str:
    return ", ".join(dict.fromkeys(f"`{error.code}`" for error in errors))
