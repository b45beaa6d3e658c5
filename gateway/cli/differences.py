"""What an operator's act has changed, in few words: `budget day $50.00 -> $80.00`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.cli.formats import NOTHING, money

WINDOWED: Final = {"budgets": ("budget", "usd"), "images": ("pictures", "count")}
"""Lists whose entries are told apart by their window: what they are called, and the amount."""

NONE: Final = "none"


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """What is not as it was; of something new all that is set."""
    if after is None:
        return NOTHING
    was, now = dict(_flat(before or {})), dict(_flat(after))
    told = [
        f"{name} {now[name]}" if before is None else _change(name, was.get(name), now.get(name))
        for name in {**was, **now}
        if was.get(name) != now.get(name)
    ]
    return "; ".join(told) or NOTHING


def _change(name: str, was: str | None, now: str | None) -> str:
    return f"{name} {NONE if was is None else was} -> {NONE if now is None else now}"


def _flat(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Every value that is set by its dotted name, as text."""
    for name, value in document.items():
        place = f"{path}{name}"
        windowed = WINDOWED.get(place.rpartition(".")[2])
        if value is None or value in ("", [], {}):
            continue
        if windowed and isinstance(value, list) and all(_has_window(one) for one in value):
            noun, amount = windowed
            prefix = place.rpartition(".")[0].removesuffix("limits").removesuffix(".")
            for one in value:
                shown = money(float(one[amount])) if amount == "usd" else str(one[amount])
                yield f"{f'{prefix} ' if prefix else ''}{noun} {one['per']}", shown
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{place}.")
        elif isinstance(value, list):
            yield place, ", ".join(map(_text, value))
        else:
            yield place, _text(value)


def _has_window(entry: object) -> bool:
    return isinstance(entry, Mapping) and "per" in entry and ("usd" in entry or "count" in entry)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
