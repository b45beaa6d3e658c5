"""Which text an order may hold: what every store and every reader of JSON can keep.

U+0000 and halves of a surrogate pair are refused by the name of their field, before they can
reach a table or an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.errors import InvalidRequest

_UNKEEPABLE: Final = re.compile("[\x00\ud800-\udfff]")
_PATH_CHARACTERS: Final = 100


def check_texts(body: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` naming the first field that holds what cannot be kept."""
    for path, text in texts("", body):
        if _UNKEEPABLE.search(text):
            field = shown(path)
            what = "U+0000 or half a surrogate pair, which is no text"
            raise InvalidRequest(f"'{field}' contains {what}. Leave it out.", param=field)


def texts(path: str, value: object) -> Iterator[tuple[str, str]]:
    """Every text with its path, names of fields included. The nesting is bounded by the caller."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            below = f"{path}.{name}" if path else name
            yield below, name
            yield from texts(below, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(f"{path}[{index}]", inner)


def shown(path: str) -> str:
    """A path as it may stand in an answer: short, and made of characters."""
    cut = path[:_PATH_CHARACTERS].replace("\x00", "\\u0000")
    return cut.encode("utf-8", "backslashreplace").decode()
