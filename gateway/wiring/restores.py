"""A backup becomes an installation again, in a data folder that is empty or not there.

    checked → note → pictures → set aside and keys → ledger → note away

The note says that a restore is under way: while it is there no gateway starts, and the same
restore goes on where it was cut. The ledger comes last: without it nothing is an installation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.adapters.backup.files import (
    Carrier,
    Damaged,
    digest_of,
    remove_draft,
    sync_folder,
    write_file,
)
from gateway.adapters.backup.folder import MANIFEST, NOT_OURS_AND_HARMLESS, BackupFolder
from gateway.adapters.backup.manifest import Manifest
from gateway.adapters.backup.tree import (
    FOLDER_MODE,
    Tally,
    Tree,
    by_shard,
    carry_answers,
    carry_set_aside,
)
from gateway.adapters.ledger.ledger_file import LedgerFile, take_lock
from gateway.adapters.pictures.marker import NAME as MARKER
from gateway.errors import Unavailable
from gateway.wiring.adapters import LEDGER_NAME, PICTURES_NAME, SPOOL_NAME
from gateway.wiring.backups import (
    ASIDE_NAME,
    SMALL_FILES,
    Tell,
    every_picture,
    picture_problems,
    resolved,
    sentence,
)

NOTE: Final = "restoring.json"
"""The manifest of what is being restored, in the data folder meanwhile."""

_LOCK_NAME: Final = f"{LEDGER_NAME}.lock"


@dataclass(frozen=True, slots=True)
class BackupRestored:
    """What came of it. `is_current`: the ledger needs no migration."""

    manifest: Manifest
    tally: Tally
    is_current: bool
    seconds: float
    problems: Sequence[str]


def require_no_backup(data_dir: Path) -> None:
    """Raises `Unavailable` for a folder that is a backup, or half a restore: none to serve from."""
    if (data_dir / MANIFEST).exists():
        raise Unavailable(
            f"{data_dir} is a backup, and would be none any more. Restore it into a folder of its"
            f" own, or, if this is a copy that shall be served, delete {data_dir / MANIFEST}."
        )
    if (data_dir / NOTE).exists():
        raise Unavailable(
            f"A restore into {data_dir} has not ended: run 'image-gateway restore' again, which"
            f" goes on with it. To give it up, empty {data_dir}."
        )


class Restore:
    """Of the backup in the folder `backup`, into `data_dir`; `run` once."""

    def __init__(
        self,
        backup: Path,
        data_dir: Path,
        *,
        tell: Tell = lambda *_: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = BackupFolder(resolved(backup))
        self._data = resolved(data_dir)
        self._tell = tell
        self._clock = clock

    def run(self) -> BackupRestored:
        """Raises `Unavailable` when it cannot be restored; nothing was touched then, or what was
        begun can go on."""
        began, lock = self._clock(), -1
        try:
            manifest = self._folder.open_to_read()
            with closing(self._checked(manifest)) as ledger:
                carrier = self._carrier()
                carrier.make_folder(self._data, FOLDER_MODE)
                if (self._data / _LOCK_NAME).exists():
                    lock = take_lock(self._data / LEDGER_NAME)  # a gateway runs: said first
                self._require_empty(manifest)
                if lock < 0:
                    lock = take_lock(self._data / LEDGER_NAME)
                write_file(self._data / NOTE, manifest.to_json())
                tally = self._carry(ledger, manifest, carrier)
                is_current = ledger.is_current
            self._own_lock(carrier)
            (self._data / NOTE).unlink()
            sync_folder(self._data)
        except OSError as error:
            raise self._cut(error) from error
        finally:
            if lock >= 0:
                os.close(lock)
            self._folder.close()
        took = self._clock() - began
        return BackupRestored(manifest, tally, is_current, took, picture_problems(tally))

    # --- before ------------------------------------------------------------------------------

    def _checked(self, manifest: Manifest) -> LedgerFile:
        """The backup's ledger, once all that is not a picture is known to be as it was."""
        root = self._folder.root
        if root == self._data or root in self._data.parents or self._data in root.parents:
            raise Unavailable(f"The backup {root} and the data folder {self._data} must be apart.")
        if LEDGER_NAME not in manifest.sums:
            raise Unavailable(f"The backup {root} cannot be used: {MANIFEST} names no ledger.")
        for at, (name, digest) in enumerate(manifest.sums.items()):
            self._tell("checking", at, len(manifest.sums))
            try:
                found = digest_of(root / name)
            except (Damaged, FileNotFoundError):
                found = None
            if found != digest:
                what = "is not there" if found is None else f"is not as {MANIFEST} says"
                raise Unavailable(f"The backup cannot be used: {root / name} {what}.")
        ledger = LedgerFile(root / LEDGER_NAME, still=True)
        damage = ledger.damage()
        if damage is not None:
            ledger.close()
            raise Unavailable(f"The backup cannot be used: its ledger is damaged ({damage}).")
        self._tell("checking", 1, 1)
        return ledger

    def _carrier(self) -> Carrier:
        """Whose the files shall be: as the data folder is, where somebody has made it, else as
        they were. Only root can give files away."""
        if os.geteuid() != 0:
            return Carrier()
        was = (self._folder.root / LEDGER_NAME).stat()
        with suppress(FileNotFoundError):
            made = self._data.stat()
            was = made if made.st_uid else was
        return Carrier((was.st_uid, was.st_gid))

    def _require_empty(self, manifest: Manifest) -> None:
        note = self._data / NOTE
        remove_draft(note)
        if note.exists():
            if note.read_bytes() == manifest.to_json():
                return  # the same restore, cut
            raise Unavailable(
                f"A restore of another backup into {self._data} has not ended. Empty that folder"
                " first."
            )
        found = {entry.name for entry in os.scandir(self._data)}
        found -= {*NOT_OURS_AND_HARMLESS, _LOCK_NAME}
        if PICTURES_NAME in found and _is_empty(self._data / PICTURES_NAME):
            found.discard(PICTURES_NAME)  # where a disk is mounted
        if found:
            raise Unavailable(
                f"{self._data} is not empty ({min(found)!r} is there, for one), and a restore"
                " overwrites nothing. Move it away first: it may know of orders and pictures that"
                " the backup does not."
            )

    # --- carrying ----------------------------------------------------------------------------

    def _carry(self, ledger: LedgerFile, manifest: Manifest, carrier: Carrier) -> Tally:
        root, data, tally = self._folder.root, self._data, Tally()
        self._carry_pictures(ledger, carrier, tally)
        carry_set_aside(root / ASIDE_NAME, data / ASIDE_NAME, carrier, tally)
        carry_answers(root / SPOOL_NAME, data / SPOOL_NAME, carrier, tally)
        for name in (*SMALL_FILES, LEDGER_NAME):
            if name in manifest.sums:
                try:
                    carrier.carry(root / name, data / name, may_link=False)
                except Damaged as problem:
                    raise Unavailable(f"The backup cannot be used: {problem}.") from None
        sync_folder(data)
        if digest_of(data / LEDGER_NAME) != manifest.sums[LEDGER_NAME]:
            raise Unavailable(f"{data / LEDGER_NAME} was not written as it is in the backup.")
        return tally

    def _carry_pictures(self, ledger: LedgerFile, carrier: Carrier, tally: Tally) -> None:
        source, target = self._folder.root / PICTURES_NAME, self._data / PICTURES_NAME
        carrier.make_folder(target, FOLDER_MODE)
        tree, total = Tree(source, target, carrier), ledger.picture_totals()[0]
        for shard, named in by_shard(every_picture(ledger)):
            tree.carry_shard(shard, named, frozenset(), tally)
            self._tell("pictures", min(tally.pictures, total), total)
        with suppress(FileNotFoundError):  # of before there was one
            carrier.carry(source / MARKER, target / MARKER, may_link=False)
        sync_folder(target)

    def _cut(self, error: OSError) -> Unavailable:
        with suppress(OSError):
            if (self._data / NOTE).exists():
                return Unavailable(
                    f"The restore into {self._data} was cut: {sentence(error)}. When that is"
                    " mended, run it again: it goes on."
                )
        return Unavailable(f"{sentence(error)}.")

    def _own_lock(self, carrier: Carrier) -> None:
        if carrier.owner is not None:
            os.chown(self._data / _LOCK_NAME, *carrier.owner)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not {one.name for one in os.scandir(folder)} - NOT_OURS_AND_HARMLESS
