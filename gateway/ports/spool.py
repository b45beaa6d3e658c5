"""What upstreams have answered where a submit is the whole work, as it lies on this node's disk."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class PaidAnswers(Protocol):
    """One folder for all upstreams. An answer in it is the only copy of what was paid.

    Its methods raise OSError where the disk fails.
    """

    async def run_ids(self) -> Collection[str]:
        """The runs of which something lies here, whole or not."""

    async def remove(self, run_id: str) -> None:
        """Whatever lies here of the run; nothing is no error."""

    async def free_bytes(self) -> int:
        """The room left on its disk. Raises where nothing can be written there."""
