"""`/admin/v1/health` and `/admin/v1/summary`: how the gateway is, and its numbers at a glance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.responses import Response
from typing_extensions import TypedDict

from gateway import __version__
from gateway.core.catalog import Route
from gateway.core.model import LIVE_STATES, DeliveryState, Usage
from gateway.core.money.budgets import windows_at
from gateway.core.money.usd import dollars
from gateway.core.policy import Policy
from gateway.core.runs.breaker import BreakerState
from gateway.ports.cache import ResponseCache
from gateway.ports.ledger import DeliveryFilter, Lists, Mark, Reports, RunFilter
from gateway.web.calls import OperatorCall
from gateway.web.chapters import SETTINGS
from gateway.web.operation import Operation
from gateway.web.query import NoParameters
from gateway.web.responses import json_response
from gateway.web.shown import instant, moment

COUNTED: Final = 1000
"""A queue is counted up to here; beyond, how long it is makes no difference to whoever looks."""

COUNTED_AT_ONCE: Final = 50


class RouteHealthShape(TypedDict):
    route: str
    upstream: str
    model: str
    kind: str
    serves: list[str]
    """The public models that it makes pictures of."""
    another_model: bool
    price_usd: list[float]
    """Of one picture: the lowest and the highest of its rules."""
    counts_tokens: bool
    """Upstream bills what it counted; the prices are what is held at most."""
    state: str
    up: bool


class QueueShape(TypedDict):
    due: int
    callbacks_pending: int


class DiskShape(TypedDict):
    free_bytes: int | None
    floor_bytes: int


class PictureTotalsShape(TypedDict):
    count: int
    bytes: int


class CacheTotalsShape(TypedDict):
    entries: int
    bytes: int


class LedgerHealthShape(TypedDict):
    violations: int | None
    checked_at: str | None


class ReloadHealthShape(TypedDict):
    reloaded_at: str | None
    successful: bool


class HealthShape(TypedDict):
    ready: bool
    reasons: list[str]
    version: str
    started_at: str
    now: str
    routes: list[RouteHealthShape]
    runs: dict[str, int]
    oldest_unkept_seconds: float | None
    queue: QueueShape
    disk: DiskShape
    pictures: PictureTotalsShape
    cache: CacheTotalsShape
    ledger: LedgerHealthShape
    settings: ReloadHealthShape


class OverviewShape(TypedDict):
    """The operator's numbers at a glance; `actor` is what the key that asks is called."""

    spent_today_usd: float
    spent_month_usd: float
    saved_month_usd: float
    teams: int
    models: list[str]
    public_url: str
    timezone: str
    actor: str


@dataclass(slots=True)
class Life:
    """When this process began to serve, and how its settings were last read."""

    started_at: float = 0.0
    reloaded_at: float | None = None
    successful: bool = True


class Chores(Protocol):
    """The upkeep, as far as it is asked here."""

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
    chores: Chores
    life: Life
    unready: Callable[[], Awaitable[Sequence[str]]]
    route_state: Callable[[str, str], BreakerState]


class HealthPage:
    def __init__(self, deps: HealthDeps) -> None:
        self._deps = deps

    @Operation("GET /admin/v1/health", SETTINGS, "How the gateway is", answer=HealthShape)
    async def health(self, call: OperatorCall[NoParameters]) -> Response:
        deps = self._deps
        now, ledger = call.clock(), deps.ledger
        reasons = list(await deps.unready())
        oldest = await ledger.oldest_unkept()
        pictures, picture_bytes = await ledger.picture_totals()
        entries, cache_bytes = await deps.cache.size()
        answer: HealthShape = {
            "ready": not reasons,
            "reasons": reasons,
            "version": __version__,
            "started_at": instant(deps.life.started_at),
            "now": instant(now),
            "routes": self._routes(call.policy),
            "runs": {state.value: count for state, count in (await ledger.run_counts()).items()},
            "oldest_unkept_seconds": None if oldest is None else max(0.0, now - oldest),
            "queue": await self._queue(now),
            "disk": self._disk(call.policy),
            "pictures": {"count": pictures, "bytes": picture_bytes},
            "cache": {"entries": entries, "bytes": cache_bytes},
            "ledger": self._check(),
            "settings": {
                "reloaded_at": moment(deps.life.reloaded_at),
                "successful": deps.life.successful,
            },
        }
        return json_response(answer)

    @Operation("GET /admin/v1/summary", SETTINGS, "The numbers at a glance", answer=OverviewShape)
    async def summary(self, call: OperatorCall[NoParameters]) -> Response:
        ledger, policy = self._deps.ledger, call.policy
        windows = windows_at(call.clock(), policy.zone)
        today = await ledger.usage(since_day=windows.day)
        month = await ledger.usage(since_day=windows.month)
        answer: OverviewShape = {
            "spent_today_usd": dollars(_spent(today)),
            "spent_month_usd": dollars(_spent(month)),
            "saved_month_usd": dollars(
                sum(one.saved_hit_usd_micros + one.saved_joined_usd_micros for one in month)
            ),
            "teams": len(policy.teams),
            "models": sorted(policy.catalog.models),
            "public_url": policy.public_url,
            "timezone": str(policy.zone),
            "actor": call.actor,
        }
        return json_response(answer)

    # --- inside --------------------------------------------------------------------------------

    def _routes(self, policy: Policy) -> list[RouteHealthShape]:
        """Every route of the settings once, whatever models it serves."""
        found: dict[str, list[tuple[str, Route]]] = {}
        for model in policy.catalog.models.values():
            for route in model.routes:
                found.setdefault(route.name, []).append((model.name, route))
        return [self._route(name, serving) for name, serving in found.items()]

    def _route(self, name: str, serving: Sequence[tuple[str, Route]]) -> RouteHealthShape:
        route = serving[0][1]
        state = self._deps.route_state(route.upstream, route.model)
        prices = [rule.usd_micros for _, each in serving for rule in each.prices]
        return {
            "route": name,
            "upstream": route.upstream,
            "model": route.model,
            "kind": route.kind.name,
            "serves": sorted({model for model, _ in serving}),
            "another_model": any(each.is_another_model for _, each in serving),
            "price_usd": [dollars(min(prices)), dollars(max(prices))],
            "counts_tokens": any(each.rates is not None for _, each in serving),
            "state": state.value,
            "up": state is BreakerState.CLOSED,
        }

    async def _queue(self, now: float) -> QueueShape:
        pending = DeliveryFilter(state=DeliveryState.PENDING)
        owed = await self._deps.ledger.deliveries(pending, after=None, limit=COUNTED)
        return {"due": await self._due(now), "callbacks_pending": len(owed)}

    async def _due(self, now: float) -> int:
        """Live runs that nobody has in hand; read some at a time, since an order may be large."""
        live, due = RunFilter(states=tuple(LIVE_STATES)), 0
        after: Mark | None = None
        for _ in range(COUNTED // COUNTED_AT_ONCE):
            runs = await self._deps.ledger.runs(live, after=after, limit=COUNTED_AT_ONCE)
            due += sum(run.due_at <= now and run.lease_until <= now for run in runs)
            if len(runs) < COUNTED_AT_ONCE:
                break
            after = runs[-1].created_at, runs[-1].id
        return due

    def _disk(self, policy: Policy) -> DiskShape:
        return {
            "free_bytes": self._deps.chores.free_bytes,
            "floor_bytes": policy.room_floor_bytes,
        }

    def _check(self) -> LedgerHealthShape:
        last = self._deps.chores.last_check
        if last is None:
            return {"violations": None, "checked_at": None}
        violations, at = last
        return {"violations": violations, "checked_at": instant(at)}


def _spent(usage: Iterable[Usage]) -> int:
    return sum(one.spent_usd_micros for one in usage)
