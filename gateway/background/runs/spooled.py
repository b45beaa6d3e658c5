"""Answers in this node's spool that no drive has in hand: taken up, or swept out.

What lies there is the only copy of what was paid. So it goes only when its run is final and cannot
use it any more; and where a run was given up as lost, a whole answer found here puts it right.
What cannot be read yet stays: the disk may mend. Whether the settings name its upstream still makes
no difference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Final

import structlog

from gateway.background.runs.asking import Asker
from gateway.background.runs.deps import RunsDeps
from gateway.background.runs.recording import RunRecorder
from gateway.core.model import Run, RunState
from gateway.core.runs.events import AnswerLost, Delivered, TriedAgain
from gateway.core.runs.lifecycle import may_be_delivered_yet, may_be_kept_yet
from gateway.ports.spool import PaidAnswers

log = structlog.get_logger("gateway.runs")

SWEEP_SECONDS: Final = 600.0
"""What calls that a kill cut off had set aside of the disk is room again then."""

BATCH: Final = 100
"""Runs read at a time."""


class SpoolSweep:
    def __init__(self, deps: RunsDeps, asker: Asker, recorder: RunRecorder) -> None:
        self._deps = deps
        self._spool = deps.spool
        self._asker = asker
        self._recorder = recorder

    async def sweep(self, busy: Collection[str]) -> bool:
        """Looks at all that lies here but for what is `busy`: whether some run goes on by it.

        What the ledger knows nothing of stays: it may be an older ledger that was put in place.
        """
        if self._spool is None:
            return False
        goes_on, stuck = False, ""
        async for run in self._lying(busy):
            try:
                goes_on |= await self._look_at(run, self._spool)
            except OSError as error:
                stuck = f"{type(error).__name__} of {run.id}"
        if stuck:
            log.warning("what lies in the spool cannot all be removed", reason=stuck)
        return goes_on

    async def hurry(self, busy: Collection[str]) -> bool:
        """Has runs tried at once whose pictures lie here, not kept yet: whether there are any."""
        found = False
        async for run in self._lying(busy):
            if run.state is RunState.KEEPING:
                found |= (await self._recorder.record(run, TriedAgain()))[1]
        return found

    async def _lying(self, busy: Collection[str]) -> AsyncIterator[Run]:
        """The runs of which something lies here, as the ledger has them."""
        if self._spool is None:
            return
        lying = [run_id for run_id in await self._spool.run_ids() if run_id not in busy]
        known = 0
        for at in range(0, len(lying), BATCH):
            for run in await self._deps.ledger.each_run(lying[at : at + BATCH]):
                known += 1
                yield run
        if known < len(lying):
            log.warning("the spool holds answers of unknown runs", runs=len(lying) - known)

    async def _look_at(self, run: Run, spool: PaidAnswers) -> bool:
        """One that is under way is left to whoever has it, or takes it up."""
        if may_be_delivered_yet(run):
            event = await self._asker.recovered(run)
            if isinstance(event, Delivered):
                log.warning("an answer that was given up as lost lies here", run=run.id)
                return (await self._recorder.record(run, event))[1]
            if isinstance(event, AnswerLost) and event.unread:
                log.warning("what lies here cannot be read yet", run=run.id, reason=event.reason)
                return False  # it may be the only copy of what was paid
        if run.is_final and not await self._may_be_kept_yet(run, spool):
            await spool.remove(run.id)
        return False

    async def _may_be_kept_yet(self, run: Run, spool: PaidAnswers) -> bool:
        """Whether an operator may have it tried again, as long as there is room to spare."""
        spare = self._deps.current.policy.spare_floor_bytes
        return may_be_kept_yet(run, self._deps.clock()) and await spool.free_bytes() >= spare
