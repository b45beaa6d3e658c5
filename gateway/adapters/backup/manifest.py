"""What a backup says of itself. It is written last: a folder without it is no whole backup."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

FORMAT: Final = 1
"""Of the folder; one with a higher number is of a newer version of the gateway."""


class NoManifest(Exception):
    """Its words say why the file is none."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`sums` are the SHA-256 of the files beside it; pictures are named by theirs."""

    version: str
    schema: int
    store_id: str | None
    began_at: str
    ended_at: str
    runs: int
    pictures: int
    picture_bytes: int
    set_aside: int
    sums: Mapping[str, str]
    missing: tuple[str, ...] = field(default=())

    def to_json(self) -> bytes:
        told = {"format": FORMAT, **asdict(self)}
        return (json.dumps(told, indent=2) + "\n").encode()


def read(content: bytes) -> Manifest:
    """Raises `NoManifest`."""
    try:
        told = json.loads(content)
        number = int(told.pop("format"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise NoManifest("it is damaged") from None
    if number > FORMAT:
        version = str(told.get("version", "?"))
        raise NoManifest(f"it was made by a newer version of the gateway ({version})")
    try:
        made = Manifest(**{**told, "missing": tuple(told["missing"])})
    except (TypeError, KeyError):
        raise NoManifest("it is damaged") from None
    # A name is a name: none leads out of the folder.
    names = made.sums if isinstance(made.sums, dict) else [""]
    if not isinstance(made.runs, int) or any(Path(name).name != name or not name for name in names):
        raise NoManifest("it is damaged")
    return made
