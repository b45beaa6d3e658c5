"""The upstream accounts' own count of credits beside the ledger's: do they agree?

Only moments at which no run is with the upstream can be compared: otherwise a run may be charged
there and not be booked here yet. Between two such moments both counts must have grown by the same
amount; what they differ by is added up as the drift. It says that something is wrong, not what:
a task that upstream charged although its outcome was lost, credits that it never reported, or
somebody else who uses the key. It decides nothing, and what cannot be read leaves it as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
import structlog

from gateway.ports.clock import Clock
from gateway.ports.ledger import Upkeep
from gateway.ports.upstream import Upstream

log = structlog.get_logger("gateway.credits")

LOOK_SECONDS: Final = 15.0
"""A busy upstream is quiet only now and then; finding out is one short read of the ledger."""

FIRST_SECONDS: Final = 60.0
"""After a start there is more urgent work to do upstream."""

EVERY_SECONDS: Final = 300.0
"""Upstream is asked at most so often."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Both counts when they were last compared, and the drift until then, in credits."""

    account: str
    used: float
    booked: float
    drift: float
    at: float


class CreditWatch:
    """Compares upstream after upstream, and remembers in the file `path` where it was."""

    def __init__(
        self,
        ledger: Upkeep,
        upstreams: Mapping[str, Upstream],
        path: Path,
        *,
        clock: Clock,
        tell: Callable[[str, float, float], None],
    ) -> None:
        """`tell` gets an upstream's name, its drift, and when that was found."""
        self._ledger = ledger
        self._upstreams = upstreams
        self._path = path
        self._clock = clock
        self._tell = tell
        self._last: dict[str, Compared] | None = None
        self._next_at: dict[str, float] = {}

    async def look(self) -> None:
        """Compares those that are quiet and were not asked for a while."""
        await self._remembered()
        for name, upstream in list(self._upstreams.items()):
            now = self._clock()
            if now >= self._next_at.setdefault(name, now + FIRST_SECONDS):
                await self.compare(name, upstream)

    async def compare(self, name: str, upstream: Upstream) -> None:
        """Asks this upstream, if none of its runs is under way before and after."""
        before = booked, live = await self._ledger.credits(name)
        if live:
            return
        self._next_at[name] = self._clock() + EVERY_SECONDS
        told = await upstream.credits()
        if told is None or await self._ledger.credits(name) != before:
            return
        last = await self._remembered()
        drift = _drift(last.get(name), told.account, told.used, booked)
        compared = Compared(told.account, told.used, booked, drift, self._clock())
        last[name] = compared
        await asyncio.to_thread(_write, self._path, dict(last))
        self._tell(name, compared.drift, compared.at)

    async def _remembered(self) -> dict[str, Compared]:
        """The last comparisons; at the first call those of a former process, which are told."""
        if self._last is None:
            self._last = await asyncio.to_thread(_read, self._path)
            for name, compared in self._last.items():
                self._tell(name, compared.drift, compared.at)
        return self._last


def _drift(last: Compared | None, account: str, used: float, booked: float) -> float:
    """A first look, another account and a count that began anew only set where to go on from."""
    if last is None:
        return 0.0
    if account != last.account or used < last.used:
        return last.drift
    return last.drift + (used - last.used) - (booked - last.booked)


def _read(path: Path) -> dict[str, Compared]:
    """What a former process left; nothing when there is none or it makes no sense."""
    try:
        return {name: Compared(**one) for name, one in orjson.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("credits are compared from now on", file=str(path), reason=repr(error))
        return {}


def _write(path: Path, last: Mapping[str, Compared]) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(orjson.dumps({name: asdict(one) for name, one in last.items()}))
    new.replace(path)
