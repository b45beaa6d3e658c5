"""The time that gateways with one ledger have in common: this machine's, corrected by the ledger's.

Times, windows and leases in the ledger are written by all of them. A machine whose clock is ahead
would take others' runs for free, and count an order in another minute than they do.
"""

from __future__ import annotations

from typing import Final

from gateway.process.steady_clock import SteadyClock

EXACT_SECONDS: Final = 0.1
"""What a measurement may be wrong by: less is not corrected, so that the time does not jitter."""


class CommonClock:
    """A `Clock`; as long as nothing is noted it is the gateway's own."""

    def __init__(self, own: SteadyClock) -> None:
        self.own = own
        self._ahead_seconds = 0.0
        self._lead_seconds = 0.0

    def __call__(self) -> float:
        return self.own() + self._ahead_seconds

    @property
    def offset_seconds(self) -> float:
        """How far the ledger's clock is ahead of the machine's."""
        return self._ahead_seconds - self._lead_seconds

    def note(self, ahead_seconds: float, lead_seconds: float = 0.0) -> None:
        """The ledger's clock was measured so far ahead of the gateway's own, and the machine's."""
        self._lead_seconds = lead_seconds
        if abs(ahead_seconds - self._ahead_seconds) > EXACT_SECONDS:
            self._ahead_seconds = ahead_seconds
