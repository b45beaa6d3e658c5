"""The folder of a backup: laid out like a data folder, with a manifest and a lock beside it.

    ledger.sqlite3, callback.key, credits.json    replaced together, at the end
    pictures/, unproven/                          only added to until then
    backup.json                                   the manifest of the whole backup
    backup.json.new                               it is decided: what has .new takes its place
    backup.lock                                   marks the folder as ours, one at a time

Whoever finds `backup.json.new` first ends what a process that died had decided. Blocking.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.adapters.backup import manifest
from gateway.adapters.backup.files import remove_drafts, sync_folder, write_file
from gateway.adapters.backup.manifest import Manifest, NoManifest
from gateway.errors import Unavailable

MANIFEST: Final = "backup.json"
LOCK: Final = "backup.lock"
NEW: Final = ".new"
NOT_OURS_AND_HARMLESS: Final = frozenset({"lost+found"})
FOLDER_MODE: Final = 0o700


class BackupFolder:
    """Open it before use; `close` lets the next one in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: int | None = None

    def open_to_write(self) -> None:
        """Makes the folder or takes one of ours; raises `Unavailable` for any other."""
        if self.root.exists() and not self.root.is_dir():
            raise Unavailable(f"{self.root} is no folder.")
        if not self.root.parent.is_dir():
            raise Unavailable(
                f"There is no folder {self.root.parent}. Is its disk mounted? If it is, make it."
            )
        self.root.mkdir(FOLDER_MODE, exist_ok=True)
        found = {entry.name for entry in os.scandir(self.root)} - NOT_OURS_AND_HARMLESS
        if found and not found & {LOCK, MANIFEST}:
            raise Unavailable(
                f"{self.root} holds something else ({min(found)!r}, for one) and is no backup. Name"
                " a folder that is empty or not there yet."
            )
        self._take(os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        with suppress(PermissionError):  # a file system without modes; `is_private` tells
            self.root.chmod(FOLDER_MODE)
        self._end_what_was_decided()
        for path in (*self.root.glob(f"*{NEW}"), *self.root.glob("*-journal")):
            path.unlink()
        remove_drafts(self.root)

    def open_to_read(self) -> Manifest:
        """The manifest of the whole backup that is there; raises `Unavailable` without one."""
        if not self.root.is_dir():
            raise Unavailable(f"There is no folder {self.root}.")
        with suppress(FileNotFoundError):  # a copy of a backup may be without it
            self._take(os.O_RDONLY, fcntl.LOCK_SH)
        self._end_what_was_decided()
        found = self.manifest()
        if found is None:
            what = "was never finished" if (self.root / LOCK).exists() else "is no backup"
            again = "Run 'image-gateway backup' into it again." if what.startswith("was") else ""
            raise Unavailable(f"{self.root} {what}: it has no {MANIFEST}. {again}".rstrip())
        return found

    @property
    def is_private(self) -> bool:
        """Whether it can be kept from others."""
        return not self.root.stat().st_mode & 0o077

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def drop_draft(self, path: Path) -> None:
        """Makes room, unless the file is another backup's, or of one that is decided."""
        if self._lock is not None and not (self.root / f"{MANIFEST}{NEW}").exists():
            path.unlink(missing_ok=True)

    def manifest(self) -> Manifest | None:
        """Of the backup that is there; None where none was ever finished."""
        try:
            return manifest.read((self.root / MANIFEST).read_bytes())
        except FileNotFoundError:
            return None
        except NoManifest as problem:
            raise Unavailable(f"The backup {self.root} cannot be used: {problem}.") from None

    def commit(self, made: Manifest) -> None:
        """From here on the backup is the new one; a crash before leaves the former whole."""
        write_file(self.root / f"{MANIFEST}{NEW}", made.to_json())
        self._end_what_was_decided()

    def _end_what_was_decided(self) -> None:
        decided = self.root / f"{MANIFEST}{NEW}"
        try:
            made = manifest.read(decided.read_bytes())
        except FileNotFoundError:
            return
        except NoManifest as problem:
            raise Unavailable(f"The backup {self.root} cannot be used: {problem}.") from None
        for name in made.sums:
            with suppress(FileNotFoundError):  # it has its place already
                (self.root / f"{name}{NEW}").replace(self.root / name)
        sync_folder(self.root)
        decided.replace(self.root / MANIFEST)
        sync_folder(self.root)

    def _take(self, flags: int, how: int) -> None:
        self._lock = os.open(self.root / LOCK, flags, 0o600)
        try:
            fcntl.flock(self._lock, how | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise Unavailable(f"Another backup or restore uses {self.root} now.") from None
