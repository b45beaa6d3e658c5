"""Whose turn it is when a route may be asked once: the trial of a half-open breaker.

A trial that always goes to the same request would keep a route closed for that request's sake. So
it goes to the team that has wasted the fewest trials, and of its runs to the one that the route
has declined least; whoever asks before that run does, is turned away for a while. A run that is
declined again and again while the route takes others is itself the reason, unless the route takes
now one and now the other of the same runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.core.copies import replace

DECLINES: Final = 3
"""As many as open a breaker: once may be chance."""

REMEMBERED: Final = 64
"""Submits by which it is judged how a route declines by chance: it may be ill since a minute."""

TOO_RARE: Final = 1e-6
"""What is less likely is no chance: of a million orders one may be given up wrongly."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits for a route: whose it is, and when it comes back by itself."""

    run_id: str
    team: str
    model: str
    due_at: float


@dataclass(frozen=True, slots=True)
class ByChance:
    """How a route has declined of late whom it, or another, took in the end: by chance, then.

    `submits` of such runs, and how many of them it `declined`.
    """

    submits: int = 0
    declined: int = 0

    def took(self, after: int) -> ByChance:
        """One more run is taken, after it was declined so often."""
        submits, declined = self.submits + after + 1, self.declined + after
        halves = 1 if submits <= REMEMBERED else 2
        return ByChance(submits // halves, declined // halves)

    def explains(self, times: int) -> bool:
        """Whether a run may have been declined so many times and be none the worse for it."""
        return self.declined > 0 and (self.declined / self.submits) ** times >= TOO_RARE


@dataclass(frozen=True, slots=True)
class Declined:
    """How often a route has declined a run, and what it had done by then.

    `times` are all, `in_a_row` those since the route last took a run that it had declined before:
    what it said earlier tells nothing of this run. `taken_before` is how many others it had taken
    when the row began.
    """

    times: int = 0
    in_a_row: int = 0
    taken_before: int = 0
    relented_before: int = 0

    def again(self, taken: int, relented: int) -> Declined:
        """Declined once more by a route that has `taken` others, and `relented` that often."""
        if self.in_a_row and relented == self.relented_before:
            return replace(self, times=self.times + 1, in_a_row=self.in_a_row + 1)
        return Declined(self.times + 1, 1, taken, relented)

    def is_its_own(self, taken: int, chance: ByChance, *, each_may_cost: bool = False) -> bool:
        """Whether the run is the reason, and not the route, which has `taken` others by now.

        Where nobody says that a decline is free (`each_may_cost`) it is not asked again and again,
        whoever is the reason.
        """
        if each_may_cost and self.times >= DECLINES:
            return True
        often = self.in_a_row >= DECLINES and taken > self.taken_before
        return often and not chance.explains(self.times)


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """Where somebody stands in the line for a trial; the smallest has it."""

    wasted_by_team: int
    declined: int


def comes_soon(waiting: Waiting, now: float, patience_seconds: float, late_seconds: float) -> bool:
    """Whether it is worth keeping the trial for; one that did not come in time has lost it."""
    return now - late_seconds <= waiting.due_at <= now + patience_seconds


def first_in_line(line: Iterable[tuple[Rank, Waiting]]) -> tuple[Rank, Waiting] | None:
    """Whose turn it is; of equals, who comes back first."""
    return min(line, key=lambda one: (one[0], one[1].due_at), default=None)
