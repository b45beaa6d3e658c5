"""An installation is moved: its ledger to another place, and its pictures with it, or neither.

    may it be → ledger → pictures                  while its gateways go on: the bulk of it
    held → the rest → pictures → audit → marked    once they have stopped: the last word

Both are one command, and what was carried is not carried again. The old place is only read, until
at the very end it says of itself that it was left. Between that and the target's own word nobody
serves from either, and the same command ends what a cut has left.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.adapters.ledger.moving import marks
from gateway.adapters.ledger.moving.carrying import (
    LedgerMove,
    TableProof,
    Tell,
    Written,
)
from gateway.adapters.ledger.moving.pictures import KnownPictures
from gateway.adapters.ledger.moving.side import LedgerSide
from gateway.adapters.ledger.moving.sqlite_side import SqliteSide
from gateway.adapters.pictures.bucket_client import Bucket, BucketAccess
from gateway.adapters.pictures.bucket_moves import PicturesInBucket
from gateway.adapters.pictures.carrying import PictureMove, PicturesCarried
from gateway.adapters.pictures.places import PicturesInFolder
from gateway.config import Settings
from gateway.config.store_words import show_ledger
from gateway.core.picture_errors import PictureProblem
from gateway.errors import Unavailable
from gateway.ports.picture_places import PicturePlace
from gateway.wiring.adapters import LEDGER_NAME, PICTURES_NAME
from gateway.wiring.backups import ASIDE_NAME, BackupOf
from gateway.wiring.restores import require_no_backup


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of it. `serving`: who goes on at the old place, so that this was the bulk alone.

    `problems` are sentences: what the new place could not have whole, or what does not add up.
    """

    source: str
    target: str
    written: Written
    pictures: PicturesCarried | None
    seconds: float
    serving: str | None = None
    proofs: Sequence[TableProof] = ()
    problems: Sequence[str] = ()

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.proofs)


class Move:
    """From where `settings` have ledger and pictures to where `to` have them; `run` once."""

    def __init__(
        self,
        settings: Settings,
        to: Settings,
        *,
        tell: Tell = lambda *_: None,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._settings = settings
        self._to = to
        self._tell = tell
        self._clock = clock
        self._environ = environ

    def run(self) -> Moved:
        """Raises `Unavailable` when it cannot be, or was cut; run again it goes on."""
        began = self._clock()
        for settings in (self._settings, self._to):
            require_no_backup(Path(settings.storage.data_dir))
        with closing(make_side(self._settings)) as source, closing(make_side(self._to)) as target:
            ledger = LedgerMove(source, target, tell=self._tell, clock=self._clock)
            try:
                return asyncio.run(self._moved(ledger, began))
            except PictureProblem as problem:
                raise Unavailable(f"The pictures cannot be carried: {problem}.") from problem

    async def _moved(self, ledger: LedgerMove, began: float) -> Moved:
        ledger.open()
        pictures = self._pictures()
        try:
            if pictures is not None:
                await pictures.open(ledger.store_id)
            serving = ledger.source.in_use()
            if serving is not None:
                ledger.carry()
                carried = await self._carried(ledger, pictures)
                return self._told(ledger, carried, began, serving=serving)
            with ledger.source.held():
                proofs = ledger.finish()
                carried = await self._carried(ledger, pictures)
                problems = self._problems(ledger, carried)
                ledger.leave()
            KnownPictures(ledger.target).forget()
            ledger.arrive()
        finally:
            if pictures is not None:
                await pictures.close()
        return self._told(ledger, carried, began, proofs=proofs, problems=problems)

    def _pictures(self) -> PictureMove | None:
        """None where they stay where they are."""
        if _pictures_of(self._settings) == _pictures_of(self._to):
            return None
        source, target = (make_place(one, self._environ) for one in (self._settings, self._to))
        return PictureMove(source, target, tell=self._tell)

    async def _carried(
        self, ledger: LedgerMove, pictures: PictureMove | None
    ) -> PicturesCarried | None:
        return None if pictures is None else await pictures.carry(KnownPictures(ledger.target))

    def _problems(self, ledger: LedgerMove, carried: PicturesCarried | None) -> Sequence[str]:
        self._tell("audit", 0, 1)
        found = ledger.target.violations(self._clock())
        said = [f"The ledger does not add up: {one.sentence}" for one in found]
        return [*said, *(carried.problems if carried else ())]

    def _told(
        self, ledger: LedgerMove, carried: PicturesCarried | None, began: float, **came: Any
    ) -> Moved:
        return Moved(
            source=ledger.source.place,
            target=ledger.target.place,
            written=ledger.written,
            pictures=carried,
            seconds=self._clock() - began,
            **came,
        )


def come_back(settings: Settings) -> str | None:
    """Takes back that the settings' ledger was moved; to where, or None when it was not.

    Whoever asks for it knows that nothing was served from there.
    """
    with closing(make_side(settings)) as side:
        if side.schema() is None:
            raise Unavailable(f"There is no ledger at {side.place}.")
        side.take()
        found = side.marks()
        with side.writing():
            side.unmark(marks.LEFT)
            side.unmark(marks.LEAVING)
    if marks.LEFT in found:
        return marks.read(found[marks.LEFT]).place
    return "another place" if marks.LEAVING in found else None


def make_side(settings: Settings) -> LedgerSide:
    """The settings' ledger as a move has it."""
    url = settings.storage.postgres_url
    if url is None:
        return SqliteSide(Path(settings.storage.data_dir) / LEDGER_NAME)
    try:
        from gateway.adapters.ledger.postgres.side import PostgresSide
    except ImportError as missing:
        raise Unavailable(f"{missing}: pip install 'image-gateway[postgres]'.") from missing
    direct = settings.storage.postgres.direct
    place = show_ledger(settings.storage.ledger) or ""
    return PostgresSide(url if direct is None else direct.get_secret_value(), place)


def origin(settings: Settings) -> BackupOf:
    """The settings' installation as a backup takes it."""
    storage = settings.storage
    return BackupOf(
        Path(storage.data_dir),
        ledger=None if storage.postgres_url is None else make_side(settings),
        pictures=None if storage.bucket is None else make_place(settings),
    )


def make_place(settings: Settings, environ: Mapping[str, str] = os.environ) -> PicturePlace:
    """The settings' pictures as whoever goes through all of them has them."""
    data_dir, place = Path(settings.storage.data_dir), settings.storage.bucket
    if place is None:
        return PicturesInFolder(data_dir / PICTURES_NAME, data_dir / ASIDE_NAME)
    return PicturesInBucket(Bucket(place, BucketAccess.of(environ)))


def _pictures_of(settings: Settings) -> str:
    """The same for the same place."""
    bucket = settings.storage.bucket
    folder = Path(settings.storage.data_dir, PICTURES_NAME)
    return str(folder.resolve()) if bucket is None else str(bucket)
