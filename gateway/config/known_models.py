"""What is publicly known of models of kind openai: what their tokens cost, and until when they are.

As the vendors' pages had it on 2026-11-28. A table of facts that age: settings may say other rates,
and whoever finds a date wrong mends it here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from gateway.config.schema import RatesEntry

_DATED: Final = re.compile(r"-[0-9]{4}-[0-9]{2}-[0-9]{2}$")

_RATES: Final = (
    # The whole name of a model → its rates.
    (
        re.compile(r"gpt-image-1\.5|chatgpt-image-latest"),
        RatesEntry(text_in=5, image_in=8, image_out=32, text_out=10),
    ),
    (re.compile(r"gpt-image-1-mini"), RatesEntry(text_in=2, image_in=2.5, image_out=8)),
    (
        re.compile(r"gpt-image-2|gpt-image-2\.[56]-.+"),
        RatesEntry(text_in=5, image_in=8, image_out=30),
    ),
)


@dataclass(frozen=True, slots=True)
class Ends:
    """The last day, at either vendor; None: none is known."""

    openai: date | None = None
    azure: date | None = None


_ENDS: Final[Mapping[str, Ends]] = {
    "dall-e-2": Ends(date(2026, 5, 12)),
    "dall-e-3": Ends(date(2026, 5, 12)),
    "gpt-image-1": Ends(date(2026, 10, 23), date(2026, 10, 23)),
    "gpt-image-1.5": Ends(date(2026, 12, 1), date(2026, 12, 16)),
    "gpt-image-1-mini": Ends(date(2026, 12, 1), date(2027, 4, 7)),
    "chatgpt-image-latest": Ends(date(2026, 12, 1)),
    "gpt-image-2": Ends(azure=date(2027, 10, 21)),
    "gpt-image-2.5-flare": Ends(azure=date(2027, 9, 9)),
    "gpt-image-2.5-sunburst": Ends(azure=date(2027, 9, 9)),
}


def undated(model: str) -> str:
    """The model of which this is one state: `gpt-image-2-2026-04-21` is `gpt-image-2`."""
    return _DATED.sub("", model)


def rates_of(model: str) -> RatesEntry | None:
    """What the model's tokens cost; None for one that is not known."""
    name = undated(model)
    return next((rates for names, rates in _RATES if names.fullmatch(name)), None)


def ends_of(model: str) -> Ends:
    return _ENDS.get(undated(model), Ends())
