"""The response cache: fingerprint → finished run, on this node's disk. Disposable.

`diskcache` behind a `Disk` that stores nothing but bytes and never unpickles, in a thread of its
own. It fails open: whatever goes wrong is a miss, counted in `failures` and logged once a kind.

What was used last stays longest. To write that down at each hit would make every read a
transaction, so it is remembered, and written just before it matters: when something is stored.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import diskcache
import structlog
from diskcache.core import MODE_BINARY, MODE_RAW

from gateway.core.codec import decode_run, encode_run
from gateway.core.model import Run

T = TypeVar("T")

MAX_WAITING: Final = 512
"""Calls in the thread's queue; beyond it a miss is quicker than the answer."""

LOCK_SECONDS: Final = 0.05
"""How long one call waits for a lock that another process holds."""

PAUSE_SECONDS: Final = 5.0
"""After a lock or damage the cache is left alone for so long, lest every order wait for it."""

MAX_USED: Final = 500
"""So many uses are written at the latest: some 10 ms of work in the thread."""

OPEN_SECONDS: Final = 1.5
"""The gateway does not wait longer than this for its cache; it may come up later."""

SETTINGS: Final = {
    "eviction_policy": "least-recently-used",  # the default drops what was stored first
    "cull_limit": 10,
    "statistics": 0,  # counting hits would write on each miss too
    "tag_index": 0,
    "disk_min_file_size": 2**15,  # a run is a few kilobytes: it stays inside the database
    "sqlite_cache_size": 2**11,
    "sqlite_secure_delete": 1,  # an erased prompt is not left in what is free of the file
}
"""They persist in the folder, so all that matter are said again at each opening."""

DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class RefusedEntry(ValueError):
    """An entry that this program cannot have written."""


class BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """Text keys, bytes values, files below the folder: all else is refused, above all pickles."""

    def put(self, key: object) -> tuple[str, bool]:
        if type(key) is not str:
            raise RefusedEntry("a key is text")
        return key, True

    def get(self, key: object, raw: object) -> str:
        if type(key) is not str or not raw:
            raise RefusedEntry("a key is text")
        return key

    def store(self, value: object, read: bool, key: object = diskcache.UNKNOWN) -> Any:
        if type(value) is not bytes or read:
            raise RefusedEntry("a value is bytes")
        return super().store(value, read, key=key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        if read:
            raise RefusedEntry("values are read whole")
        if mode == MODE_RAW and type(value) is bytes:
            return value
        if mode == MODE_BINARY and self._is_below(filename):
            return Path(self._directory, str(filename)).read_bytes()
        raise RefusedEntry(f"an entry of mode {mode}")

    def remove(self, file_path: str) -> None:
        if self._is_below(file_path):
            super().remove(file_path)

    def _is_below(self, filename: object) -> bool:
        if type(filename) is not str or not filename:
            return False
        folder = Path(self._directory).resolve()
        return folder in (folder / filename).resolve().parents


class _Store:
    """The folder itself; blocking, for one thread."""

    def __init__(self, folder: Path, size_limit_bytes: int) -> None:
        def opened() -> Any:
            return diskcache.Cache(
                str(folder),
                timeout=LOCK_SECONDS,
                disk=BytesDisk,
                size_limit=size_limit_bytes,
                **SETTINGS,
            )

        self._folder = folder
        self._cache = opened()
        self._used: dict[str, None] = {}
        # The policy is an attribute that `get` obeys: without one a read takes no lock. It is set
        # here for this object alone; `reset` would write it into the folder.
        self._reader = opened()
        self._reader.eviction_policy = "none"

    def read(self, fingerprint: str) -> Run | None:
        """Raises `ValueError` for an entry that cannot be this run, and drops it."""
        data = self._reader.get(fingerprint)
        if data is None:
            return None
        try:
            run = decode_run(data)
            if run.fingerprint != fingerprint or not run.is_final:
                raise RefusedEntry("an entry under another name")
        except ValueError:
            self._cache.delete(fingerprint)
            raise
        self._used[fingerprint] = None
        if len(self._used) >= MAX_USED:
            self._write_used()
        return run

    def write(self, run: Run, ttl_seconds: float) -> None:
        with self._cache.transact():
            self._write_used()
            self._cache.set(run.fingerprint, encode_run(run), expire=ttl_seconds)

    def delete(self, fingerprint: str) -> None:
        self._cache.delete(fingerprint)

    def forget(self, fingerprints: Sequence[str]) -> bool:
        """Deleted content is overwritten (`secure_delete`), and the log of it emptied; False while
        somebody reads it."""
        for fingerprint in fingerprints:
            self._cache.delete(fingerprint)
        with closing(sqlite3.connect(self._folder / "cache.db", timeout=LOCK_SECONDS)) as db:
            return not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

    def size(self) -> tuple[int, int]:
        return len(self._cache), self._cache.volume()

    def close(self) -> None:
        self._reader.close()
        self._cache.close()

    def _write_used(self) -> None:
        """In the order of use; the entries are stamped by being read under the policy."""
        used, self._used = self._used, {}
        with self._cache.transact():
            for fingerprint in used:
                self._cache.get(fingerprint)


class DiskResponseCache:
    """See gateway.ports.cache. `open` comes first; without it everything is a miss."""

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
        self._cache: _Store | None = None
        self._closed = False
        self._waiting = 0
        self._asking = threading.Lock()
        self._asked: list[tuple[str, asyncio.Future[Run | None]]] = []
        self._paused_until = 0.0
        self._logged: set[str] = set()

    async def open(self) -> None:
        """Opens the folder; one that is damaged is emptied. Never raises."""
        opening = asyncio.get_running_loop().run_in_executor(self._executor, self._open)
        await asyncio.wait((opening,), timeout=OPEN_SECONDS)

    async def get(self, fingerprint: str) -> Run | None:
        if not self._usable():
            return None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Run | None] = loop.create_future()
        with self._asking:
            self._asked.append((fingerprint, answer))
            first = len(self._asked) == 1
        if first:
            self._executor.submit(self._serve_reads, loop)
        self._waiting += 1
        try:
            return await answer
        finally:
            self._waiting -= 1

    async def put(self, run: Run, *, ttl_seconds: float) -> None:
        if ttl_seconds > 0:
            await self._in_thread(None, lambda store: store.write(run, ttl_seconds))

    async def delete(self, fingerprint: str) -> None:
        await self._in_thread(None, lambda store: store.delete(fingerprint))

    async def forget(self, fingerprints: Sequence[str]) -> None:
        """Where it cannot be had entry by entry, as while it is left alone after a fault, the
        files go whole."""
        if not await self._in_thread(False, lambda store: store.forget(fingerprints)):
            await self.clear()

    async def clear(self) -> None:
        """Also while it is left alone after a fault: what is purged must not come back."""
        if not self._closed:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._clear)

    async def size(self) -> tuple[int, int]:
        return await self._in_thread((0, 0), lambda store: store.size())

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._executor, self._close)
            self._executor.shutdown(wait=False)

    def _usable(self) -> bool:
        return not self._closed and self._cache is not None and self._waiting < MAX_WAITING

    async def _in_thread(self, otherwise: T, work: Callable[[_Store], T]) -> T:
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

    def _serve_reads(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answers all that were asked for so far: a hop between threads costs more than a read."""
        with self._asking:
            asked, self._asked = self._asked, []
        answers = [
            (future, self._guarded(None, partial(_Store.read, fingerprint=fingerprint)))
            for fingerprint, future in asked
        ]
        try:
            loop.call_soon_threadsafe(_answer, answers)
        except RuntimeError:  # the loop was closed under us: nobody is waiting any more
            return

    def _guarded(self, otherwise: T, work: Callable[[_Store], T]) -> T:
        cache = self._cache
        if cache is None or self._monotonic() < self._paused_until:
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

    def _open(self) -> None:
        try:
            self._cache = self._opened()
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
            _empty(self._folder)
            self._cache = self._opened()
        except Exception as error:
            self._failed(error)

    def _opened(self) -> _Store:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        return _Store(self._folder, self._size_limit_bytes)

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

    def __init__(self, folder: Path) -> None:
        self.failures = 0
        self._folder = folder

    async def open(self) -> None:
        """What was stored under another limit goes: nobody would erase from it any more."""
        try:
            await asyncio.to_thread(_empty, self._folder)
        except OSError as error:
            self.failures += 1
            structlog.get_logger().warning(
                "response_cache_failed", kind=type(error).__name__, error=str(error)
            )

    async def get(self, fingerprint: str) -> Run | None:
        return None

    async def put(self, run: Run, *, ttl_seconds: float) -> None:
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


def _answer(answers: list[tuple[asyncio.Future[Run | None], Run | None]]) -> None:
    for future, run in answers:
        if not future.done():
            future.set_result(run)


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, sqlite3.DatabaseError) and code in DAMAGE


def _empty(folder: Path) -> None:
    """Removes what diskcache makes in its folder: the database and folders of two hex digits."""
    for file in folder.glob("cache.db*"):
        file.unlink()
    for values in folder.glob("[0-9a-f][0-9a-f]"):
        shutil.rmtree(values)
