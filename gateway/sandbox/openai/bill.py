"""The bill: one line for each call whose work was done, by key, in whole micro-dollars.

A line is written when the work ends and never changes. Nothing here knows whether anyone was there
to take the answer.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

KEPT_CHARACTERS = 500
"""So much of a prompt stands on the bill."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One call's line. `source` is the usage report's word, `at` Unix seconds."""

    serial: int
    request_id: str
    api_key_id: str
    model: str
    source: str
    size: str
    prompt: str
    images: int
    text_in: int
    image_in: int
    image_out: int
    text_out: int
    usd_micros: int
    at: float


@dataclass(slots=True)
class Sum:
    """What a key, or all of them, owe so far."""

    usd_micros: int = 0
    calls: int = 0
    images: int = 0

    def add(self, charge: Charge) -> None:
        self.usd_micros += charge.usd_micros
        self.calls += 1
        self.images += charge.images


class Bill:
    """All charges so far. The sums are exact; of the lines the latest `most_lines` are kept."""

    def __init__(self, most_lines: int) -> None:
        self.total = Sum()
        self._most_lines = most_lines
        self._keys: dict[str, Sum] = {}
        self._lines: OrderedDict[int, Charge] = OrderedDict()

    def charge(self, line: Charge) -> None:
        """Writes one line. Raises ValueError when its call is charged already."""
        if line.serial in self._lines:
            raise ValueError(f"call {line.serial} is on the bill already")
        self._lines[line.serial] = line
        if len(self._lines) > self._most_lines:
            self._lines.popitem(last=False)
        self.total.add(line)
        self._keys.setdefault(line.api_key_id, Sum()).add(line)

    def of(self, api_key: str) -> Sum:
        """What the key owes."""
        return self._keys.get(key_id(api_key), Sum())

    def lines(self) -> Iterator[Charge]:
        """Oldest first."""
        return iter(self._lines.values())

    def as_json(self, most_lines: int) -> dict[str, Any]:
        """Sums, sums by key id, and the latest lines, oldest first."""
        latest = list(self._lines.values())[-most_lines:] if most_lines else []
        return {
            **asdict(self.total),
            "keys": {name: asdict(owed) for name, owed in self._keys.items()},
            "charges": [asdict(line) for line in latest],
        }


def key_id(api_key: str) -> str:
    """The public name of a key, as usage reports give it."""
    return f"key_{hashlib.sha256(api_key.encode()).hexdigest()[:16]}"
