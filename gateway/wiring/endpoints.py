"""What is served: every door and every page, each with what it needs, as one expression."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.config import Settings
from gateway.config.notices import notices
from gateway.core.policy import Current
from gateway.ports.clock import Clock
from gateway.services.retries import Retrying
from gateway.services.runs import Records
from gateway.web.admin.cache import CachePages
from gateway.web.admin.callbacks import CallbackHistory
from gateway.web.admin.changes import Changes
from gateway.web.admin.health import Health, Life, Watch
from gateway.web.admin.keys import TeamKeys
from gateway.web.admin.pictures import PictureRegister
from gateway.web.admin.refusals import RefusedOrders
from gateway.web.admin.runs import RunErasure, Runs
from gateway.web.admin.settings import Reread, SettingsPage
from gateway.web.admin.teams import Teams
from gateway.web.admin.unproven import UnprovenPages
from gateway.web.admin.usage import UsageReports
from gateway.web.app import Endpoints, Section
from gateway.web.body import Bodies
from gateway.web.console_files import Console
from gateway.web.evolink.account import Enquiries
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
from gateway.wiring.services import Stages


@dataclass(frozen=True, slots=True)
class House:
    """What the pages show and ask: the parts, and the gateway's own life.

    `settings` gives those in force, `reread` reads them again, `unready` says why no order can
    be taken now.
    """

    adapters: Adapters
    stages: Stages
    current: Current
    clock: Clock
    life: Life
    settings: Callable[[], Settings]
    reread: Reread
    unready: Callable[[], Awaitable[Sequence[str]]]


def make_endpoints(house: House) -> Endpoints:
    adapters, stages, current, clock = house.adapters, house.stages, house.current, house.clock
    bodies = Bodies()
    return Endpoints(
        images=Images(stages.service, stages.tasks, current, bodies, clock),
        files=FilesApi(stages.make_files(), Base64Files(adapters.folder), current),
        tasks=TaskLists(stages.tasks, current, bodies),
        enquiries=Enquiries(stages.service, current, bodies),
        openai=OpenAI(
            stages.service,
            stages.tasks,
            current,
            Readers(bodies, stages.edits),
            locate=adapters.pictures.path,
        ),
        pictures=KeptPictures(adapters.pictures.path, adapters.pictures.require),
        operations=Operations(current, unready=house.unready, render=adapters.metrics.render),
        hints=Hints(stages.take_hint),
        sections=(*_for_all(house), *_for_operators(house)),
    )


def _for_all(house: House) -> Sequence[Section]:
    """The console, the description, and the pages that operators and teams both have."""
    ledger, current, clock = house.adapters.ledger, house.current, house.clock
    console = Console()
    records = Records(ledger, house.stages.refusals, house.adapters.pictures)
    retrying = Retrying(ledger, house.stages.worker.try_again)
    return (
        console,
        Described(console, current),
        UsageReports(ledger, current, clock),
        Runs(records, retrying, current, clock),
        RefusedOrders(records, current),
        TeamPages(ledger, current, clock),
        Gallery(ledger, current),
    )


def _for_operators(house: House) -> Sequence[Section]:
    adapters, stages, current, clock = house.adapters, house.stages, house.current, house.clock
    return (
        Teams(stages.roster, current, house.settings, clock),
        TeamKeys(stages.roster, current, house.settings, clock),
        Changes(adapters.ledger, current),
        SettingsPage(
            current,
            settings=house.settings,
            notices=lambda: [*notices(house.settings()), *stages.roster.notices],
            reread=house.reread,
        ),
        Health(
            Watch(
                ledger=adapters.ledger,
                cache=adapters.cache,
                current=current,
                clock=clock,
                chores=stages.housekeeper,
                life=house.life,
                unready=house.unready,
                route_state=stages.worker.route_state,
            )
        ),
        PictureRegister(stages.erasure, current, clock),
        RunErasure(stages.erasure, current, clock, flush=stages.refusals.flush),
        UnprovenPages(adapters.pictures, current),
        CachePages(
            stages.erasure,
            current,
            clock,
            size_limit_bytes=house.settings().cache.size_limit_bytes,
            requests=adapters.metrics.cache_requests,
        ),
        CallbackHistory(adapters.ledger, stages.courier.redeliver, current, clock),
    )
