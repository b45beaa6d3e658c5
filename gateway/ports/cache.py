"""The response cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.core.model import Run


class ResponseCache(Protocol):
    """Fingerprint → finished run. Disposable: losing it costs a ledger read, never money.

    It fails open: a broken cache answers None, stores nothing, and never raises.
    """

    @property
    def epoch(self) -> int:
        """All that is stored was right when the ledger's `Epochs.cache` was this. Whoever needs to
        know takes it before he asks."""

    async def follow(self, epoch: int) -> None:
        """Everything goes, unless it is of this epoch already; nothing of it stays in any file."""

    async def advance(self, epoch: int) -> None:
        """What is stored is right in this epoch too: what is not was forgotten."""

    async def get(self, fingerprint: str) -> Run | None:
        """The finished run stored for it, or None."""

    async def put(self, run: Run, *, ttl_seconds: float, epoch: int) -> None:
        """Stores a finished run under its fingerprint, for at most that long.

        Nothing is stored where the run was seen finished in another epoch than today's.
        """

    async def delete(self, fingerprint: str) -> None: ...

    async def forget(self, fingerprints: Sequence[str]) -> None:
        """As `delete`, and nothing of them stays in any file; if need be, nothing of anything."""

    async def clear(self) -> None:
        """Forgets everything."""

    async def size(self) -> tuple[int, int]:
        """Entries and bytes."""

    async def close(self) -> None: ...
