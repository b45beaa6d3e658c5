"""What operators take back: a picture for good, or answers out of the cache.

    erase: intention → bytes and provenance → cached answers → what the ledger overwrote → done
    purge: intention → response cache → answers, some at a time

Other gateways on the same ledger hear of both by its epoch of the cache, and empty theirs.

The intention is committed before anything is touched, so that a process that dies on the way
leaves a record from which the chore goes on. What runs have cost and made stays in the ledger.
Equal bytes are erased as one picture, whoever's runs made them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from gateway import ids
from gateway.core.model import KeptPicture, Picture, Run
from gateway.core.picture_errors import PictureProblem
from gateway.core.policy import Current
from gateway.core.provenance import sidecar
from gateway.core.replicas import Epoch
from gateway.core.runs.redaction import wordless
from gateway.core.teams.changes import Act, Action
from gateway.core.transaction import Keys, View, Writes
from gateway.errors import CallerError, NotFound, Unavailable
from gateway.ports.cache import ResponseCache
from gateway.ports.clock import Clock
from gateway.ports.ledger import ErasureRecords
from gateway.ports.pictures import Pictures
from gateway.ports.spool import PaidAnswers
from gateway.process.following import Following
from gateway.process.picture_locks import PictureLocks

log = structlog.get_logger("gateway.erasure")

FINISH_SECONDS: Final = 60.0
"""How soon an erasure that could not be finished is tried again."""

FINISHED_AT_ONCE: Final = 500
RETIRED_AT_ONCE: Final = 500
"""In one transaction: some milliseconds, so that orders do not feel it."""

EVERYTHING: Final = "*"
"""What a purge is of that is of no single team."""


VOID: Final = frozenset({Epoch.CACHE})
"""What is raised with whatever makes answers void that a cache may hold."""


class PictureNotFound(NotFound):
    code = "picture_not_found"


class RunNotFound(NotFound):
    code = "run_not_found"


class RunUnderWay(CallerError):
    """Its words are needed until it has ended."""

    status, code = 409, "run_under_way"


@dataclass(frozen=True, slots=True)
class ErasureDeps:
    """Where what is erased may lie, and who else has it in hand."""

    ledger: ErasureRecords
    pictures: Pictures
    cache: ResponseCache
    picture_locks: PictureLocks
    following: Following
    clock: Clock
    current: Current
    spool: PaidAnswers | None = None


class Erasure:
    def __init__(self, deps: ErasureDeps) -> None:
        self._ledger = deps.ledger
        self._pictures = deps.pictures
        self._cache = deps.cache
        self._picture_locks = deps.picture_locks
        self._following = deps.following
        self._clock = deps.clock
        self._current = deps.current
        self._spool = deps.spool
        self._is_scrubbed = False

    async def erase(self, digest: str, act: Act) -> KeptPicture:
        """Takes the picture away for good, and the words of every run that made it; one that is
        erased already stays so.

        Raises `PictureNotFound`, and `Unavailable` when the bytes could not be removed yet.
        """
        async with self._picture_locks.of([digest]):
            found = await self._ledger.transact(Keys(picture=digest), partial(_intend, act))
            if found is None:
                message = "There is no picture with this digest on record."
                raise PictureNotFound(message, param="digest")
            await self._following.voiding()
            try:
                await self._remove(digest)
            except PictureProblem as problem:
                log.warning("picture not removed yet", picture=digest, reason=str(problem))
                raise Unavailable(
                    "The picture is erased from the record, but the picture store did not remove "
                    "its bytes. That is tried again until it is done.",
                    retry_after_seconds=FINISH_SECONDS,
                ) from None
            except Unavailable as error:
                log.warning("erasure not finished yet", picture=digest, reason=error.message)
                raise Unavailable(
                    "The picture is erased, but the ledger's files may still hold what was "
                    "overwritten. That is tried again until it is done.",
                    retry_after_seconds=FINISH_SECONDS,
                ) from None
        await self._following.everywhere()
        return found

    async def erase_run(self, asked: str, act: Act) -> Run:
        """Takes the words of a run that has ended away, also of one that failed and that upstream
        quoted, with every picture it made. `asked` is the id of the run, of one of its tasks, or of
        the refusal of such a task.

        Raises `RunNotFound`, `RunUnderWay`, and `Unavailable` as `erase` does.
        """
        run = await self._run_of(asked)
        if run is None:
            raise RunNotFound("There is no run and no task with this id.", param="id")
        if not run.is_final:
            raise RunUnderWay("This run is still under way. Erase it when it has ended.")
        unfinished: Unavailable | None = None
        for picture in dict.fromkeys(run.pictures):
            try:
                await self._erase_made(picture, replace(act, id=ids.new_change_id()))
            except Unavailable as error:
                unfinished = error
        after = await self._ledger.transact(Keys(run_id=run.id), partial(_unsay, act, run))
        await self._following.voiding()
        await self._forget([run.id])
        await self._forget_answer(run.id)
        await self._following.everywhere()
        if unfinished is not None:
            raise unfinished
        log.info("run erased", run=run.id, actor=act.actor)
        return after

    async def _run_of(self, asked: str) -> Run | None:
        if (run := await self._ledger.run(asked)) is not None:
            return run
        named = await self._ledger.refusals_named(asked, limit=1)
        task = next((one.job_id for one in named if one.id == asked and one.job_id), asked)
        found = await self._ledger.job(task)
        return found.run if found else None

    async def _erase_made(self, picture: Picture, act: Act) -> None:
        """A run that failed may have kept a picture that never came on record."""
        try:
            await self.erase(picture.digest, act)
        except PictureNotFound:
            async with self._picture_locks.of([picture.digest]):
                try:
                    await self._pictures.remove(picture)
                except PictureProblem as problem:
                    raise Unavailable(
                        f"The picture store did not remove a picture: {problem}. Erase it again.",
                        retry_after_seconds=FINISH_SECONDS,
                    ) from None

    async def _forget_answer(self, run_id: str) -> None:
        """One that came too late may lie here. Other gateways sweep theirs out by themselves."""
        if self._spool is None:
            return
        try:
            await self._spool.remove(run_id)
        except OSError as problem:
            raise Unavailable(
                f"The run is erased, but an answer of it was not removed: {problem}. Erase it"
                " again, or leave it to the next hour.",
                retry_after_seconds=FINISH_SECONDS,
            ) from None

    async def finish(self) -> None:
        """Goes on with what was intended and not finished."""
        await self._scrub_once()
        left = await self._ledger.unremoved(limit=FINISHED_AT_ONCE)
        if left:
            await self._following.voiding()
        for digest in dict.fromkeys(one.picture.digest for one in left):
            try:
                async with self._picture_locks.of([digest]):
                    await self._remove(digest)
            except (PictureProblem, Unavailable) as problem:
                log.warning("picture not removed yet", picture=digest, reason=str(problem))

    async def _scrub_once(self) -> None:
        """A process that died may have left in the ledger's log what it had overwritten."""
        if not self._is_scrubbed:
            with suppress(Unavailable):  # the next turn of the chore comes soon
                await self._ledger.scrub()
                self._is_scrubbed = True

    async def purge(self, team: str | None, act: Act) -> int:
        """Answers nobody any more from the finished runs of this team; None: from any.

        Returns how many that are. Their pictures and numbers stay. The response cache is emptied as
        a whole: what others lose with it costs them a look into the ledger.
        """
        change = act.change(Action.CACHE_PURGE, team or EVERYTHING)
        void = Writes(changes=(change,), raised=VOID)
        await self._ledger.transact(Keys(), lambda _: (None, void))
        await self._cache.clear()  # first too: when it is cut, no run is left to say whose answers
        purged = 0
        while batch := await self._ledger.retire(team=team, limit=RETIRED_AT_ONCE):
            purged += len(batch)
        await self._cache.follow((await self._ledger.epochs()).cache)
        await self._following.everywhere()
        log.info("cache purged", team=team, purged=purged, actor=act.actor)
        return purged

    async def _remove(self, digest: str) -> None:
        """Under its lock, so that no run owns the picture between its removal and the record.

        Its records are read in the writer's order: an erasure that was committed just now, and a
        picture that was kept just now, are among them.
        """
        keys = Keys(picture=digest)
        found = await self._ledger.transact(keys, lambda view: (view.pictures, Writes()))
        left = [one for one in found if _is_left(one)]
        if not left:
            return  # it is done already
        anew = [one for one in found if one.erased_at is None]
        if anew:
            await self._describe(anew[0])
        else:
            await self._pictures.remove(left[0].picture)
        await self._forget([one.run_id for one in left])
        await self._ledger.transact(keys, partial(_removed, self._clock()))
        for one in left:
            log.info("picture erased", picture=one.picture.name, run=one.run_id)

    async def _describe(self, one: KeptPicture) -> None:
        """The bytes have come again since: they stay, and the file beside them tells of that run
        and no more of an erased one."""
        run, catalog = await self._ledger.run(one.run_id), self._current.policy.catalog
        for kept in run.kept if run else ():
            if run and kept.picture == one.picture:
                beside = sidecar(run, kept, catalog)
                await self._pictures.describe(one.picture, beside, anew=True)

    async def _forget(self, run_ids: Sequence[str]) -> None:
        """All that other places than the picture store may still say of these erased runs.

        What is set aside for a run goes here too.
        """
        for run_id in dict.fromkeys(run_ids):
            await self._pictures.forget_set_aside(run_id)
        runs = [await self._ledger.run(run_id) for run_id in dict.fromkeys(run_ids)]
        await self._cache.forget([run.fingerprint for run in runs if run])
        await self._ledger.scrub()


def _intend(act: Act, view: View) -> tuple[KeptPicture | None, Writes]:
    live = [one for one in view.pictures if one.erased_at is None]
    if not live:
        return max(view.pictures, key=_erased_at, default=None), Writes()
    after = tuple(replace(one, prompt="", erased_at=act.at) for one in live)
    facts = [{"team": one.team, "run": one.run_id} for one in live]
    before = {**facts[0], "bytes": live[0].picture.size_bytes}
    told = before if len(facts) == 1 else {**before, "also": facts[1:]}
    change = act.change(Action.PICTURE_ERASE, live[0].picture.digest, before=json.dumps(told))
    return after[0], Writes(pictures=after, changes=(change,), raised=VOID)


def _unsay(act: Act, run: Run, view: View) -> tuple[Run, Writes]:
    change = act.change(Action.RUN_ERASE, run.id, before=json.dumps({"team": run.team}))
    return wordless(view.run or run), Writes(wordless=(run.id,), changes=(change,), raised=VOID)


def _erased_at(one: KeptPicture) -> float:
    """Of those erased together the first is the greatest, as `max` takes it."""
    return one.erased_at or 0.0


def _is_left(one: KeptPicture) -> bool:
    """Whether it is erased and not all of it is done yet."""
    return one.erased_at is not None and one.removed_at is None


def _removed(now: float, view: View) -> tuple[None, Writes]:
    left = (one for one in view.pictures if _is_left(one))
    return None, Writes(pictures=tuple(replace(one, removed_at=now) for one in left))
