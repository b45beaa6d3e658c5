"""What a team may choose of a model, and what each choice costs: for forms that people fill in.

Pure. A choice is priced as the order that makes it would be, by the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.catalog import ImageModel, Team
from gateway.core.model import Order
from gateway.core.orders.defaults import ONE_CHOICE, allowed, defaults, filled, must_say
from gateway.core.orders.pricing import cheapest
from gateway.core.orders.spellings import AUTO, settled

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
    values = allowed(field, model, team)
    return None if values is None else sorted(values - {AUTO}, key=_place)


def is_automatic(model: ImageModel, team: Team, field: str) -> bool:
    """Whether upstream may choose: nothing is filled in, and nothing has to be said."""
    return field not in defaults(model, team) and field not in must_say(model, team)


def choices(
    model: ImageModel, team: Team, said: Mapping[str, str]
) -> Mapping[str, Sequence[Choice]]:
    """For each field what there is to choose and what it costs, the others as `said`."""
    found: dict[str, Sequence[Choice]] = {}
    for field in FIELDS:
        values = _values(model, team, field)
        found[field] = [Choice(one, price(model, team, {**said, field: one})) for one in values]
    return found


def beginning(model: ImageModel, team: Team) -> Mapping[str, str]:
    """What a form begins with, so that one that nobody touched is not the dearest.

    The operator's default; else the cheapest value where prices differ, and the first where
    something has to be said.
    """
    filled_in = defaults(model, team)
    said = {field: one for field in FIELDS if isinstance(one := filled_in.get(field), str)}
    for field in FIELDS:
        if field not in said and (value := _cheapest(model, team, field, said)):
            said[field] = value
    return said


def price(model: ImageModel, team: Team, said: Mapping[str, str | None]) -> int | None:
    """Micro-dollars of one picture at most, on the route that would serve it; None: unpriced."""
    fields = settled({name: one for name, one in said.items() if one}, model.limits)
    body = filled(fields, model, team)
    size, quality = (one if isinstance(one := body.get(f), str) else None for f in ONE_CHOICE)
    found = cheapest(model, Order(model.name, "", 1, size, quality, body))
    return None if found is None else found[1]


def quality_prices(model: ImageModel, team: Team) -> Iterator[tuple[str, int]]:
    """Each quality that the team may order and that has a price, with that price, all else left
    out. `auto` is no quality of its own."""
    for quality in offered(model, team, "quality") or ():
        priced = price(model, team, {"quality": quality})
        if priced is not None:
            yield quality, priced


def _values(model: ImageModel, team: Team, field: str) -> Sequence[str | None]:
    nothing = (None,) if is_automatic(model, team, field) else ()
    return *nothing, *(offered(model, team, field) or ())


def _cheapest(model: ImageModel, team: Team, field: str, said: Mapping[str, str]) -> str | None:
    """None: nothing has to be said, and nothing that can be said costs less."""
    values = _values(model, team, field)
    prices = [price(model, team, {**said, field: one}) for one in values]
    priced = [amount for amount in prices if amount is not None]
    return values[prices.index(min(priced))] if priced else next(iter(values), None)


def _place(value: str) -> tuple[int, list[int], str]:
    rising = _RISING.index(value) if value in _RISING else len(_RISING)
    return rising, [int(number) for number in re.findall(r"[0-9]{1,9}", value)], value
