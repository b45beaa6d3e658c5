"""Places that teams share: who may take one, and whose turn it is when one comes free.

The one rule: a team takes a place only while more are free than it has. Alone it gets half of
them, the next team half of the rest, so that a team that has none finds one. A place that comes
free goes to the team that has the fewest; of equals, to the one that was served longest ago.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

from gateway.errors import GatewayError, RateLimited, Unavailable

RETRY_AFTER_SECONDS: Final = 5.0
"""A place is held for some seconds, seldom for longer."""


def may_take(places: int, taken: Counter[str], team: str) -> bool:
    """Whether the team may have one place more of those that are taken so."""
    return taken[team] < places - taken.total()


class TakenPlace:
    """See `Shares.place`."""

    def __init__(self, shares: Shares, team: str) -> None:
        self._shares = shares
        self._team = team

    async def __aenter__(self) -> None:
        await self._shares.take(self._team)

    async def __aexit__(self, *_: object) -> None:
        self._shares.give(self._team)


class Shares:
    """A number of places. More who want one wait for their turn.

    `waiting` bounds how many of one team do (None: whoever waits is bounded elsewhere); `what`
    says in the plural what takes a place, for the one who is turned away.
    """

    def __init__(self, places: int, *, waiting: int | None = None, what: str = "requests") -> None:
        self._places = places
        self._waiting = waiting
        self._what = what
        self._taken: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        self._served: dict[str, int] = {}  # the number of the last place that each took
        self._count = 0

    def place(self, team: str) -> TakenPlace:
        """A place for the length of the block.

        Raises `RateLimited` when too many of the team wait already, or `Unavailable` when others
        have all places and nobody may wait.
        """
        return TakenPlace(self, team)

    async def take(self, team: str) -> None:
        """Takes a place, which `give` gives back. Raises as `place` does."""
        if self.take_now(team):
            return
        line = self._lines.get(team, ())
        if self._waiting is not None and len(line) >= self._waiting:
            raise self._turned_away(team)
        turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(team, deque()).append(turn)
        try:
            await turn
        except BaseException:
            if turn.cancelled():
                self._leave(team, turn)
            else:  # its turn came in the same moment
                self.give(team)
            raise

    def take_now(self, team: str) -> bool:
        """Takes a place if the team may have one at once."""
        if team in self._lines or not may_take(self._places, self._taken, team):
            return False
        self._serve(team)
        return True

    def give(self, team: str) -> None:
        """Gives a place back; whoever may have it now goes on."""
        self._taken[team] -= 1
        if not self._taken[team]:
            del self._taken[team]
        while (following := self._following()) is not None:
            line = self._lines[following]
            turn = line.popleft()
            if not line:
                del self._lines[following]
            if not turn.done():  # else whoever waited has gone in this moment
                turn.set_result(None)
                self._serve(following)

    def _serve(self, team: str) -> None:
        self._taken[team] += 1
        self._count += 1
        self._served[team] = self._count

    def _following(self) -> str | None:
        """The team whose turn it is; None while nobody who waits may have a place."""
        able = (team for team in self._lines if may_take(self._places, self._taken, team))
        longest_ago = self._served.get
        return min(able, key=lambda team: (self._taken[team], longest_ago(team, 0)), default=None)

    def _leave(self, team: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(team, deque())
        if turn in line:
            line.remove(turn)
            if not line:
                del self._lines[team]

    def _turned_away(self, team: str) -> GatewayError:
        if not self._taken[team]:
            return Unavailable(
                f"Too many {self._what} are under way just now; try again.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        return RateLimited(
            f"This team has {self._taken[team]} {self._what} under way, and that is its share"
            " of what can be done at once; try again when some of them have ended.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )
