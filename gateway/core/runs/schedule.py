"""When to look again: polling pace and retry back-off, as plain arithmetic on seconds."""

from __future__ import annotations

from typing import Final
from zlib import crc32

from gateway.core.catalog import Pace
from gateway.core.copies import replace

RETRY_AFTER_MAX_SECONDS: Final = 60.0
"""A longer `Retry-After` of upstream is cut to this: the run's deadline must stay in sight."""

REMAINING_SHARE: Final = 4.0
"""A poll waits a quarter of what is left to wait: seldom far from the end, often near it."""


MOST_POLLS: Final = 500
"""A second, of all runs together. One takes 0.4 ms of a processor: 10,000 runs that are each asked
after every 4 s would have one to themselves."""


def crowded(pace: Pace, running: int) -> Pace:
    """The pace while so many runs are asked after: the more there are, the more seldom each."""
    apart = running / MOST_POLLS
    return pace if apart <= pace.every_seconds else replace(pace, every_seconds=apart)


def poll_delay(
    pace: Pace, *, age_seconds: float, estimated_seconds: float | None, progress: int
) -> float:
    """Seconds until a running task is asked after again.

    The end is guessed from upstream's estimate and from the progress so far, whichever is
    nearer. Before it the delay is a quarter of the way left, after it a quarter of the time
    overdue, always between `every` and `max`.
    """
    guesses = [estimated_seconds] if estimated_seconds else []
    if 0 < progress < 100:
        guesses.append(age_seconds * 100 / progress)
    end = min(guesses, default=age_seconds)
    delay = abs(end - age_seconds) / REMAINING_SHARE
    return min(max(delay, pace.every_seconds), max(pace.max_seconds, pace.every_seconds))


def backoff(
    tries: int,
    *,
    first_seconds: float,
    max_seconds: float,
    seed: str,
    retry_after_seconds: float | None = None,
) -> float:
    """Seconds before try number `tries` + 1: doubling, capped, spread by ±25 %.

    The spread comes from `seed` (a hex id), so that runs which failed together do not come
    back together and the same input gives the same answer. What upstream asks for with
    `Retry-After` is a lower bound.
    """
    delay = min(max_seconds, first_seconds * 2.0 ** min(max(tries, 1) - 1, 30))
    delay *= 0.75 + _chance(seed) / 2
    return max(delay, min(retry_after_seconds or 0.0, RETRY_AFTER_MAX_SECONDS))


def spread(at: float, now: float, *, seed: str) -> float:
    """A time from `at` to a quarter of the wait later, so that not all who wait come at once.

    Who comes first is another each time, and the same for the same input.
    """
    chance = crc32(f"{seed} {at!r}".encode()) / 0xFFFFFFFF
    return at + max(0.0, at - now) * chance / 4


def _chance(seed: str) -> float:
    """A number from 0 to 1 that is the same for the same id."""
    return int(seed[-4:], 16) / 0xFFFF
