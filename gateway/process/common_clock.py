"""The time that gateways with one ledger have in common: this machine's, corrected by the ledger's.

Times, windows and leases in the ledger are written by all of them. A machine whose clock is ahead
would take others' runs for free, and count an order in another minute than they do.
"""

from __future__ import annotations

from typing import Final

from gateway.ports.clock import Clock

EXACT_SECONDS: Final = 0.1
"""What a measurement may be wrong by: less is not corrected, so that the time does not jitter."""


class CommonClock:
    """A `Clock`; as long as nothing is noted it is the machine's own."""

    def __init__(self, own: Clock) -> None:
        self.own = own
        self._ahead_seconds = 0.0

    def __call__(self) -> float:
        return self.own() + self._ahead_seconds

    @property
    def offset_seconds(self) -> float:
        """How far the ledger's clock is ahead of the machine's."""
        return self._ahead_seconds

    def note(self, ahead_seconds: float) -> None:
        """The ledger's clock was measured so far ahead of the machine's own."""
        if abs(ahead_seconds - self._ahead_seconds) > EXACT_SECONDS:
            self._ahead_seconds = ahead_seconds
