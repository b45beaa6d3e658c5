"""The step keep: every picture of a run into our store, described, and then the run's own.

Bytes are proven by the store, not here. A run owns pictures only by a commit, and between its
last look at them and that commit nobody else has them in hand.
"""

from __future__ import annotations

import asyncio

import structlog

from gateway.core import lifecycle
from gateway.core.events import KeepEvent, KeepFailed, PicturesKept
from gateway.core.model import Kept, Run
from gateway.core.pictures import (
    LinkDead,
    NotAPicture,
    PictureProblem,
    PictureTooLarge,
    name_of,
)
from gateway.core.provenance import sidecar
from gateway.shares import Shares
from gateway.worker.recording import Recorder
from gateway.worker.tools import Bounds, Tools

log = structlog.get_logger("gateway.runs")


class Keeper:
    """Downloads and keeps, at most `bounds.downloads` at once, the teams in turn."""

    def __init__(self, tools: Tools, recorder: Recorder, bounds: Bounds) -> None:
        self._tools = tools
        self._recorder = recorder
        self._download_seconds = bounds.download_seconds
        self._downloads = Shares(bounds.downloads)

    async def keep(self, run: Run) -> KeepEvent:
        """Brings every picture that is not kept yet into our store, side by side."""
        have = {kept.link for kept in await self._there(run.kept)} if run.kept else set()
        missing = [link for link in run.links if link not in have]
        results = await asyncio.gather(*(self._keep_one(run, link) for link in missing))
        kept = tuple(one for one in results if isinstance(one, Kept))
        problems = [one for one in results if isinstance(one, PictureProblem)]
        if not problems:
            return await self._describe(run, PicturesKept(kept))
        dead = all(isinstance(p, LinkDead | NotAPicture | PictureTooLarge) for p in problems)
        return KeepFailed(f"{name_of(problems[0])}: {problems[0]}", dead, kept)

    async def own(self, run: Run, event: PicturesKept) -> tuple[Run, bool]:
        """Commits that the pictures are kept, unless an erasure took one since: then once more.

        Returns what `Recorder.record` does.
        """
        kept = (*run.kept, *event.kept)
        async with self._tools.custody.of(one.picture.digest for one in kept):
            there = await self._there(kept)
            if len(there) == len(kept):
                return await self._recorder.record(run, event)
            gone = "a picture was erased while it was kept"
            return await self._recorder.record(run, KeepFailed(gone, dead=False, kept=there))

    async def _there(self, kept: tuple[Kept, ...]) -> tuple[Kept, ...]:
        """Those whose bytes are in the store; none while the store cannot tell."""
        try:
            if await self._tools.pictures.readable([one.picture for one in kept]):
                return kept
            read = self._tools.pictures.readable
            return tuple([one for one in kept if await read([one.picture])])
        except PictureProblem:
            return ()

    async def _keep_one(self, run: Run, link: str) -> Kept | PictureProblem:
        limit = self._tools.current.policy.picture_limit_bytes
        async with (
            self._downloads.place(run.team),
            self._tools.measured(run, "download") as outcome,
        ):
            try:
                async with self._tools.links[run.upstream].stream(
                    link, max_bytes=limit, timeout_seconds=self._download_seconds
                ) as body:
                    picture = await self._tools.pictures.keep(body, max_bytes=limit, team=run.team)
            except PictureProblem as problem:
                outcome.append(problem)
                return problem
            except Exception as error:
                log.exception("keeping failed", run=run.id)
                outcome.append(error)
                return PictureProblem(f"internal error: {type(error).__name__}")
            return Kept(link, picture)

    async def _describe(self, run: Run, event: PicturesKept) -> KeepEvent:
        """Provenance is written before the run is done: a kept picture is never without."""
        after = lifecycle.advance(run, event, self._tools.clock(), self._tools.rules(run))
        try:
            for kept in after.kept:
                await self._tools.pictures.describe(kept.picture, sidecar(after, kept))
        except PictureProblem as problem:
            return KeepFailed(f"{name_of(problem)}: {problem}", dead=False, kept=event.kept)
        return event
