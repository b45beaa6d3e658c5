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


def make_endpoints(house: EndpointsDeps) -> Endpoints:
    adapters, services, current, clock = house.adapters, house.services, house.current, house.clock
    bodies = Bodies()
    return Endpoints(
        images=Images(services.service, services.tasks, current, bodies, clock),
        files=FilesApi(services.make_files(), Base64Files(services.spool_folder, bodies), current),
        tasks=TaskLists(services.tasks, current, bodies),
        enquiries=AccountPages(services.service, current, bodies),
        openai=OpenAI(
            services.service,
            services.tasks,
            current,
            Readers(bodies, services.edits),
            locate=adapters.pictures.path,
        ),
        pictures=KeptPictures(adapters.pictures.path, adapters.pictures.require),
        operations=Operations(current, unready=house.unready, render=adapters.metrics.render),
        hints=Hints(services.take_hint),
        sections=(*_for_all(house), *_for_operators(house)),
    )


def _for_all(house: EndpointsDeps) -> Sequence[Section]:
    """The console, the description, and the pages that operators and teams both have."""
    ledger, current, clock = house.adapters.ledger, house.current, house.clock
    console = Console()
    records = Runs(ledger, house.services.refusals, house.adapters.pictures)
    retrying = Retrying(ledger, house.services.worker.try_again)
    return (
        console,
        Described(console, current),
        UsageReports(ledger, current, clock),
        RunPages(records, retrying, current, clock),
        RefusedOrders(records, current),
        TeamPages(ledger, current, clock),
        Gallery(ledger, current),
    )


def _for_operators(house: EndpointsDeps) -> Sequence[Section]:
    adapters, services, current, clock = house.adapters, house.services, house.current, house.clock
    return (
        ManagedTeams(services.roster, current, house.settings, clock),
        TeamKeys(services.roster, current, house.settings, clock),
        Changes(adapters.ledger, current),
        SettingsPage(
            current,
            settings=house.settings,
            notices=lambda: [*notices(house.settings()), *services.roster.notices],
            reread=house.reread,
        ),
        HealthPage(
            HealthDeps(
                ledger=adapters.ledger,
                cache=adapters.cache,
                current=current,
                clock=clock,
                chores=services.maintenance,
                life=house.life,
                unready=house.unready,
                route_state=services.worker.route_state,
            )
        ),
        PictureRegister(services.erasure, current, clock),
        RunErasure(services.erasure, current, clock, flush=services.refusals.flush),
        UnprovenPages(adapters.pictures, current),
        CachePages(
            services.erasure,
            current,
            clock,
            size_limit_bytes=house.settings().cache.size_limit_bytes,
            requests=adapters.metrics.cache_requests,
        ),
        CallbackHistory(adapters.ledger, services.webhooks.redeliver, current, clock),
    )
