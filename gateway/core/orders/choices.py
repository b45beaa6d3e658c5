"""What a team may choose of a model, and what each choice costs: for forms that people fill in.

Pure. A choice is priced as the order that makes it would be, by the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.catalog import ImageModel, Team
from gateway.core.model import Order
from gateway.core.orders.pricing import cheapest
from gateway.core.orders.spellings import AUTO

FIELDS: Final = ("size", "quality", "resolution")
_RISING: Final = ("low", "medium", "high")
"""In a list people look for the small before the large, not for the alphabet."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A value of a field, or None: nothing is said and upstream chooses.

    `usd_micros` is the most that one picture costs with it; None: it has no price.
    """

    value: str | None
    usd_micros: int | None


def offered(model: ImageModel, team: Team, field: str) -> Sequence[str] | None:
    """The values of the field that the team may say, in a list for people; None: any."""
    listed, allowed = model.limits.lists[field], allowed_values(team, field)
    if listed is None or allowed is None:
        either = allowed if listed is None else listed
        return None if either is None else sorted(either - {AUTO}, key=_place)
    return sorted((listed & allowed) - {AUTO}, key=_place)


def allowed_values(team: Team, field: str) -> frozenset[str] | None:
    """Those that the team is held to; None: any that the model takes."""
    return {"size": team.allow.sizes, "quality": team.allow.qualities}.get(field)


def may_be_left_out(model: ImageModel, team: Team, field: str) -> bool:
    """Whether an order that does not say this field can be let in at all."""
    allowed = allowed_values(team, field)
    default = dict(model.defaults).get(field)
    return allowed is None or AUTO in allowed or default in allowed


def choices(
    model: ImageModel, team: Team, said: Mapping[str, str]
) -> Mapping[str, Sequence[Choice]]:
    """For each field what there is to choose and what it costs, the others as `said`."""
    found: dict[str, Sequence[Choice]] = {}
    for field in FIELDS:
        values = _values(model, team, field)
        found[field] = [Choice(one, price(model, {**said, field: one})) for one in values]
    return found


def beginning(model: ImageModel, team: Team) -> Mapping[str, str]:
    """What a form begins with, so that one that nobody touched is not the dearest.

    The operator's default; else the cheapest value where prices differ, and the first where
    something has to be said.
    """
    said = {field: value for field in FIELDS if (value := _default(model, team, field))}
    for field in FIELDS:
        if field not in said and (value := _cheapest(model, team, field, said)):
            said[field] = value
    return said


def price(model: ImageModel, said: Mapping[str, str | None]) -> int | None:
    """Micro-dollars of one picture at most, on the route that would serve it; None: unpriced."""
    fields = {**dict(model.defaults), **{name: one for name, one in said.items() if one}}
    body = {name: one for name, one in fields.items() if one != AUTO}
    size, quality = body.get("size"), body.get("quality")
    order = Order(
        model.name,
        "",
        1,
        size if isinstance(size, str) else None,
        quality if isinstance(quality, str) else None,
        body,
    )
    found = cheapest(model, order)
    return None if found is None else found[1]


def _values(model: ImageModel, team: Team, field: str) -> Sequence[str | None]:
    nothing = (None,) if may_be_left_out(model, team, field) else ()
    return *nothing, *(offered(model, team, field) or ())


def _default(model: ImageModel, team: Team, field: str) -> str | None:
    """The operator's, where the team may have it."""
    value, values = dict(model.defaults).get(field), offered(model, team, field)
    if not isinstance(value, str) or (values is not None and value not in values):
        return None
    return value


def _cheapest(model: ImageModel, team: Team, field: str, said: Mapping[str, str]) -> str | None:
    """None: nothing has to be said, and nothing that can be said costs less."""
    values = _values(model, team, field)
    prices = [price(model, {**said, field: one}) for one in values]
    priced = [amount for amount in prices if amount is not None]
    return values[prices.index(min(priced))] if priced else next(iter(values), None)


def _place(value: str) -> tuple[int, list[int], str]:
    rising = _RISING.index(value) if value in _RISING else len(_RISING)
    return rising, [int(number) for number in re.findall(r"[0-9]{1,9}", value)], value
