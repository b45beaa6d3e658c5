"""What goes wrong meanwhile: upstream's weather all the time, restarts in the last part.

Memory, descriptors and threads are those of one process, so most of the time nothing restarts it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from benchmarks.soak.site import Site
from benchmarks.soak.upstream import Weather

FAIR: Final = Weather()
WEATHERS: Final[tuple[tuple[str, float, Weather], ...]] = (
    ("fair", 3.0, FAIR),
    ("rough", 3.0, Weather(rates={
        "http": 0.05, "drop": 0.02, "garbage": 0.01, "fail": 0.05, "poll-http": 0.1,
        "poll-drop": 0.05, "poll-garbage": 0.05, "cut-link": 0.05, "truncated-link": 0.02,
    })),
    ("fair", 2.0, FAIR),
    ("down", 1.0, Weather(down="no_channel")),
    ("slow", 1.5, Weather(seconds_per_picture=2.0)),
    ("busy: 429", 1.0, Weather(submits_per_minute=1)),
    ("fair", 2.0, FAIR),
    ("connections cut", 0.5, Weather(down="cut")),
    ("links down", 1.0, Weather(links_down=True)),
)  # fmt: skip
"""What, for how many seconds, one after the other: a quarter of a minute in all."""

KILLED: Final = "SIGKILL"
STOPPED: Final = "SIGTERM"


async def weather(site: Site, stopped: Callable[[], bool], seen: Counter[str]) -> None:
    """One after the other; fair at the end."""
    for name, seconds, one in itertools.cycle(WEATHERS):
        if stopped():
            break
        await site.weather(one)
        seen[name] += 1
        await asyncio.sleep(seconds)
    await site.weather(FAIR)


async def restarts(site: Site, until: float, chance: random.Random, seen: Counter[str]) -> None:
    """Killed or stopped at any moment, until that time of the monotonic clock."""
    while time.monotonic() < until:
        await asyncio.sleep(min(chance.uniform(0.1, 4.0), max(0.0, until - time.monotonic())))
        async with site.turning:
            how = KILLED if chance.random() < 0.7 else STOPPED
            await (site.kill() if how == KILLED else site.stop())
            await asyncio.sleep(chance.uniform(0, 0.3))
            await site.start()
        seen[how] += 1
