"""What the driver works with, and how much of it at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from gateway.core.lifecycle import Rules
from gateway.core.model import Run
from gateway.core.pictures import name_of
from gateway.core.policy import Current
from gateway.custody import Custody
from gateway.ports import Clock, Ledger, Links, Observer, Pictures, ResponseCache, Upstream
from gateway.waiting import Board


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is done at once, and how long a download may take."""

    calls: int = 64
    downloads: int = 8
    download_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What the driver works with; `upstreams` and `links` are by the settings' names.

    `nudge_courier` is called after each commit that may owe callbacks.
    """

    ledger: Ledger
    upstreams: Mapping[str, Upstream]
    links: Mapping[str, Links]
    pictures: Pictures
    cache: ResponseCache
    board: Board
    observer: Observer
    current: Current
    clock: Clock
    nudge_courier: Callable[[], None]
    custody: Custody = field(default_factory=Custody)

    def rules(self, run: Run) -> Rules:
        """What the lifecycle goes by on the run's route, as the settings are now."""
        return self.current.policy.rules.get(run.upstream) or Rules()

    @contextlib.asynccontextmanager
    async def measured(self, run: Run, operation: str) -> AsyncIterator[list[object]]:
        """Times one call; the caller puts what came of it into the list (nothing: ok)."""
        outcome: list[object] = []
        start = time.perf_counter()
        yield outcome
        name = name_of(outcome[0]) if outcome else "Kept"
        seconds = time.perf_counter() - start
        self.observer.called(run.upstream, operation, name, seconds)
