"""The response cache's folder: `diskcache` behind a `Disk` that holds nothing but bytes.

Blocking, for one thread. What was used last stays longest. To write that down at each hit would
make every read a transaction, so it is remembered, and written just before it matters: when
something is stored.

The folder's file `epoch` says up to which of the ledger's epochs all of it is right: a gateway
that was away while a prompt was erased finds it out at its start.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from gateway.core.codec import decode_run, encode_run
from gateway.core.model import Run

LOCK_SECONDS: Final = 0.05
"""How long one call waits for a lock that another process holds."""

MAX_USED: Final = 500
"""So many uses are written at the latest: some 10 ms of work in the thread."""

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

EPOCH_NAME: Final = "epoch"


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


class CacheFolder:
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

    def fingerprints(self) -> Iterator[str]:
        """All that it holds, also what may not be told any more."""
        yield from self._reader.iterkeys()

    def read(self, fingerprint: str) -> tuple[Run, float] | None:
        """The run, and until when it may be told (Unix seconds). Raises `ValueError` for an entry
        that cannot be this run, and drops it."""
        data, until = self._reader.get(fingerprint, expire_time=True)
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
        return run, until

    def write(self, entries: Sequence[tuple[Run, float]]) -> None:
        """Runs, and for how many seconds each may be told; all or none."""
        with self._cache.transact():
            self._write_used()
            for run, seconds in entries:
                self._cache.set(run.fingerprint, encode_run(run), expire=seconds)

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


def kept_epoch(folder: Path) -> int:
    """That of none, and of one from before there were epochs, is the first; -1: nobody knows."""
    try:
        return int((folder / EPOCH_NAME).read_text("utf-8"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError):
        return -1


def empty(folder: Path) -> None:
    """Removes what diskcache makes in its folder: the database and folders of two hex digits."""
    for file in folder.glob("cache.db*"):
        file.unlink()
    for values in folder.glob("[0-9a-f][0-9a-f]"):
        shutil.rmtree(values)


def note_epoch(folder: Path, epoch: int) -> None:
    """Raises `OSError`."""
    new = folder / f"{EPOCH_NAME}.new"
    new.write_text(str(epoch), "utf-8")
    new.replace(folder / EPOCH_NAME)
