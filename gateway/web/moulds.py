"""What an ended run's answers have in common, rendered once for all who are told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.core.model import Run

MOULDS: Final = 64
"""Ended runs whose answers are kept rendered: those that many clients wait for at once."""


class Moulds:
    """Found by the run's id and told by the run itself, mostly the very same: to hash the whole of
    a run, and compare it, takes ten times as long as filling its mould."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], tuple[Run, bytes]] = {}

    def of(self, run: Run, *words: str, made: Callable[[], bytes]) -> bytes:
        """What was made of this run with these words, or is now."""
        name = (run.id, *words)
        known = self._made.get(name)
        if known is not None and known[0] is run:
            return known[1]
        mould = known[1] if known is not None and known[0] == run else made()
        self._made.pop(name, None)
        if len(self._made) >= MOULDS:
            del self._made[next(iter(self._made))]
        self._made[name] = (run, mould)
        return mould

    def __len__(self) -> int:
        return len(self._made)
