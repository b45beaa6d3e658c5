"""What the document says of one endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.web.query import Query

Schema = Mapping[str, Any]
"""A JSON schema (2020-12), as OpenAPI 3.1 takes it."""

Shape = type[Any] | Schema
"""A model or a TypedDict that a schema is made from, or a schema."""


REF: Final = "#/components/schemas/{model}"
"""How a schema refers to one of the components."""


class Door(StrEnum):
    """Whose key opens an endpoint."""

    TEAM = "teamKey"
    ADMIN = "adminKey"
    SCRAPER = "metricsKey"
    OPEN = ""


class Tongue(StrEnum):
    """The shape of an endpoint's errors: the component that describes it."""

    OURS = "Error"
    FILES = "FilesError"
    OPENAI = "OpenAIError"


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A request's body: its media types, each with its shape."""

    content: Mapping[str, Shape]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Header:
    """A header that a request may or an answer does carry."""

    name: str
    description: str
    schema: Schema = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    `answers` maps media types to shapes, `None` to an answer without any; `other_answers` tells
    what other statuses mean that are no errors of ours; `refusals` are the errors beside those
    that every endpoint behind its door may give.
    """

    method: str
    path: str
    tag: str
    summary: str
    door: Door
    answers: Mapping[str, Shape | None]
    description: str = ""
    query: type[Query] | None = None
    body: RequestBody | None = None
    path_words: Mapping[str, str] = field(default_factory=dict)
    headers: Sequence[Header] = ()
    answer_headers: Sequence[Header] = ()
    other_answers: Mapping[int, str] = field(default_factory=dict)
    refusals: Sequence[type[GatewayError]] = ()
    tongue: Tongue = Tongue.OURS


JSON = "application/json"


def answers_json(shape: Shape) -> Mapping[str, Shape | None]:
    return {JSON: shape}


def takes_json(shape: Shape, *, required: bool = True) -> RequestBody:
    return RequestBody({JSON: shape}, required)
