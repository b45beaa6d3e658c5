"""Query parameters and bodies of the operator's and the team's pages: read strictly, by models.

The models say what there is, check it, and are what `/openapi.json` is made from.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Annotated, Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from gateway.core.orders.texts import check_texts
from gateway.core.stretches import NAMES, TIMES, read_begin, read_end
from gateway.errors import InvalidRequest
from gateway.ports.ledger import Mark
from gateway.web.body import read_object

MAX_LIMIT: Final = 500
USUAL_LIMIT: Final = 50

QUERY_BYTES: Final = 16 * 1024
"""Longer than any question that can be asked here; what is longer is not even taken apart."""

MOMENT_WORDS: Final = (
    "A day (`2026-01-31`), a month (`2026-01`), a time (RFC 3339), "
    f"{', '.join(f'`{name}`' for name in NAMES)}, `7d` (the day seven days ago), or `24h` or `30m` "
    "ago. Days are those of `server.timezone`."
)
"""How the parameters of time are described."""

PromptSearch = Annotated[
    str | None,
    Field(
        max_length=1000,
        description="Words of the prompt: every one must occur, in any order; "
        "what stands in quotation marks as a whole. Case and accents do not count.",
    ),
]
"""How prompts are searched, wherever they are."""


class Query(BaseModel):
    """What a request may say; anything else is refused by its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoParameters(Query):
    """Nothing can be asked of it."""


class Page(Query):
    """Part of a list, newest first."""

    limit: int = Field(USUAL_LIMIT, ge=1, le=MAX_LIMIT, description="Rows at most.")
    cursor: str | None = Field(None, description="`next` of the answer before, as it was.")

    @property
    def after(self) -> Mark | None:
        """Where it goes on. Raises `InvalidRequest`."""
        if self.cursor is None:
            return None
        try:
            # orjson: it takes no infinite number, no half of a character and no endless nesting.
            at, row = orjson.loads(base64.urlsafe_b64decode(self.cursor.encode()))
            return float(at), str(row)
        except (ValueError, TypeError):
            message = "This cursor is none of ours: send `next` of a former answer as it was."
            raise InvalidRequest(message, param="cursor") from None


class Timed(Page):
    """Part of a list, of some time."""

    since: str | None = Field(None, alias="from", description=f"Where it begins. {MOMENT_WORDS}")
    until: str | None = Field(
        None, alias="to", description="Where it ends: of days, after the last one."
    )

    def between(self, now: float, zone: tzinfo) -> tuple[float | None, float | None]:
        """From and until, in Unix seconds; days are those of the zone. Raises `InvalidRequest`."""
        since = _read(read_begin, "from", self.since, now=now, zone=zone)
        until = _read(read_end, "to", self.until, now=now, zone=zone)
        if since is not None and until is not None and since >= until:
            message = "'from' is after 'to': there is no such time."
            raise InvalidRequest(message, param="from")
        return since, until


A = TypeVar("A", bound=Query)


def read_query(request: Request, model: type[A]) -> A:
    """The query parameters. Raises `InvalidRequest` that names the one at fault."""
    if len(request.scope["query_string"]) > QUERY_BYTES:
        raise InvalidRequest(f"The query may have at most {QUERY_BYTES} bytes.")
    known = _names(model)
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:  # told at once: there may be thousands
            raise _unknown(name, model)
        if name in found:
            raise InvalidRequest(f"The parameter '{name}' is there twice.", param=name)
        found[name] = value
    check_texts(found)
    return read_as(model, {name: value for name, value in found.items() if value != ""})


async def read_json(request: Request, model: type[A], limit_bytes: int) -> A:
    """The body, which may be empty if the model has a default for all. Raises `InvalidRequest`."""
    return read_as(model, await read_object(request, limit_bytes, may_be_empty=True))


def read_as(model: type[A], value: Mapping[str, Any]) -> A:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error, model) from None


def invalid(error: ValidationError, model: type[BaseModel]) -> InvalidRequest:
    """The first fault, by its name, and what there is instead where the name is unknown."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])[:200]
    if first["type"] == "extra_forbidden":
        return _unknown(path, model)
    if first["type"] == "missing":
        return InvalidRequest(f"'{path}' is missing.", param=path)
    message = first["msg"].removeprefix("Value error, ")
    return InvalidRequest(f"'{path}' is not right: {message}.", param=path)


def _unknown(name: str, model: type[BaseModel]) -> InvalidRequest:
    name, known = name[:200], ", ".join(sorted(_names(model))) or "none"
    return InvalidRequest(f"There is no '{name}' here; there are: {known}.", param=name)


def _names(model: type[BaseModel]) -> frozenset[str]:
    """What can be said, as it is written in a request."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def _read(read: Callable[..., float], name: str, text: str | None, **at: Any) -> float | None:
    try:
        return None if text is None else read(text, **at)
    except ValueError:
        raise InvalidRequest(f"'{name}' must be {TIMES}.", param=name) from None


def next_cursor(last: Mark | None) -> str | None:
    """The cursor that goes on behind this row; None: there is no more."""
    if last is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(last, separators=(",", ":")).encode()).decode()
