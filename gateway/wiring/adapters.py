"""What stands for the world outside: the three stores, the tokenizer, connections, metrics.

They know nothing of each other. Which kind of each it is follows from the settings, here only.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx

from gateway.adapters.ledger.memory import MemoryLedger
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.adapters.metrics import Metrics
from gateway.adapters.pictures.folder import FolderPictures
from gateway.adapters.pictures.marker import Marker
from gateway.adapters.pictures.unproven import Unproven
from gateway.adapters.response_cache import DiskResponseCache, NoCache, response_cache
from gateway.adapters.tokens import TiktokenCounter
from gateway.config import Settings
from gateway.core.policy import Current
from gateway.ports.clock import Clock
from gateway.ports.ledger import Ledger
from gateway.wiring.callback_addresses import CallbackAddresses
from gateway.wiring.connections import Connections, Outside, Trust

LEDGER_NAME = "ledger.sqlite3"
PICTURES_NAME = "pictures"


@dataclass(frozen=True, slots=True)
class Adapters:
    """One of each. `folder` is where those live that keep something."""

    folder: Path
    ledger: Ledger
    pictures: FolderPictures
    cache: DiskResponseCache | NoCache
    tokens: TiktokenCounter
    callback_addresses: CallbackAddresses
    connections: Connections
    metrics: Metrics


def make_adapters(
    settings: Settings,
    current: Current,
    *,
    clock: Clock,
    callback_tls: ssl.SSLContext | None,
    outside: Outside,
) -> Adapters:
    """Makes what the settings name; nothing is opened yet."""
    folder = Path(settings.storage.data_dir)
    ledger = make_ledger(settings, clock)
    unproven = Unproven(folder / "unproven")
    pictures = FolderPictures(folder / PICTURES_NAME, unproven=unproven)
    cache = response_cache(folder / "cache", size_limit_bytes=settings.cache.size_limit_bytes)
    addresses = CallbackAddresses(folder / "callback.key", current)
    tls = httpx.create_ssl_context()  # one for all: reading the trust store is slow
    trust = Trust(upstreams=tls, receivers=callback_tls or tls)
    return Adapters(
        folder=folder,
        ledger=ledger,
        pictures=pictures,
        cache=cache,
        tokens=TiktokenCounter(),
        callback_addresses=addresses,
        connections=Connections(
            settings, trust, clock=clock, callback_url=addresses.url, outside=outside
        ),
        metrics=Metrics(ledger=ledger, pictures=pictures, cache=cache, current=current),
    )


def make_ledger(settings: Settings, clock: Clock = time.time, *, read_only: bool = False) -> Ledger:
    """The ledger the settings name; `read_only` reads one that a running gateway holds."""
    if settings.storage.ledger == "memory":
        return MemoryLedger(clock=clock)
    path = Path(settings.storage.data_dir) / LEDGER_NAME
    return SqliteLedger(path, clock=clock, read_only=read_only)


def require_store(settings: Settings, store_id: str) -> None:
    """Raises as `Pictures.require` does when the settings' picture folder is not this store."""
    marker = Marker(Path(settings.storage.data_dir) / PICTURES_NAME)
    marker.expect(store_id)
    marker.require()
