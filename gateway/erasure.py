"""What operators take back: a picture for good, or answers out of the cache.

    erase: intention → bytes and provenance → cached answer → done
    purge: intention → response cache → answers, some at a time

The intention is committed before anything is touched, so that a process that dies on the way
leaves a record from which the chore goes on. What runs have cost and made stays in the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from gateway.core.enrolment import Act, Action
from gateway.core.model import KeptPicture
from gateway.core.pictures import PictureProblem
from gateway.core.transaction import Keys, View, Writes
from gateway.custody import Custody
from gateway.errors import NotFound, Unavailable
from gateway.ports import Clock, Ledger, Mark, PictureFilter, Pictures, ResponseCache

log = structlog.get_logger("gateway.erasure")

FINISH_SECONDS: Final = 60.0
"""How soon an erasure that could not be finished is tried again."""

FINISHED_AT_ONCE: Final = 500
RETIRED_AT_ONCE: Final = 500
"""In one transaction: some milliseconds, so that orders do not feel it."""

EVERYTHING: Final = "*"
"""What a purge is of that is of no single team."""


class PictureNotFound(NotFound):
    code = "picture_not_found"


@dataclass(frozen=True, slots=True)
class Stores:
    ledger: Ledger
    pictures: Pictures
    cache: ResponseCache


class Erasure:
    def __init__(self, stores: Stores, custody: Custody, *, clock: Clock) -> None:
        self._ledger = stores.ledger
        self._pictures = stores.pictures
        self._cache = stores.cache
        self._custody = custody
        self._clock = clock

    async def page(
        self, asked: PictureFilter, *, after: Mark | None, limit: int
    ) -> Sequence[KeptPicture]:
        """Pictures on record, erased ones too, newest first."""
        return await self._ledger.find_pictures(asked, after=after, limit=limit)

    async def erase(self, digest: str, act: Act) -> KeptPicture:
        """Takes the picture away for good; one that is erased already stays so.

        Raises `PictureNotFound`, and `Unavailable` when the bytes could not be removed yet.
        """
        async with self._custody.of([digest]):
            found = await self._ledger.transact(Keys(picture=digest), partial(_intend, act))
            if found is None:
                message = "There is no picture with this digest on record."
                raise PictureNotFound(message, param="digest")
            try:
                await self._remove(found)
            except PictureProblem as problem:
                log.warning("picture not removed yet", picture=digest, reason=str(problem))
                raise Unavailable(
                    "The picture is erased from the record, but the picture store did not remove "
                    "its bytes. That is tried again until it is done.",
                    retry_after_seconds=FINISH_SECONDS,
                ) from None
        return found

    async def finish(self) -> None:
        """Goes on with what was intended and not finished."""
        for one in await self._ledger.unremoved(limit=FINISHED_AT_ONCE):
            try:
                async with self._custody.of([one.picture.digest]):
                    await self._remove(one)
            except PictureProblem as problem:
                name, reason = one.picture.name, str(problem)
                log.warning("picture not removed yet", picture=name, reason=reason)

    async def cached(self) -> tuple[int, int]:
        """How many answers the response cache holds ready, and their bytes."""
        return await self._cache.size()

    async def purge(self, team: str | None, act: Act) -> int:
        """Answers nobody any more from the finished runs of this team; None: from any.

        Returns how many that are. Their pictures and numbers stay. The response cache is emptied as
        a whole: what others lose with it costs them a look into the ledger.
        """
        change = act.change(Action.CACHE_PURGE, team or EVERYTHING)
        await self._ledger.transact(Keys(), lambda _: (None, Writes(changes=(change,))))
        await self._cache.clear()  # first too: when it is cut, no run is left to say whose answers
        purged = 0
        while batch := await self._ledger.retire(team=team, limit=RETIRED_AT_ONCE):
            purged += len(batch)
        await self._cache.clear()
        log.info("cache purged", team=team, purged=purged, actor=act.actor)
        return purged

    async def _remove(self, one: KeptPicture) -> None:
        """Under custody, so that no run owns the picture between its removal and the record."""
        keys = Keys(picture=one.picture.digest)
        erased = await self._ledger.transact(keys, _left)
        if erased is None:
            return  # it is done already, or a run has brought the picture anew
        await self._pictures.remove(erased.picture)
        await self._pictures.forget_set_aside(erased.run_id)
        run = await self._ledger.run(erased.run_id)
        if run is not None:
            await self._cache.delete(run.fingerprint)
        await self._ledger.transact(keys, partial(_removed, self._clock()))
        log.info("picture erased", picture=erased.picture.name, run=erased.run_id)


def _intend(act: Act, view: View) -> tuple[KeptPicture | None, Writes]:
    before = view.picture
    if before is None or before.erased_at is not None:
        return before, Writes()
    after = replace(before, prompt="", erased_at=act.at)
    facts = {"team": before.team, "run": before.run_id, "bytes": before.picture.size_bytes}
    change = act.change(Action.PICTURE_ERASE, before.picture.digest, before=json.dumps(facts))
    return after, Writes(pictures=(after,), changes=(change,))


def _left(view: View) -> tuple[KeptPicture | None, Writes]:
    """The picture, if it is still to be removed."""
    one = view.picture
    left = one is not None and one.erased_at is not None and one.removed_at is None
    return (one if left else None), Writes()


def _removed(now: float, view: View) -> tuple[None, Writes]:
    one, _ = _left(view)
    return None, Writes(pictures=(replace(one, removed_at=now),) if one else ())
