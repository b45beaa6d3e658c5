"""A breaker: when a route may be asked, and how much at once.

    closed ─failures in a row→ open ─its time is over→ half-open ─one trial succeeds→ closed

Submits and tasks are counted apart, since a route may take everything and deliver nothing. A
route that has just come back is not flooded: it gets one submit more at a time with each
success. All of it is values and arithmetic; the driver owns the clock and keeps the breakers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.core.copies import replace
from gateway.core.runs.schedule import RETRY_AFTER_MAX_SECONDS

FAILURES: Final = 3
"""So many in a row open a breaker: one may be chance, a hundred are a hundred clients waiting."""

FULL_ROOM: Final = 64
"""So many submits at once mean that the route is back. Runs that wait never need more of it."""

PERMIT_SECONDS: Final = 180.0
"""Longer than anybody waits to know whether a submit is taken. A permit that is not returned by
then was lost with its holder."""


@dataclass(frozen=True, slots=True)
class BreakerPace:
    """How long a breaker stays open: `first_seconds`, doubling each time up to `max_seconds`.

    `heeds`: the first time that a route names opens it, so that nobody asks it before.
    """

    first_seconds: float
    max_seconds: float
    heeds: bool = False


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """One route's breaker. Whoever submits takes a permit first and tells what came of it.

    `epoch` counts the openings: what is said of a permit of a former epoch is no news. `out` is
    how many permits are out and `room` how many may be. `openings` counts in a row, until a
    task delivers; the last is to last for `open_seconds`. `turn_at` is when the next of those who
    were turned away may come back.
    """

    epoch: int = 0
    open_until: float | None = None
    open_seconds: float = 0.0
    openings: int = 0
    failed_submits: int = 0
    failed_tasks: int = 0
    room: int = FULL_ROOM
    out: int = 0
    out_until: float = 0.0
    turn_at: float = 0.0

    @property
    def is_closed(self) -> bool:
        return self.open_until is None

    def state(self, now: float) -> BreakerState:
        if self.open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.open_until else BreakerState.HALF_OPEN

    @property
    def is_sound(self) -> bool:
        """Closed for a while: new orders always pass, and only those who wait are held back."""
        return self.is_closed and self.room == FULL_ROOM

    def allows(self, now: float, *, patient: bool = False) -> bool:
        """Whether a permit may be had. One who is `patient` leaves room for new orders."""
        if self.open_until is not None:
            return now >= self.open_until and self._out(now) == 0
        return self._out(now) < self.room or (self.is_sound and not patient)

    def up_at(self, now: float) -> float:
        """When it is worth coming (again): the end of its time, or else one's turn."""
        if self.open_until is not None and now < self.open_until:
            return self.open_until
        return max(now, self.turn_at)

    # --- permits -------------------------------------------------------------------------------

    def taken(self, now: float) -> Breaker:
        """After a permit was given out; only where `allows` says so."""
        return replace(self, out=self._out(now) + 1, out_until=now + PERMIT_SECONDS)

    def turned_away(self, now: float, pace: BreakerPace) -> Breaker:
        """After one was refused: all who wait come back one after the other, not at once."""
        if self.open_until is not None and now < self.open_until:
            return self
        gap = pace.first_seconds / FULL_ROOM
        first = now + pace.first_seconds
        return replace(self, turn_at=first if self.turn_at <= now else self.turn_at + gap)

    def unused(self, epoch: int, now: float) -> Breaker:
        """A permit came back and nothing was sent."""
        return replace(self, out=self._out_but_one(now)) if epoch == self.epoch else self

    # --- what came of a submit -----------------------------------------------------------------

    def served(self, epoch: int, now: float) -> Breaker:
        """The route took the submit, or refused the request itself: it is there."""
        if epoch != self.epoch:
            return self
        return replace(
            self,
            out=self._out_but_one(now),
            open_until=None,
            failed_submits=0,
            room=min(self.room + 1, FULL_ROOM),
        )

    def failed(
        self,
        epoch: int,
        now: float,
        pace: BreakerPace,
        *,
        retry_after_seconds: float | None = None,
        most: int = FAILURES,
    ) -> Breaker:
        """The route did not take the submit; the last of `most` in a row opens it.

        A failed trial opens it again at once.
        """
        if epoch != self.epoch:
            return self
        after = replace(self.unused(epoch, now), failed_submits=self.failed_submits + 1)
        if self.is_closed and after.failed_submits < most:
            return after
        return after._opened(now, pace, retry_after_seconds)

    def silent(self, epoch: int, now: float, pace: BreakerPace) -> Breaker:
        """Nobody knows what became of the submit. As a trial it proves nothing: wait as long."""
        if epoch != self.epoch or self.is_closed:
            return self.unused(epoch, now)
        return replace(self.unused(epoch, now), openings=self.openings - 1)._opened(now, pace, None)

    # --- what came of a task -------------------------------------------------------------------

    def delivered(self) -> Breaker:
        """A task brought its pictures: the route is sound."""
        if not self.failed_tasks and not (self.openings and self.is_closed):
            return self  # as nearly always
        return replace(self, failed_tasks=0, openings=0 if self.is_closed else self.openings)

    def task_failed(self, now: float, pace: BreakerPace) -> Breaker:
        """A task failed for the provider's reasons. While open, that is no news."""
        if not self.is_closed:
            return self
        after = replace(self, failed_tasks=self.failed_tasks + 1)
        return after if after.failed_tasks < FAILURES else after._opened(now, pace, None)

    # --- inside --------------------------------------------------------------------------------

    def _out(self, now: float) -> int:
        return self.out if now < self.out_until else 0

    def _out_but_one(self, now: float) -> int:
        return max(0, self._out(now) - 1)

    def _opened(self, now: float, pace: BreakerPace, retry_after_seconds: float | None) -> Breaker:
        seconds = min(pace.max_seconds, pace.first_seconds * 2.0 ** min(self.openings, 30))
        asked = min(retry_after_seconds or 0.0, RETRY_AFTER_MAX_SECONDS)
        seconds = max(seconds, asked)
        return replace(
            self,
            epoch=self.epoch + 1,
            open_until=now + seconds,
            open_seconds=seconds,
            openings=self.openings + 1,
            failed_submits=0,
            room=1,
            out=0,
            out_until=0.0,
            turn_at=0.0,
        )
