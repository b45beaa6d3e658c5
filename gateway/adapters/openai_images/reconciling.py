"""What the usage report tells, for the ledger to be held against: counts by minute and model.

The report is one for the whole organisation, and opens to an admin key of its own. Only OpenAI
itself has one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from gateway.core.reconciling.evidence import Evidence, MinuteCount, MinuteCounts, NoEvidence

NO_REPORT: Final = (
    "Upstreams of this style have no report of what they counted: only OpenAI itself has one."
)
NO_KEY: Final = (
    "Its usage report wants an admin key of the organisation: set usage_key of the upstream."
)
UNANSWERED: Final = "Its usage report could not be read."


class CountedUsage(Protocol):
    """One row of the report: a minute, a model, and what was counted of it."""

    @property
    def start(self) -> float: ...
    @property
    def model(self) -> str: ...
    @property
    def images(self) -> int: ...
    @property
    def requests(self) -> int: ...


ReadUsage = Callable[[float, float], Awaitable[Sequence[CountedUsage] | None]]
"""The rows of [since, until), in buckets of a minute; None where they were not told."""


class UsageWitness:
    """The report as `gateway.ports.evidence.Witness`."""

    def __init__(self, read: ReadUsage | None, *, otherwise: str = NO_KEY) -> None:
        """Without `read` there is no report, and `otherwise` says why."""
        self._read = read
        self._otherwise = otherwise

    async def evidence(self, since: float, until: float) -> Evidence:
        if self._read is None:
            return NoEvidence(self._otherwise)
        rows = await self._read(since, until)
        if rows is None:
            return NoEvidence(UNANSWERED)
        return MinuteCounts(
            tuple(MinuteCount(row.start, row.model, row.requests, row.images) for row in rows),
            since,
        )
