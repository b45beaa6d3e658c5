"""The stories and the drivers, each with exactly what it works with; built and not started."""

from __future__ import annotations

import secrets

from gateway.background.credit_check import LOOK_SECONDS, CreditWatch
from gateway.background.maintenance import Housekeeper
from gateway.background.runs import Bounds, Tools, Worker
from gateway.background.webhooks import Courier, Desk
from gateway.config import Settings, managed
from gateway.core.model import Job, Run
from gateway.core.policy import Current
from gateway.ports.clock import Clock
from gateway.process.picture_locks import Custody
from gateway.process.waiters import Board
from gateway.services.erasure import FINISH_SECONDS, Erasure, Stores
from gateway.services.orders import Parts, Service
from gateway.services.references import References
from gateway.services.refusals import Refusals
from gateway.services.tasks import Tasks
from gateway.services.teams import Roster
from gateway.services.uploads import Files
from gateway.web.evolink import wire
from gateway.web.openai.edits import Edits
from gateway.wiring.adapters import Adapters


class Stages:
    """One of each, in the order in which they need each other."""

    def __init__(
        self, settings: Settings, adapters: Adapters, current: Current, clock: Clock
    ) -> None:
        self._adapters = adapters
        self._current = current
        self._clock = clock
        ledger, metrics, connections = adapters.ledger, adapters.metrics, adapters.connections
        self.roster = Roster(
            ledger,
            current,
            clock=clock,
            read=managed.reader(settings),
            installed=metrics.declare,
        )
        self.refusals = Refusals(ledger, metrics, clock=clock)
        self.board = Board()
        self.custody = Custody()
        self.erasure = Erasure(
            Stores(ledger, adapters.pictures, adapters.cache), self.custody, clock=clock
        )
        self.credit_watch = CreditWatch(
            ledger,
            connections.upstreams,
            adapters.folder / "credits.json",
            clock=clock,
            tell=metrics.credits_compared,
        )
        self.housekeeper = self._make_housekeeper()
        self.courier = self._make_courier(settings)
        self.worker = self._make_worker(settings)
        self.references = References(
            ledger, connections.references, proof=adapters.pictures, clock=clock
        )
        self.service = self._make_service()
        self.tasks = Tasks(ledger, self.board, current)
        self.edits = Edits(
            self.make_files(),
            proof=adapters.pictures,
            room=self.housekeeper,
            folder=adapters.folder / "forms",
            clock=clock,
        )

    def make_files(self) -> Files:
        """The story of an upload; whoever has one takes turns of its own."""
        return Files(
            self._adapters.ledger,
            self._adapters.connections.stores,
            current=self._current,
            clock=self._clock,
        )

    async def take_hint(self, token: str) -> bool:
        """Upstream has called; False when the address is not ours. Raises `Unavailable`."""
        run_id = self._adapters.hints.run_of(token)
        if run_id is not None:
            await self.worker.hint(run_id)
        return run_id is not None

    def _make_housekeeper(self) -> Housekeeper:
        housekeeper = Housekeeper(
            self._adapters.ledger,
            self._adapters.pictures,
            current=self._current,
            clock=self._clock,
            checked=self._adapters.metrics.ledger_checked,
        )
        housekeeper.also("credits", LOOK_SECONDS, self.credit_watch.look)
        housekeeper.also("erasures", FINISH_SECONDS, self.erasure.finish)
        return housekeeper

    def _make_courier(self, settings: Settings) -> Courier:
        desk = Desk(
            ledger=self._adapters.ledger,
            observer=self._adapters.metrics,
            current=self._current,
            clock=self._clock,
            render=self._render_task,
        )
        return Courier(
            desk,
            self._adapters.connections.callbacks(),
            concurrency=settings.callbacks.concurrency,
            owner=f"courier-{secrets.token_hex(6)}",
            alerts=self._adapters.connections.alerts(),
        )

    def _render_task(self, job: Job, run: Run) -> bytes:
        """What a poll answers."""
        return wire.to_json(wire.task_object(job, run, self._current.policy.public_url))

    def _make_worker(self, settings: Settings) -> Worker:
        tools = Tools(
            ledger=self._adapters.ledger,
            upstreams=self._adapters.connections.upstreams,
            links=self._adapters.connections.links,
            pictures=self._adapters.pictures,
            cache=self._adapters.cache,
            board=self.board,
            observer=self._adapters.metrics,
            current=self._current,
            clock=self._clock,
            nudge_courier=self.courier.nudge,
            custody=self.custody,
        )
        worker = settings.worker
        longest = [e.timeout.download_seconds for e in settings.upstreams.values()]
        bounds = Bounds(worker.concurrency, worker.downloads, max(longest, default=120.0))
        return Worker(tools, bounds, owner=f"gateway-{secrets.token_hex(6)}")

    def _make_service(self) -> Service:
        return Service(
            Parts(
                ledger=self._adapters.ledger,
                cache=self._adapters.cache,
                pictures=self._adapters.pictures,
                tokens=self._adapters.tokens,
                board=self.board,
                worker=self.worker,
                room=self.housekeeper,
                observer=self._adapters.metrics,
                current=self._current,
                clock=self._clock,
                nudge_courier=self.courier.nudge,
                references=self.references,
                refusals=self.refusals,
            )
        )
