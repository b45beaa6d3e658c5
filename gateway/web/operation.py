"""An endpoint, said once: what serves it, and what there is to know of it.

Routes, the labels of the metrics and `/openapi.json` are made from lists of these; each section
of the surface has its own beside its handlers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import GatewayError, RequestTooLarge, Unauthorized, UnsupportedCoding
from gateway.web.query import NoParameters, Query
from gateway.web.schema import STRING, Schema, Shape

JSON: Final = "application/json"

Handler = Callable[[Request], Awaitable[Response]]


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
    """One method of one path.

    `path_words` explain the words in the path. `query` is a model, or schemas by name where no
    model reads it. `body` is JSON, `form` a form. `answer` is JSON too, and `media` what else it
    may come as: by media type, None where that says it all. `other_answers` tells what statuses
    mean that are neither 200 nor errors of ours. `errors` are those of this endpoint alone.
    """

    method: str
    path: str
    handler: Handler
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


class Section(Protocol):
    """A part of the surface: some endpoints and what serves them."""

    def operations(self) -> Sequence[Operation]: ...
