"""What a scrape gets: the counts so far and fresh readings of the stores, in one text."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import structlog
from prometheus_client import GCCollector, Metric, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Sample
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

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

SLICE: Final = 100
"""So many lines are formatted in one go: less than a millisecond."""

PAUSE_SECONDS: Final = 0.0003

SWITCH_SECONDS: Final = 0.0005
"""So long the event loop waits for the formatter at most; Python's own interval is 5 ms."""

_ENCODING: Final = threading.Lock()
"""What formatting changes is the interpreter's own, whoever formats."""

Encode = Callable[[Collector], bytes]


class PacedSamples(list[Sample]):
    """Samples with a pause after each slice of them, in which the event loop has its turn."""

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(super().__iter__(), 1):
            yield sample
            if number % SLICE == 0:
                time.sleep(PAUSE_SECONDS)


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
        self.keep_seconds = 0.0
        """So long a reading of the ledger is shown before there is another."""
        self._reading: Reading | None = None
        self._free_bytes: int | None = None
        self._cache_size: tuple[int, int] | None = None
        self._scrapes: dict[str, asyncio.Task[bytes]] = {}
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type, as this `Accept` header asks for them.

        Scrapes that come at the same time share one.
        """
        encode, content_type = _encoder(accept)
        scrape = self._scrapes.get(content_type)
        if scrape is None:
            scrape = asyncio.create_task(self._read_and_encode(encode), name="scrape")
            scrape.add_done_callback(lambda _: self._scrapes.pop(content_type))
            self._scrapes[content_type] = scrape
        return await asyncio.shield(scrape), content_type

    async def _read_and_encode(self, encode: Encode) -> bytes:
        await asyncio.gather(self._read_ledger(), self._read_pictures(), self._read_cache())
        return await asyncio.to_thread(self._encode, encode)

    def _encode(self, encode: Encode) -> bytes:
        """Formats in a thread of its own, and lets the event loop go first.

        Formatting holds the interpreter's lock, so that is handed over sooner meanwhile. It makes
        thousands of objects that live for a moment: a garbage collection would walk them all
        while everybody waits, so there is none until it is over.
        """
        with _ENCODING:
            interval, collects = sys.getswitchinterval(), gc.isenabled()
            sys.setswitchinterval(SWITCH_SECONDS)
            gc.disable()
            try:
                return encode(self)
            finally:
                sys.setswitchinterval(interval)
                if collects:
                    gc.enable()

    def collect(self) -> Iterator[Metric]:
        """Everything that is shown, for the library's formatter and in its thread."""
        for metric in self._metrics():
            metric.samples = PacedSamples(metric.samples)
            yield metric

    def _metrics(self) -> Iterator[Metric]:
        yield from self.registry.collect()
        if self._reading is not None:
            yield from families_of(self._reading)
        if self._free_bytes is not None:
            yield GaugeMetricFamily(
                "gateway_free_bytes", "Room left for pictures.", self._free_bytes
            )
        yield GaugeMetricFamily(
            "gateway_free_floor_bytes",
            "With less room than this no new run starts.",
            self._current.policy.room_floor_bytes,
        )
        if self._cache_size is not None:
            entries, size_bytes = self._cache_size
            yield GaugeMetricFamily(
                "gateway_cache_entries", "Answers in the response cache.", entries
            )
            yield GaugeMetricFamily(
                "gateway_cache_bytes", "Size of the response cache.", size_bytes
            )

    async def _read_ledger(self) -> None:
        async with _forgiving("ledger"):
            policy, now = self._current.policy, self._clock()
            former = self._reading
            if former is not None and 0 <= now - former.at < self.keep_seconds:
                return
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


def _encoder(accept: str) -> tuple[Encode, str]:
    """The library compares versions, and does not expect one that is no number."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")
