"""The steps submit and watch: one call to upstream each, and the event that came of it.

An event is all that leaves this module; what it means is the lifecycle's. Nothing here raises for
what upstream did, and no more calls are under way at once than the bounds say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from gateway.background.runs.deps import RunsDeps
from gateway.core.model import Run
from gateway.core.runs.events import AnswerLost, NotNow, PollEvent, SubmitEvent, Unreachable, Why
from gateway.ports.upstream import Upstream
from gateway.process.breakers import Breakers, Permit
from gateway.process.shares import Shares

log = structlog.get_logger("gateway.runs")

E = TypeVar("E")

SLOT_SECONDS: Final = 4.0
"""A submit that finds no slot for so long goes into the queue. While it waits for one, nobody who
only has the ledger could say that it was not sent, and a stop would leave it in doubt."""


class Asker:
    """Submits and polls, at most `calls` of each at once, the teams in turn."""

    def __init__(self, deps: RunsDeps, breakers: Breakers, *, calls: int) -> None:
        self._deps = deps
        self._breakers = breakers
        self._submits = Shares(calls)
        self._polls = Shares(calls)

    async def submit(self, run: Run, permit: Permit | None) -> SubmitEvent:
        """What upstream says; or what the route said before, while it may not be asked."""
        upstream = self._deps.upstreams.get(run.upstream)
        entered = permit or self._breakers.enter(run)
        if not isinstance(entered, Permit):
            return entered
        try:
            event: SubmitEvent | None
            if upstream is None:
                gone = f"the settings no longer name the upstream {run.upstream!r}"
                event = NotNow(gone, why=Why.NEVER_SENT)
            else:
                event = await self._send(upstream, run)
        except BaseException:
            self._breakers.leave(entered)
            raise
        if event is None:  # our own crowd, which says nothing of the route
            self._breakers.leave(entered)
            crowd = "too many submits are under way; this one was not sent"
            return NotNow(crowd, why=Why.NEVER_SENT)
        return self._breakers.submitted(entered, event)

    async def _send(self, upstream: Upstream, run: Run) -> SubmitEvent | None:
        """What upstream says; None when no slot came free in time, and nothing was sent."""
        try:
            async with asyncio.timeout(SLOT_SECONDS):
                await self._submits.take(run.team)
        except TimeoutError:
            return None
        try:
            async with self._deps.measured(run, "submit") as outcome:
                event = await _never_raising(
                    lambda: upstream.submit(run), lambda why: AnswerLost(f"internal error: {why}")
                )
                outcome.append(event)
        finally:
            self._submits.give(run.team)
        return event

    async def poll(self, run: Run) -> PollEvent:
        """How the run's task stands upstream."""
        upstream = self._deps.upstreams.get(run.upstream)
        if upstream is None or run.upstream_task_id is None:
            return Unreachable(f"the settings no longer name the upstream {run.upstream!r}")
        task_id = run.upstream_task_id
        async with (
            self._polls.place(run.team),
            self._deps.measured(run, "poll") as outcome,
        ):
            event = await _never_raising(
                lambda: upstream.poll(task_id), lambda why: Unreachable(f"internal error: {why}")
            )
            outcome.append(event)
            self._breakers.polled(run, event)
        return event


async def _never_raising(call: Callable[[], Awaitable[E]], otherwise: Callable[[str], E]) -> E:
    """An adapter that breaks its word must cost one step and not the run."""
    try:
        return await call()
    except Exception as error:
        log.exception("an upstream call raised")
        return otherwise(type(error).__name__)
