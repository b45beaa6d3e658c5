"""The use cases and what runs in the background, each with what it works with; not started."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from functools import partial

from gateway.adapters.openai_images.delivered import recovered
from gateway.adapters.own_files import SWEEP_SECONDS as SWEEP_FILES_SECONDS
from gateway.adapters.own_files import OwnFiles, OwnFilesDeps
from gateway.background.credit_check import LOOK_SECONDS, CreditWatch
from gateway.background.maintenance import Maintenance
from gateway.background.runs import SWEEP_SECONDS, RunBounds, RunsDeps, Worker
from gateway.background.turn import ChoresTurn
from gateway.background.webhooks import Webhooks, WebhooksDeps
from gateway.config import Settings, digest, managed
from gateway.core.model import Job, Run
from gateway.core.policy import Current
from gateway.ports.clock import Clock
from gateway.ports.files import OWN_STORE, FileStore
from gateway.process.following import Following, FollowingDeps, Own
from gateway.process.picture_locks import PictureLocks
from gateway.process.waiters import SHARED_SILENCE_SECONDS, SILENCE_SECONDS, Waiters
from gateway.services.decisions import Decisions, DecisionsDeps
from gateway.services.erasure import FINISH_SECONDS, Erasure, ErasureDeps
from gateway.services.orders import Orders, OrdersDeps
from gateway.services.policy import PolicyInForce
from gateway.services.references import References
from gateway.services.refusals import Refusals
from gateway.services.standings import Standings
from gateway.services.tasks import Tasks
from gateway.services.teams import Teams
from gateway.services.told_tasks import ToldTasks
from gateway.services.uploads import Uploads
from gateway.web.evolink import wire
from gateway.web.openai.edits import Edits
from gateway.wiring.adapters import Adapters, is_shared
from gateway.wiring.kinds import KINDS


class Services:
    """One of each, in the order in which they need each other."""

    def __init__(
        self, settings: Settings, adapters: Adapters, current: Current, clock: Clock
    ) -> None:
        self._adapters = adapters
        self._current = current
        self._clock = clock
        self.replica_id = f"replica-{secrets.token_hex(6)}"
        self._settings = settings
        self._digest: str | None = None
        ledger, metrics, connections = adapters.ledger, adapters.metrics, adapters.connections
        self.policy = PolicyInForce(
            ledger, current, read=managed.reader(settings, KINDS), installed=metrics.declare
        )
        self.following = following = self._make_following(settings)
        self.teams = Teams(ledger, current, self.policy, following)
        self.standings = Standings(ledger, current)
        self.refusals = Refusals(
            ledger, metrics, clock=clock, prompts=lambda: current.policy.log_prompts
        )
        shared = is_shared(settings)
        self.waiters = Waiters(
            silence_seconds=SHARED_SILENCE_SECONDS if shared else SILENCE_SECONDS
        )
        self.picture_locks = PictureLocks(ledger if shared else None, clock=clock)
        self.erasure = Erasure(
            ErasureDeps(
                ledger=ledger,
                pictures=adapters.pictures,
                cache=adapters.cache,
                picture_locks=self.picture_locks,
                following=following,
                clock=clock,
                current=current,
                spool=adapters.spool,
            )
        )
        self.credit_watch = CreditWatch(
            ledger,
            connections.upstreams,
            adapters.folder / "credits.json",
            clock=clock,
            tell=metrics.credits_compared,
        )
        self.maintenance = self._make_maintenance()
        self.turn = ChoresTurn(
            ledger, self.replica_id, clock=clock, passed_on=self.maintenance.passed_on
        )
        self.webhooks = self._make_webhooks(settings)
        self.worker = self._make_worker(settings)
        self.maintenance.each("spool", SWEEP_SECONDS, self.worker.sweep)
        self.spool_folder = adapters.folder / "forms"
        self.own_files = self._make_own_files()
        self.maintenance.also("own files", SWEEP_FILES_SECONDS, self.own_files.sweep)
        self.references = References(
            ledger, connections.references, proof=adapters.pictures, clock=clock
        )
        self.orders = self._make_orders()
        told = ToldTasks(lambda: adapters.cache.epoch)
        self.tasks = Tasks(ledger, self.waiters, current, told)
        self.uploads = self._make_uploads()
        self.edits = Edits(
            self._make_uploads(),
            proof=adapters.pictures,
            room=self.maintenance,
            folder=self.spool_folder,
            clock=clock,
        )

    def told(self, settings: Settings) -> None:
        """These are in force now."""
        self._settings, self._digest = settings, None
        self._adapters.metrics.settings_in_force(self._settings_digest())

    def _settings_digest(self) -> str:
        if self._digest is None:
            self._digest = digest(self._settings, self._adapters.callback_addresses.key)
        return self._digest

    def _make_following(self, settings: Settings) -> Following:
        """By name a replica is told from others on a page; by id it is one process."""
        name = f"{socket.gethostname()}:{os.getpid()}"
        own = Own(self.replica_id, name, self._settings_digest)
        return Following(
            FollowingDeps(
                ledger=self._adapters.ledger,
                policy=self.policy,
                cache=self._adapters.cache,
                own=own,
                clock=self._clock,
                is_shared=is_shared(settings),
            )
        )

    def _make_uploads(self) -> Uploads:
        """Whoever has one takes turns of its own."""
        return Uploads(
            self._adapters.ledger,
            self._stores,
            current=self._current,
            clock=self._clock,
        )

    def _stores(self) -> Mapping[str, FileStore]:
        return {**self._adapters.connections.stores(), OWN_STORE: self.own_files}

    def _make_own_files(self) -> OwnFiles:
        return OwnFiles(
            OwnFilesDeps(
                ledger=self._adapters.ledger,
                pictures=self._adapters.pictures,
                proof=self._adapters.pictures,
                in_hand=self.picture_locks.of,
                references=self._adapters.connections.references,
                current=self._current,
                clock=self._clock,
                scratch=self.spool_folder,
                fills_disk=self._settings.storage.bucket is None,
            )
        )

    def _make_maintenance(self) -> Maintenance:
        maintenance = Maintenance(
            self._adapters.ledger,
            self._adapters.pictures,
            current=self._current,
            clock=self._clock,
            checked=self._adapters.metrics.ledger_checked,
        )
        maintenance.watch(self._adapters.spool)
        maintenance.each("credits", LOOK_SECONDS, self.credit_watch.look)
        maintenance.also("erasures", FINISH_SECONDS, self.erasure.finish)
        return maintenance

    def _make_webhooks(self, settings: Settings) -> Webhooks:
        deps = WebhooksDeps(
            ledger=self._adapters.ledger,
            observer=self._adapters.metrics,
            current=self._current,
            clock=self._clock,
            render=self._render_task,
        )
        return Webhooks(
            deps,
            self._adapters.connections.callbacks(),
            concurrency=settings.callbacks.concurrency,
            owner=f"{self.replica_id}/callbacks",
            alerts=self._adapters.connections.alerts(),
        )

    def _render_task(self, job: Job, run: Run) -> bytes:
        """What a poll answers."""
        base = self._current.policy.public_url
        return wire.to_json(wire.task_object(job, run, base, self._clock()))

    def _make_worker(self, settings: Settings) -> Worker:
        deps = RunsDeps(
            ledger=self._adapters.ledger,
            upstreams=self._adapters.connections.upstreams,
            links=self._adapters.connections.links,
            pictures=self._adapters.pictures,
            cache=self._adapters.cache,
            waiters=self.waiters,
            observer=self._adapters.metrics,
            current=self._current,
            clock=self._clock,
            nudge_webhooks=self.webhooks.nudge,
            following=self.following,
            recovered=partial(recovered, self._adapters.spool),
            picture_locks=self.picture_locks,
            bounds=self._adapters.connections.bounds,
            spool=self._adapters.spool,
        )
        worker = settings.worker
        longest = max(entry.timeout.download_seconds for entry in settings.upstreams.values())
        bounds = RunBounds(worker.concurrency, worker.downloads, longest)
        return Worker(deps, bounds, owner=f"{self.replica_id}/runs")

    def _make_decisions(self) -> Decisions:
        return Decisions(
            DecisionsDeps(
                ledger=self._adapters.ledger,
                cache=self._adapters.cache,
                pictures=self._adapters.pictures,
                room=self.maintenance,
                observer=self._adapters.metrics,
                current=self._current,
                following=self.following,
            )
        )

    def _make_orders(self) -> Orders:
        return Orders(
            OrdersDeps(
                ledger=self._adapters.ledger,
                decisions=self._make_decisions(),
                tokens=self._adapters.tokens,
                waiters=self.waiters,
                worker=self.worker,
                observer=self._adapters.metrics,
                current=self._current,
                clock=self._clock,
                nudge_webhooks=self.webhooks.nudge,
                references=self.references,
                refusals=self.refusals,
            )
        )
