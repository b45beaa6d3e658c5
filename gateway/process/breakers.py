"""Which routes may be asked now: how each route is, to this process.

Whoever is about to submit obtains a permit first, before the intention is written, and tells
afterwards what came of it. Deciding whether a run may go there is the core's and the ledger's;
this module only knows how the routes are, and which runs wait for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from gateway.core.copies import replace
from gateway.core.model import Run, RunState
from gateway.core.policy import Current
from gateway.core.runs import routing, trials
from gateway.core.runs.breaker import BreakerPace, BreakerState
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    Begun,
    CredentialsRefused,
    Delivered,
    Event,
    Finished,
    NotNow,
    PollEvent,
    Refused,
    Retry,
    SubmitEvent,
    TaskFailed,
    Why,
)
from gateway.core.runs.route_health import Epochs, RouteHealth
from gateway.core.runs.routing import NOWHERE, Alternative, Outlook
from gateway.core.runs.schedule import RETRY_AFTER_MAX_SECONDS
from gateway.core.runs.trials import ByChance, Declined, Rank, Waiting
from gateway.ports.clock import Clock
from gateway.ports.observer import Observer

R = TypeVar("R")

NO_TROUBLE: Final = NotNow("the route is held back")
"""What a route is taken to say that did not say anything itself."""

MOST_REMEMBERED: Final = 10_000
"""Runs that wait, and runs that a route has declined; of more, the oldest are forgotten."""

PATIENCE_SHARE: Final = 3.0
"""A trial is kept for a third of the time that the route was closed: all who wait come by then."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave for one submit of a run on a route, given in these epochs of its breakers."""

    upstream: str
    upstream_model: str
    run_id: str
    team: str
    epochs: Epochs


@dataclass(slots=True)
class _Breaker:
    """How a route is, and what it said when it last did not take a submit.

    `taken` counts the submits that it took, `relented` those of runs that it had declined before,
    and `chance` how often it had. `declined` is by run, and `wasted` by team: the trials of all
    that came to nothing. `kept_for` is whose turn it is, as it was last worked out: by model, and
    by team unless it is for all.
    """

    health: RouteHealth = field(default_factory=RouteHealth)
    trouble: NotNow | CredentialsRefused = NO_TROUBLE
    taken: int = 0
    relented: int = 0
    chance: ByChance = field(default_factory=ByChance)
    declined: dict[str, Declined] = field(default_factory=dict)
    wasted: dict[str, int] = field(default_factory=dict)
    kept_for: dict[tuple[str, str], tuple[Rank, Waiting]] = field(default_factory=dict)

    def rank(self, run_id: str, team: str) -> Rank:
        known = self.declined.get(run_id)
        return Rank(self.wasted.get(team, 0), known.times if known else 0)


class Breakers:
    def __init__(self, current: Current, clock: Clock, observer: Observer) -> None:
        self._current = current
        self._clock = clock
        self._observer = observer
        self._breakers: dict[tuple[str, str], _Breaker] = {}
        self._waiting: dict[str, Waiting] = {}

    def forget(self) -> None:
        """The upstreams were connected anew: what was known of them is void."""
        for upstream, model in self._breakers:
            self._observer.route_turned(upstream, model, up=True)
        self._breakers.clear()

    def state(self, upstream: str, model: str) -> BreakerState:
        """How a route is; one that was never asked is closed."""
        breaker = self._breakers.get((upstream, model))
        return (breaker.health if breaker else RouteHealth()).state(self._clock())

    def follow(self, run: Run) -> None:
        """The run is so by now: those that wait have their turn, those that do not give it up."""
        self._waiting.pop(run.id, None)
        if run.state is RunState.QUEUED:
            self._wait(Waiting(run.id, run.team, run.model, run.due_at))
        elif run.state is not RunState.SUBMITTING:
            for breaker in self._breakers.values():
                breaker.declined.pop(run.id, None)

    def _wait(self, waiting: Waiting) -> None:
        """In the line, and before those who it turns out stand behind."""
        _remember(self._waiting, waiting.run_id, waiting)
        for breaker in self._breakers.values():
            rank = breaker.rank(waiting.run_id, waiting.team)
            for scope in ((waiting.model, ""), (waiting.model, waiting.team)):
                if scope in breaker.kept_for and rank < breaker.kept_for[scope][0]:
                    del breaker.kept_for[scope]

    # --- permits -------------------------------------------------------------------------------

    def enter(self, run: Run) -> Permit | NotNow | CredentialsRefused:
        """A permit for the route that the run is on, or what the route said before."""
        permit = self._take(run, run.upstream, run.upstream_model, patient=False)
        if permit is not None:
            return permit
        trouble = self._breaker(run.upstream, run.upstream_model).trouble
        if isinstance(trouble, NotNow):  # what it asked to wait has begun with its own answer
            return replace(trouble, retry_after_seconds=None)
        return trouble

    def outlook(self, run: Run, event: Event) -> tuple[Outlook, Permit | None]:
        """Where the run may go on after the event, and the permit for going there."""
        if run.state is RunState.UNSURE or not routing.moves(event):
            return NOWHERE, None  # what may have been taken is never sent elsewhere
        routes = routing.alternatives(run, self._current.policy.catalog)
        at_once, later = routing.next_after(run, event, routes)
        go, permit = self._first_open(run, at_once, patient=isinstance(event, Retry))
        hopeful = self._hopeful(later, event)
        waits = tuple((route, self._up_at(route, run, event)) for route in hopeful)
        return Outlook(go, waits), permit

    def leave(self, permit: Permit | None) -> None:
        """The permit was not used, or nobody will ever tell what came of it."""
        if permit is not None:
            breaker = self._breaker(permit.upstream, permit.upstream_model)
            breaker.health = breaker.health.unused(permit.team, permit.epochs, self._clock())

    # --- what became of it ---------------------------------------------------------------------

    def begun(self, permit: Permit) -> None:
        """The request has left and nobody declined it in the first moments: it was taken, as far as
        others may know. The permit is given back, for the work may last minutes."""
        self._told(permit, Begun())

    def submitted(
        self, permit: Permit, event: SubmitEvent, *, has_begun: bool = False
    ) -> SubmitEvent:
        """What came of the submit; the permit is given back with it, where none `has_begun`.

        Returns what it means for the run: a route that takes others may decline it for good.
        """
        breaker = self._breaker(permit.upstream, permit.upstream_model)
        event = self._counted(breaker, permit, event)
        declined = isinstance(event, NotNow | CredentialsRefused)
        if has_begun and declined:
            self._take_back(breaker, permit)
        if declined or not has_begun:
            self._told(permit, event)
        if has_begun or not declined:
            self._worked(permit, event)
        return event

    def polled(self, run: Run, event: PollEvent) -> None:
        """What became of a task says whether its route delivers."""
        self._worked(run, event)

    # --- inside --------------------------------------------------------------------------------

    def _told(self, permit: Permit, event: SubmitEvent | Begun) -> None:
        breaker = self._breaker(permit.upstream, permit.upstream_model)
        match event:
            case Accepted() | Begun() | Delivered() | Refused() | TaskFailed():
                breaker.trouble = NO_TROUBLE
            case CredentialsRefused() | NotNow(its_own=False):
                breaker.trouble = replace(event, words="")  # it was said of another's order
        now, pace = self._clock(), self._pace(permit.upstream)
        after = breaker.health.submitted(permit.team, permit.epochs, event, now, pace)
        self._count_trial(breaker, permit, after)
        self._set(permit.upstream, permit.upstream_model, after)

    def _take_back(self, breaker: _Breaker, permit: Permit) -> None:
        """It was given back too soon. In another epoch of its breakers nobody asks after it."""
        if breaker.health.epochs(permit.team) == permit.epochs:
            breaker.health = breaker.health.taken(permit.team, self._clock())

    def _worked(self, by: Run | Permit, event: SubmitEvent | PollEvent) -> None:
        """What came of the work, or of a submit that had begun. An answer that is lost where it
        is the whole work is paid for nothing, and the next one would most likely be too."""
        health = self._breaker(by.upstream, by.upstream_model).health
        match event:
            case Finished() | Delivered():
                after = health.delivered(by.team)
            case TaskFailed(is_providers=True) | NotNow(its_own=False) | CredentialsRefused():
                after = health.task_failed(by.team, self._clock(), self._pace(by.upstream))
            case AnswerLost() if self._is_whole(by.upstream):
                after = health.task_failed(by.team, self._clock(), self._pace(by.upstream))
            case _:
                return
        self._set(by.upstream, by.upstream_model, after)

    def _is_whole(self, upstream: str) -> bool:
        return self._current.policy.rules_of(upstream).kind.is_whole

    def _counted(self, breaker: _Breaker, permit: Permit, event: SubmitEvent) -> SubmitEvent:
        """The event, and whether it is the run's own fault by now."""
        if isinstance(event, Accepted | Delivered):
            times = breaker.declined.get(permit.run_id, Declined()).times
            breaker.taken += 1
            breaker.relented += times > 0
            breaker.chance = breaker.chance.took(times)
            self._vindicated(breaker, permit.run_id)
        if not isinstance(event, NotNow) or event.why is not Why.DECLINED:
            return event
        known = breaker.declined.pop(permit.run_id, Declined())
        known = known.again(breaker.taken, breaker.relented)
        _remember(breaker.declined, permit.run_id, known)
        may_cost = self._is_whole(permit.upstream)
        its_own = known.is_its_own(breaker.taken, breaker.chance, each_may_cost=may_cost)
        return replace(event, its_own=its_own)

    def _vindicated(self, taker: _Breaker, run_id: str) -> None:
        """A run that one route takes was not the reason for which others have declined it."""
        for breaker in self._breakers.values():
            known = breaker.declined.get(run_id)
            if known is not None and breaker is not taker:
                breaker.chance = breaker.chance.took(known.times)

    def _count_trial(self, breaker: _Breaker, permit: Permit, after: RouteHealth) -> None:
        """A trial of all that leaves the route closed was wasted by the team that had it."""
        breaker.kept_for.clear()
        if after.for_all.is_closed:
            breaker.wasted.clear()
        elif not breaker.health.for_all.is_closed:
            breaker.wasted[permit.team] = breaker.wasted.get(permit.team, 0) + 1

    def _first_open(
        self, run: Run, routes: Sequence[Alternative], *, patient: bool
    ) -> tuple[Alternative | None, Permit | None]:
        for route in routes:
            permit = self._take(run, route.upstream, route.upstream_model, patient=patient)
            if permit is not None:
                return route, permit
            health = self._breaker(route.upstream, route.upstream_model).health
            if health.is_sound(run.team):
                break  # busy, not ill: to wait for it is cheaper than to go on
        return None, None

    def _take(self, run: Run, upstream: str, model: str, *, patient: bool) -> Permit | None:
        breaker, now, team = self._breaker(upstream, model), self._clock(), run.team
        allowed = breaker.health.allows(team, now, patient=patient)
        if not allowed or self._is_anothers_turn(breaker, run, now, self._pace(upstream)):
            breaker.health = breaker.health.turned_away(team, now, self._pace(upstream))
            return None
        breaker.health = breaker.health.taken(team, now)
        return Permit(upstream, model, run.id, team, breaker.health.epochs(team))

    def _is_anothers_turn(self, breaker: _Breaker, run: Run, now: float, pace: BreakerPace) -> bool:
        """Whether this would be a trial, and one who comes soon stands before this run."""
        trial = breaker.health.trial_of(run.team)
        if trial is None:
            return False
        late = pace.first_seconds
        patience = max(late, trial.open_seconds / PATIENCE_SHARE)
        of_all = trial is breaker.health.for_all
        scope = (run.model, "" if of_all else run.team)
        first = breaker.kept_for.pop(scope, None)
        if first is None or not self._still_comes(first[1], run, now, patience, late):
            line = self._line(breaker, run, of_all=of_all)
            coming = (one for one in line if trials.comes_soon(one[1], now, patience, late))
            first = trials.first_in_line(coming)
        if first is None:
            return False
        breaker.kept_for[scope] = first
        return first[0] < breaker.rank(run.id, run.team)

    def _still_comes(
        self, first: Waiting, run: Run, now: float, patience: float, late: float
    ) -> bool:
        """Whether what was worked out when another asked still holds, and for this run too."""
        waits = self._waiting.get(first.run_id) == first and first.run_id != run.id
        return waits and trials.comes_soon(first, now, patience, late)

    def _line(self, breaker: _Breaker, run: Run, *, of_all: bool) -> Iterable[tuple[Rank, Waiting]]:
        """All others who wait for this trial: those of the team, or of every team."""
        for one in self._waiting.values():
            if one.model == run.model and one.run_id != run.id and (of_all or one.team == run.team):
                yield breaker.rank(one.run_id, one.team), one

    def _hopeful(self, routes: Sequence[Alternative], event: Event) -> Sequence[Alternative]:
        """Those of `routes` worth waiting for. A refused key or balance is not mended by waiting;
        only a run that waits for something else may find it mended."""
        if isinstance(event, Retry) or (isinstance(event, NotNow) and not event.its_own):
            return routes
        return [route for route in routes if not self._refuses_us(route)]

    def _refuses_us(self, route: Alternative) -> bool:
        breaker = self._breaker(route.upstream, route.upstream_model)
        return isinstance(breaker.trouble, CredentialsRefused)

    def _up_at(self, route: Alternative, run: Run, event: Event) -> float:
        now = self._clock()
        at = self._breaker(route.upstream, route.upstream_model).health.up_at(run.team, now)
        if route.name != run.route or not isinstance(event, NotNow):
            return at
        asked = min(event.retry_after_seconds or 0.0, RETRY_AFTER_MAX_SECONDS)
        return max(at, now + asked)

    def _breaker(self, upstream: str, model: str) -> _Breaker:
        """As many as the settings have named routes; those of former settings stay."""
        breaker = self._breakers.get((upstream, model))
        if breaker is None:
            breaker = self._breakers[upstream, model] = _Breaker()
        return breaker

    def _set(self, upstream: str, model: str, after: RouteHealth) -> None:
        breaker = self._breaker(upstream, model)
        turned = after.is_up is not breaker.health.is_up
        breaker.health = after
        if turned:
            self._observer.route_turned(upstream, model, up=after.is_up)

    def _pace(self, upstream: str) -> BreakerPace:
        rules = self._current.policy.rules_of(upstream)
        heeds = rules.kind.is_whole
        return BreakerPace(rules.retry_first_seconds, rules.retry_max_seconds, heeds)


def _remember(known: dict[str, R], name: str, value: R) -> None:
    """The newest last; of too many, the oldest goes."""
    known[name] = value
    if len(known) > MOST_REMEMBERED:
        del known[next(iter(known))]
