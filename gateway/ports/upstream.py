"""One vendor account: what it makes, and its count of credits.

Where a submit is the whole work (`Kind.is_whole`) its answer has the pictures, and is the only copy
of what was paid: it lies here, in the spool, until its run is final.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.core.model import Run
from gateway.core.runs.events import PollEvent, SubmitEvent


@dataclass(frozen=True, slots=True)
class UsedCredits:
    """The credits that a vendor account counts as used so far.

    `account` tells one account from another without giving anything of its key away.
    """

    account: str
    used: float


Sure = Callable[[], Awaitable[None]]
"""Raises where the request must not leave."""


async def nothing_asked() -> None:
    """For a request that may leave at any time."""


class Upstream(Protocol):
    """One vendor account. Its answers are read here and come out as events of the lifecycle."""

    async def submit(self, run: Run, *, sure: Sure = nothing_asked) -> SubmitEvent:
        """Sends the run's request once. What happened is the event; only what `sure` raises
        comes out of it. That is called when everything is ready, right before the request leaves.

        It lasts as long as upstream takes to answer. Cut short, it leaves what a crash would.
        """

    async def recovered(self, run: Run) -> SubmitEvent:
        """What is known here of the run's last submit, whose process did not live to say what
        became of it: `Delivered` where the whole answer lies here, else `AnswerLost`. Asks nobody,
        may be called again, and never raises."""

    async def poll(self, upstream_task_id: str) -> PollEvent:
        """Asks after a task once. Never raises. Where there are no tasks, it is `gone`."""

    async def credits(self) -> UsedCredits | None:
        """Asks what the account has used, once; None when it did not tell. Never raises."""

    async def forget(self, run: Run) -> None:
        """The run is final: what was kept here for it alone goes. Never raises; what could not be
        removed is swept up later. Nothing there is no error."""

    async def aclose(self) -> None: ...
