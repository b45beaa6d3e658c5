"""Hearing what other gateways write: a thread and a connection of its own.

It is there to be quick, not to be sure: what is said while it is away is lost, and it says so once
it is back. What it hears goes to the event loop.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psycopg
import structlog

from gateway.adapters.ledger.postgres import announcing
from gateway.adapters.ledger.postgres.database import PostgresDatabase
from gateway.ports.replicas import News

log = structlog.get_logger("gateway.ledger")

PAUSE_SECONDS: Final = 0.5
"""Between two attempts to come back."""

LOOK_SECONDS: Final = 10.0
"""How often a silent connection is asked whether it lives."""


class Listener:
    """Runs from `start` to `stop`, on the event loop that started it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._hearers: list[Callable[[News], None]] = []
        self._stopping = threading.Event()
        self._waking, self._wake = os.pipe()
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread | None = None

    def add(self, heard: Callable[[News], None]) -> None:
        self._hearers.append(heard)

    def start(self) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="ledger-listener", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Does not wait: it ends at once, or once its server lets it go."""
        if not self._stopping.is_set():
            self._stopping.set()
            os.close(self._wake)
            if self._thread is None:
                os.close(self._waking)

    # --- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        is_back = False
        while not self._stopping.is_set():
            try:
                self._listen(is_back=is_back)
            except (psycopg.Error, OSError) as error:
                log.warning("news of other gateways are missed", reason=str(error).strip())
                is_back = True
                self._stopping.wait(PAUSE_SECONDS)
        os.close(self._waking)

    def _listen(self, *, is_back: bool) -> None:
        db = PostgresDatabase(self._url)
        try:
            [[schema]] = db.connection.execute("SELECT current_schema()").fetchall()
            db.connection.execute(f"LISTEN {announcing.channel(str(schema))}")
            if is_back:
                self._say(announcing.MISSED)
            while not self._stopping.is_set():
                self._hear(db)
        finally:
            with suppress(psycopg.Error):
                db.close()

    def _hear(self, db: PostgresDatabase) -> None:
        """What comes next, and looks whether anybody is there when nothing does."""
        for notice in db.connection.notifies(timeout=0):
            self._say(announcing.decoded(notice.payload))
        ready, _, _ = select.select([db.connection.fileno(), self._waking], [], [], LOOK_SECONDS)
        if not ready:
            db.connection.execute("SELECT 1")

    def _say(self, news: News) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is waiting any more
            self._loop.call_soon_threadsafe(self._heard, news)

    # --- on the loop ---------------------------------------------------------------------------

    def _heard(self, news: News) -> None:
        if self._stopping.is_set():
            return
        for heard in self._hearers:
            try:
                heard(news)
            except Exception:
                log.exception("news were not taken")
