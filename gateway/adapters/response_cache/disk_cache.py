"""The response cache: fingerprint → finished run, on this node's disk. Disposable.

A folder (`cache_folder`) in a thread of its own. It fails open: whatever goes wrong is a miss,
counted in `failures` and logged once a kind.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import diskcache
import structlog

from gateway.adapters.response_cache.cache_folder import CacheFolder, empty, kept_epoch, note_epoch
from gateway.adapters.response_cache.possible import Possible
from gateway.core.model import Run
from gateway.process.lately import Lately
from gateway.process.together import Together

T = TypeVar("T")

_Read = tuple[Run, float]
"""A run, and until when it may be told."""

_Entry = tuple[Run, float, int]
"""A run, for how many seconds it may be told, and the epoch in which it ended."""

MAX_WAITING: Final = 512
"""Calls in the thread's queue; beyond it a miss is quicker than the answer."""

PAUSE_SECONDS: Final = 5.0
"""After a lock or damage the cache is left alone for so long, lest every order wait for it."""

OPEN_SECONDS: Final = 1.5
"""The gateway does not wait longer than this for its cache; it may come up later."""

LEARNT_AT_ONCE: Final = 1_000
"""A few milliseconds of the thread."""

DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DiskResponseCache:
    """See gateway.ports.cache. `open` comes first; without it everything is a miss."""

    epoch: int = 0

    def __init__(
        self,
        folder: Path,
        *,
        size_limit_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = 0
        self._folder = folder
        self._size_limit_bytes = size_limit_bytes
        self._monotonic = monotonic
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="response-cache")
        self._cache: CacheFolder | None = None
        self._closed = False
        self._waiting = 0
        self._reads = Together(self._executor, self._read_all)
        self._writes = Together(self._executor, self._write_all)
        self._paused_until = 0.0
        self._logged: set[str] = set()
        self._lately = Lately[str, Run](monotonic)
        self._possible = Possible(is_known=False)

    async def open(self, epoch: int = 0) -> None:
        """Opens the folder; one that is damaged, or of another epoch, is emptied. Never raises."""
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(self._executor, self._open_in, epoch)
        await asyncio.wait((opening,), timeout=OPEN_SECONDS)

    async def follow(self, epoch: int) -> None:
        """Also while it is left alone after a fault, as `clear`."""
        if not self._closed:
            loop = asyncio.get_running_loop()
            with self._changing():
                await loop.run_in_executor(self._executor, self._follow, epoch)

    async def advance(self, epoch: int) -> None:
        if not self._closed:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._executor, self._note_epoch, epoch)

    async def get(self, fingerprint: str) -> Run | None:
        """What was read within the last second is not read again: where it was changed meanwhile,
        this object did it."""
        if not self._usable() or self._is_left_alone():
            return None
        if known := self._lately.found(fingerprint):
            return known
        if not self._possible.may_have(fingerprint):
            return None
        changes = self._lately.changes
        read = await self._read(fingerprint)
        if read is None:
            return None
        run, until = read
        self._lately.note(fingerprint, run, changes=changes, seconds=until - time.time())
        return run

    async def _read(self, fingerprint: str) -> _Read | None:
        self._waiting += 1
        try:
            return await self._reads.ask(fingerprint)
        finally:
            self._waiting -= 1

    async def put(self, run: Run, *, ttl_seconds: float, epoch: int = 0) -> None:
        if ttl_seconds > 0 and self._usable():
            with self._changing(run.fingerprint):
                self._waiting += 1
                try:
                    await self._writes.ask((run, ttl_seconds, epoch))
                finally:
                    self._waiting -= 1

    async def delete(self, fingerprint: str) -> None:
        with self._changing(fingerprint):
            await self._in_thread(None, lambda store: store.delete(fingerprint))

    async def forget(self, fingerprints: Sequence[str]) -> None:
        """Where it cannot be had entry by entry, as while it is left alone after a fault, the
        files go whole."""
        with self._changing(*fingerprints):
            if not await self._in_thread(False, lambda store: store.forget(fingerprints)):
                await self.clear()

    async def clear(self) -> None:
        """Also while it is left alone after a fault: what is purged must not come back."""
        if not self._closed:
            with self._changing():
                await asyncio.get_running_loop().run_in_executor(self._executor, self._clear)

    async def size(self) -> tuple[int, int]:
        return await self._in_thread((0, 0), lambda store: store.size())

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._executor, self._close)
            self._executor.shutdown(wait=False)

    @contextmanager
    def _changing(self, *fingerprints: str) -> Iterator[None]:
        """Around a change: of these, or of all. What is read before its end is not remembered."""
        try:
            yield
        finally:
            if fingerprints:
                self._lately.forget(*fingerprints)
            else:
                self._lately.clear()

    def _is_left_alone(self) -> bool:
        return self._monotonic() < self._paused_until

    def _usable(self) -> bool:
        return not self._closed and self._cache is not None and self._waiting < MAX_WAITING

    async def _in_thread(self, otherwise: T, work: Callable[[CacheFolder], T]) -> T:
        """What `work` makes of the cache; `otherwise` when there is none or it fails."""
        if not self._usable():
            return otherwise
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            return await loop.run_in_executor(self._executor, self._guarded, otherwise, work)
        finally:
            self._waiting -= 1

    # --- in the thread -------------------------------------------------------------------------

    def _read_all(self, fingerprints: Sequence[str]) -> Sequence[_Read | None]:
        read = CacheFolder.read
        return [self._guarded(None, partial(read, fingerprint=one)) for one in fingerprints]

    def _write_all(self, entries: Sequence[_Entry]) -> Sequence[None]:
        of_now = [(run, seconds) for run, seconds, epoch in entries if epoch == self.epoch]
        for run, _ in of_now:  # here, where nothing is emptied meanwhile
            self._possible.note(run.fingerprint)
        self._guarded(None, partial(CacheFolder.write, entries=of_now))
        return [None] * len(entries)

    def _guarded(self, otherwise: T, work: Callable[[CacheFolder], T]) -> T:
        cache = self._cache
        if cache is None or self._is_left_alone():
            return otherwise
        try:
            return work(cache)
        except Exception as error:
            self._failed(error)
            if isinstance(error, diskcache.Timeout | sqlite3.Error):
                self._paused_until = self._monotonic() + PAUSE_SECONDS
            if _is_damage(error):
                self._close()
                self._open()
            return otherwise

    def _open_in(self, epoch: int) -> None:
        """Of another epoch is also what cannot be told, and what another ledger's cache left."""
        self.epoch = kept_epoch(self._folder)
        if self.epoch != epoch:
            self._follow(epoch)
        else:
            self._open()

    def _follow(self, epoch: int) -> None:
        """The epoch is noted last: a process that dies on the way empties it again."""
        if epoch != self.epoch:
            self._clear()
            if self._cache is not None:
                self._note_epoch(epoch)

    def _note_epoch(self, epoch: int) -> None:
        try:
            note_epoch(self._folder, epoch)
        except OSError as error:  # this process knows all the same, and the next one empties it
            self._failed(error)
        self.epoch = epoch

    def _open(self) -> None:
        self._possible = Possible(is_known=False)
        try:
            self._cache = self._opened()
            self._learn(self._possible, self._cache.fingerprints())
        except Exception as error:
            self._failed(error)
            if _is_damage(error):
                self._rebuild()

    def _clear(self) -> None:
        """Takes the files away at once: to delete entry after entry would make orders wait."""
        self._close()
        self._rebuild()

    def _rebuild(self) -> None:
        try:
            empty(self._folder)
            self._possible = Possible(is_known=True)
            self._cache = self._opened()
        except Exception as error:
            self._failed(error)

    def _learn(self, possible: Possible, fingerprints: Iterator[str]) -> None:
        """What the folder holds, some of it at a time: whoever reads gets in between."""
        if self._closed or possible is not self._possible:
            return
        try:
            some = [*islice(fingerprints, LEARNT_AT_ONCE)]
        except Exception as error:  # then it is looked for, each time
            self._failed(error)
            return
        for fingerprint in some:
            possible.note(fingerprint)
        if len(some) < LEARNT_AT_ONCE:
            possible.is_known = True
        elif not self._closed:
            self._executor.submit(self._learn, possible, fingerprints)

    def _opened(self) -> CacheFolder:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        return CacheFolder(self._folder, self._size_limit_bytes)

    def _close(self) -> None:
        cache, self._cache = self._cache, None
        if cache is not None:
            try:
                cache.close()
            except sqlite3.Error as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        kind = type(error).__name__
        if kind not in self._logged:
            self._logged.add(kind)
            structlog.get_logger().warning(
                "response_cache_failed", kind=kind, error=str(error), folder=str(self._folder)
            )


class NoCache:
    """A cache that has nothing and keeps nothing: for a size limit of 0."""

    epoch: int = 0

    def __init__(self, folder: Path) -> None:
        self.failures = 0
        self._folder = folder

    async def open(self, epoch: int = 0) -> None:
        """What was stored under another limit goes: nobody would erase from it any more."""
        try:
            await asyncio.to_thread(empty, self._folder)
            self.epoch = epoch
        except OSError as error:
            self.failures += 1
            structlog.get_logger().warning(
                "response_cache_failed", kind=type(error).__name__, error=str(error)
            )

    async def follow(self, epoch: int) -> None:
        self.epoch = epoch

    async def advance(self, epoch: int) -> None:
        self.epoch = epoch

    async def get(self, fingerprint: str) -> Run | None:
        return None

    async def put(self, run: Run, *, ttl_seconds: float, epoch: int = 0) -> None:
        return

    async def delete(self, fingerprint: str) -> None:
        return

    async def forget(self, fingerprints: Sequence[str]) -> None:
        return

    async def clear(self) -> None:
        return

    async def size(self) -> tuple[int, int]:
        return (0, 0)

    async def close(self) -> None:
        return


def response_cache(folder: Path, *, size_limit_bytes: int) -> DiskResponseCache | NoCache:
    """The cache for these settings; to be opened."""
    if size_limit_bytes <= 0:
        return NoCache(folder)
    return DiskResponseCache(folder, size_limit_bytes=size_limit_bytes)


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, sqlite3.DatabaseError) and code in DAMAGE
