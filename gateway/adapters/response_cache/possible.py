"""Which fingerprints a cache may hold: of a new order it is nearly always known without a look.

A look takes a hop to a thread, and with that a tenth of what the event loop spends on a submit.
"""

from __future__ import annotations

from typing import Final

PLACES: Final = 1 << 20
"""A byte each, written by one instruction, so that any thread may. A cache of a hundred thousand
entries leaves nine tenths of them free."""


class Possible:
    """What was never noted is not there, once all that was there before `is_known`."""

    def __init__(self, *, is_known: bool) -> None:
        self.is_known = is_known
        self._places = bytearray(PLACES)

    def note(self, fingerprint: str) -> None:
        """Before it is stored."""
        self._places[hash(fingerprint) % PLACES] = 1

    def may_have(self, fingerprint: str) -> bool:
        return not self.is_known or bool(self._places[hash(fingerprint) % PLACES])
