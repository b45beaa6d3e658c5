"""What a loop in the background met that nobody had thought of: it is told, and the loop goes on.

A loop that ended with it would be missed long after, when runs stand still that nobody leases.
"""

from __future__ import annotations

import structlog

log = structlog.get_logger("gateway")


class Unexpected:
    """Of one loop; each kind of error is logged once, with where it came from."""

    def __init__(self, loop: str) -> None:
        self._loop = loop
        self._told: set[type[Exception]] = set()

    def met(self, error: Exception) -> None:
        if type(error) not in self._told:
            self._told.add(type(error))
            log.error("a background loop failed and goes on", loop=self._loop, exc_info=error)
