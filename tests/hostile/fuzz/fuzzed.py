"""Fuzzes one target in this process; the last two folders are for what it learns and has found."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from random import Random
from typing import Any, Final

import atheris

FOLLOWED: Final = ["gateway", "PIL", "python_multipart", "starlette"]
"""Packages in which new ways are looked for; what is native is not followed."""

ODD: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 0.5, 1e308, 2**63, 2**64, 10**99, "", " ", "0", "-1", "null", "x" * 300),
    *("\0", "\ud800", "\u0130", "http://[::1", "data:image/png;base64,AA=", "//x", "task-x"),
    *([], {}, [[]], [None], {"": {}}, {"url": "/x"}, {"code": "x", "message": "y"}),
)


def main(name: str, *wish: str) -> None:
    with atheris.instrument_imports(include=FOLLOWED):
        target = importlib.import_module(name)
    for number, seed in enumerate(target.seeds()):
        Path(wish[-2], f"seed-{number}").write_bytes(seed)
    atheris.Setup([name, *wish], target.give, custom_mutator=_mutated)
    atheris.Fuzz()


def _mutated(data: bytes, most: int, seed: int) -> bytes:
    """Every second time what has JSON in it keeps it, with a part that became another: bytes
    exchanged at random hardly ever leave any."""
    chance = Random(seed)
    at = data.find(b"{")
    if at < 0 or chance.random() < 0.5:
        return atheris.Mutate(data, most)
    try:
        changed = data[:at] + json.dumps(_other(json.loads(data[at:]), chance)).encode()
    except (ValueError, RecursionError):
        return atheris.Mutate(data, most)
    return changed if len(changed) <= most else data


def _other(value: Any, chance: Random) -> Any:
    if not isinstance(value, dict | list) or not value or chance.random() < 0.1:
        return chance.choice(ODD)
    copied = value.copy()
    at = chance.choice([*range(len(value))] if isinstance(value, list) else [*value])
    match chance.randrange(6):
        case 0:
            del copied[at]
        case 1 if isinstance(copied, list):
            copied *= chance.choice([2, 20])
        case _:
            copied[at] = _other(value[at], chance)
    return copied


if __name__ == "__main__":
    main(*sys.argv[1:])
