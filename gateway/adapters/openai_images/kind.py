"""What the core has to know of this kind of upstream: which orders fit, what they cost besides.

Pure. What does not fit is told in a few words that begin with the field. The API refuses every
field and value that it does not know, so only what is known here goes there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from gateway.adapters.openai_images.bill import worth
from gateway.core.kinds import Kind, Rates
from gateway.core.model import Order
from gateway.core.orders.spellings import AUTO, size
from gateway.core.references import MAX_REFERENCES
from gateway.core.runs.docket import Tokens

NAME: Final = "openai"

MAX_N: Final = 10
MAX_PROMPT: Final = 32_000
"""Characters."""

PROMPT_FRAME: Final = 64
"""Tokens that a prompt may get besides its own. Its own are never more than its bytes."""

RATIOS: Final[Mapping[str, str]] = {"1:1": "1024x1024", "2:3": "1024x1536", "3:2": "1536x1024"}
"""Our ratios that have a size of their own there."""

STANDARD_SIZES: Final = frozenset(RATIOS.values())

EDGE: Final = 16
MAX_EDGE: Final = 3840
MAX_RATIO: Final = 3
MIN_PIXELS, MAX_PIXELS = 655_360, 8_294_400

QUALITIES: Final = frozenset({AUTO, "low", "medium", "high"})
HIGHER: Final = QUALITIES | {"xhigh", "max"}


@dataclass(frozen=True, slots=True)
class Family:
    """What models of one generation take. `any_size`: by a rule, not from a list."""

    any_size: bool
    qualities: frozenset[str]
    fidelity: bool = False
    complexity: bool = False


FIRST: Final = Family(any_size=False, qualities=QUALITIES, fidelity=True)
UNKNOWN: Final = Family(any_size=False, qualities=QUALITIES)
"""A deployment may have any name, another server any model: what every model takes."""

FAMILIES: Final = (
    # The first that the model's name begins with.
    ("gpt-image-1-mini", UNKNOWN),
    ("gpt-image-1", FIRST),
    ("chatgpt-image", FIRST),
    ("gpt-image-2.5", Family(any_size=True, qualities=HIGHER)),
    ("gpt-image-2.6", Family(any_size=True, qualities=HIGHER, complexity=True)),
    ("gpt-image-2", Family(any_size=True, qualities=QUALITIES)),
)


def family(upstream_model: str) -> Family:
    name = upstream_model.rpartition("/")[2].lower()
    return next((one for start, one in FAMILIES if name.startswith(start)), UNKNOWN)


def wire_size(value: object) -> str:
    """A size as it is written there; a ratio's own size."""
    plain = size(value) if isinstance(value, str) else ""
    return RATIOS.get(plain, plain.lower())


def unfit(name: str, value: object, upstream_model: str) -> str | None:
    """Why an upstream of this kind can make no order with this value there; None: it can."""
    check = _CHECKS.get(name)
    if check is None:
        return _UNKNOWN.get(name) or f"{name}: not known to this kind of upstream"
    problem = check(value, family(upstream_model))
    return None if problem is None else f"{name}: {problem}"


def azures_unfit(name: str, value: object, upstream_model: str) -> str | None:
    """The same at Azure, which takes less."""
    if name == "output_format" and value == "webp":
        return "output_format: Azure makes no webp"
    return unfit(name, value, upstream_model)


def misfit(
    order: Order, upstream_model: str, unfit: Callable[[str, object, str], str | None] = unfit
) -> str | None:
    """Why an upstream of this kind cannot make the order; None: it can."""
    problems = (unfit(name, value, upstream_model) for name, value in order.body.items())
    return next((one for one in problems if one is not None), None) or _together(order.body)


def besides(order: Order, rates: Rates | None) -> int:
    """What prompt and references cost at most, in micro-dollars; 0 without rates."""
    if rates is None:
        return 0
    urls = order.body.get("image_urls")
    references = (len(urls) if isinstance(urls, list) else 0) + bool(order.body.get("mask_url"))
    prompt = len(order.prompt.encode("utf-8", "surrogatepass")) + PROMPT_FRAME
    return worth(Tokens(prompt, references * rates.reference_tokens, 0), rates)


# --- field by field ------------------------------------------------------------------------------


def _prompt(value: object, _: Family) -> str | None:
    if not isinstance(value, str):
        return "not a text"
    return f"more than {MAX_PROMPT} characters" if len(value) > MAX_PROMPT else None


def _n(value: object, _: Family) -> str | None:
    return None if _is_whole(value, 1, MAX_N) else f"not from 1 to {MAX_N}"


def _size(value: object, takes: Family) -> str | None:
    wished = wire_size(value)
    if wished == AUTO or wished in STANDARD_SIZES:
        return None
    if not takes.any_size:
        return f"none of {', '.join(sorted(STANDARD_SIZES))}"
    width, sign, height = wished.partition("x")
    if not sign or not _is_number(width) or not _is_number(height):
        return "a ratio whose pixels are not known here" if ":" in wished else "no size in pixels"
    return _pixels(int(width), int(height))


def _pixels(width: int, height: int) -> str | None:
    long, short = max(width, height), min(width, height)
    if short == 0 or width % EDGE or height % EDGE:
        return f"edges must be multiples of {EDGE}"
    if long > MAX_EDGE:
        return f"an edge is longer than {MAX_EDGE}"
    if long > MAX_RATIO * short:
        return f"longer than {MAX_RATIO}:1"
    return None if MIN_PIXELS <= width * height <= MAX_PIXELS else "too few or too many pixels"


def _quality(value: object, takes: Family) -> str | None:
    return _one_of(takes.qualities)(value, takes)


def _fidelity(value: object, takes: Family) -> str | None:
    return _one_of(frozenset({"low", "high"}))(value, takes) if takes.fidelity else _NOT_HERE


def _complexity(value: object, takes: Family) -> str | None:
    words = frozenset({"low", "medium", "high"})
    return _one_of(words)(value, takes) if takes.complexity else _NOT_HERE


def _compression(value: object, _: Family) -> str | None:
    return None if _is_whole(value, 0, 100) else "not from 0 to 100"


def _references(value: object, _: Family) -> str | None:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return "not a list of links"
    return f"more than {MAX_REFERENCES}" if len(value) > MAX_REFERENCES else None


def _link(value: object, _: Family) -> str | None:
    return None if isinstance(value, str) else "not a link"


def _one_of(words: frozenset[str]) -> Callable[[object, Family], str | None]:
    def check(value: object, _: Family) -> str | None:
        known = isinstance(value, str) and value in words
        return None if known else f"none of {', '.join(sorted(words))}"

    return check


def _together(body: Mapping[str, Any]) -> str | None:
    """What fits each alone and not together."""
    form = body.get("output_format", "png")
    if body.get("mask_url") and not body.get("image_urls"):
        return "mask_url: without image_urls"
    if body.get("input_fidelity") and not body.get("image_urls"):
        return "input_fidelity: without image_urls"
    if "output_compression" in body and form == "png":
        return "output_compression: only of jpeg and webp"
    if body.get("background") == "transparent" and form == "jpeg":
        return "background: a jpeg is never transparent"
    return None


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


_NOT_HERE: Final = "not taken by this model"
_UNKNOWN: Final[Mapping[str, str]] = {
    # EvoLink does not publish how many pixels these words are, so no size here would be the same.
    "resolution": "resolution: its pixels are not known here; order a size",
}
_CHECKS: Final[Mapping[str, Callable[[object, Family], str | None]]] = {
    "background": _one_of(frozenset({AUTO, "opaque", "transparent"})),
    "complexity": _complexity,
    "image_urls": _references,
    "input_fidelity": _fidelity,
    "mask_url": _link,
    "moderation": _one_of(frozenset({AUTO, "low"})),
    "n": _n,
    "output_compression": _compression,
    "output_format": _one_of(frozenset({"png", "jpeg", "webp"})),
    "prompt": _prompt,
    "quality": _quality,
    "size": _size,
}


_OPENAIS: Final = Kind(
    name=NAME,
    is_whole=True,
    brings_references=True,
    misfit=misfit,
    unfit=unfit,
    besides=besides,
)
_AZURES: Final = replace(_OPENAIS, misfit=partial(misfit, unfit=azures_unfit), unfit=azures_unfit)

KIND: Final = replace(_OPENAIS, styles={"azure": _AZURES, "azure_v1": _AZURES})
