"""`/admin/v1/health` and `/admin/v1/summary`: how the gateway is, and its numbers at a glance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import __version__
from gateway.core.model import LIVE_STATES, DeliveryState, Usage
from gateway.core.money.budgets import windows_at
from gateway.core.policy import Current
from gateway.core.runs.breaker import BreakerState
from gateway.ports.cache import ResponseCache
from gateway.ports.clock import Clock
from gateway.ports.ledger import DeliveryFilter, Lists, Mark, Reports, RunFilter
from gateway.web.auth import operator_of
from gateway.web.query import NoParameters, read_query
from gateway.web.responses import json_response
from gateway.web.shapes import (
    DiskShape,
    HealthShape,
    LedgerHealthShape,
    OverviewShape,
    QueueShape,
    RouteHealthShape,
)
from gateway.web.shown import instant, moment, usd

COUNTED: Final = 1000
"""A queue is counted up to here; beyond, how long it is makes no difference to whoever looks."""

COUNTED_AT_ONCE: Final = 50


@dataclass(slots=True)
class Life:
    """When this process began to serve, and how its settings were last read."""

    started_at: float = 0.0
    reloaded_at: float | None = None
    successful: bool = True


class Chores(Protocol):
    """The housekeeper, as far as it is asked here."""

    @property
    def free_bytes(self) -> int | None:
        """None when it could not be told."""

    @property
    def last_check(self) -> tuple[int, float] | None:
        """Violations in the ledger, and when it was looked for them."""


class HealthReads(Lists, Reports, Protocol):
    """What is listed and what is counted: both say how things are."""


@dataclass(frozen=True, slots=True)
class HealthDeps:
    """What is looked at. `unready` lists why no order can be taken now."""

    ledger: HealthReads
    cache: ResponseCache
    current: Current
    clock: Clock
    chores: Chores
    life: Life
    unready: Callable[[], Awaitable[Sequence[str]]]
    route_state: Callable[[str, str], BreakerState]


class HealthPage:
    def __init__(self, watch: HealthDeps) -> None:
        self._watch = watch

    def routes(self) -> list[Route]:
        return [
            Route("/admin/v1/health", self.health, methods=["GET"]),
            Route("/admin/v1/summary", self.summary, methods=["GET"]),
        ]

    async def health(self, request: Request) -> Response:
        watch = self._watch
        operator_of(request, watch.current.policy)
        read_query(request, NoParameters)
        now, ledger = watch.clock(), watch.ledger
        reasons = list(await watch.unready())
        oldest = await ledger.oldest_unkept()
        pictures, picture_bytes = await ledger.picture_totals()
        entries, cache_bytes = await watch.cache.size()
        answer: HealthShape = {
            "ready": not reasons,
            "reasons": reasons,
            "version": __version__,
            "started_at": instant(watch.life.started_at),
            "now": instant(now),
            "routes": self._routes(),
            "runs": {state.value: count for state, count in (await ledger.run_counts()).items()},
            "oldest_unkept_seconds": None if oldest is None else max(0.0, now - oldest),
            "queue": await self._queue(now),
            "disk": self._disk(),
            "pictures": {"count": pictures, "bytes": picture_bytes},
            "cache": {"entries": entries, "bytes": cache_bytes},
            "ledger": self._check(),
            "settings": {
                "reloaded_at": moment(watch.life.reloaded_at),
                "successful": watch.life.successful,
            },
        }
        return json_response(answer)

    async def summary(self, request: Request) -> Response:
        watch = self._watch
        policy = watch.current.policy
        operator_of(request, policy)
        read_query(request, NoParameters)
        windows = windows_at(watch.clock(), policy.zone)
        today = await watch.ledger.usage(since_day=windows.day)
        month = await watch.ledger.usage(since_day=windows.month)
        answer: OverviewShape = {
            "spent_today_usd": usd(_spent(today)),
            "spent_month_usd": usd(_spent(month)),
            "saved_month_usd": usd(
                sum(one.saved_hit_usd_micros + one.saved_joined_usd_micros for one in month)
            ),
            "teams": len(policy.teams),
            "models": sorted(policy.catalog.models),
            "public_url": policy.public_url,
            "timezone": str(policy.zone),
        }
        return json_response(answer)

    # --- inside --------------------------------------------------------------------------------

    def _routes(self) -> list[RouteHealthShape]:
        """Every route of the settings once, whatever models it serves."""
        models = self._watch.current.policy.catalog.models.values()
        routes = {route.name: route for model in models for route in model.routes}
        states = {
            name: self._watch.route_state(route.upstream, route.model)
            for name, route in routes.items()
        }
        return [
            {
                "route": name,
                "upstream": route.upstream,
                "model": route.model,
                "state": states[name].value,
                "up": states[name] is BreakerState.CLOSED,
            }
            for name, route in routes.items()
        ]

    async def _queue(self, now: float) -> QueueShape:
        pending = DeliveryFilter(state=DeliveryState.PENDING)
        owed = await self._watch.ledger.deliveries(pending, after=None, limit=COUNTED)
        return {"due": await self._due(now), "callbacks_pending": len(owed)}

    async def _due(self, now: float) -> int:
        """Live runs that nobody has in hand; read some at a time, since an order may be large."""
        live, due = RunFilter(states=tuple(LIVE_STATES)), 0
        after: Mark | None = None
        for _ in range(COUNTED // COUNTED_AT_ONCE):
            runs = await self._watch.ledger.runs(live, after=after, limit=COUNTED_AT_ONCE)
            due += sum(run.due_at <= now and run.lease_until <= now for run in runs)
            if len(runs) < COUNTED_AT_ONCE:
                break
            after = runs[-1].created_at, runs[-1].id
        return due

    def _disk(self) -> DiskShape:
        floor_bytes = self._watch.current.policy.free_space_floor_bytes
        return {"free_bytes": self._watch.chores.free_bytes, "floor_bytes": floor_bytes}

    def _check(self) -> LedgerHealthShape:
        last = self._watch.chores.last_check
        if last is None:
            return {"violations": None, "checked_at": None}
        violations, at = last
        return {"violations": violations, "checked_at": instant(at)}


def _spent(usage: Iterable[Usage]) -> int:
    return sum(one.spent_usd_micros for one in usage)
