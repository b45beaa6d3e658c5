"""Texts that PostgreSQL cannot hold: U+0000 and halves of surrogate pairs are replaced.

Orders with them are refused at the door. They may still come from elsewhere: in what an upstream
said, in the name of a file, in an id that somebody asks for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_UNKEEPABLE: Final = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def keepable(values: Sequence[object]) -> tuple[object, ...]:
    """The values of a statement as the server takes them."""
    return tuple(_kept(value) if isinstance(value, str) else value for value in values)


def _kept(value: str) -> str:
    if value.isascii() and "\x00" not in value:
        return value
    return _UNKEEPABLE.sub(REPLACEMENT, value)
