"""The spellings of an order's fields: what means the same becomes one spelling.

Only what upstream documents is known here, and what a model's settings call its sizes. What is left
out, and what only says so in another way, is not there; a field under another spelling of its name
is refused, because upstream might read it all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.core.catalog import Limits
from gateway.errors import InvalidRequest

AUTO: Final = "auto"
"""As a size or a quality it says that upstream may choose, which is what leaving it out says."""

LABELS: Final = ("user", "safety_identifier", "metadata")
"""Whom or what an order is for: recorded with it, never forwarded, no part of the picture."""

NOT_FORWARDED: Final = frozenset(
    {"callback_url", "idempotency_key", "request_id", "client_request_id", "trace_id", *LABELS}
)
"""Fields about the order and not about the picture: neither forwarded nor fingerprinted."""

OPTIONAL: Final = NOT_FORWARDED | {
    "background", "image_urls", "mask_url", "model_params", "n", "output_format", "quality",
    "resolution", "seed", "size",
}  # fmt: skip
"""Documented, and nothing when empty."""

REQUIRED: Final = frozenset({"model", "prompt"})
_NOTHING: Final[tuple[object, ...]] = ("", [])
_PIXELS: Final = re.compile(r"([0-9]+)[xX×]([0-9]+)")  # noqa: RUF001 - upstream takes both


def given(body: Mapping[str, object]) -> dict[str, object]:
    """The fields that say something. Raises `InvalidRequest` for a name in a foreign spelling."""
    said = {}
    for name, value in body.items():
        folded = name.casefold()
        # Many JSON readers, Go's among them, look at names without regard to case.
        if name != folded and (folded in OPTIONAL or folded in REQUIRED):
            raise InvalidRequest(f"'{name}' must be written '{folded}'.", param=name)
        blank = value in _NOTHING or (isinstance(value, str) and not value.strip())
        if value is not None and not (blank and name in OPTIONAL):
            said[name] = value
    return said


def settled(fields: Mapping[str, object], limits: Limits) -> dict[str, object]:
    """The same fields, those that have lists in the one spelling that they have there."""
    said, lists = dict(fields), limits.lists
    for name in lists.keys() & said.keys():
        said[name] = meant(name, said[name], limits)
    for name in ("size", "quality"):
        if said.get(name) == AUTO:
            del said[name]
    return said


def meant(name: str, value: object, limits: Limits) -> object:
    """A value as the model has it: in its spelling, a size by the one name that it has there."""
    said = spelled(name, value, limits.lists.get(name))
    if name == "size" and limits.size_aliases and isinstance(said, str):
        return limits.size_aliases.get(said.casefold(), said)
    return said


def spelled(name: str, value: object, listed: frozenset[str] | None = None) -> object:
    """A value without stray blanks, as the list of known values writes it where it has it."""
    if not isinstance(value, str):
        return value
    plain = size(value) if name == "size" else value.strip()
    if listed is None or plain in listed:
        return AUTO if plain.lower() == AUTO else plain
    same = [one for one in listed if one.casefold() == plain.casefold()]
    if len(same) == 1:
        return same[0]
    return AUTO if plain.lower() == AUTO else plain


def size(text: str) -> str:
    """A size without blanks; pixels as `1024x1024`, whichever sign stands between them."""
    plain = "".join(text.split())
    found = _PIXELS.fullmatch(plain)
    return f"{found[1]}x{found[2]}" if found else plain


def pixels(value: object) -> int:
    """How many pixels a size asks for; 0 for a ratio, and for what is no size."""
    found = _PIXELS.fullmatch(value) if isinstance(value, str) and len(value) < 32 else None
    return int(found[1]) * int(found[2]) if found else 0
