"""The steps submit, recover and watch: one call to upstream each, and the event that came of it.

An event is all that leaves this module; what it means is the lifecycle's. Nothing here raises for
what upstream did, and no more calls are under way at once than the bounds say. A submit that is the
whole work may last minutes: that it has begun is told before its answer comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import structlog

from gateway.background.runs.deps import RunsDeps
from gateway.background.runs.leases import Lease, LeaseLost, Leases
from gateway.background.runs.slots import Slots
from gateway.core.model import Run, RunState
from gateway.core.runs.events import AnswerLost, NotNow, PollEvent, SubmitEvent, Unreachable, Why
from gateway.errors import Unavailable
from gateway.ports.upstream import Sure, Upstream
from gateway.process.breakers import Breakers, Permit
from gateway.process.shares import Shares

log = structlog.get_logger("gateway.runs")

E = TypeVar("E")

SLOT_SECONDS: Final = 4.0
"""A submit that finds no slot for so long goes into the queue. While it waits for one, nobody who
only has the ledger could say that it was not sent, and a stop would leave it in doubt."""

BEGUN_SECONDS: Final = 2.0
"""So soon after a request has left, whoever refuses it at sight has said so."""

END_SECONDS: Final = 5.0
"""What a submit may last beyond its own time: looking up the name, and writing down the answer."""

CUT_OFF: Final = "the gateway was stopped while the request was going out"


class NotSent(Exception):
    """A submit did not leave for a reason of our own, which says nothing of the route."""


Begins = Callable[[], Awaitable[None]]
"""Told that a submit is under way which may last, once; the call goes on meanwhile."""


@dataclass(slots=True)
class _Out:
    """A submit under way: under which permit, until it is seen to have begun."""

    permit: Permit
    begun: bool = False


class Asker:
    """Submits as there are slots, and polls, at most `calls` at once, the teams in turn."""

    def __init__(
        self, deps: RunsDeps, breakers: Breakers, leases: Leases, slots: Slots, *, calls: int
    ) -> None:
        self._deps = deps
        self._breakers = breakers
        self._leases = leases
        self._slots = slots
        self._polls = Shares(calls)
        self._ends: dict[str, float] = {}

    def open_calls(self) -> tuple[int, float]:
        """How many submits are under way that are the whole work, and for how many seconds more
        the last of them may be."""
        now = asyncio.get_running_loop().time()
        return len(self._ends), max((end - now for end in self._ends.values()), default=0.0)

    async def submit(self, run: Run, permit: Permit | None, begins: Begins) -> SubmitEvent:
        """What upstream says; or what the route said before, while it may not be asked.

        Raises `LeaseLost` when the run is another worker's by now; then nothing was sent.
        """
        upstream = self._deps.upstreams.get(run.upstream)
        is_whole = self._deps.is_whole(run.upstream)
        if is_whole and run.state is RunState.UNSURE:
            return await self.recovered(run)  # it is of another kind than when it was sent to
        entered = permit or self._breakers.enter(run)
        if not isinstance(entered, Permit):
            return entered
        out = _Out(entered)
        try:
            event: SubmitEvent
            if upstream is None:
                gone = f"the settings no longer name the upstream {run.upstream!r}"
                event = NotNow(gone, why=Why.NEVER_SENT)
            elif is_whole:
                event = await self._have_made(upstream, run, out, begins)
            else:
                event = await self._send(upstream, run)
        except NotSent as ours:
            self._breakers.leave(entered)
            return NotNow(str(ours), why=Why.NEVER_SENT)
        except BaseException:
            if not out.begun:
                self._breakers.leave(entered)
            raise
        finally:
            self._slots.leave(run.id)
        if isinstance(event, NotNow) and event.why is Why.FULL:
            self._breakers.leave(entered)
            return event
        return self._breakers.submitted(entered, event, has_begun=out.begun)

    async def _send(self, upstream: Upstream, run: Run) -> SubmitEvent:
        """What upstream says. Raises `NotSent`, also when no slot came free in time."""
        try:
            if not self._slots.take_at_once(run):
                async with asyncio.timeout(SLOT_SECONDS):
                    await self._slots.take(run)
        except TimeoutError:
            raise NotSent("too many submits are under way; this one was not sent") from None
        return await self._call(upstream, run, partial(self._sure, self._leases.of(run)))

    async def _have_made(
        self, upstream: Upstream, run: Run, out: _Out, begins: Begins
    ) -> SubmitEvent:
        """What upstream says in the end, where it does the whole work meanwhile."""
        if not self._slots.take_now(run, run.upstream):
            return NotNow("as many calls as may be are under way there", why=Why.FULL)
        lease, loop, left = self._leases.of(run), asyncio.get_running_loop(), asyncio.Event()

        async def sure() -> None:
            await self._sure(lease)
            left.set()

        longest = self._slots.submit_seconds(run.upstream) + END_SECONDS
        self._ends[run.id] = loop.time() + longest
        call = asyncio.create_task(self._call(upstream, run, sure), name=f"submit {run.id}")
        try:
            if await _lasts(call, left):
                out.begun = True
                self._breakers.begun(out.permit)
                await begins()
            return await call
        finally:
            del self._ends[run.id]
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    async def _call(self, upstream: Upstream, run: Run, sure: Sure) -> SubmitEvent:
        with self._deps.measured(run, "submit") as outcome:
            event = await _never_raising(
                lambda: upstream.submit(run, sure=sure),
                lambda why: AnswerLost(f"internal error: {why}"),
            )
            outcome.append(event)
        return event

    async def recovered(self, run: Run) -> SubmitEvent:
        """What is known of a submit whose process is no more."""
        upstream = self._spooling(run)
        recovered = self._deps.recovered if upstream is None else upstream.recovered
        return await _never_raising(
            lambda: recovered(run),
            lambda why: AnswerLost(f"{CUT_OFF} ({why})", unread=True),
        )

    async def forget(self, run: Run) -> None:
        """What upstream's adapter kept for the run alone is of no more use: it is final."""
        upstream, spool = self._spooling(run), self._deps.spool
        if upstream is not None:
            await _never_raising(lambda: upstream.forget(run), lambda _: None)
        elif spool is not None and run.upstream_task_id is None:
            await _never_raising(lambda: spool.remove(run.id), lambda _: None)

    def _spooling(self, run: Run) -> Upstream | None:
        """Its upstream where that has a spool: it may have another kind by now, or be gone."""
        is_whole = self._deps.is_whole(run.upstream)
        return self._deps.upstreams.get(run.upstream) if is_whole else None

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
        async with self._polls.place(run.team):
            with self._deps.measured(run, "poll") as outcome:
                event = await _never_raising(
                    lambda: upstream.poll(task_id),
                    lambda why: Unreachable(f"internal error: {why}"),
                )
                outcome.append(event)
                self._breakers.polled(run, event)
        return event


async def _lasts(call: asyncio.Task[SubmitEvent], left: asyncio.Event) -> bool:
    """Whether it is still without an answer a moment after the request has left."""
    departure = asyncio.create_task(left.wait())
    try:
        await asyncio.wait({call, departure}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        departure.cancel()
        await asyncio.gather(departure, return_exceptions=True)
    if not call.done():
        await asyncio.wait({call}, timeout=BEGUN_SECONDS)
    return not call.done()


async def _never_raising(call: Callable[[], Awaitable[E]], otherwise: Callable[[str], E]) -> E:
    """An adapter that breaks its word must cost one step and not the run."""
    try:
        return await call()
    except (LeaseLost, NotSent):
        raise
    except Exception as error:
        log.exception("an upstream call raised")
        return otherwise(type(error).__name__)
