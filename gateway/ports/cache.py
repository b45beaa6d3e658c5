"""The response cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.core.model import Run


class ResponseCache(Protocol):
    """Fingerprint → finished run. Disposable: losing it costs a ledger read, never money.

    It fails open: a broken cache answers None, stores nothing, and never raises.
    """

    async def get(self, fingerprint: str) -> Run | None:
        """The finished run stored for it, or None."""

    async def put(self, run: Run, *, ttl_seconds: float) -> None:
        """Stores a finished run under its fingerprint, for at most that long."""

    async def delete(self, fingerprint: str) -> None: ...

    async def forget(self, fingerprints: Sequence[str]) -> None:
        """As `delete`, and nothing of them stays in any file; if need be, nothing of anything."""

    async def clear(self) -> None:
        """Forgets everything."""

    async def size(self) -> tuple[int, int]:
        """Entries and bytes."""

    async def close(self) -> None: ...
