"""Which routes may be asked now: the breakers of this process, one for each route.

Whoever is about to submit obtains a permit first, before the intention is written, and tells
afterwards what came of it. Deciding whether a run may go there is the core's and the ledger's;
this module only knows how the routes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.core import routing
from gateway.core.breaker import Breaker, BreakerPace, BreakerState
from gateway.core.events import (
    Accepted,
    CredentialsRefused,
    Event,
    Finished,
    NotNow,
    PollEvent,
    Refused,
    Retry,
    SubmitEvent,
    TaskFailed,
)
from gateway.core.lifecycle import Rules
from gateway.core.model import Run, RunState
from gateway.core.policy import Current
from gateway.core.routing import NOWHERE, Alternative, Outlook
from gateway.core.schedule import RETRY_AFTER_MAX_SECONDS
from gateway.ports import Clock, Observer

NO_TROUBLE: Final = NotNow("the route is held back")
"""What a route is taken to say that did not say anything itself."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave for one submit on a route, given in that epoch of its breaker."""

    upstream: str
    upstream_model: str
    epoch: int


@dataclass(slots=True)
class _Gate:
    """A route's breaker, and what it said when it last did not take a submit."""

    breaker: Breaker = field(default_factory=Breaker)
    trouble: NotNow | CredentialsRefused = NO_TROUBLE


class Gates:
    def __init__(self, current: Current, clock: Clock, observer: Observer) -> None:
        self._current = current
        self._clock = clock
        self._observer = observer
        self._gates: dict[tuple[str, str], _Gate] = {}

    def forget(self) -> None:
        """The upstreams were connected anew: what was known of them is void."""
        for upstream, model in self._gates:
            self._observer.route_turned(upstream, model, up=True)
        self._gates.clear()

    def state(self, upstream: str, model: str) -> BreakerState:
        """How a route is; one that was never asked is closed."""
        gate = self._gates.get((upstream, model))
        return (gate.breaker if gate else Breaker()).state(self._clock())

    # --- permits -------------------------------------------------------------------------------

    def enter(self, run: Run) -> Permit | NotNow | CredentialsRefused:
        """A permit for the route that the run is on, or what the route said before."""
        permit = self._take(run.upstream, run.upstream_model, patient=False)
        return permit or self._gate(run.upstream, run.upstream_model).trouble

    def outlook(self, run: Run, event: Event) -> tuple[Outlook, Permit | None]:
        """Where the run may go on after the event, and the permit for going there."""
        if run.state is RunState.UNSURE or not routing.moves(event):
            return NOWHERE, None  # what may have been taken is never sent elsewhere
        routes = routing.alternatives(run, self._current.policy.catalog)
        at_once, later = routing.next_after(run, event, routes)
        go, permit = self._first_open(at_once, patient=isinstance(event, Retry))
        hopeful = self._hopeful(later, event)
        waits = tuple((route, self._up_at(route, run, event)) for route in hopeful)
        return Outlook(go, waits), permit

    def leave(self, permit: Permit | None) -> None:
        """The permit was not used, or nobody will ever tell what came of it."""
        if permit is not None:
            gate = self._gate(permit.upstream, permit.upstream_model)
            gate.breaker = gate.breaker.unused(permit.epoch, self._clock())

    # --- what became of it ---------------------------------------------------------------------

    def submitted(self, permit: Permit, event: SubmitEvent) -> None:
        """What came of the submit; the permit is given back with it."""
        now, epoch, pace = self._clock(), permit.epoch, self._pace(permit.upstream)
        gate = self._gate(permit.upstream, permit.upstream_model)
        match event:
            case Accepted() | Refused():
                gate.trouble = NO_TROUBLE
                after = gate.breaker.served(epoch, now)
            case NotNow() | CredentialsRefused():
                gate.trouble = event
                retry_after = event.retry_after_seconds if isinstance(event, NotNow) else None
                after = gate.breaker.failed(epoch, now, pace, retry_after_seconds=retry_after)
            case _:
                after = gate.breaker.silent(epoch, now, pace)
        self._set(permit.upstream, permit.upstream_model, after)

    def polled(self, run: Run, event: PollEvent) -> None:
        """What became of a task says whether its route delivers."""
        breaker = self._gate(run.upstream, run.upstream_model).breaker
        if isinstance(event, Finished):
            self._set(run.upstream, run.upstream_model, breaker.delivered())
        if isinstance(event, TaskFailed) and routing.is_providers_fault(event.code):
            after = breaker.task_failed(self._clock(), self._pace(run.upstream))
            self._set(run.upstream, run.upstream_model, after)

    # --- inside --------------------------------------------------------------------------------

    def _first_open(
        self, routes: Sequence[Alternative], *, patient: bool
    ) -> tuple[Alternative | None, Permit | None]:
        for route in routes:
            permit = self._take(route.upstream, route.upstream_model, patient=patient)
            if permit is not None:
                return route, permit
            breaker = self._gate(route.upstream, route.upstream_model).breaker
            if breaker.is_sound:
                break  # busy, not ill: to wait for it is cheaper than to go on
        return None, None

    def _take(self, upstream: str, model: str, *, patient: bool) -> Permit | None:
        gate, now = self._gate(upstream, model), self._clock()
        if not gate.breaker.allows(now, patient=patient):
            gate.breaker = gate.breaker.turned_away(now, self._pace(upstream))
            return None
        gate.breaker = gate.breaker.taken(now)
        return Permit(upstream, model, gate.breaker.epoch)

    def _hopeful(self, routes: Sequence[Alternative], event: Event) -> Sequence[Alternative]:
        """Those of `routes` worth waiting for. A refused key or balance is not mended by waiting;
        only a run that waits for something else may find it mended."""
        if isinstance(event, NotNow | Retry):
            return routes
        return [route for route in routes if not self._refuses_us(route)]

    def _refuses_us(self, route: Alternative) -> bool:
        gate = self._gate(route.upstream, route.upstream_model)
        return isinstance(gate.trouble, CredentialsRefused)

    def _up_at(self, route: Alternative, run: Run, event: Event) -> float:
        now = self._clock()
        at = self._gate(route.upstream, route.upstream_model).breaker.up_at(now)
        if route.name != run.route or not isinstance(event, NotNow):
            return at
        asked = min(event.retry_after_seconds or 0.0, RETRY_AFTER_MAX_SECONDS)
        return max(at, now + asked)

    def _gate(self, upstream: str, model: str) -> _Gate:
        """As many as the settings have named routes; those of former settings stay."""
        return self._gates.setdefault((upstream, model), _Gate())

    def _set(self, upstream: str, model: str, after: Breaker) -> None:
        gate = self._gate(upstream, model)
        turned = after.is_closed is not gate.breaker.is_closed
        gate.breaker = after
        if turned:
            self._observer.route_turned(upstream, model, up=after.is_closed)

    def _pace(self, upstream: str) -> BreakerPace:
        rules = self._current.policy.rules.get(upstream) or Rules()
        return BreakerPace(rules.retry_first_seconds, rules.retry_max_seconds)
