"""Stands in for the module of this name, so that settings, prices and verdicts can be tested."""

from __future__ import annotations

import math
import re
from typing import Final

from gateway.core.kinds import Kind, Rates
from gateway.core.model import Order

_MADE: Final = re.compile(r"auto|1:1|2:3|3:2|[0-9]+x[0-9]+")


def misfit(order: Order, upstream_model: str) -> str | None:
    size = order.body.get("size")
    if size is not None and not (isinstance(size, str) and _MADE.fullmatch(size)):
        return f"'size' {size} has no counterpart in the OpenAI Images API."
    for name in ("resolution", "seed"):
        if name in order.body:
            return f"'{name}' has no counterpart in the OpenAI Images API."
    return None


def besides(order: Order, rates: Rates | None) -> int:
    if rates is None:
        return 0
    urls = order.body.get("image_urls")
    references = len(urls) if isinstance(urls, list) else 0
    references += "mask_url" in order.body
    text = len(order.prompt.encode()) * rates.text_in
    return math.ceil(text + references * rates.reference_tokens * rates.image_in)


KIND: Final = Kind("openai", is_whole=True, link_life_seconds=None, misfit=misfit, besides=besides)
