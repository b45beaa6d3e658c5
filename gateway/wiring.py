"""Settings → a running gateway: the only module that imports adapters.

Building does no I/O; `start` opens the stores in the order that recovery needs, `stop` lets go
in the opposite order.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx2 as httpx
from starlette.types import ASGIApp

from gateway.cache import response_cache
from gateway.config import Settings, convert, restart_needed
from gateway.config.schema import UpstreamEntry
from gateway.core.policy import Current
from gateway.errors import Unavailable
from gateway.housekeeping import Housekeeper
from gateway.ledger.memory import MemoryLedger
from gateway.ledger.sqlite import SqliteLedger
from gateway.metrics import Metrics
from gateway.outbound import Fetcher
from gateway.pictures.folder import FolderPictures
from gateway.ports import Clock, Ledger
from gateway.service import Parts, Service
from gateway.tokens import TokenCounter
from gateway.upstream.client import Account, EvolinkClient, Timeouts
from gateway.waiting import Board
from gateway.web.app import Endpoints, build_app
from gateway.web.images import Images
from gateway.web.operations import Operations
from gateway.web.pictures import KeptPictures
from gateway.worker import Bounds, Tools, Worker

LEDGER_NAME = "ledger.sqlite3"


class Gateway:
    """One gateway process: `app` to serve, `start` and `stop` around it, `reload` meanwhile."""

    def __init__(self, settings: Settings, *, clock: Clock = time.time) -> None:
        self.settings = settings
        self._port = settings.server.port
        self._clock = clock
        self._folder = Path(settings.storage.data_dir)
        self._current = Current(convert.policy(settings, port=self._port))
        self.ledger = make_ledger(settings, clock)
        self._cache = response_cache(
            self._folder / "cache", size_limit_bytes=settings.cache.size_limit_bytes
        )
        self._pictures = FolderPictures(self._folder / "pictures")
        self._tokens = TokenCounter()
        self._tls = httpx.create_ssl_context()  # one for all: reading the trust store is slow
        self._upstreams: dict[str, EvolinkClient] = {}
        self._links: dict[str, Fetcher] = {}
        self._retired: list[EvolinkClient | Fetcher] = []
        self._connect(settings.upstreams)
        self._metrics = Metrics(
            ledger=self.ledger, pictures=self._pictures, cache=self._cache, current=self._current
        )
        self._metrics.declare(self._current.policy)
        self._housekeeper = Housekeeper(
            self.ledger,
            self._pictures,
            current=self._current,
            clock=clock,
            checked=self._metrics.ledger_checked,
        )
        board = Board()
        self.worker = self._make_worker(board)
        self._service = self._make_service(board)
        self.app = self._make_app()
        self._stopping = False

    # --- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the stores, takes up what a former process left, and is ready.

        Raises `Unavailable` when a store cannot be had; then nothing is left open.
        """
        try:
            await asyncio.to_thread(self._folder.mkdir, mode=0o750, parents=True, exist_ok=True)
            await self.ledger.open()
            await self._pictures.open()
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
        self.worker.run()
        self._metrics.reloaded(successful=True, at=self._clock())

    def bound(self, port: int) -> None:
        """Told which port is really served: it stands in links when no `public_url` is set."""
        self._port = port
        self._current.policy = convert.policy(self.settings, port=port)

    def stop_taking(self) -> None:
        """New orders are answered 503 from now on; what was taken goes on."""
        self._stopping = True
        self._service.stop_taking()

    async def stop(self, grace_seconds: float) -> None:
        """Ends what is under way, for at most about `grace_seconds`, and closes every store."""
        self.stop_taking()
        await self.worker.stop(grace_seconds)
        await self._housekeeper.stop()
        for client in (*self._upstreams.values(), *self._links.values(), *self._retired):
            await client.aclose()
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
        self._connect({n: e for n, e in settings.upstreams.items() if old.get(n) != e})
        self._current.policy = convert.policy(settings, port=self._port)
        self._metrics.declare(self._current.policy)
        self._metrics.reloaded(successful=True, at=self._clock())
        self.settings = settings
        return waiting

    def _connect(self, upstreams: Mapping[str, UpstreamEntry]) -> None:
        """Makes clients for these. Former ones end their calls and are closed at the stop; one
        that the settings no longer name stays, for the runs that are with it."""
        for name, entry in upstreams.items():
            if name in self._upstreams:
                self._retired += [self._upstreams[name], self._links[name]]
            self._upstreams[name] = _make_client(entry, self._tls)
            self._links[name] = _make_fetcher(entry, self._tls)

    def reload_failed(self) -> None:
        """The last good settings stay in force; the gauge tells."""
        self._metrics.reloaded(successful=False, at=self._clock())

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
            )
        )

    def _make_app(self) -> ASGIApp:
        endpoints = Endpoints(
            images=Images(self._service, self._current),
            pictures=KeptPictures(self._pictures.path),
            operations=Operations(
                self._current, unready=self._unready, render=self._metrics.render
            ),
        )
        return build_app(endpoints, observer=self._metrics, http_request=self._metrics.http_request)


def make_ledger(settings: Settings, clock: Clock = time.time, *, read_only: bool = False) -> Ledger:
    """The ledger the settings name; `read_only` reads one that a running gateway holds."""
    if settings.storage.ledger == "memory":
        return MemoryLedger(clock=clock)
    path = Path(settings.storage.data_dir) / LEDGER_NAME
    return SqliteLedger(path, clock=clock, read_only=read_only)


def _make_client(entry: UpstreamEntry, tls: ssl.SSLContext) -> EvolinkClient:
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
    )


def _make_fetcher(entry: UpstreamEntry, tls: ssl.SSLContext) -> Fetcher:
    return Fetcher(
        allow_private=entry.allow_private_addresses,
        verify=tls,
        connect_seconds=entry.timeout.connect_seconds,
    )
