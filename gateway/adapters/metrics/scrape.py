"""What a scrape gets: the counts so far and fresh readings of the stores, in one text."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Final

import structlog
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from gateway.adapters.metrics.exposition import CONTENT_TYPE, gauge
from gateway.adapters.metrics.reading import Reading, families_of, read_ledger
from gateway.adapters.metrics.recorder import MetricsRecorder
from gateway.core.policy import Current
from gateway.ports.cache import ResponseCache
from gateway.ports.clock import Clock
from gateway.ports.ledger import Reports
from gateway.ports.pictures import Pictures

log = structlog.get_logger("gateway.metrics")

READ_SECONDS: Final = 5.0
"""A store has this long to answer; Prometheus gives a whole scrape 10 s by default."""

SLICE_PIECES: Final = 50
"""Formatted in one go, each a line or a histogram's dozen: at most about a millisecond."""

PAUSE_SECONDS: Final = 0.0003


class Metrics(MetricsRecorder):
    """The recorder, together with what the stores know.

    A store that does not answer costs the scrape nothing: its last reading is shown again. One
    that never answered has no series, since a 0 would look like a counter that began anew.
    """

    def __init__(
        self,
        *,
        ledger: Reports,
        pictures: Pictures,
        cache: ResponseCache,
        current: Current,
        clock: Clock = time.time,
    ) -> None:
        super().__init__(current.policy)
        self._ledger = ledger
        self._pictures = pictures
        self._cache = cache
        self._current = current
        self._clock = clock
        self._reading: Reading | None = None
        self._free_bytes: int | None = None
        self._cache_size: tuple[int, int] | None = None
        self._process = _process_registry()
        self._scrape: asyncio.Task[bytes] | None = None

    async def render(self, _accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type: the text format, which every scraper reads.

        Scrapes that come at the same time share one.
        """
        if self._scrape is None or self._scrape.done():
            self._scrape = asyncio.create_task(self._read_and_format(), name="scrape")
        return await asyncio.shield(self._scrape), CONTENT_TYPE

    async def _read_and_format(self) -> bytes:
        await asyncio.gather(self._read_ledger(), self._read_pictures(), self._read_cache())
        return await asyncio.to_thread(self._format)

    def _format(self) -> bytes:
        text = "".join(_unhurried(self._all_families()))
        return text.encode() + generate_latest(self._process)

    def _all_families(self) -> Iterator[Iterable[str]]:
        yield from self.families()
        if self._reading is not None:
            yield from families_of(self._reading)
        if self._free_bytes is not None:
            yield gauge("gateway_free_bytes", "Room left for pictures.", self._free_bytes)
        yield gauge(
            "gateway_free_floor_bytes",
            "With less room than this no new run starts.",
            self._current.policy.free_space_floor_bytes,
        )
        if self._cache_size is not None:
            entries, size_bytes = self._cache_size
            yield gauge("gateway_cache_entries", "Answers in the response cache.", entries)
            yield gauge("gateway_cache_bytes", "Size of the response cache.", size_bytes)

    async def _read_ledger(self) -> None:
        async with _forgiving("ledger"):
            policy, now = self._current.policy, self._clock()
            self._reading = await read_ledger(self._ledger, policy, now)

    async def _read_pictures(self) -> None:
        async with _forgiving("pictures"):
            self._free_bytes = await self._pictures.free_bytes()

    async def _read_cache(self) -> None:
        async with _forgiving("cache"):
            self._cache_size = await self._cache.size()


@contextlib.asynccontextmanager
async def _forgiving(store: str) -> AsyncIterator[None]:
    """A store that fails or dawdles is noted, and the scrape goes on without it."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            yield
    except Exception as error:
        log.warning("scrape shows an old reading", store=store, reason=repr(error))


def _unhurried(families: Iterable[Iterable[str]]) -> Iterator[str]:
    """Their pieces of text, with a pause after each slice.

    Formatting is Python code, so its thread holds the interpreter's lock, and the event loop
    would have to wait 5 ms for it at every turn.
    """
    pieces = (piece for family in families for piece in family)
    while taken := list(islice(pieces, SLICE_PIECES)):
        yield from taken
        time.sleep(PAUSE_SECONDS)


def _process_registry() -> CollectorRegistry:
    """What the library knows of this process: memory, processor time, files, garbage."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry
