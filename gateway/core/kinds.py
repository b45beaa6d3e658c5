"""What the core has to know of a kind of upstream: one record, which the kind's own folder fills.

The core decides by these facts and never by a kind's name. A vendor's words and fields stay with
its adapter; `wiring/kinds.py` is the one table of the kinds there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.core.model import Order

LINK_LIFE_SECONDS: Final = 24 * 3600.0

SPOOL_LIFE_SECONDS: Final = 60 * 86_400.0
"""For so long a disk may be full, or the node away on whose disk an answer lies."""

GIVEN_UP_SECONDS: Final = 7 * 86_400.0
"""So long an answer stays there whose pictures were given up: they may be tried once more."""

SHORTEST_SECRET: Final = 8
"""Characters. What fills the place of a key where none is wanted (`none`, `token`) is shorter."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a token costs, in USD per million: micro-dollars a token.

    `reference_tokens` is the most that one reference picture is taken to be worth.
    """

    text_in: float
    image_in: float
    image_out: float
    text_out: float = 0.0
    reference_tokens: int = 6_500


def _fits(order: Order, upstream_model: str) -> str | None:
    return None


def _takes(name: str, value: object, upstream_model: str) -> str | None:
    return None


def _nothing(order: Order, rates: Rates | None) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of upstream.

    `is_whole`: a submit is the whole work, takes as long as it and brings the pictures; upstream
    has no task to ask after, what is lost cannot be had again, and nothing is ever sent twice.
    `brings_references`: reference pictures are read here and sent along, so their links need not
    lead anywhere but here.
    `link_life_seconds` is how long result links live that lead elsewhere than into our own spool.
    `misfit` says why an order cannot be made by an upstream's model of this kind, in a few words
    behind the field and a colon, such as `size: none of 1:1, 2:3` (None: it can); `unfit` says the
    same of a field's value alone, with which it can make no order, whatever else that says;
    `styles` are those of its styles, by their name in the settings, that differ from it.
    `besides` is what it costs at most beside its pictures, in micro-dollars.
    """

    name: str
    is_whole: bool = False
    brings_references: bool = False
    link_life_seconds: float = LINK_LIFE_SECONDS
    misfit: Callable[[Order, str], str | None] = _fits
    unfit: Callable[[str, object, str], str | None] = _takes
    besides: Callable[[Order, Rates | None], int] = _nothing
    styles: Mapping[str, Kind] = field(default_factory=dict, hash=False)

    def of_style(self, style: str) -> Kind:
        return self.styles.get(style, self)


ANY: Final = Kind("any")
"""Takes every order, and shows links that live as long as links usually do."""
