"""What a refused order had asked for, as it is kept with the refusal.

Pure. What was sent may be anything: values are told as they came where they are short and plain,
and only named where they are not. The prompt is kept where the operator says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from gateway.core.catalog import Team
from gateway.core.money.usd import dollars
from gateway.core.orders.ask import Ask
from gateway.core.orders.pricing import ceiling, cheapest

VALUE_CHARACTERS: Final = 100
PROMPT_CHARACTERS: Final = 1_000
"""Enough to know an order by; refusals wait in memory until they are written."""

PLAIN_FIELDS: Final = ("size", "quality", "n")
LARGEST_NUMBER: Final = 2**53
"""Beyond it JSON's readers disagree."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`body` is the request as it was sent or read; `model` its public name where there is one.

    `price_usd_micros` is the most that the order could cost, None where nobody could tell.
    """

    team: Team
    model: str = ""
    body: object = None
    price_usd_micros: int | None = None

    @classmethod
    def of(cls, ask: Ask) -> Self:
        """What a valid order asks for, its defaults filled in."""
        order, found = ask.order, cheapest(ask.model, ask.order)
        body = {
            "prompt": order.prompt, "size": order.size, "quality": order.quality, "n": order.n,
        }  # fmt: skip
        price = None if found is None else ceiling(order, found[1], found[0]).usd_micros
        return cls(ask.team, order.model, body, price)

    def told(self, *, with_prompt: bool) -> str:
        """As JSON; what was not said is not in it."""
        body = self.body if isinstance(self.body, Mapping) else {}
        facts = {name: _plain(body.get(name), VALUE_CHARACTERS) for name in PLAIN_FIELDS}
        if not self.model:
            facts["model"] = _plain(body.get("model"), VALUE_CHARACTERS)
        if with_prompt:
            facts["prompt"] = _plain(body.get("prompt"), PROMPT_CHARACTERS)
        if self.price_usd_micros is not None:
            facts["price_usd"] = dollars(self.price_usd_micros)
        if self.team.key is not None:
            facts |= {"key": self.team.key.id, "key_label": self.team.key.label}
        return json.dumps({name: one for name, one in facts.items() if one is not None})


def _plain(value: object, most_characters: int) -> object:
    """The value where it is short and plain, else its beginning or its kind."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        fits = math.isfinite(value) and abs(value) <= LARGEST_NUMBER
        return value if fits else "a number out of range"
    if isinstance(value, str):
        return value[:most_characters].encode("utf-8", "replace").decode()
    return "an object" if isinstance(value, Mapping) else "a list"
