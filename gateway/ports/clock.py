"""The time, as everybody is given it."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""Unix seconds, UTC. Injected everywhere, so that tests own time."""
