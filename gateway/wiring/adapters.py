"""What stands for the world outside: the three stores, the tokenizer, connections, metrics.

They know nothing of each other. Which kind of each it is follows from the settings, here only.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx2 as httpx

from gateway.adapters.ledger.ledger_file import hold
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.adapters.ledger.unopened import UnopenedLedger
from gateway.adapters.metrics import Metrics
from gateway.adapters.openai_images.spool import AnswerSpool
from gateway.adapters.pictures.bucket import BucketPictures, Serving
from gateway.adapters.pictures.bucket_client import Bucket, BucketAccess
from gateway.adapters.pictures.folder import FolderPictures
from gateway.adapters.pictures.unproven import Unproven
from gateway.adapters.response_cache import response_cache
from gateway.adapters.tokens import TiktokenCounter
from gateway.config import Settings
from gateway.config.document import Problem, SettingsError
from gateway.config.store_words import Serve
from gateway.core.policy import Current
from gateway.ports.clock import Clock
from gateway.ports.ledger import Ledger
from gateway.wiring.callback_addresses import CallbackAddresses
from gateway.wiring.connections import Connections, ConnectionsDeps, Outside, Trust

LEDGER_NAME = "ledger.sqlite3"
PICTURES_NAME = "pictures"
SPOOL_NAME = "spool"
"""Answers that are the whole work, until their runs are final. They outlive a restart."""

SCRATCH_NAME = "arriving"
"""Pictures on their way to a bucket; those of a folder have theirs in it."""


READING_SECONDS: Final = 5.0
"""Half of how often a scraper usually comes: whoever scrapes each of many gateways, or from two
places, reads the ledger's sums no more often."""


class Adapters:
    """One of each that the settings name; nothing is opened yet.

    `folder` is where those live that keep something.
    """

    def __init__(
        self,
        settings: Settings,
        current: Current,
        *,
        clock: Clock,
        callback_tls: ssl.SSLContext | None,
        outside: Outside,
    ) -> None:
        folder = self.folder = Path(settings.storage.data_dir)
        in_file = settings.storage.postgres_url is None
        self.spool = AnswerSpool(folder / SPOOL_NAME)
        self.unopened = UnopenedLedger(folder / LEDGER_NAME if in_file else None)
        self.ledger = make_ledger(settings, clock)
        self.pictures = make_pictures(settings, outside.environ)
        limit_bytes = settings.cache.size_limit_bytes
        self.cache = response_cache(folder / "cache", size_limit_bytes=limit_bytes)
        self.tokens = TiktokenCounter()
        self.callback_addresses = CallbackAddresses(
            folder / "callback.key", current, is_shared=is_shared(settings)
        )
        tls = httpx.create_ssl_context()  # one for all: reading the trust store is slow
        self.connections = Connections(
            settings,
            deps=ConnectionsDeps(
                trust=Trust(upstreams=tls, receivers=callback_tls or tls),
                clock=clock,
                current=current,
                callback_url=self.callback_addresses.url,
                spool=self.spool,
                pictures=self.pictures,
                outside=outside,
            ),
        )
        self.metrics = Metrics(
            ledger=self.ledger, pictures=self.pictures, cache=self.cache, current=current
        )
        if is_shared(settings):
            self.metrics.keep_seconds = READING_SECONDS


def hold_folder(folder: Path) -> int:
    """The lock of the gateway that has the folder for its own. A ledger in a file has a lock too;
    without one two gateways could empty each other's uploads."""
    return hold(
        folder / "gateway.lock",
        f"Another gateway uses the folder {folder}. They share storage.ledger and"
        " storage.pictures: give each a storage.data_dir of its own.",
    )


def is_shared(settings: Settings) -> bool:
    """Whether other gateways may write the same ledger."""
    return settings.storage.postgres_url is not None


def make_ledger(settings: Settings, clock: Clock = time.time, *, read_only: bool = False) -> Ledger:
    """The ledger the settings name; `read_only` reads one that a running gateway holds."""
    url = settings.storage.postgres_url
    if url is None:
        path = Path(settings.storage.data_dir) / LEDGER_NAME
        return SqliteLedger(path, clock=clock, read_only=read_only)
    try:
        from gateway.adapters.ledger.postgres.connections import Address
        from gateway.adapters.ledger.postgres.ledger import PostgresLedger
    except ImportError as missing:
        advice = f"{missing}: pip install 'image-gateway[postgres]'"
        raise SettingsError([Problem(("storage", "ledger"), advice)]) from missing
    address = Address(url, settings.storage.postgres.pooler, _direct(settings))
    return PostgresLedger(address, clock=clock, read_only=read_only)


def _direct(settings: Settings) -> str | None:
    direct = settings.storage.postgres.direct
    return None if direct is None else direct.get_secret_value()


async def require_way_past_pooler(ledger: Ledger) -> None:
    """Raises `Unavailable` where `storage.postgres.direct` does not lead to this ledger."""
    from gateway.adapters.ledger.postgres.ledger import PostgresLedger

    if isinstance(ledger, PostgresLedger):
        await ledger.require_way_past_pooler()


def make_pictures(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> FolderPictures | BucketPictures:
    """The picture store the settings name; keys to a bucket are the environment's."""
    folder, place = Path(settings.storage.data_dir), settings.storage.bucket
    if place is None:
        return FolderPictures(folder / PICTURES_NAME, unproven=Unproven(folder / "unproven"))
    if find_spec("obstore") is None:
        advice = "obstore is missing: pip install 'image-gateway[s3]'"
        raise SettingsError([Problem(("storage", "pictures"), advice)])
    s3 = settings.storage.s3
    return BucketPictures(
        Bucket(place, BucketAccess.of(environ)),
        folder / SCRATCH_NAME,
        serving=Serving(redirects=s3.serve is Serve.REDIRECT, cdn=s3.cdn),
    )


async def require_bucket(settings: Settings) -> None:
    """Raises `StoreFull`, with what is wrong, when the settings' bucket cannot be had."""
    if settings.storage.bucket is not None:
        pictures = make_pictures(settings)
        try:
            await pictures.found()
        finally:
            await pictures.close()


async def require_store(settings: Settings, store_id: str) -> None:
    """Raises as `Pictures.require` does when the settings' pictures are not this store."""
    pictures = make_pictures(settings)
    try:
        await pictures.expect(store_id)
        await pictures.require()
    finally:
        await pictures.close()
