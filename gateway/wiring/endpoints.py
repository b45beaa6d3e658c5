"""What is served: every door and every page, each with what it needs, as one expression."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.config import Settings
from gateway.config.notices import notices
from gateway.core.policy import Current
from gateway.ports.clock import Clock
from gateway.services.retries import Retrying
from gateway.services.runs import Runs
from gateway.web.admin.cache import CachePages
from gateway.web.admin.callbacks import CallbackHistory
from gateway.web.admin.changes import Changes
from gateway.web.admin.health import HealthDeps, HealthPage, Life
from gateway.web.admin.keys import TeamKeys
from gateway.web.admin.pictures import PictureRegister
from gateway.web.admin.refusals import RefusedOrders
from gateway.web.admin.runs import RunErasure, RunPages
from gateway.web.admin.settings import Reread, SettingsPage
from gateway.web.admin.teams import ManagedTeams
from gateway.web.admin.unproven import UnprovenPages
from gateway.web.admin.usage import UsageReports
from gateway.web.app import Endpoints, Section
from gateway.web.body import Bodies
from gateway.web.console_files import Console
from gateway.web.evolink.account import AccountPages
from gateway.web.evolink.base64_file import Base64Files
from gateway.web.evolink.files import FilesApi
from gateway.web.evolink.images import Images
from gateway.web.evolink.tasks import TaskLists
from gateway.web.monitoring import Operations
from gateway.web.openai.endpoints import OpenAI, Readers
from gateway.web.openapi.pages import Described
from gateway.web.pictures import KeptPictures
from gateway.web.team.pictures import Gallery
from gateway.web.team.summary import TeamPages
from gateway.web.upstream_callbacks import Hints
from gateway.wiring.adapters import Adapters
from gateway.wiring.services import Services


@dataclass(frozen=True, slots=True)
class EndpointsDeps:
    """What the pages show and ask: the parts, and the gateway's own life.

    `settings` gives those in force, `reread` reads them again, `unready` says why no order can
    be taken now.
    """

    adapters: Adapters
    services: Services
    current: Current
    clock: Clock
    life: Life
    settings: Callable[[], Settings]
    reread: Reread
    unready: Callable[[], Awaitable[Sequence[str]]]


def make_endpoints(deps: EndpointsDeps) -> Endpoints:
    adapters, services, current, clock = deps.adapters, deps.services, deps.current, deps.clock
    bodies = Bodies()
    return Endpoints(
        images=Images(services.orders, services.tasks, current, bodies, clock),
        files=FilesApi(services.uploads, Base64Files(services.spool_folder, bodies), current),
        tasks=TaskLists(services.tasks, current, bodies),
        enquiries=AccountPages(services.orders, services.standings, current, bodies),
        openai=OpenAI(
            services.orders,
            services.tasks,
            current,
            Readers(bodies, services.edits),
            locate=adapters.pictures.path,
        ),
        pictures=KeptPictures(adapters.pictures.path, adapters.pictures.require),
        operations=Operations(current, unready=deps.unready, render=adapters.metrics.render),
        hints=Hints(adapters.callback_addresses.run_of, services.worker.hint),
        sections=(*_for_all(deps), *_for_operators(deps)),
    )


def _for_all(deps: EndpointsDeps) -> Sequence[Section]:
    """The console, the description, and the pages that operators and teams both have."""
    ledger, current = deps.adapters.ledger, deps.current
    console = Console()
    records = Runs(ledger, deps.services.refusals, deps.adapters.pictures)
    retrying = Retrying(ledger, deps.services.worker.try_again)
    return (
        console,
        Described(console, current),
        UsageReports(ledger, current),
        RunPages(records, retrying, current),
        RefusedOrders(records, current),
        TeamPages(ledger, deps.services.standings, current),
        Gallery(ledger, current),
    )


def _for_operators(deps: EndpointsDeps) -> Sequence[Section]:
    adapters, services, current, clock = deps.adapters, deps.services, deps.current, deps.clock
    return (
        ManagedTeams(services.teams, services.policy, services.standings, current, deps.settings),
        TeamKeys(services.teams, services.policy, current, deps.settings),
        Changes(adapters.ledger, current),
        SettingsPage(
            current,
            settings=deps.settings,
            notices=lambda: [*notices(deps.settings()), *services.policy.notices],
            reread=deps.reread,
        ),
        HealthPage(
            HealthDeps(
                ledger=adapters.ledger,
                cache=adapters.cache,
                current=current,
                clock=clock,
                chores=services.maintenance,
                life=deps.life,
                unready=deps.unready,
                route_state=services.worker.route_state,
            )
        ),
        PictureRegister(adapters.ledger, services.erasure, current),
        RunErasure(services.erasure, current, flush=services.refusals.flush),
        UnprovenPages(adapters.pictures, current),
        CachePages(
            services.erasure,
            adapters.cache,
            current,
            size_limit_bytes=deps.settings().cache.size_limit_bytes,
            requests=adapters.metrics.cache_requests,
        ),
        CallbackHistory(adapters.ledger, services.webhooks.redeliver, current),
    )
