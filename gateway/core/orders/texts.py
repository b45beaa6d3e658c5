"""Which text an order may hold: what every store and every reader of JSON can keep.

U+0000 and halves of a surrogate pair are refused by the name of their field, before they can
reach a table or an answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.errors import InvalidRequest

_UNKEEPABLE: Final = re.compile("[\x00\ud800-\udfff]")
_PATH_CHARACTERS: Final = 100

_Place = tuple[Sequence[object], object]
"""The steps to a value, innermost first and each holding the rest; and the value."""


def check_texts(body: Mapping[str, object], *, max_depth: float = math.inf) -> None:
    """Raises `InvalidRequest` naming a field that holds what cannot be kept, or for a body that is
    nested deeper than so many levels."""
    texts: list[str] = []
    level: list[object] = [body]
    depth = 0
    while level:  # no path is made on the way, since nearly all bodies are fine
        if depth == max_depth:
            raise InvalidRequest(f"The body is nested more than {max_depth} levels deep.")
        deeper: list[object] = []
        for value in level:
            if isinstance(value, str):
                texts.append(value)
            elif isinstance(value, Mapping):
                texts += value
                deeper += value.values()
            elif isinstance(value, list):
                deeper += value
        level, depth = deeper, depth + 1
    if not _UNKEEPABLE.search("\n".join(texts)):
        return
    field = path_of(body, lambda value: isinstance(value, str) and _is_unkeepable(value))
    what = "U+0000 or half a surrogate pair, which is no text"
    raise InvalidRequest(f"'{field}' contains {what}. Leave it out.", param=field)


def path_of(body: object, is_wanted: Callable[[object], bool]) -> str | None:
    """The path of the first value that is wanted, or name of one, such as `a.b[1]`."""
    waiting: list[_Place] = [((), body)]
    while waiting:
        steps, value = waiting.pop()
        if is_wanted(value):
            return _shown(steps)
        if isinstance(value, Mapping):
            names = [name for name in value if is_wanted(name)]
            if names:
                return _shown((names[0], steps))
            waiting += [((name, steps), value[name]) for name in reversed(value)]
        elif isinstance(value, list):
            waiting += [((at, steps), value[at]) for at in range(len(value) - 1, -1, -1)]
    return None


def _is_unkeepable(text: str) -> bool:
    return _UNKEEPABLE.search(text) is not None


def _shown(steps: Sequence[object]) -> str:
    """The path as it may stand in an answer: short, and made of characters."""
    written: list[str] = []
    while steps:
        step, steps = steps  # type: ignore[assignment]
        written.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    path = "".join(reversed(written)).removeprefix(".")[:_PATH_CHARACTERS]
    return path.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()
