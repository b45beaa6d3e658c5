"""A backup is made: of a ledger, its pictures and what else an installation needs to go on.

    ledger → pictures → set aside and keys → manifest → what nobody needs any more is removed

Answers of upstreams that lie in the spool are carried before the ledger and once more after it: of
a run that keeps its pictures just then, one of them is the only copy of what was paid.

The ledger comes first: each picture that it names was durable before. One that was erased in
between is in no folder any more and in the copy still, with its words: then the ledger is copied
again. Nothing of the former backup is touched before the manifest of the new one is written.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway import __version__
from gateway.adapters.backup.files import (
    Carrier,
    Damaged,
    digest_of,
    sync_folder,
)
from gateway.adapters.backup.folder import NEW, BackupFolder
from gateway.adapters.backup.manifest import Manifest
from gateway.adapters.backup.tree import (
    MOST_TOLD,
    Tally,
    Tree,
    answers_of_none,
    by_shard,
    carry_answers,
    carry_set_aside,
)
from gateway.adapters.ledger.ledger_file import LedgerFile, copy_ledger
from gateway.adapters.ledger.moving.carrying import copy_out
from gateway.adapters.ledger.moving.side import LedgerSide
from gateway.adapters.pictures.marker import NAME as MARKER
from gateway.adapters.pictures.marker import Marker
from gateway.core.instants import rfc3339
from gateway.core.model import Picture
from gateway.core.picture_errors import StoreAway
from gateway.errors import Unavailable
from gateway.ports.picture_places import PicturePlace
from gateway.wiring.adapters import LEDGER_NAME, PICTURES_NAME, SPOOL_NAME
from gateway.wiring.bucket_backups import BucketTree

ASIDE_NAME: Final = "unproven"
SMALL_FILES: Final = ("callback.key", "credits.json")
"""Of the data folder, besides the stores: what a gateway would not make again as it was."""

PAGE: Final = 1000
TRIES: Final = 5
"""Of copying a ledger in which pictures are erased meanwhile."""

Tell = Callable[[str, int, int], None]
"""What is being done, how far it is, and of how much."""


@dataclass(frozen=True, slots=True)
class BackupMade:
    """What came of it. `problems` are sentences: what the backup could not have whole."""

    manifest: Manifest
    ledger_bytes: int
    tally: Tally
    seconds: float
    problems: Sequence[str]
    notices: Sequence[str]


@dataclass(frozen=True, slots=True)
class BackupOf:
    """An installation: its data folder, and its ledger and pictures where they are not in it."""

    data_dir: Path
    ledger: LedgerSide | None = None
    pictures: PicturePlace | None = None


class Backup:
    """Of an installation, or the one in a data folder, into the folder `into`; `make` once.

    What is elsewhere comes into the same files and folders as what is in the data folder.
    """

    def __init__(
        self,
        of: BackupOf | Path,
        into: Path,
        *,
        verify_all: bool = False,
        tell: Tell = lambda *_: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._origin = of if isinstance(of, BackupOf) else BackupOf(of)
        self._data = resolved(self._origin.data_dir)
        self._folder = BackupFolder(resolved(into))
        self._verify_all = verify_all
        self._tell = tell
        self._clock = clock
        self._new_ledger = self._folder.root / f"{LEDGER_NAME}{NEW}"
        self._bucket: BucketTree | None = None
        if self._origin.pictures is not None:
            target = self._folder.root / PICTURES_NAME
            self._bucket = BucketTree(self._origin.pictures, target, Carrier(), verify_all)

    def make(self) -> BackupMade:
        """Raises `Unavailable` when no backup can be made; the former one is whole then."""
        began = self._clock()
        self._require_apart()
        folder = self._folder
        try:
            folder.open_to_write()
            former = folder.manifest()
            carrier = Carrier()
            tally = self._stores(former, carrier)
            self._carry_set_aside(carrier, tally)
            self._carry_answers(carrier, tally)
            self._carry_small(carrier)
            with closing(LedgerFile(self._new_ledger, still=True)) as ledger:
                tally.doomed += answers_of_none(folder.root / SPOOL_NAME, ledger.is_live)
                problems = self._problems(ledger, tally)
                manifest = self._manifest(ledger, tally, began)
            folder.commit(manifest)
            self._remove(tally.doomed)
        except OSError as error:
            raise Unavailable(f"{sentence(error)}; a former backup is as it was.") from error
        finally:
            with suppress(OSError):
                folder.drop_draft(self._new_ledger)
            folder.close()
            if self._bucket is not None:
                self._bucket.close()
            if self._origin.ledger is not None:
                self._origin.ledger.close()
        size_bytes = (folder.root / LEDGER_NAME).stat().st_size
        took = self._clock() - began
        notices = _notices(tally)
        if not folder.is_private:
            notices.append(f"{folder.root} may be read by others: its file system keeps no modes.")
        return BackupMade(manifest, size_bytes, tally, took, problems, notices)

    def _require_apart(self) -> None:
        ledger, root = self._data / LEDGER_NAME, self._folder.root
        if self._origin.ledger is None and not ledger.is_file():
            raise Unavailable(f"there is no {ledger}; name the folder with --data-dir.")
        for used in (self._data, (self._data / PICTURES_NAME).resolve()):
            if root == used or used in root.parents:
                raise Unavailable(
                    f"{root} lies in {used}, of which it is to be a backup: name a folder"
                    " elsewhere, best on another disk."
                )

    # --- ledger and pictures -----------------------------------------------------------------

    def _stores(self, former: Manifest | None, carrier: Carrier) -> Tally:
        new = new_bytes = 0
        for _ in range(TRIES):
            self._carry_answers(carrier, Tally())
            self._copy_ledger()
            with closing(LedgerFile(self._new_ledger, still=True)) as ledger:
                self._require_whole(ledger, former)
                tally = self._carry_pictures(ledger, carrier)
            new, new_bytes = new + tally.new, new_bytes + tally.new_bytes
            if not self._any_erased(tally.missing):
                return replace(tally, new=new, new_bytes=new_bytes)
        raise Unavailable("Pictures are erased faster than they can be copied: try again later.")

    def _copy_ledger(self) -> None:
        if self._origin.ledger is not None:
            copy_out(self._origin.ledger, self._new_ledger, self._tell, self._clock)
            return
        source = self._data / LEDGER_NAME
        copy_ledger(source, self._new_ledger, lambda at, of: self._tell("ledger", at, of))
        with suppress(PermissionError):  # who is not root keeps it as the own
            was = source.stat()
            shutil.chown(self._new_ledger, was.st_uid, was.st_gid)

    def _require_whole(self, ledger: LedgerFile, former: Manifest | None) -> None:
        self._tell("checking the ledger", 0, 1)
        damage = ledger.damage()
        if damage is not None:
            raise Unavailable(
                f"The ledger {self._data / LEDGER_NAME} is damaged ({damage}); the former backup"
                " stays as it is."
            )
        if former is not None:
            self._require_successor(former, ledger)
        store_id = ledger.store_id()
        if self._bucket is not None:
            if store_id is None or self._bucket.store_id() != store_id:
                where = self._origin.pictures.where if self._origin.pictures else ""
                raise Unavailable(f"The pictures cannot be copied: {where} is another store's.")
            return
        marker = Marker(self._data / PICTURES_NAME)
        if store_id is not None:
            marker.expect(store_id)
        try:
            marker.require()
        except StoreAway as problem:
            raise Unavailable(f"The pictures cannot be copied: {problem}.") from None

    def _require_successor(self, former: Manifest, ledger: LedgerFile) -> None:
        """Nobody loses a good backup to an installation that began anew, or to another one."""
        root, runs, store_id = self._folder.root, ledger.run_count(), ledger.store_id()
        known, found = former.store_id, store_id
        if known is None or found is None:  # of before stores had ids
            key = self._data / SMALL_FILES[0]
            known = former.sums.get(key.name)
            found = digest_of(key) if key.exists() else None
        if None not in (known, found) and known != found:
            raise Unavailable(f"{root} is the backup of another installation: name another folder.")
        if runs < former.runs:  # none is ever deleted
            raise Unavailable(
                f"The backup {root} knows of {former.runs:,} runs and this ledger of {runs:,}: it"
                " is older, or began anew. Name another folder, so that none of them is lost."
            )
        last = self._last_run_kept()
        if last is not None and not ledger.has_run(last):
            raise Unavailable(
                f"The backup {root} knows of the run {last} and this ledger does not: it went on"
                " from an older backup. Name another folder, so that nothing of that time is lost."
            )

    def _last_run_kept(self) -> str | None:
        """By the former backup's ledger; None where it cannot be read, and is no loss."""
        try:
            with closing(LedgerFile(self._folder.root / LEDGER_NAME, still=True)) as former:
                return former.last_run()
        except Unavailable:
            return None

    def _carry_pictures(self, ledger: LedgerFile, carrier: Carrier) -> Tally:
        source, target = self._data / PICTURES_NAME, self._folder.root / PICTURES_NAME
        tree = self._bucket or Tree(source, target, carrier, self._verify_all)
        carrier.make_folder(target, 0o750)
        if self._bucket is not None:
            self._bucket.write_marker(ledger.store_id() or "")
        else:
            with suppress(FileNotFoundError):  # of before there was one
                carrier.carry(source / MARKER, target / MARKER, may_link=False)
        tally, unwanted = Tally(), ledger.to_remove()
        total = ledger.picture_totals()[0]
        for shard, named in by_shard(every_picture(ledger)):
            tree.carry_shard(shard, named, unwanted, tally)
            self._tell("pictures", min(tally.pictures, total), total)
        sync_folder(target)
        return tally

    def _any_erased(self, missing: Sequence[str]) -> bool:
        if not missing:
            return False
        if self._origin.ledger is not None:
            return any(not self._origin.ledger.has_picture(name[:64]) for name in missing)
        with closing(LedgerFile(self._data / LEDGER_NAME)) as ledger:
            return any(not ledger.is_on_record(name[:64]) for name in missing)

    def _carry_set_aside(self, carrier: Carrier, tally: Tally) -> None:
        target = self._folder.root / ASIDE_NAME
        if self._bucket is not None:
            self._bucket.carry_set_aside(target, tally)
        else:
            carry_set_aside(self._data / ASIDE_NAME, target, carrier, tally)

    def _carry_answers(self, carrier: Carrier, tally: Tally) -> None:
        carry_answers(self._data / SPOOL_NAME, self._folder.root / SPOOL_NAME, carrier, tally)

    # --- the rest ----------------------------------------------------------------------------

    def _carry_small(self, carrier: Carrier) -> None:
        for name in SMALL_FILES:
            target = self._folder.root / f"{name}{NEW}"
            try:
                carrier.carry(self._data / name, target, may_link=False)
            except FileNotFoundError:
                continue
            except Damaged as problem:
                raise Unavailable(f"No backup was made: {problem}.") from None

    def _problems(self, ledger: LedgerFile, tally: Tally) -> Sequence[str]:
        self._tell("checking the books", 0, 1)
        found = []
        if ledger.is_current:
            broken = ledger.violations(self._clock())
            found = [f"The ledger does not add up: {one.sentence}" for one in broken]
        return [*found, *picture_problems(tally)]

    def _manifest(self, ledger: LedgerFile, tally: Tally, began: float) -> Manifest:
        names = [name for name in (LEDGER_NAME, *SMALL_FILES) if self._new(name).is_file()]
        return Manifest(
            version=__version__,
            schema=ledger.schema,
            store_id=ledger.store_id(),
            began_at=rfc3339(began),
            ended_at=rfc3339(self._clock()),
            runs=ledger.run_count(),
            pictures=tally.pictures,
            picture_bytes=tally.picture_bytes,
            set_aside=tally.set_aside,
            sums={name: digest_of(self._new(name)) for name in names},
            missing=tuple(tally.missing[:MOST_TOLD]),
        )

    def _new(self, name: str) -> Path:
        return self._folder.root / f"{name}{NEW}"

    def _remove(self, doomed: Sequence[Path]) -> None:
        """What was erased: the backup that had it is no more. Words go before bytes."""
        for path in sorted(doomed, key=lambda one: (one.suffix != ".json", one)):
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in doomed}:
            sync_folder(folder)


def every_picture(ledger: LedgerFile) -> Iterator[Picture]:
    """On record, by digest, some at a time."""
    after = ""
    while page := ledger.pictures(after=after, limit=PAGE):
        after = page[-1].digest
        yield from page


def picture_problems(tally: Tally) -> Sequence[str]:
    """What the ledger names and nobody has, in sentences."""
    found = [f"The picture {name} is not there." for name in tally.missing[:MOST_TOLD]]
    if len(tally.missing) > MOST_TOLD:
        found.append(f"Nor are {len(tally.missing) - MOST_TOLD:,} more.")
    return [*found, *(f"{said}." for said in tally.damaged[:MOST_TOLD])]


def _notices(tally: Tally) -> list[str]:
    found = []
    if tally.lost_at_source:
        one = tally.lost_at_source == 1
        what = "1 picture on record is" if one else f"{tally.lost_at_source:,} on record are"
        found.append(
            f"{what} in the backup alone: the picture folder has lost {'it' if one else 'them'}."
            " 'image-gateway audit' names what is not there; copy it back."
        )
    if tally.strange:
        some = ", ".join(map(repr, tally.strange[:3]))
        found.append(f"What is no picture of the gateway was left out: {some}.")
    return found


def resolved(path: Path) -> Path:
    """The place that is meant, behind all links."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise Unavailable(f"{path} leads nowhere: {error}.") from error


def sentence(error: OSError) -> str:
    """What the system refused, and where."""
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"
