"""Which routes can make a run's pictures, cheapest first, and where it may go after an event.

A run goes up the list, from the cheapest to the next cheapest, and begins at the top again after
a wait; so a request that no route wants is not passed round in circles. A route that is merely full
is waited for: no dearer one is taken for that. A route whose task failed
for the run, or that declines it again and again, is not asked again. A dearer route must fit into
the team's budget.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.catalog import Catalog, ImageModel, Mode, Team
from gateway.core.copies import replace
from gateway.core.instants import NEVER
from gateway.core.model import Order, Run
from gateway.core.money.accounts import Account, AccountKey, Amounts, Measure
from gateway.core.money.budgets import first_excess
from gateway.core.orders.pricing import Offer, offers, price_per_picture
from gateway.core.runs.events import CredentialsRefused, Event, NotNow, Retry, TaskFailed, Why
from gateway.core.runs.redaction import is_erased


@dataclass(frozen=True, slots=True)
class Alternative:
    """A route with its price for one order: per picture, and what it costs at most besides."""

    upstream: str
    upstream_model: str
    price_usd_micros: int
    besides_usd_micros: int = 0

    @property
    def name(self) -> str:
        return f"{self.upstream}/{self.upstream_model}"

    def hold(self, run: Run) -> Amounts:
        """What the run holds when it is on this route."""
        return replace(run.hold, usd_micros=self.in_all(run.n))

    def in_all(self, n: int) -> int:
        """The most that `n` pictures cost here, in micro-dollars."""
        return self.price_usd_micros * n + self.besides_usd_micros


@dataclass(frozen=True, slots=True)
class Outlook:
    """Where a run may go on.

    `go` is the cheapest route that may be asked now; leave for one submit on it was obtained.
    `waits` are the routes that it may be worth waiting for, each with the time when it may be
    asked.
    """

    go: Alternative | None = None
    waits: tuple[tuple[Alternative, float], ...] = ()

    @property
    def comes_up_at(self) -> float | None:
        return min((at for _, at in self.waits), default=None)

    def put_off(self, now: float) -> Outlook:
        """The way on is open, and not to be gone yet."""
        waits = self.waits or tuple((route, now) for route in (self.go,) if route)
        return Outlook(None, waits)

    def within_budget(
        self, run: Run, accounts: Mapping[AccountKey, Account], team: Team | None
    ) -> Outlook:
        """What is left when the budget has its say.

        `accounts` are those that the run counts in, one for each window in force.
        """
        go = self.go if self.go and affordable(run, self.go, accounts, team) else None
        waits = tuple(one for one in self.waits if affordable(run, one[0], accounts, team))
        return Outlook(go, waits)


NOWHERE: Final = Outlook()


def by_price(model: ImageModel, order: Order) -> tuple[Alternative, ...]:
    """The routes that have a price for the order, cheapest first; equals in the settings' order."""
    priced = [
        Alternative(route.upstream, route.model, price, route.besides_usd_micros(order))
        for route in model.routes
        if (price := price_per_picture(route, order, model.limits)) is not None
    ]
    return tuple(sorted(priced, key=lambda route: route.in_all(order.n)))


def alternatives(run: Run, catalog: Catalog) -> tuple[Alternative, ...]:
    """The routes that the run may be on, its present one among them, cheapest first."""
    model = catalog.models.get(run.model)
    if model is None:
        return ()
    return tuple(route for route in by_price(model, order_of(run)) if route.name not in run.tried)


def offers_for(run: Run, catalog: Catalog) -> Sequence[Offer]:
    """What each route of the model would ask for the run's order, as the settings are now; nothing
    where the order's words are gone, or the model."""
    model = catalog.models.get(run.model)
    return () if model is None or is_erased(run) else offers(model, order_of(run))


def moves(event: Event) -> bool:
    """Whether the event may bring a run to another route."""
    if isinstance(event, TaskFailed):
        return event.is_providers and event.is_free
    return isinstance(event, NotNow | CredentialsRefused | Retry)


def next_after(
    run: Run, event: Event, routes: Sequence[Alternative]
) -> tuple[Sequence[Alternative], Sequence[Alternative]]:
    """Of `routes`, those that may be asked at once after the event, and those to wait for."""
    if isinstance(event, Retry):
        return routes, routes
    others = [route for route in routes if route.name != run.route]
    if isinstance(event, NotNow) and event.why is Why.FULL:
        return (), [route for route in routes if route.name == run.route]
    if isinstance(event, TaskFailed) or (isinstance(event, NotNow) and event.its_own):
        return others, others
    names = [route.name for route in routes]
    dearer = routes[names.index(run.route) + 1 :] if run.route in names else routes
    return dearer, routes if isinstance(event, NotNow) else others


def affordable(
    run: Run, route: Alternative, accounts: Mapping[AccountKey, Account], team: Team | None
) -> bool:
    """Whether the run may hold the route's price instead of what it holds now.

    It counts in the windows that it was ordered in. Nothing dearer is bought for a team that is
    no more; in shadow mode everything is bought.
    """
    more = route.hold(run) - run.hold
    if more.usd_micros <= 0:
        return True
    if team is None:
        return False
    caps = [cap for cap in team.caps if cap.measure is Measure.USD]
    excess = first_excess(caps, accounts, more, now=0.0, renews_at=lambda _: NEVER)
    return excess is None or team.mode is Mode.SHADOW


def order_of(run: Run) -> Order:
    """The order that the run was made from, as far as prices look at it."""
    body = json.loads(run.request)
    prompt = str(body.get("prompt") or "")
    return Order(run.model, prompt, run.n, body.get("size"), body.get("quality"), body)
