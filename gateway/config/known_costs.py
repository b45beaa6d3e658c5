"""Whether prices hold: what a picture of a known model comes to by the vendor's count of tokens.

A price is what is held before the picture is ordered, and the vendor's own bill is settled, also
above it. Only models whose counts are published, or follow from what is, are told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import ceil
from typing import Final

from gateway.config.kind_rules import model_made
from gateway.config.known_models import undated
from gateway.config.schema import RouteEntry
from gateway.config.units import show_usd
from gateway.core.catalog import ImageModel, Route
from gateway.core.model import Order
from gateway.core.orders.pricing import price_per_picture
from gateway.core.orders.spellings import pixels

QUALITIES: Final = ("low", "medium", "high")
RATIOS: Final = {"1:1": "1024x1024", "2:3": "1024x1536", "3:2": "1536x1024"}

FIRST: Final[Mapping[tuple[str, str], int]] = {
    # Output tokens of the models before gpt-image-2, which make three sizes.
    ("low", "1024x1024"): 272, ("low", "1024x1536"): 408, ("low", "1536x1024"): 400,
    ("medium", "1024x1024"): 1_056, ("medium", "1024x1536"): 1_584, ("medium", "1536x1024"): 1_568,
    ("high", "1024x1024"): 4_160, ("high", "1024x1536"): 6_240, ("high", "1536x1024"): 6_208,
}  # fmt: skip
FINENESS: Final = {"low": 16, "medium": 48, "high": 96}
"""Of gpt-image-2: into so many parts its long edge is divided. It gives every published count."""


def output_tokens(model: str, quality: str, size: str) -> int | None:
    """What one picture of `WxH` pixels comes to; None where nobody tells."""
    match undated(model):
        case "gpt-image-1.5" | "gpt-image-1-mini" | "chatgpt-image-latest":
            return FIRST.get((quality, size))
        case "gpt-image-2":
            return _of_second(FINENESS[quality], *map(int, size.split("x")))
        case _:
            return None


def _of_second(long: int, width: int, height: int) -> int:
    short = round(long * min(width, height) / max(width, height))
    return ceil(long * short * (2_000_000 + width * height) / 4_000_000)


def too_low(place: str, entry: RouteEntry, route: Route, model: ImageModel) -> Iterator[str]:
    """The worst of what the route may be asked to make, where it may cost more than its price."""
    rates, made = entry.rates, model_made(entry, model.name)
    if rates is None:
        return
    worst: tuple[int, str] | None = None
    for quality, size in product(_qualities(model), sorted(model.limits.sizes or RATIOS)):
        price = price_per_picture(route, _order(model, size, quality), model.limits)
        tokens = output_tokens(made, quality, wished) if (wished := _pixels(size)) else None
        if price is None or tokens is None:
            continue
        cost = ceil(tokens * rates.image_out)
        if cost - price > (worst[0] if worst else 0):
            counted = f"{show_usd(price)} is held for {quality} {size}, which comes to"
            worst = cost - price, f"{counted} {show_usd(cost)} by the vendor's count"
    if worst:
        yield f"{place}: {worst[1]}: a run would cost more than its budget knew"


def _qualities(model: ImageModel) -> Iterable[str]:
    offered = model.limits.qualities
    return [one for one in QUALITIES if offered is None or one in offered]


def _pixels(size: str) -> str | None:
    wished = RATIOS.get(size, size)
    return wished if pixels(wished) else None


def _order(model: ImageModel, size: str, quality: str) -> Order:
    return Order(model.name, "", 1, size, quality, {"size": size, "quality": quality})
