"""A gateway's life: what is opened in which order, what a reload takes over, how it stops."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from gateway.background.timekeeping import Timekeeper
from gateway.config import (
    Settings,
    SettingsError,
    convert,
    differences,
    managed,
    restart_needed,
)
from gateway.core.picture_errors import PictureProblem
from gateway.core.policy import Current
from gateway.core.teams.changes import Act, Action
from gateway.errors import Unavailable
from gateway.ports.clock import Clock
from gateway.ports.replicas import News
from gateway.process.common_clock import CommonClock
from gateway.process.steady_clock import SteadyClock
from gateway.web.admin.health import Life
from gateway.web.admin.settings import Reloaded
from gateway.web.app import build_app, labels
from gateway.web.spool import make_empty
from gateway.wiring import picture_store, restores
from gateway.wiring.adapters import Adapters, hold_folder, is_shared
from gateway.wiring.connections import Outside
from gateway.wiring.endpoints import EndpointsDeps, make_endpoints
from gateway.wiring.kinds import KINDS
from gateway.wiring.services import Services

log = structlog.get_logger("gateway.wiring")


class Gateway:
    """One gateway process: `app` to serve, `start` and `stop` around it, `reload` meanwhile.

    `adapters` and `services` are what it is made of, where a test may take the place of one.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = time.time,
        callback_tls: ssl.SSLContext | None = None,
        load: Callable[[], Settings] | None = None,
        outside: Outside | None = None,
    ) -> None:
        """`callback_tls` trusts the receivers of callbacks; None trusts what the system does.

        `load` reads the settings' file again; None where they come from none. `outside` stands
        for the machine's resolver and environment.
        """
        self.settings = settings
        self._started_with = settings
        self._port = settings.server.port
        self._clock = clock
        self._load = load
        self._rereading = asyncio.Lock()
        self._life = Life()
        self._folder_lock: int | None = None
        self._leaving: str | None = None
        outside = outside or Outside()
        self._common_clock = CommonClock(SteadyClock(clock))
        self._is_timed = clock is time.time or outside.skewed
        if self._is_timed:
            common = settings.storage.postgres_url is not None
            self._clock = clock = self._common_clock if common else self._common_clock.own
        self._current = Current(convert.policy(settings, port=self._port, kinds=KINDS), clock)
        self.adapters = Adapters(
            settings,
            self._current,
            clock=clock,
            callback_tls=callback_tls,
            outside=outside,
        )
        self.timekeeper = Timekeeper(
            self.adapters.ledger,
            self._common_clock,
            tell=self.adapters.metrics.clock_measured,
            stepped=self._stepped,
        )
        self.services = Services(settings, self.adapters, self._current, clock)
        self.ledger = self.adapters.ledger
        self.credit_watch = self.services.credit_watch
        self.webhooks = self.services.webhooks
        self.worker = self.services.worker
        self.endpoints = make_endpoints(self._endpoints_deps())
        metrics = self.adapters.metrics
        metrics.declare_routes(labels(self.endpoints))
        self.app = build_app(
            self.endpoints,
            current=self._current,
            http_request=metrics.http_request,
            confirmed=self.services.following,
        )

    # --- start and stop ------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the stores, takes up what a former process left, and is ready.

        Raises `Unavailable` when a store cannot be had; then nothing is left open.
        """
        adapters, services, folder = self.adapters, self.services, self.adapters.folder
        try:
            await asyncio.to_thread(folder.mkdir, mode=0o750, parents=True, exist_ok=True)
            await asyncio.to_thread(restores.require_no_backup, folder)
            if is_shared(self.settings):
                self._folder_lock = await asyncio.to_thread(hold_folder, folder)
            await picture_store.require(adapters.unopened, adapters.pictures)
            await adapters.ledger.open()
            if self._is_timed:
                await self.timekeeper.start()
            await adapters.callback_addresses.load(adapters.ledger)
            services.told(self.settings)
            await services.policy.load()
            await picture_store.recognise(adapters.ledger, adapters.pictures)
            await make_empty(services.spool_folder)
            await adapters.spool.open()
            await adapters.cache.open((await adapters.ledger.epochs()).cache)
            await services.following.start()
            await self._load_words(self.settings)
            await services.turn.start()
            await services.maintenance.start(services.turn)
        except OSError as error:
            await self._let_go()
            raise Unavailable(f"The folder {folder} cannot be used: {error}.") from error
        except PictureProblem as problem:
            await self._let_go()
            raise Unavailable(f"The pictures cannot be used: {problem}.") from problem
        except BaseException:
            await self._let_go()
            raise
        adapters.ledger.listen(self._heard)
        services.waiters.start(adapters.ledger.each_run)
        services.worker.run()
        services.webhooks.run()
        services.refusals.run()
        self._tell_proxies()
        self._life.started_at = self._clock()
        self._note_reload(successful=True)

    async def _let_go(self) -> None:
        """Of what a start that failed has begun; what was not begun is no error."""
        await self.services.maintenance.stop()
        await self.services.turn.stop()
        await self.services.following.stop()
        await self.timekeeper.stop()
        await self.ledger.close()
        self._give_folder_back()

    def _give_folder_back(self) -> None:
        if self._folder_lock is not None:
            os.close(self._folder_lock)
            self._folder_lock = None

    def _heard(self, news: News) -> None:
        """What another gateway wrote to the ledger, or this one."""
        self.services.waiters.heard(news)
        if news.due or news.missed:
            self.services.worker.look()
            self.services.webhooks.nudge()

    def _stepped(self) -> None:
        """The clock was set: what was to come at a time comes at another one now."""
        self.services.worker.reconnected()
        self.services.worker.look()
        self.services.webhooks.nudge()

    def bound(self, port: int) -> None:
        """Told which port is really served: it stands in links when no `public_url` is set."""
        self._port = port
        self._install(self.settings)

    def drain(self) -> None:
        """Unready from now on, so that a balancer sends elsewhere; whoever comes is served."""
        self._leaving = "the gateway is draining: it takes orders for a moment, and then stops"

    def stop_taking(self) -> None:
        """New orders are answered 503 from now on; what was taken goes on."""
        self._leaving = "the gateway is stopping"
        self.services.orders.stop_taking()
        self.services.waiters.release()

    def stop_at_once(self) -> None:
        """A stop waits no longer for calls that are the whole work."""
        self.services.worker.stop_at_once()

    async def stop(self, grace_seconds: float) -> None:
        """Ends what is under way, for at most about `grace_seconds`, and closes every store.

        Calls that are the whole work are waited for as long as each may take.
        """
        adapters, services = self.adapters, self.services
        self.stop_taking()
        await services.waiters.stop()
        await asyncio.gather(
            services.worker.stop(grace_seconds), services.webhooks.stop(grace_seconds)
        )
        await services.maintenance.stop()
        await services.turn.stop()
        await self.timekeeper.stop()
        await services.refusals.stop()
        await services.following.stop()
        await adapters.connections.aclose()
        await services.webhooks.callbacks.aclose()
        await services.webhooks.alerts.aclose()
        await adapters.cache.close()
        await adapters.pictures.close()
        await adapters.ledger.close()
        self._give_folder_back()
        adapters.tokens.close()

    # --- new settings --------------------------------------------------------------------------

    def reload(self, settings: Settings) -> Sequence[str]:
        """Takes over what can be changed at run time, all at once.

        Returns the settings that only a restart brings into effect: all in which they differ from
        those that this process was started with, however often they were read meanwhile.
        """
        former = self.settings
        connections, webhooks = self.adapters.connections, self.services.webhooks
        proxies = connections.proxies_told()
        if connections.reload(settings):
            self.services.worker.reconnected()
        self._tell_proxies(known=proxies)
        if (settings.callbacks, settings.alerts) != (former.callbacks, former.alerts):
            connections.retire(webhooks.callbacks, webhooks.alerts)
            webhooks.callbacks = connections.callbacks()
            webhooks.alerts = connections.alerts()
        self._install(settings)
        self._note_reload(successful=True)
        self.settings = settings
        self.services.told(settings)
        return self._waiting()

    def _waiting(self) -> Sequence[str]:
        """The settings that were read and that only a restart brings into effect."""
        return restart_needed(self._started_with, self.settings)

    async def reread(self, act: Act) -> Reloaded | None:
        """Reads the settings' file again and takes it over, or leaves everything as it was.

        None where there is no file. Raises `SettingsError`, and
        `Unavailable` when this act cannot be written down.
        """
        if self._load is None:
            return None
        async with self._rereading:  # a slow reading of the old file must not undo a later one
            try:
                settings = await asyncio.to_thread(self._load)
            except SettingsError:
                self.reload_failed()
                raise
            await self._load_words(settings)
            changed = differences(self.settings, settings)
            before, after = (json.dumps(managed.plain(shown)) for shown in changed)
            await self.services.teams.note(
                act.change(Action.SETTINGS_RELOAD, "settings", before=before, after=after)
            )
            waiting = self.reload(settings)
            return Reloaded([path for path in changed[1] if path not in waiting], waiting)

    async def _load_words(self, settings: Settings) -> None:
        """The tokenizer's, before there is an order to count; 56 MB that only these limits need."""
        limits = (model.limits for model in settings.models.values())
        if any(one.prompt_tokens is not None for one in limits):
            await self.adapters.tokens.load()

    def _tell_proxies(self, *, known: Sequence[str] = ()) -> None:
        """What goes through a proxy, which is no one's first thought when it cannot connect."""
        for sentence in self.adapters.connections.proxies_told():
            if sentence not in known:
                log.info("proxy", said=sentence)

    def reload_failed(self) -> None:
        """The last good settings stay in force; the gauge tells."""
        self._note_reload(successful=False)

    def _install(self, settings: Settings) -> None:
        """Puts a policy in force: the settings' and the teams made at run time."""
        policy = convert.policy(settings, port=self._port, kinds=KINDS)
        self.services.policy.install(policy, managed.reader(settings, KINDS))

    def _note_reload(self, *, successful: bool) -> None:
        self.adapters.metrics.reloaded(successful=successful, at=self._clock())
        self._life.successful = successful
        if successful:
            self._life.reloaded_at = self._clock()

    # --- what the pages ask --------------------------------------------------------------------

    def _endpoints_deps(self) -> EndpointsDeps:
        return EndpointsDeps(
            adapters=self.adapters,
            services=self.services,
            current=self._current,
            clock=self._clock,
            life=self._life,
            settings=lambda: self.settings,
            waiting=self._waiting,
            reread=self.reread,
            unready=self._unready,
            clock_offset=lambda: self._common_clock.offset_seconds,
            unready_here=self._unready_here,
        )

    async def _unready(self) -> Sequence[str]:
        """Why no order can be taken now."""
        reasons = [*self._own_reasons()]
        problem = await self.adapters.pictures.problem()
        if problem is not None:
            reasons.append(problem)
        elif (lack := self.services.maintenance.lack()) is not None:
            reasons.append(lack)
        try:
            await self.ledger.next_due()
            await self.services.following.try_to_confirm()
            self.services.following.require_fresh()
        except Unavailable as error:
            reasons.append(error.message)
        return reasons

    def _own_reasons(self) -> Iterator[str]:
        if self._leaving:
            yield self._leaving
        if problem := self.timekeeper.problem():
            yield problem

    def _unready_here(self) -> Sequence[str]:
        """Why another replica should be asked: nothing that is wrong with all of them at once."""
        reasons = [*self._own_reasons()]
        lack = self.services.maintenance.lack()
        return reasons if lack is None else [*reasons, lack]
