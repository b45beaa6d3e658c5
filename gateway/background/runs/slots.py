"""Places for submits: how many are under way at once, and who is next.

Upstreams that take an order in a moment share one house. Where a submit is the whole work, which
holds its place for minutes, each upstream has a house of its own, as large as the connections that
it may have. Whoever finds that one full waits in line for it, and is in no doubt meanwhile: nothing
of it has been intended yet.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from gateway.background.runs.deps import RunsDeps
from gateway.core.model import Run, RunState
from gateway.core.runs.routing import Outlook
from gateway.errors import GatewayError
from gateway.process.shares import Shares

MOST_IN_LINE: Final = 200
"""Of one team, for one upstream. Whoever comes then waits in the ledger, and comes again."""

OWN_LINE_SECONDS: Final = 20.0
"""Where there are several gateways, a run stands in this one's line no longer at a time: another
one may have a place for it."""


@dataclass(frozen=True, slots=True)
class _Place:
    upstream: str
    team: str
    house: Shares


class Slots:
    """A run has one place at most, until `leave`."""

    def __init__(self, deps: RunsDeps, *, calls: int) -> None:
        """`calls` is for all upstreams that take an order in a moment."""
        self._deps = deps
        self._common = Shares(calls)
        self._houses: dict[str, tuple[int, Shares]] = {}
        self._places: dict[str, _Place] = {}
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Nobody waits in line any more, and nothing that lasts is begun."""
        self._closing.set()

    def has_place(self, run: Run, outlook: Outlook) -> bool:
        """Whether it may go on as it is to, or that takes no place for minutes."""
        if outlook.go is None or not self._deps.is_whole(outlook.go.upstream):
            return True
        return not self._closing.is_set() and self.take_now(run, outlook.go.upstream)

    async def in_line(self, run: Run, outlook: Outlook) -> bool:
        """Whether a place came free where the run would go on; only who is queued waits for it."""
        if outlook.go is None or run.state is not RunState.QUEUED:
            return False
        seconds = run.deadline_at - self._deps.clock()
        if self._deps.following.is_shared:
            seconds = min(seconds, OWN_LINE_SECONDS)
        return await self._wait(run, outlook.go.upstream, seconds)

    def submit_seconds(self, upstream: str) -> float:
        """How long a submit to it may take."""
        bounds = self._deps.bounds.get(upstream)
        return bounds.submit_seconds if bounds else 0.0

    async def take(self, run: Run) -> None:
        """A place of those that come free within moments."""
        if not self.take_at_once(run):
            await self._common.take(run.team)
            self._places[run.id] = _Place("", run.team, self._common)

    def take_at_once(self, run: Run) -> bool:
        """The same, if one is free."""
        self.leave(run.id)
        if not self._common.take_now(run.team):
            return False
        self._places[run.id] = _Place("", run.team, self._common)
        return True

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

    def leave(self, run_id: str) -> None:
        """The place is free again; one that was never had is no error."""
        place = self._places.pop(run_id, None)
        if place is not None:
            place.house.give(place.team)

    # --- inside --------------------------------------------------------------------------------

    async def _wait(self, run: Run, upstream: str, seconds: float) -> bool:
        """For a place in its turn; whether it came within so many seconds."""
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

    async def _in_turn(self, run: Run, upstream: str) -> None:
        house = self._house(upstream)
        try:
            await house.take(run.team)
        except GatewayError:
            return  # too many of the team wait already
        self._places[run.id] = _Place(upstream, run.team, house)

    def _house(self, upstream: str) -> Shares:
        """As large as the settings say now. Places in a former one are given back to that."""
        bounds = self._deps.bounds.get(upstream)
        size = bounds.connections if bounds else 1
        known = self._houses.get(upstream)
        if known is None or known[0] != size:
            known = size, Shares(size, waiting=MOST_IN_LINE)
            self._houses[upstream] = known
        return known[1]
