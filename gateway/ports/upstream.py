"""One vendor account: its tasks, and its count of credits."""

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
        """

    async def poll(self, upstream_task_id: str) -> PollEvent:
        """Asks after a task once. Never raises."""

    async def credits(self) -> UsedCredits | None:
        """Asks what the account has used, once; None when it did not tell. Never raises."""

    async def aclose(self) -> None: ...
