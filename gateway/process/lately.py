"""What was found out lately, and holds for a moment: whoever asks again within it is told at once.

A hop to a thread and back costs as much as all else that an answer which is held ready takes; one
that is asked for a thousand times a second needs it once.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SECONDS: Final = 1.0
MOST: Final = 1_000
"""Of some kilobytes each, where they are runs."""


class Lately(Generic[K, V]):
    """A table of what is known for a second. What is asked of elsewhere meanwhile is `noted` only
    if nothing was forgotten since: `changes` tells."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.changes = 0
        self._monotonic = monotonic
        self._known: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def found(self, key: K) -> V | None:
        known = self._known.get(key)
        if known is None:
            return None
        value, until = known
        if self._monotonic() < until:
            return value
        del self._known[key]
        return None

    def note(self, key: K, value: V, *, changes: int, seconds: float = SECONDS) -> None:
        """As it was when there had been so many changes; it may end earlier than its second."""
        if changes != self.changes:
            return
        self._known[key] = (value, self._monotonic() + min(SECONDS, seconds))
        self._known.move_to_end(key)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def forget(self, *keys: K) -> None:
        self.changes += 1
        for key in keys:
            self._known.pop(key, None)

    def clear(self) -> None:
        self.changes += 1
        self._known.clear()
