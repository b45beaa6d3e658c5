"""The steps submit and watch: one call to upstream each, and the event that came of it.

An event is all that leaves this module; what it means is the lifecycle's. Nothing here raises for
what upstream did, and no more calls are under way at once than the bounds say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import structlog

from gateway.background.runs.deps import RunsDeps
from gateway.background.runs.leases import Lease, LeaseLost, Leases
from gateway.core.model import Run
from gateway.core.runs.events import AnswerLost, NotNow, PollEvent, SubmitEvent, Unreachable, Why
from gateway.errors import Unavailable
from gateway.ports.upstream import Upstream
from gateway.process.breakers import Breakers, Permit
from gateway.process.shares import Shares

log = structlog.get_logger("gateway.runs")

E = TypeVar("E")

SLOT_SECONDS: Final = 4.0
"""A submit that finds no slot for so long goes into the queue. While it waits for one, nobody who
only has the ledger could say that it was not sent, and a stop would leave it in doubt."""


class NotSent(Exception):
    """A submit did not leave for a reason of our own, which says nothing of the route."""


class Asker:
    """Submits and polls, at most `calls` of each at once, the teams in turn."""

    def __init__(self, deps: RunsDeps, breakers: Breakers, leases: Leases, *, calls: int) -> None:
        self._deps = deps
        self._breakers = breakers
        self._leases = leases
        self._submits = Shares(calls)
        self._polls = Shares(calls)

    async def submit(self, run: Run, permit: Permit | None) -> SubmitEvent:
        """What upstream says; or what the route said before, while it may not be asked.

        Raises `LeaseLost` when the run is another worker's by now; then nothing was sent.
        """
        upstream = self._deps.upstreams.get(run.upstream)
        entered = permit or self._breakers.enter(run)
        if not isinstance(entered, Permit):
            return entered
        try:
            event: SubmitEvent
            if upstream is None:
                gone = f"the settings no longer name the upstream {run.upstream!r}"
                event = NotNow(gone, why=Why.NEVER_SENT)
            else:
                event = await self._send(upstream, run)
        except NotSent as ours:
            self._breakers.leave(entered)
            return NotNow(str(ours), why=Why.NEVER_SENT)
        except BaseException:
            self._breakers.leave(entered)
            raise
        return self._breakers.submitted(entered, event)

    async def _send(self, upstream: Upstream, run: Run) -> SubmitEvent:
        """What upstream says. Raises `NotSent`, also when no slot came free in time."""
        try:
            async with asyncio.timeout(SLOT_SECONDS):
                await self._submits.take(run.team)
        except TimeoutError:
            raise NotSent("too many submits are under way; this one was not sent") from None
        sure = partial(self._sure, self._leases.of(run))
        try:
            async with self._deps.measured(run, "submit") as outcome:
                event = await _never_raising(
                    lambda: upstream.submit(run, sure=sure),
                    lambda why: AnswerLost(f"internal error: {why}"),
                )
                outcome.append(event)
        finally:
            self._submits.give(run.team)
        return event

    async def _sure(self, lease: Lease) -> None:
        """Nothing is sent for a run that may be another worker's."""
        try:
            await self._leases.prove(lease)
        except Unavailable:
            raise NotSent("the ledger could not tell whose run it is; it was not sent") from None

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
    except (LeaseLost, NotSent):
        raise
    except Exception as error:
        log.exception("an upstream call raised")
        return otherwise(type(error).__name__)
