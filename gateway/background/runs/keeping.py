"""The step keep: every picture of a run into our store, described, and then the run's own.

Bytes are proven by the store, not here; what is no picture the store sets aside. A run owns
pictures only by a commit, and between its last look at them and that commit nobody else has them
in hand.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import structlog

from gateway.background.runs.deps import RunBounds, RunsDeps
from gateway.background.runs.recording import RETRY_SECONDS, RunRecorder
from gateway.core.copies import replace
from gateway.core.links import SPOOL, cleaned
from gateway.core.model import Kept, Picture, Run, RunState
from gateway.core.picture_errors import (
    LinkBroken,
    LinkDead,
    LinkForbidden,
    NotAPicture,
    Origin,
    PictureProblem,
    PictureTooLarge,
    Undecodable,
    name_of,
)
from gateway.core.provenance import sidecar
from gateway.core.runs import lifecycle, losses
from gateway.core.runs.events import KeepEvent, KeepFailed, Loss, PicturesKept
from gateway.errors import Unavailable
from gateway.process.picture_locks import Held, TurnOver
from gateway.process.shares import Shares

log = structlog.get_logger("gateway.runs")

LOSSES: Final = (
    # What a link's problem means for its picture: the first class that fits.
    (LinkForbidden, Loss.REFUSED),
    (LinkDead, Loss.GONE),
    (PictureTooLarge, Loss.TOO_LARGE),
    (Undecodable, Loss.UNDECODABLE),
    (NotAPicture, Loss.FOREIGN),
)


class Keeper:
    """Downloads and keeps, at most `bounds.downloads` at once, the teams in turn."""

    def __init__(self, deps: RunsDeps, recorder: RunRecorder, bounds: RunBounds) -> None:
        self._deps = deps
        self._recorder = recorder
        self._download_seconds = bounds.download_seconds
        self._downloads = Shares(bounds.downloads)

    async def keep(self, run: Run) -> KeepEvent:
        """Brings every picture that is not kept yet into our store, side by side."""
        if not run.links:  # closed at its deadline, tried again, and still not finished upstream
            return KeepFailed("LinkDead: upstream shows no pictures yet", dead=True)
        have = {kept.link for kept in await self._there(run.kept)} if run.kept else set()
        missing = [link for link in run.links if link not in have]
        if len(missing) == 1:  # as nearly always: a task for it costs more than it helps
            results = [await self._keep_one(run, missing[0])]
        else:
            results = await asyncio.gather(*(self._keep_one(run, link) for link in missing))
        kept = tuple(one for one in results if isinstance(one, Kept))
        problems = [one for one in results if isinstance(one, PictureProblem)]
        if not problems:
            return PicturesKept(kept)
        return _failed(run, problems, kept)

    async def own(self, run: Run, event: PicturesKept) -> tuple[Run, bool]:
        """Commits that the pictures are kept, unless an erasure took one since: then once more.

        Returns what `RunRecorder.record` does.
        """
        kept = (*run.kept, *event.kept)
        while True:
            try:
                async with self._deps.picture_locks.of(one.picture.digest for one in kept) as held:
                    recorded = await self._record(run, event, kept, held)
            except TurnOver:
                continue
            except Unavailable as error:
                log.warning("a picture waits for its turn", run=run.id, reason=error.message)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._tidy(*recorded)
            return recorded

    async def _record(
        self, run: Run, event: PicturesKept, kept: tuple[Kept, ...], held: Held
    ) -> tuple[Run, bool]:
        failed = None if await self._are_told(kept) else await self._told_again(run, kept)
        if failed is not None:
            return await self._recorder.record(run, failed)
        return await self._recorder.record(run, event, held=held)

    async def _are_told(self, kept: tuple[Kept, ...]) -> bool:
        """Whether all are there with what is told of them, as nearly always."""
        try:
            return await self._deps.pictures.readable([one.picture for one in kept], told=True)
        except PictureProblem:
            return False

    async def _told_again(self, run: Run, kept: tuple[Kept, ...]) -> KeepFailed | None:
        """An erasure may have taken what was told alone, while the bytes were written anew; or it
        could not be written with them, or was not by a version that came before."""
        if len(there := await self._there(kept)) < len(kept):
            return KeepFailed("a picture was erased while it was kept", dead=False, kept=there)
        try:
            for one in kept:
                told = self._told_of(run, one.link, one.picture)
                await self._deps.pictures.describe(one.picture, told)
        except PictureProblem as problem:
            return KeepFailed(f"{name_of(problem)}: {problem}", dead=False, kept=kept)
        return None

    async def _there(self, kept: tuple[Kept, ...]) -> tuple[Kept, ...]:
        """Those whose bytes are in the store; none while the store cannot tell."""
        read = self._deps.pictures.readable
        try:
            if await read([one.picture for one in kept]):
                return kept
            return tuple([one for one in kept if await read([one.picture])])
        except PictureProblem:
            return ()

    async def _keep_one(self, run: Run, link: str) -> Kept | PictureProblem:
        limit = self._deps.current.policy.picture_limit_bytes
        async with self._downloads.place(run.team):
            with self._deps.measured(run, "download") as outcome:
                try:
                    async with self._deps.links[run.upstream].stream(
                        link, max_bytes=limit, timeout_seconds=self._download_seconds
                    ) as body:
                        picture = await self._deps.pictures.keep(
                            body,
                            max_bytes=limit,
                            origin=self._origin(run, link, body),
                            beside=partial(self._told_of, run, link),
                        )
                except PictureProblem as problem:
                    outcome.append(problem)
                    return self._from_afar(link, problem)
                except Exception as error:
                    log.exception("keeping failed", run=run.id)
                    outcome.append(error)
                    return PictureProblem(f"internal error: {type(error).__name__}")
            return Kept(link, picture)

    def _from_afar(self, link: str, problem: PictureProblem) -> PictureProblem:
        """What is not in this gateway's spool may be in another's, whose turn comes."""
        if (
            link.startswith(SPOOL)
            and isinstance(problem, LinkDead)
            and self._deps.following.is_shared
        ):
            return LinkBroken("the answer lies with another gateway")
        return problem

    def _origin(self, run: Run, link: str, body: AsyncIterator[bytes]) -> Origin:
        """Of the link only the host: the rest may be signed."""
        return Origin(
            run_id=run.id,
            index=run.links.index(link),
            team=run.team,
            upstream=run.upstream,
            host=_host(link),
            media_type=str(getattr(body, "media_type", ""))[:100],
            at=self._deps.clock(),
        )

    async def _tidy(self, run: Run, happened: bool) -> None:
        """What was set aside of a run that has its pictures now is of no more use."""
        if not happened or run.state is not RunState.DONE:
            return
        try:
            await self._deps.pictures.forget_set_aside(run.id)
        except PictureProblem as problem:
            log.warning("set aside bytes not removed", run=run.id, reason=str(problem))

    def _told_of(self, run: Run, link: str, picture: Picture) -> Mapping[str, object]:
        """What lies beside the picture from its first moment: none is ever without."""
        done = lifecycle.once_kept(run, self._deps.clock(), self._deps.rules(run))
        return sidecar(done, Kept(link, picture), self._deps.current.policy.catalog)


def _failed(run: Run, problems: Sequence[PictureProblem], kept: tuple[Kept, ...]) -> KeepFailed:
    """What the problems of one round come to: the mildest, and whether time alone may mend it."""
    found = [_loss(problem) for problem in problems]
    lost = [loss for loss in found if loss is not None]
    digests = [one.digest for one in problems if isinstance(one, NotAPicture)]
    event = KeepFailed(
        f"{name_of(problems[0])}: {problems[0]}",
        dead=len(lost) == len(found),
        kept=kept,
        loss=min(lost, key=lambda loss: loss.value, default=Loss.GONE),
        body=hashlib.sha256("".join(digests).encode()).hexdigest() if digests else "",
        set_aside=any(one.set_aside for one in problems),
    )
    if losses.is_alike(run.trouble, event):
        return replace(event, reason=f"{event.reason}; the same bytes as the time before")
    return event


def _loss(problem: PictureProblem) -> Loss | None:
    return next((loss for kind, loss in LOSSES if isinstance(problem, kind)), None)


def _host(link: str) -> str:
    try:
        return (urlsplit(cleaned(link)).hostname or "")[:253]
    except ValueError:
        return ""
