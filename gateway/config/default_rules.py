"""What is wrong with the defaults of models and of teams: the checks across settings.

A default of a model has to be one that it offers. One of a team has to be one that it may use, of
at least one of its models: for the others it is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from gateway.config.document import Path
from gateway.config.schema import LISTS, MOST_PICTURES, ModelEntry, TeamAllow
from gateway.config.words import shown, suggestion
from gateway.core.orders.defaults import DEFAULTABLE, ONE_CHOICE
from gateway.core.orders.spellings import AUTO, NOT_FORWARDED, OPTIONAL, REQUIRED, spelled

Found = Iterator[tuple[Path, str]]

KNOWN: Final = sorted((OPTIONAL | {*DEFAULTABLE}) - NOT_FORWARDED)
A_SLIP: Final = 0.75
"""So alike are a name and one that is mistyped; what is less so may be a vendor's own field."""

LONGEST: Final = 1_000
"""Characters of a text that goes into every order."""


def model_defaults(path: Path, model: ModelEntry) -> Found:
    for field, value in model.defaults.items():
        problem = _reserved(field) or _slip(field) or _no_value(field, value)
        problem = problem or _not_offered(field, value, [model], "in the model's limits")
        if field == "n" and not _is_count(value, model.limits.max_n):
            problem = f"must be a whole number from 1 to max_n, {model.limits.max_n}"
        if problem:
            yield (*path, field), problem


def team_defaults(
    path: Path, defaults: Mapping[str, object], allow: TeamAllow, models: Sequence[ModelEntry]
) -> Found:
    """`models` are those that the team may use; none where they cannot be looked at now."""
    most = max((model.limits.max_n for model in models), default=MOST_PICTURES)
    most = min(allow.max_n or MOST_PICTURES, most)
    for field, value in defaults.items():
        problem = _reserved(field) or _unknown(field) or _no_value(field, value)
        problem = problem or _not_granted(field, value, allow, models)
        problem = problem or _not_offered(field, value, models, "offered by any model")
        if field == "n" and not _is_count(value, most):
            problem = f"must be a whole number from 1 to {most}, which the team may order"
        if problem:
            yield (*path, field), problem


def _reserved(field: str) -> str:
    own = field in REQUIRED | NOT_FORWARDED
    return "cannot have a default: every order says it itself" if own else ""


def _unknown(field: str) -> str:
    """A team's orders get nothing that is not documented."""
    if field in DEFAULTABLE:
        return ""
    near = suggestion(field, DEFAULTABLE) or f"; known are {', '.join(DEFAULTABLE)}"
    return f"no field that may have a default here{near}"


def _slip(field: str) -> str:
    """Vendors have fields of their own, and a model may have a default for them."""
    if field in KNOWN:
        return ""
    close = get_close_matches(field.casefold(), KNOWN, n=1, cutoff=A_SLIP)
    return f"unknown field; did you mean {close[0]!r}?" if close else ""


def _no_value(field: str, value: object) -> str:
    blank = value == [] or (isinstance(value, str) and not value.strip())
    if field in KNOWN and (blank or value is None):  # an order that says so leaves it out
        return "must not be empty; leave the field out instead"
    if field in LISTS and not isinstance(value, str):
        return f"must be text, not {shown(value)}"
    if field in DEFAULTABLE and not isinstance(value, str | int | float):
        return f"must be one value, not {shown(value)}"
    known_text = isinstance(value, str) and field in KNOWN
    if known_text and not (str(value).isprintable() and len(str(value)) <= LONGEST):
        return f"must be one line of at most {LONGEST} characters"
    return ""


def _not_granted(field: str, value: object, allow: TeamAllow, models: Sequence[ModelEntry]) -> str:
    granted = allow.lists.get(field)
    if granted is None or _among(field, value, granted):
        return ""
    if field == "size" and any(
        model.sizes_meant([str(spelled(field, value))]) <= model.sizes_meant(granted)
        for model in models
    ):
        return ""
    return f"{shown(value)} is not in the team's allow.{LISTS[field]}{suggestion(value, granted)}"


def _not_offered(field: str, value: object, models: Iterable[ModelEntry], where: str) -> str:
    lists = [model.names(field) for model in models]
    if not lists or None in lists or (field in ONE_CHOICE and spelled(field, value) == AUTO):
        return ""
    offered = [one for values in lists for one in values or ()]
    if _among(field, value, offered):
        return ""
    return f"{shown(value)} is not {where}{suggestion(value, offered)}"


def _among(field: str, value: object, listed: Iterable[str]) -> bool:
    values = frozenset(listed)
    return spelled(field, value, values) in values


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most
