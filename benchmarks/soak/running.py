"""One soak from its start to its proof: most of the time one process, then restarts, then quiet."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.soak import proof, traffic, trouble
from benchmarks.soak.asking import Client
from benchmarks.soak.promises import Promises
from benchmarks.soak.readings import Bound, Reading, Trend, bounds, read, trends
from benchmarks.soak.site import CACHE_BYTES, Site, site

STEADY_SHARE: Final = 0.65
"""So much of the time is one process's, whose size is judged."""

READINGS: Final = 1_000
READ_SECONDS: Final = 0.5
"""A reading every half second, and in a long soak so many in all."""

WAL_BYTES: Final = 68 * 1024 * 1024
"""What the ledger lets it keep (`journal_size_limit`), and some pages more."""

CACHE_ROOM_BYTES: Final = 8_000_000
"""What comes on top of the cache's limit: its write-ahead log of 4 MB, and what is to be culled."""


@dataclass(frozen=True, slots=True)
class Plan:
    seconds: float
    clients: int
    seed: int

    @property
    def steady_seconds(self) -> float:
        return self.seconds * STEADY_SHARE


@dataclass
class Outcome:
    """What was seen. `failed` names each thing that is not as it has to be."""

    plan: Plan
    promises: Promises
    seen: Counter[str] = field(default_factory=Counter)
    """Weathers and restarts, by their names."""
    trends: Sequence[Trend] = ()
    bounds: Sequence[Bound] = ()
    findings: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        grown = [one.name for one in self.trends if not one.is_flat]
        over = [one.name for one in self.bounds if not one.holds]
        return [*grown, *over, *(name for name, found in self.findings.items() if found)]


Tell = Callable[[str], None]


async def soaked(folder: Path, plan: Plan, tell: Tell) -> Outcome:
    """Runs it in this folder, and tells how it goes, a line now and then."""
    promises = Promises()
    outcome = Outcome(plan, promises)
    async with site(folder) as one:
        conductor = _Conductor(one, outcome, tell)
        await conductor.play()
        tell("quiet: every order ends, then all that was promised is looked at")
        client = conductor.client(0)
        await proof.quiet(client)
        outcome.findings = await proof.findings(client, tell)
        await client.http.aclose()
    return outcome


class _Conductor:
    """Clients, weather, restarts and readings at the same time."""

    def __init__(self, one: Site, outcome: Outcome, tell: Tell) -> None:
        self._site = one
        self._outcome = outcome
        self._plan = outcome.plan
        self._tell = tell
        self._begin = time.monotonic()
        self._readings: list[Reading] = []

    def client(self, number: int) -> Client:
        chance = random.Random(f"{self._plan.seed}-{number}")
        return Client(self._site, self._outcome.promises, chance, self._is_over)

    def _is_over(self) -> bool:
        return self._passed() >= self._plan.seconds

    def _passed(self) -> float:
        return time.monotonic() - self._begin

    async def play(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(1, self._plan.clients + 1):
                group.create_task(traffic.live(self.client(number)))
            seen = self._outcome.seen
            group.create_task(trouble.weather(self._site, self._is_over, seen))
            group.create_task(self._progress())
            await self._watch()
            self._judge()
            until = self._begin + self._plan.seconds
            chance = random.Random(self._plan.seed)
            await trouble.restarts(self._site, until, chance, seen)

    async def _watch(self) -> None:
        """While one process serves."""
        pid, promises = self._site.gateway.pid, self._outcome.promises
        pause = max(READ_SECONDS, self._plan.steady_seconds / READINGS)
        while self._passed() < self._plan.steady_seconds:
            await asyncio.sleep(pause)
            numbers = {"requests": promises.requests, "orders": len(promises.tasks)}
            now = await asyncio.to_thread(read, pid or 0, self._site.data, **numbers)
            if now is None:
                raise RuntimeError(f"the gateway ended by itself: see {self._site.gateway.log}")
            self._readings.append(now)

    def _judge(self) -> None:
        allowed = CACHE_BYTES + CACHE_ROOM_BYTES
        self._outcome.trends = trends(self._readings)
        self._outcome.bounds = bounds(self._readings, wal_bytes=WAL_BYTES, cache_bytes=allowed)

    async def _progress(self) -> None:
        pause = max(5.0, self._plan.seconds / 60)
        while not self._is_over():
            await asyncio.sleep(min(pause, max(0.1, self._plan.seconds - self._passed())))
            self._tell(self._line())

    def _line(self) -> str:
        promises, seen = self._outcome.promises, self._outcome.seen
        memory = self._readings[-1].memory_bytes / 1024**2 if self._readings else 0.0
        restarts = seen[trouble.KILLED] + seen[trouble.STOPPED]
        return (
            f"{self._passed():6.0f} s  {promises.requests:8,} answers  {len(promises.tasks):7,}"
            f" orders  {memory:6.1f} MiB  {restarts:4} restarts"
            f"  {sum(promises.unexpected.values())} unexpected"
        )
