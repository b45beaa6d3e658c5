"""An endpoint, said once: what serves it, and what there is to know of it.

Each stands on the method that serves it. Routes, the labels of the metrics and `/openapi.json` are
made from the list of all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import FunctionType
from typing import Final, TypeVar

from starlette.responses import Response

from gateway.errors import GatewayError, RequestTooLarge, Unauthorized, UnsupportedCoding
from gateway.web.query import NoParameters, Query
from gateway.web.schema import STRING, Schema, Shape

JSON: Final = "application/json"

Handler = Callable[..., Awaitable[Response]]
"""What it is called with depends on whose key is asked for: `gateway.web.calls`."""

S = TypeVar("S", bound=Callable[..., Awaitable[Response]])

_OPERATION: Final = "operation"
"""The attribute of a method that serves one."""


class Caller(StrEnum):
    """Whose key opens an endpoint; the value names it in the document."""

    TEAM = "teamKey"
    OPERATOR = "adminKey"
    SCRAPER = "metricsKey"
    ANYONE = ""


@dataclass(frozen=True, slots=True)
class Chapter:
    """Endpoints that belong together.

    `strict`: what their query may say is told by models, so that anything else is refused by its
    name. `errors` may come of each of them. `described`: they stand in the document.
    """

    title: str
    caller: Caller
    strict: bool = False
    errors: Sequence[type[GatewayError]] = ()
    described: bool = True


@dataclass(frozen=True, slots=True)
class Header:
    """A header that a request may or an answer does carry."""

    name: str
    description: str
    schema: Schema = field(default_factory=lambda: STRING)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, as `GET /v1/models`. It decorates the method that serves it.

    `path_words` explain the words in the path. `query` is a model, or schemas by name where no
    model reads it. `body` is JSON, `form` a form. `answer` is JSON too, and `media` what else it
    may come as: by media type, None where that says it all. `other_answers` tells what statuses
    mean that are neither 200 nor errors of ours. `errors` are those of this endpoint alone.
    """

    where: str
    chapter: Chapter
    summary: str
    description: str = ""
    path_words: Mapping[str, str] = field(default_factory=dict)
    query: type[Query] | Mapping[str, Schema] | None = None
    headers: Sequence[Header] = ()
    body: Shape | None = None
    form: Shape | None = None
    answer: Shape | None = None
    media: Mapping[str, Shape | None] = field(default_factory=dict)
    answer_headers: Sequence[Header] = ()
    other_answers: Mapping[int, str] = field(default_factory=dict)
    errors: Sequence[type[GatewayError]] = ()

    def __call__(self, serves: S) -> S:
        serves.__dict__[_OPERATION] = self
        return serves

    @property
    def method(self) -> str:
        return self.where.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.where.partition(" ")[2]

    @property
    def caller(self) -> Caller:
        return self.chapter.caller

    @property
    def parameters(self) -> type[Query] | Mapping[str, Schema]:
        """What its query may say; a model is held against it."""
        return self.query or (NoParameters if self.chapter.strict else {})

    @property
    def answers(self) -> Mapping[str, Shape | None]:
        """What it answers with, by media type."""
        return self.media if self.answer is None else {JSON: self.answer, **self.media}

    @property
    def bodies(self) -> Mapping[str, Shape]:
        """What it takes, by media type."""
        taken = {JSON: self.body, "multipart/form-data": self.form}
        return {kind: shape for kind, shape in taken.items() if shape is not None}

    def every_error(self) -> Sequence[type[GatewayError]]:
        """Its own errors, its chapter's, and those of whatever wants a key or a body."""
        has_key = self.caller in (Caller.TEAM, Caller.OPERATOR)
        of_key = (Unauthorized,) if has_key else ()
        of_body = (UnsupportedCoding, RequestTooLarge) if self.bodies else ()
        return (*of_key, *of_body, *self.chapter.errors, *self.errors)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operation, and what serves it."""

    operation: Operation
    handler: Handler


def endpoints_of(section: object) -> Sequence[Endpoint]:
    """Those that methods of the section serve, in the order in which they are written."""
    return [
        Endpoint(serves.__dict__[_OPERATION], getattr(section, name))
        for name, serves in vars(type(section)).items()
        if isinstance(serves, FunctionType) and _OPERATION in serves.__dict__
    ]
