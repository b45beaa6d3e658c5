"""The time of one machine as it goes on, whatever is done to its clock meanwhile.

A clock that is set an hour forward would have every run under way miss its deadline, and its paid
pictures be given up; set back, nobody would look after them for an hour. So the time is that of
the start and what has gone by since; who keeps it follows the machine's when it is ready for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from gateway.ports.clock import Clock

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Seconds since some moment, those in which the machine slept too."""
    return time.clock_gettime(_CLOCK)


class SteadyClock:
    """A `Clock`, begun at what `machine` says; only `step` makes it jump."""

    def __init__(self, machine: Clock, elapsed: Callable[[], float] = elapsed) -> None:
        self._machine = machine
        self._elapsed = elapsed
        self._began = machine() - elapsed()
        self.steps = 0

    def __call__(self) -> float:
        return self._began + self._elapsed()

    def lead(self) -> float:
        """How far the machine's clock is ahead of this one, in seconds."""
        return self._machine() - self()

    def step(self, seconds: float) -> None:
        """From now on it is so much later."""
        self._began += seconds
        self.steps += 1
