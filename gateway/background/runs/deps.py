"""What the driver works with, and how much of it at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from gateway.core.copies import replace
from gateway.core.model import Run
from gateway.core.picture_errors import name_of
from gateway.core.policy import Current
from gateway.core.runs.events import SubmitEvent
from gateway.core.runs.lifecycle import Rules
from gateway.core.runs.schedule import crowded
from gateway.ports.cache import ResponseCache
from gateway.ports.clock import Clock
from gateway.ports.ledger import RunQueue
from gateway.ports.observer import Observer
from gateway.ports.outbound import Links
from gateway.ports.pictures import Pictures
from gateway.ports.spool import PaidAnswers
from gateway.ports.upstream import Upstream
from gateway.process.following import Following
from gateway.process.picture_locks import PictureLocks
from gateway.process.waiters import Waiters


@dataclass(frozen=True, slots=True)
class RunBounds:
    """How much is done at once, and how long a download may take."""

    calls: int
    downloads: int
    download_seconds: float


@dataclass(frozen=True, slots=True)
class CallBounds:
    """How many submits an upstream may have at once, and how long one may take."""

    connections: int
    submit_seconds: float


@dataclass(slots=True)
class Crowd:
    """How many runs are asked after, as it was found last."""

    running: int = 0


@dataclass(frozen=True, slots=True)
class RunsDeps:
    """What the driver works with; `upstreams`, `links` and `bounds` are by the settings' names.

    `nudge_webhooks` is called after each commit that may owe callbacks. `spool` is where answers
    lie that are the whole work; `recovered` tells what lies there of a run whose upstream is no
    longer named, as `Upstream.recovered` does.
    """

    ledger: RunQueue
    upstreams: Mapping[str, Upstream]
    links: Mapping[str, Links]
    pictures: Pictures
    cache: ResponseCache
    waiters: Waiters
    observer: Observer
    current: Current
    clock: Clock
    nudge_webhooks: Callable[[], None]
    following: Following
    recovered: Callable[[Run], Awaitable[SubmitEvent]]
    picture_locks: PictureLocks = field(default_factory=PictureLocks)
    crowd: Crowd = field(default_factory=Crowd)
    bounds: Mapping[str, CallBounds] = field(default_factory=dict)
    spool: PaidAnswers | None = None

    def known(self) -> Collection[str]:
        """The upstreams that are named here, where other gateways may name more; else none: whoever
        is alone has every run to itself."""
        return tuple(self.upstreams) if self.following.is_shared else ()

    def rules(self, run: Run) -> Rules:
        """What the lifecycle goes by on the run's route, as the settings and the crowd are now."""
        rules = self.current.policy.rules_of(run.upstream)
        pace = crowded(rules.pace, self.crowd.running)
        return rules if pace is rules.pace else replace(rules, pace=pace)

    def is_whole(self, upstream: str) -> bool:
        """Whether a submit to it is the whole work."""
        return self.current.policy.rules_of(upstream).kind.is_whole

    @contextlib.contextmanager
    def measured(self, run: Run, operation: str) -> Iterator[list[object]]:
        """Times one call; the caller puts what came of it into the list (nothing: ok)."""
        outcome: list[object] = []
        start = time.perf_counter()
        yield outcome
        name = name_of(outcome[0]) if outcome else "Kept"
        seconds = time.perf_counter() - start
        self.observer.called(run.upstream, operation, name, seconds)
