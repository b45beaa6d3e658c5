"""Places for submits: how many are under way at once, and who is next.

Upstreams that take an order in a moment share one house. Where a submit is the whole work, which
holds its place for minutes, each upstream has a house of its own, as large as the connections that
it may have. Whoever finds that one full waits in line for it, and is in no doubt meanwhile: nothing
of it has been intended yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.model import Run
from gateway.errors import GatewayError
from gateway.process.shares import Shares

MOST_IN_LINE: Final = 200
"""Of one team, for one upstream. Whoever comes then waits in the ledger, and comes again."""


@dataclass(frozen=True, slots=True)
class CallBounds:
    """How many submits an upstream may have at once, and how long one may take."""

    connections: int
    submit_seconds: float


@dataclass(frozen=True, slots=True)
class _Place:
    upstream: str
    team: str
    house: Shares


class Slots:
    """A run has one place at most, until `leave`."""

    def __init__(self, bounds: Mapping[str, CallBounds], *, calls: int) -> None:
        """`calls` is for all upstreams that take an order in a moment."""
        self._bounds = bounds
        self._common = Shares(calls)
        self._houses: dict[str, tuple[int, Shares]] = {}
        self._places: dict[str, _Place] = {}
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Nobody waits in line any more."""
        self._closing.set()

    def submit_seconds(self, upstream: str) -> float:
        """How long a submit to it may take."""
        bounds = self._bounds.get(upstream)
        return bounds.submit_seconds if bounds else 0.0

    async def take(self, run: Run) -> None:
        """A place of those that come free within moments."""
        self.leave(run.id)
        await self._common.take(run.team)
        self._places[run.id] = _Place("", run.team, self._common)

    def take_now(self, run: Run, upstream: str) -> bool:
        """A place at an upstream where a submit is the whole work, if there is one. What the run
        had before, it gives up unless it was just that."""
        place = self._places.get(run.id)
        if place is not None and place.upstream == upstream:
            return True
        self.leave(run.id)
        house = self._house(upstream)
        if not house.take_now(run.team):
            return False
        self._places[run.id] = _Place(upstream, run.team, house)
        return True

    async def wait(self, run: Run, upstream: str, *, seconds: float) -> bool:
        """The same in its turn; whether it came within so many seconds."""
        if self._closing.is_set():
            return False
        turn = asyncio.create_task(self._in_turn(run, upstream))
        end = asyncio.create_task(self._closing.wait())
        both = {turn, end}
        try:
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        return run.id in self._places

    def leave(self, run_id: str) -> None:
        """The place is free again; one that was never had is no error."""
        place = self._places.pop(run_id, None)
        if place is not None:
            place.house.give(place.team)

    async def _in_turn(self, run: Run, upstream: str) -> None:
        house = self._house(upstream)
        try:
            await house.take(run.team)
        except GatewayError:
            return  # too many of the team wait already
        self._places[run.id] = _Place(upstream, run.team, house)

    def _house(self, upstream: str) -> Shares:
        """As large as the settings say now. Places in a former one are given back to that."""
        bounds = self._bounds.get(upstream)
        size = bounds.connections if bounds else 1
        known = self._houses.get(upstream)
        if known is None or known[0] != size:
            known = size, Shares(size, waiting=MOST_IN_LINE)
            self._houses[upstream] = known
        return known[1]
