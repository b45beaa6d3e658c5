"""Settings → a running gateway: the only module that imports adapters.

Building does no I/O; `start` opens the stores in the order that recovery needs, `stop` lets go
in the opposite order.
"""

from __future__ import annotations

import asyncio
import gc
import json
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx2 as httpx

from gateway.cache import response_cache
from gateway.callbacks import AlertSender, CallbackSender
from gateway.config import Settings, SettingsError, convert, managed, restart_needed
from gateway.config.schema import UpstreamEntry
from gateway.core import hints
from gateway.core.enrolment import Action
from gateway.core.model import Job, Run
from gateway.core.policy import Current
from gateway.courier import Courier, Desk
from gateway.credits import LOOK_SECONDS, CreditWatch
from gateway.custody import Custody
from gateway.erasure import FINISH_SECONDS, Erasure, Stores
from gateway.errors import Unavailable
from gateway.files import Files
from gateway.housekeeping import Housekeeper
from gateway.ledger.memory import MemoryLedger
from gateway.ledger.sqlite import SqliteLedger
from gateway.metrics import Metrics
from gateway.outbound import Fetcher, pinned_client
from gateway.pictures.folder import FolderPictures
from gateway.ports import Callbacks, Clock, Ledger
from gateway.records import Records
from gateway.references import References
from gateway.refusals import Refusals
from gateway.roster import Roster
from gateway.service import Parts, Service
from gateway.tasks import Tasks
from gateway.tokens import TokenCounter
from gateway.upstream.client import Account, EvolinkClient, Timeouts
from gateway.upstream.files import EvolinkFiles
from gateway.waiting import Board
from gateway.web import wire
from gateway.web.admin.cache import CachePages
from gateway.web.admin.callbacks import CallbackHistory
from gateway.web.admin.changes import Changes
from gateway.web.admin.health import Health, Life, Watch
from gateway.web.admin.keys import TeamKeys
from gateway.web.admin.pictures import PictureRegister
from gateway.web.admin.refusals import RefusedOrders
from gateway.web.admin.runs import Runs
from gateway.web.admin.settings import SettingsPage
from gateway.web.admin.teams import Teams
from gateway.web.admin.usage import UsageReports
from gateway.web.app import Endpoints, Section, build_app
from gateway.web.base64_file import Base64Files
from gateway.web.console import Console
from gateway.web.enquiries import Enquiries
from gateway.web.files import FilesApi
from gateway.web.gallery import Gallery
from gateway.web.hints import Hints
from gateway.web.images import Images
from gateway.web.openai import OpenAI
from gateway.web.openai_edits import Edits
from gateway.web.openapi.pages import Described
from gateway.web.operations import Operations
from gateway.web.pictures import KeptPictures
from gateway.web.tasks import TaskLists
from gateway.web.team import TeamPages
from gateway.worker import Bounds, Tools, Worker

LEDGER_NAME = "ledger.sqlite3"


class Gateway:
    """One gateway process: `app` to serve, `start` and `stop` around it, `reload` meanwhile."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = time.time,
        callback_tls: ssl.SSLContext | None = None,
        load: Callable[[], Settings] | None = None,
    ) -> None:
        """`callback_tls` trusts the receivers of callbacks; None trusts what the system does.

        `load` reads the settings' file again; None where they come from none.
        """
        self.settings = settings
        self._port = settings.server.port
        self._clock = clock
        self._folder = Path(settings.storage.data_dir)
        self._current = Current(convert.policy(settings, port=self._port), clock)
        self.ledger = make_ledger(settings, clock)
        self._cache = response_cache(
            self._folder / "cache", size_limit_bytes=settings.cache.size_limit_bytes
        )
        self._pictures = FolderPictures(self._folder / "pictures")
        self._tokens = TokenCounter()
        self._tls = httpx.create_ssl_context()  # one for all: reading the trust store is slow
        self._upstreams: dict[str, EvolinkClient] = {}
        self._links: dict[str, Fetcher] = {}
        self._files: dict[str, EvolinkFiles] = {}
        self._retired: list[EvolinkClient | EvolinkFiles | Fetcher | Callbacks] = []
        self._connect(settings.upstreams)
        self._metrics = Metrics(
            ledger=self.ledger, pictures=self._pictures, cache=self._cache, current=self._current
        )
        self._roster = Roster(
            self.ledger,
            self._current,
            clock=clock,
            read=managed.reader(settings),
            installed=self._metrics.declare,
        )
        self._load = load
        self._rereading = asyncio.Lock()
        self._life = Life()
        self._housekeeper = Housekeeper(
            self.ledger,
            self._pictures,
            current=self._current,
            clock=clock,
            checked=self._metrics.ledger_checked,
        )
        self.credit_watch = CreditWatch(
            self.ledger,
            self._upstreams,
            self._folder / "credits.json",
            clock=clock,
            tell=self._metrics.credits_compared,
        )
        self._housekeeper.also("credits", LOOK_SECONDS, self.credit_watch.look)
        self._custody = Custody()
        self._erasure = Erasure(
            Stores(self.ledger, self._pictures, self._cache), self._custody, clock=clock
        )
        self._housekeeper.also("erasures", FINISH_SECONDS, self._erasure.finish)
        self._refusals = Refusals(self.ledger, self._metrics, clock=clock)
        self._board = board = Board()
        self._callback_tls = callback_tls or self._tls
        self.courier = self._make_courier()
        self.worker = self._make_worker(board)
        self._references = References(
            self.ledger, self._first_links, proof=self._pictures, clock=clock
        )
        self._service = self._make_service(board)
        self._tasks = Tasks(self.ledger, board, self._current)
        self._edits = Edits(
            self._make_files(),
            proof=self._pictures,
            room=self._housekeeper,
            folder=self._folder / "forms",
            clock=clock,
        )
        self.endpoints = self._make_endpoints()
        self.app = build_app(
            self.endpoints, observer=self._metrics, http_request=self._metrics.http_request
        )
        self._hint_key = b""
        self._stopping = False

    # --- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the stores, takes up what a former process left, and is ready.

        Raises `Unavailable` when a store cannot be had; then nothing is left open.
        """
        try:
            await asyncio.to_thread(self._folder.mkdir, mode=0o750, parents=True, exist_ok=True)
            self._hint_key = await asyncio.to_thread(_kept_key, self._folder / "callback.key")
            await self.ledger.open()
            await self._roster.load()
            await self._pictures.open()
            await self._edits.open()
            await self._cache.open()
            await self._tokens.load()
            await self._housekeeper.start()
        except OSError as error:
            await self.ledger.close()
            raise Unavailable(f"The folder {self._folder} cannot be used: {error}.") from error
        except BaseException:
            await self.ledger.close()
            raise
        gc.freeze()  # a full collection over the tokenizer's vocabulary holds the loop for 60 ms
        self._board.start(self._tasks.run_now)
        self.worker.run()
        self.courier.run()
        self._refusals.run()
        self._life.started_at = self._clock()
        self._note_reload(successful=True)

    def bound(self, port: int) -> None:
        """Told which port is really served: it stands in links when no `public_url` is set."""
        self._port = port
        self._install(self.settings)

    def stop_taking(self) -> None:
        """New orders are answered 503 from now on; what was taken goes on."""
        self._stopping = True
        self._service.stop_taking()
        self._board.release()

    async def stop(self, grace_seconds: float) -> None:
        """Ends what is under way, for at most about `grace_seconds`, and closes every store."""
        self.stop_taking()
        await self._board.stop()
        await asyncio.gather(self.worker.stop(grace_seconds), self.courier.stop(grace_seconds))
        await self._housekeeper.stop()
        await self._refusals.stop()
        for client in (
            *self._upstreams.values(),
            *self._links.values(),
            *self._files.values(),
            *self._retired,
        ):
            await client.aclose()
        await self.courier.callbacks.aclose()
        await self.courier.alerts.aclose()
        await self._cache.close()
        await self._pictures.close()
        await self.ledger.close()
        self._tokens.close()

    def reload(self, settings: Settings) -> Sequence[str]:
        """Takes over what can be changed at run time, all at once.

        Returns the changed settings that only a restart brings into effect.
        """
        waiting = restart_needed(self.settings, settings)
        old = self.settings.upstreams
        changed = {n: e for n, e in settings.upstreams.items() if old.get(n) != e}
        if changed:
            self._connect(changed)
            self.worker.reconnected()
        if (settings.callbacks, settings.alerts) != (self.settings.callbacks, self.settings.alerts):
            self._retired += [self.courier.callbacks, self.courier.alerts]
            self.courier.callbacks = self._make_sender(settings)
            self.courier.alerts = self._make_sender(settings, alerts=True)
        self._install(settings)
        self._note_reload(successful=True)
        self.settings = settings
        return waiting

    def _install(self, settings: Settings) -> None:
        """Puts a policy in force: the settings' and the teams made at run time."""
        policy = convert.policy(settings, port=self._port)
        self._roster.install(policy, managed.reader(settings))

    async def reread(self, actor: str | None = None) -> Sequence[str] | None:
        """Reads the settings' file again and takes it over, or leaves everything as it was.

        Returns what `reload` does; None where there is no file. Raises `SettingsError`. An
        `actor` is an operator, whose act is written down.
        """
        if self._load is None:
            return None
        async with self._rereading:  # a slow reading of the old file must not undo a later one
            try:
                settings = await asyncio.to_thread(self._load)
            except SettingsError:
                self.reload_failed()
                raise
            if actor is not None:
                waiting = {"restart_needed": restart_needed(self.settings, settings)}
                await self._roster.note(
                    Action.SETTINGS_RELOAD, "settings", after=json.dumps(waiting), actor=actor
                )
            return self.reload(settings)

    def _note_reload(self, *, successful: bool) -> None:
        self._metrics.reloaded(successful=successful, at=self._clock())
        self._life.successful = successful
        if successful:
            self._life.reloaded_at = self._clock()

    def _connect(self, upstreams: Mapping[str, UpstreamEntry]) -> None:
        """Makes clients for these. Former ones end their calls and are closed at the stop; one
        that the settings no longer name stays, for the runs that are with it."""
        for name, entry in upstreams.items():
            if name in self._upstreams:
                self._retired += [self._upstreams[name], self._links[name]]
            calls = self._hint_url if entry.callbacks else None
            self._upstreams[name] = _make_client(entry, self._tls, calls)
            self._links[name] = _make_fetcher(entry, self._tls)
            if name in self._files:
                self._retired.append(self._files.pop(name))
            if entry.files_url is not None:
                self._files[name] = _make_file_store(entry, entry.files_url, self._tls)

    def reload_failed(self) -> None:
        """The last good settings stay in force; the gauge tells."""
        self._note_reload(successful=False)

    async def _unready(self) -> Sequence[str]:
        """Why no order can be taken now."""
        reasons = ["the gateway is stopping"] if self._stopping else []
        if not self._housekeeper.enough():
            reasons.append("free disk space is below storage.free_space_floor")
        try:
            await self.ledger.next_due(self._clock())
        except Unavailable as error:
            reasons.append(error.message)
        return reasons

    # --- parts ---------------------------------------------------------------------------------

    def _make_worker(self, board: Board) -> Worker:
        tools = Tools(
            ledger=self.ledger,
            upstreams=self._upstreams,
            links=self._links,
            pictures=self._pictures,
            cache=self._cache,
            board=board,
            observer=self._metrics,
            current=self._current,
            clock=self._clock,
            nudge_courier=self.courier.nudge,
            custody=self._custody,
        )
        worker = self.settings.worker
        longest = [e.timeout.download_seconds for e in self.settings.upstreams.values()]
        bounds = Bounds(worker.concurrency, worker.downloads, max(longest, default=120.0))
        return Worker(tools, bounds, owner=f"gateway-{secrets.token_hex(6)}")

    def _make_service(self, board: Board) -> Service:
        return Service(
            Parts(
                ledger=self.ledger,
                cache=self._cache,
                pictures=self._pictures,
                tokens=self._tokens,
                board=board,
                worker=self.worker,
                room=self._housekeeper,
                observer=self._metrics,
                current=self._current,
                clock=self._clock,
                nudge_courier=self.courier.nudge,
                references=self._references,
                refusals=self._refusals,
            )
        )

    def _make_courier(self) -> Courier:
        desk = Desk(
            ledger=self.ledger,
            observer=self._metrics,
            current=self._current,
            clock=self._clock,
            render=self._render_task,
        )
        return Courier(
            desk,
            self._make_sender(self.settings),
            concurrency=self.settings.callbacks.concurrency,
            owner=f"courier-{secrets.token_hex(6)}",
            alerts=self._make_sender(self.settings, alerts=True),
        )

    def _make_sender(self, settings: Settings, *, alerts: bool = False) -> CallbackSender:
        entry = settings.alerts if alerts else settings.callbacks
        timeout_seconds = settings.callbacks.timeout_seconds
        client = pinned_client(
            timeout=httpx.Timeout(timeout_seconds),
            allow_private=entry.allow_private_addresses,
            verify=self._callback_tls,
            max_connections=settings.callbacks.concurrency,
        )
        secret = entry.signing_secret
        sender = AlertSender if alerts else CallbackSender
        return sender(
            client,
            clock=self._clock,
            timeout_seconds=timeout_seconds,
            signing_secret=None if secret is None else secret.get_secret_value(),
            allow_private=entry.allow_private_addresses,
        )

    def _hint_url(self, run: Run) -> str:
        """Where upstream calls about this run."""
        return f"{self._current.policy.public_url}/callbacks/{hints.token(self._hint_key, run.id)}"

    async def _take_hint(self, token: str) -> bool:
        run_id = hints.run_of(self._hint_key, token)
        if run_id is not None:
            await self.worker.hint(run_id)
        return run_id is not None

    def _render_task(self, job: Job, run: Run) -> bytes:
        """What a poll answers."""
        return wire.to_json(wire.task_object(job, run, self._current.policy.public_url))

    def _make_files(self) -> Files:
        return Files(self.ledger, self._stores, current=self._current, clock=self._clock)

    def _stores(self) -> Mapping[str, EvolinkFiles]:
        """The file stores of the settings, in their order."""
        return {name: self._files[name] for name in self.settings.upstreams if name in self._files}

    def _first_links(self) -> Fetcher:
        """References are fetched under the rules of the first upstream."""
        return self._links[next(iter(self.settings.upstreams))]

    def _sections(self) -> Sequence[Section]:
        """The operator's and the team's pages."""
        console = Console()
        records = Records(self.ledger, self._refusals)
        return (
            console,
            Described(console, self._current),
            UsageReports(self.ledger, self._current, self._clock),
            Runs(records, self._current),
            RefusedOrders(records, self._current),
            TeamPages(self.ledger, self._current, self._clock),
            Gallery(self.ledger, self._current),
            *self._admin(),
        )

    def _admin(self) -> Sequence[Section]:
        """The operator's API."""
        parts = (self._roster, self._current, lambda: self.settings, self._clock)
        watch = Watch(
            ledger=self.ledger,
            cache=self._cache,
            current=self._current,
            clock=self._clock,
            chores=self._housekeeper,
            life=self._life,
            unready=self._unready,
            route_state=self.worker.route_state,
        )
        settings = SettingsPage(
            self._current,
            settings=lambda: self.settings,
            notices=lambda: [*self.settings.notices(), *self._roster.notices],
            reread=self.reread,
        )
        audit = Changes(self.ledger, self._current)
        return (
            Teams(*parts),
            TeamKeys(*parts),
            audit,
            settings,
            Health(watch),
            PictureRegister(self._erasure, self._current, self._clock),
            CachePages(
                self._erasure,
                self._current,
                self._clock,
                size_limit_bytes=self.settings.cache.size_limit_bytes,
                requests=self._metrics.cache_requests,
            ),
            CallbackHistory(self.ledger, self.courier.redeliver, self._current, self._clock),
        )

    def _make_endpoints(self) -> Endpoints:
        return Endpoints(
            images=Images(self._service, self._tasks, self._current, self._clock),
            files=FilesApi(self._make_files(), Base64Files(self._folder), self._current),
            tasks=TaskLists(self._tasks, self._current),
            enquiries=Enquiries(self._service, self._current),
            openai=OpenAI(
                self._service,
                self._tasks,
                self._current,
                edits=self._edits,
                locate=self._pictures.path,
            ),
            pictures=KeptPictures(self._pictures.path),
            operations=Operations(
                self._current, unready=self._unready, render=self._metrics.render
            ),
            hints=Hints(self._take_hint),
            sections=self._sections(),
        )


def make_ledger(settings: Settings, clock: Clock = time.time, *, read_only: bool = False) -> Ledger:
    """The ledger the settings name; `read_only` reads one that a running gateway holds."""
    if settings.storage.ledger == "memory":
        return MemoryLedger(clock=clock)
    path = Path(settings.storage.data_dir) / LEDGER_NAME
    return SqliteLedger(path, clock=clock, read_only=read_only)


def _kept_key(path: Path) -> bytes:
    """The secret of this installation behind upstream's callbacks; made at the first start."""
    if not path.exists():
        made = path.with_suffix(".new")
        made.unlink(missing_ok=True)
        made.touch(mode=0o600)
        made.write_bytes(secrets.token_bytes(hints.KEY_BYTES))
        made.replace(path)
    return path.read_bytes()


def _make_client(
    entry: UpstreamEntry, tls: ssl.SSLContext, callback_url: Callable[[Run], str] | None
) -> EvolinkClient:
    account = Account(
        base_url=entry.base_url,
        api_key=entry.api_key.get_secret_value(),
        user_agent=entry.user_agent,
        max_connections=entry.max_connections,
    )
    timeout = entry.timeout
    return EvolinkClient(
        account,
        Timeouts(timeout.connect_seconds, timeout.submit_seconds, timeout.poll_seconds),
        tls=tls,
        callback_url=callback_url,
    )


def _make_file_store(entry: UpstreamEntry, files_url: str, tls: ssl.SSLContext) -> EvolinkFiles:
    account = Account(files_url, entry.api_key.get_secret_value(), entry.user_agent)
    return EvolinkFiles(account, connect_seconds=entry.timeout.connect_seconds, tls=tls)


def _make_fetcher(entry: UpstreamEntry, tls: ssl.SSLContext) -> Fetcher:
    return Fetcher(
        allow_private=entry.allow_private_addresses,
        verify=tls,
        connect_seconds=entry.timeout.connect_seconds,
    )
