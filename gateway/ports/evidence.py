"""An upstream's own record of what it did: the other side of the ledger."""

from __future__ import annotations

from typing import Protocol

from gateway.core.reconciling.evidence import Evidence


class Witness(Protocol):
    """One vendor account that can be asked what it has on record."""

    async def evidence(self, since: float, until: float) -> Evidence:
        """What it has on record of [since, until), in Unix seconds; `NoEvidence` with the reason
        where it tells nothing or could not be asked. Orders and pays nothing, is safe to call
        twice, and never raises. It ends within a minute: of a time with too much in it the later
        part is told.
        """
