"""How a route is: a breaker for all who ask it, and one for each team.

What nobody answers is the same whatever is asked for: it counts for all. An answer that declines a
submit, even one that speaks of our key, and a task that fails may be about what was asked for: it
counts for the team that asked, so that no team's orders close a route to others. A team that has
not been declined may ask a route that declines others; when the route has taken nobody since, once
is enough for it to wait too.

    nobody answered               → the breaker for all
    declined, task failed         → the team's own; for all it says that the route is there
    taken, or the request refused → both closed

Where a submit is the whole work it is taken when the request has left and nobody declines it in the
first moments: what comes of the work is told minutes later, and as of a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.core.copies import replace
from gateway.core.runs.breaker import FAILURES, Breaker, BreakerPace, BreakerState
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    Begun,
    CredentialsRefused,
    Delivered,
    NotNow,
    Refused,
    SubmitEvent,
    TaskFailed,
    Why,
)

MOST_TEAMS: Final = 1_000
"""Of more, those whose breakers are at rest are forgotten: that says the same."""

AT_REST: Final = Breaker()

Epochs = tuple[int, int]
"""In which epochs of the breaker for all and of the team's own a permit was given."""


@dataclass(frozen=True, slots=True)
class RouteHealth:
    """Values and arithmetic, like the breakers in it.

    `told` counts what came of submits and tasks, `passed` is its value at the last one that the
    route took, and `shut` its value when each team's breaker opened.
    """

    for_all: Breaker = AT_REST
    teams: Mapping[str, Breaker] = field(default_factory=dict)
    told: int = 0
    passed: int = 0
    shut: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether it is there for those who ask; when it passes some teams, it is."""
        return self.for_all.is_closed and not self._declines_all

    def state(self, now: float) -> BreakerState:
        """The state of the breaker that keeps it from being up."""
        if not self.for_all.is_closed or not self._declines_all:
            return self.for_all.state(now)
        latest = max(self.shut, key=self.shut.__getitem__)
        return self._of(latest).state(now)

    def is_sound(self, team: str) -> bool:
        return self.for_all.is_sound and self._of(team).is_sound

    def allows(self, team: str, now: float, *, patient: bool = False) -> bool:
        """Whether a permit may be had. One who is `patient` leaves room for new orders."""
        return self.for_all.allows(now) and self._of(team).allows(now, patient=patient)

    def up_at(self, team: str, now: float) -> float:
        return max(self.for_all.up_at(now), self._of(team).up_at(now))

    def trial_of(self, team: str) -> Breaker | None:
        """The breaker that this team's next submit would be the trial of, if it would be one."""
        breakers = (self.for_all, self._of(team))
        return next((one for one in breakers if not one.is_closed), None)

    # --- permits -------------------------------------------------------------------------------

    def epochs(self, team: str) -> Epochs:
        return self.for_all.epoch, self._of(team).epoch

    def taken(self, team: str, now: float) -> RouteHealth:
        return self._with(team, self.for_all.taken(now), self._of(team).taken(now))

    def unused(self, team: str, epochs: Epochs, now: float) -> RouteHealth:
        own = self._of(team).unused(epochs[1], now)
        return self._with(team, self.for_all.unused(epochs[0], now), own)

    def turned_away(self, team: str, now: float, pace: BreakerPace) -> RouteHealth:
        """Whoever was refused comes back in the turn of the breaker that refused."""
        if not (self.for_all.is_closed and self.for_all.allows(now)):
            return replace(self, for_all=self.for_all.turned_away(now, pace))
        return self._with(team, self.for_all, self._of(team).turned_away(now, pace))

    # --- what came of it -----------------------------------------------------------------------

    def submitted(
        self, team: str, epochs: Epochs, event: SubmitEvent | Begun, now: float, pace: BreakerPace
    ) -> RouteHealth:
        """What came of a submit; the permit is given back with it."""
        own, common = self._of(team), self.for_all
        there = common.served(epochs[0], now)
        if isinstance(event, Accepted | Begun | Delivered | Refused | TaskFailed):
            passed = replace(self, told=self.told + 1, passed=self.told + 1)
            return passed._with(team, there, own.served(epochs[1], now))
        told = replace(self, told=self.told + 1)
        match event:
            case NotNow(why=Why.NEVER_SENT):
                shut = common.failed(epochs[0], now, pace)
                return told._with(team, shut, own.unused(epochs[1], now))
            case NotNow(its_own=True):
                return told._with(team, there, own.unused(epochs[1], now))  # the next has its turn
            case NotNow() | CredentialsRefused():
                wait = _asked(event)
                most = 1 if self._declines_all or (pace.heeds and wait) else FAILURES
                own = own.failed(epochs[1], now, pace, retry_after_seconds=wait, most=most)
                return told._with(team, there, own)
            case AnswerLost():
                heard = there if event.heard else common.silent(epochs[0], now, pace)
                return told._with(team, heard, own.silent(epochs[1], now, pace))

    def delivered(self, team: str) -> RouteHealth:
        own, common = self._of(team), self.for_all
        after = common.delivered(), own.delivered()
        if after[0] is common and after[1] is own:
            return self
        return self._with(team, *after)

    def task_failed(self, team: str, now: float, pace: BreakerPace) -> RouteHealth:
        told = replace(self, told=self.told + 1)
        return told._with(team, self.for_all, self._of(team).task_failed(now, pace))

    # --- inside --------------------------------------------------------------------------------

    @property
    def _declines_all(self) -> bool:
        """Whether some team's breaker has opened since anybody was taken."""
        return any(at > self.passed for at in self.shut.values())

    def _of(self, team: str) -> Breaker:
        return self.teams.get(team, AT_REST)

    def _with(self, team: str, for_all: Breaker, own: Breaker) -> RouteHealth:
        teams = {**self.teams, team: own}
        if len(teams) > MOST_TEAMS:
            teams = {name: one for name, one in teams.items() if not _is_at_rest(one)}
        shut = {name: at for name, at in self.shut.items() if name != team}
        if not own.is_closed:
            shut[team] = self.shut.get(team, self.told)
        return replace(self, for_all=for_all, teams=teams, shut=shut)


def _asked(event: NotNow | CredentialsRefused) -> float | None:
    return event.retry_after_seconds if isinstance(event, NotNow) else None


def _is_at_rest(breaker: Breaker) -> bool:
    return breaker.is_sound and not (breaker.out or breaker.failed_submits or breaker.failed_tasks)
