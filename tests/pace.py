"""How quick the machine is just now: bounds of time are ratios to that, never absolute."""

from __future__ import annotations

import time
from typing import Final

USUAL_SECONDS: Final = 0.0027
"""What `_work` took on the machine on which the bounds were set, while it did nothing else."""

ROUNDS: Final = 7


def slowness() -> float:
    """How many times as long as there a fixed piece of work takes here, at least once as long.

    By the least disturbed of some rounds: to be asked beside what is measured, not once for all.
    """
    return max(1.0, min(_work() for _ in range(ROUNDS)) / USUAL_SECONDS)


def _work() -> float:
    """Strings, tuples, a dictionary: what most of our own code does."""
    start = time.perf_counter()
    made: dict[tuple[int, str], int] = {}
    for number in range(20_000):
        made[number % 100, str(number)] = number
    return time.perf_counter() - start
