"""What the gateway's process and its files take, as read from outside, and whether it grows.

The first part of the time is warm-up: caches fill, pools and threads reach their size. After it
the first quarter is compared with the last one. The ledger's page caches grow with the ledger until
they are full: as much as they may hold more by then is no leak.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1024 * 1024
TICKS: Final = os.sysconf("SC_CLK_TCK")
WARM_UP_SHARE: Final = 0.35
LEDGER_NAME: Final = "ledger.sqlite3"
PAGE_CACHES_MIB: Final = (32, 16, 16, 16)
"""Of the ledger's connections, the writer's and the readers' (`adapters/ledger/connections.py`)."""

REQUESTS_THAT_TELL: Final = 3_000
"""With fewer in a quarter of the time, what each costs is chance: which acts, in what weather."""


@dataclass(frozen=True, slots=True)
class Reading:
    at: float
    requests: int
    """Answered so far."""
    orders: int
    memory_bytes: int
    """Of the process alone: what is mapped from files is not in it."""
    descriptors: int
    threads: int
    processor_seconds: float
    ledger_bytes: int
    """All its pages, wherever they lie."""
    wal_bytes: int
    cache_bytes: int


def read(pid: int, data: Path, *, requests: int, orders: int) -> Reading | None:
    """None when the process has just ended."""
    try:
        process = Path(f"/proc/{pid}")
        told = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return Reading(
            at=time.monotonic(),
            requests=requests,
            orders=orders,
            memory_bytes=int(told["RssAnon"].split()[0]) * 1024,
            descriptors=len(list((process / "fd").iterdir())),
            threads=int(told["Threads"]),
            processor_seconds=_processor_seconds(process),
            ledger_bytes=_pages(data / LEDGER_NAME),
            wal_bytes=_size(data / f"{LEDGER_NAME}-wal"),
            cache_bytes=sum(_size(one) for one in (data / "cache").rglob("*")),
        )
    except (OSError, KeyError, sqlite3.Error):
        return None


def _pages(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        count, size = (
            db.execute(f"PRAGMA page_{name}").fetchone()[0] for name in ("count", "size")
        )
    return int(count * size)


def _processor_seconds(process: Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return sum(int(one) for one in fields[11:13]) / TICKS


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


# --- whether it grows ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trend:
    """One measure: before and after, in `unit`, and how far above `before` it may be at the end."""

    name: str
    unit: str
    before: float
    after: float
    ratio_allowed: float
    more_allowed: float = 0.0
    """In `unit`, beyond the ratio: a few connections more are no leak."""

    @property
    def ratio(self) -> float:
        return self.after / self.before if self.before else 1.0

    @property
    def is_flat(self) -> bool:
        return self.after <= self.before * self.ratio_allowed + self.more_allowed


def trends(readings: Sequence[Reading]) -> list[Trend]:
    """Raises `ValueError` where there are too few readings to say anything."""
    warm = readings[int(len(readings) * WARM_UP_SHARE) :]
    quarter = len(warm) // 4
    if not quarter:
        raise ValueError(f"{len(readings)} readings tell nothing: let it run longer")
    early, late = warm[: quarter + 1], warm[-quarter - 1 :]

    def middle(of: Callable[[Reading], float]) -> tuple[float, float]:
        return statistics.median(map(of, early)), statistics.median(map(of, late))

    def most(of: Callable[[Reading], float]) -> tuple[float, float]:
        return max(map(of, early)), max(map(of, late))

    costs = [
        Trend("processor, a request", "ms", _each(early), _each(late), 1.5),
        Trend("ledger, an order", "B", _written(early), _written(late), 1.5, 2_000.0),
    ]
    cached = _cached(late[-1]) - _cached(early[0])
    return [
        Trend("memory", "MiB", *middle(lambda one: one.memory_bytes / MIB), 1.1, cached + 2.0),
        Trend("descriptors", "", *most(lambda one: one.descriptors), 1.2, 15.0),
        Trend("threads", "", *most(lambda one: one.threads), 1.0, 4.0),
        *(costs if all(map(_tells, (early, late))) else ()),
    ]


def _tells(part: Sequence[Reading]) -> bool:
    return part[-1].requests - part[0].requests >= REQUESTS_THAT_TELL


def _cached(one: Reading) -> float:
    """How many MiB the page caches may hold of a ledger of that size."""
    return sum(min(limit, one.ledger_bytes / MIB) for limit in PAGE_CACHES_MIB)


def _each(part: Sequence[Reading]) -> float:
    """Milliseconds of a processor for each request of that time."""
    first, last = part[0], part[-1]
    spent = last.processor_seconds - first.processor_seconds
    return 1000 * spent / max(1, last.requests - first.requests)


def _written(part: Sequence[Reading]) -> float:
    """By how many bytes the ledger grew for each order of that time."""
    first, last = part[0], part[-1]
    return (last.ledger_bytes - first.ledger_bytes) / max(1, last.orders - first.orders)


@dataclass(frozen=True, slots=True)
class Bound:
    """What may be so large at any time, and no larger."""

    name: str
    largest: int
    allowed: int

    @property
    def holds(self) -> bool:
        return self.largest <= self.allowed


def bounds(readings: Sequence[Reading], *, wal_bytes: int, cache_bytes: int) -> list[Bound]:
    return [
        Bound("write-ahead log", max(one.wal_bytes for one in readings), wal_bytes),
        Bound("response cache", max(one.cache_bytes for one in readings), cache_bytes),
    ]
