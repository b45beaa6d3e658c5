"""What is served: every section of the surface, each with what it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.config import Settings
from gateway.config.notices import notices
from gateway.config.words import HandOver
from gateway.core.policy import Current
from gateway.ports.clock import Clock
from gateway.process.following import DEAD_SECONDS
from gateway.services.reconciling import Reconciling, ReconcilingDeps
from gateway.services.retries import Retrying
from gateway.services.runs import Runs
from gateway.web.admin.alerts import AlertTests
from gateway.web.admin.cache import CachePages
from gateway.web.admin.callbacks import CallbackHistory
from gateway.web.admin.changes import Changes
from gateway.web.admin.health import HealthDeps, HealthPage, Life
from gateway.web.admin.keys import TeamKeys
from gateway.web.admin.pictures import PictureRegister
from gateway.web.admin.reconciling import ReconcilePages
from gateway.web.admin.refusals import RefusedOrders
from gateway.web.admin.replicas import ReplicasDeps, ReplicasPage
from gateway.web.admin.runs import RunPages
from gateway.web.admin.settings import Reread, SettingsPage
from gateway.web.admin.teams import ManagedTeams
from gateway.web.admin.unproven import UnprovenPages
from gateway.web.admin.usage import UsageReports
from gateway.web.body import Bodies
from gateway.web.console_files import Console
from gateway.web.evolink.account import AccountPages
from gateway.web.evolink.base64_file import Base64Files
from gateway.web.evolink.files import FilesApi
from gateway.web.evolink.images import Images
from gateway.web.evolink.tasks import TaskLists
from gateway.web.monitoring import Monitoring
from gateway.web.openai.endpoints import OpenAI, Readers
from gateway.web.openapi.pages import with_description
from gateway.web.operation import Endpoint
from gateway.web.pictures import KeptPictures
from gateway.web.root import Root
from gateway.web.team.orders import OwnOrders
from gateway.web.team.pictures import Gallery
from gateway.web.team.prices import OwnPrices
from gateway.web.team.summary import TeamPages
from gateway.web.upstream_callbacks import Hints
from gateway.wiring.adapters import Adapters
from gateway.wiring.kinds import KINDS
from gateway.wiring.services import Services


@dataclass(frozen=True, slots=True)
class EndpointsDeps:
    """What the pages show and ask: the parts, and the gateway's own life.

    `settings` gives those in force, `reread` reads them again, `unready` says why no order can
    be taken now, `unready_here` what of that is this process's own.
    """

    adapters: Adapters
    services: Services
    current: Current
    clock: Clock
    life: Life
    settings: Callable[[], Settings]
    waiting: Callable[[], Sequence[str]]
    reread: Reread
    unready: Callable[[], Awaitable[Sequence[str]]]
    unready_here: Callable[[], Sequence[str]]
    clock_offset: Callable[[], float]


def make_endpoints(deps: EndpointsDeps) -> Sequence[Endpoint]:
    """Every endpoint. Those that are asked most come first: the router looks in this order."""
    console = Console()
    sections = (*_for_clients(deps), *_for_operators(deps), *_for_teams(deps), console)
    monitoring = Monitoring(
        deps.current,
        unready=deps.unready,
        unready_here=deps.unready_here,
        render=deps.adapters.metrics.render,
    )
    return with_description((*sections, monitoring, Root(deps.current)), console, deps.current)


def _for_clients(deps: EndpointsDeps) -> Sequence[object]:
    """What programs of teams ask, and what stands in the answers to them."""
    adapters, services, current, clock = deps.adapters, deps.services, deps.current, deps.clock
    bodies = Bodies()
    return (
        Images(services.orders, services.tasks, current, bodies, clock),
        TaskLists(services.tasks, current, bodies),
        AccountPages(services.orders, services.standings, current, bodies),
        FilesApi(services.uploads, Base64Files(services.spool_folder, bodies), current),
        OpenAI(
            services.orders,
            services.tasks,
            current,
            Readers(bodies, services.edits),
            pictures=adapters.pictures,
        ),
        KeptPictures(adapters.pictures, _hand_over(deps.settings())),
        Hints(adapters.callback_addresses.run_of, services.worker.hint),
    )


def _hand_over(settings: Settings) -> HandOver:
    """A proxy can send files of this machine alone."""
    return settings.server.hand_over if settings.storage.bucket is None else HandOver.NONE


def _for_teams(deps: EndpointsDeps) -> Sequence[object]:
    """What the console shows a team of itself."""
    ledger = deps.adapters.ledger
    return (
        TeamPages(ledger, deps.services.standings),
        OwnPrices(),
        OwnOrders(ledger),
        Gallery(ledger),
    )


def _for_operators(deps: EndpointsDeps) -> Sequence[object]:
    adapters, services, current = deps.adapters, deps.services, deps.current
    records = Runs(
        adapters.ledger,
        services.refusals,
        adapters.pictures,
        remembered_seconds=lambda: current.policy.refusals_retention_seconds,
    )
    retrying = Retrying(adapters.ledger, services.worker.try_again)
    reconciling = Reconciling(
        ReconcilingDeps(
            ledger=adapters.ledger,
            witnesses=adapters.connections.witnesses,
            try_again=services.worker.try_again,
            waiters=services.waiters,
            current=current,
            clock=deps.clock,
        )
    )
    return (
        ManagedTeams(services.teams, services.policy, services.standings, current, deps.settings),
        TeamKeys(services.teams, services.policy, current, deps.settings),
        UsageReports(adapters.ledger),
        RunPages(records, retrying, services.erasure, flush=services.refusals.flush),
        RefusedOrders(records),
        ReconcilePages(reconciling),
        Changes(adapters.ledger),
        PictureRegister(adapters.ledger, services.erasure),
        UnprovenPages(adapters.pictures),
        CachePages(
            services.erasure,
            adapters.cache,
            size_limit_bytes=deps.settings().cache.size_limit_bytes,
            requests=adapters.metrics.cache_requests,
        ),
        CallbackHistory(adapters.ledger, services.webhooks.redeliver),
        AlertTests(services.webhooks.try_alert),
        SettingsPage(
            settings=deps.settings,
            waiting=deps.waiting,
            notices=lambda: [
                *notices(deps.settings(), datetime.fromtimestamp(deps.clock(), UTC).date(), KINDS),
                *services.policy.notices,
            ],
            reread=deps.reread,
        ),
        ReplicasPage(
            ReplicasDeps(
                known=services.following.known,
                own_id=services.replica_id,
                dead_after_seconds=DEAD_SECONDS,
                chores_here=lambda: services.turn.is_ours,
                clock_offset=deps.clock_offset,
            )
        ),
        HealthPage(
            HealthDeps(
                ledger=adapters.ledger,
                cache=adapters.cache,
                chores=services.maintenance,
                life=deps.life,
                unready=deps.unready,
                route_state=services.worker.route_state,
            )
        ),
    )
