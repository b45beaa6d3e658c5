"""Leasing, and the way of one run from step to step until it has to wait or is final.

The rule: what to do next is the core's to say; whatever came of it is committed before the next
step begins. At most one drive per run goes on in a process, and each is a task that is kept.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Final, assert_never

import structlog

from gateway.background.runs import ending
from gateway.background.runs.asking import Asker
from gateway.background.runs.deps import RunBounds, RunsDeps
from gateway.background.runs.keeping import Keeper
from gateway.background.runs.leases import Lease, LeaseLost, Leases
from gateway.background.runs.recording import RunRecorder
from gateway.background.runs.slots import Slots
from gateway.background.runs.spooled import SpoolSweep
from gateway.core.model import Run, RunState
from gateway.core.runs import lifecycle
from gateway.core.runs.breaker import BreakerState
from gateway.core.runs.events import (
    Begun,
    Event,
    Finished,
    Hinted,
    PicturesKept,
    Retry,
    SubmitEvent,
)
from gateway.core.runs.leases import RENEW_SECONDS
from gateway.core.runs.steps import Feed, Keep, Poll, Recover, Rest, Submit, lies_here, next_step
from gateway.core.teams.changes import Act
from gateway.core.transaction import Keys, View, Writes
from gateway.errors import Unavailable
from gateway.process.breakers import Breakers, Permit
from gateway.process.unexpected import Unexpected

log = structlog.get_logger("gateway.runs")

BATCH: Final = 200
"""Runs leased at a time: enough to keep every slot busy, small enough for one transaction."""

IDLE_SECONDS: Final = 1.0
"""The longest sleep of the loop; leases that ran out are noticed this late."""

GATHER_SECONDS: Final = 0.02
"""Runs due within this time of each other are leased together."""

CROWD_SECONDS: Final = 2.0
"""How often the runs under way are counted: they come and go within the first poll's time."""

HINT_SECONDS: Final = 1.0
"""Longer than most polls; upstream's call is not kept waiting for a slow one."""

LAST_LOOK_SECONDS: Final = 5.0
"""A ledger that is away must not hold up a stop."""


class Worker:
    """Drives every run of this process. `owner` is its name on leases."""

    def __init__(self, deps: RunsDeps, bounds: RunBounds, *, owner: str) -> None:
        self.owner = owner
        self._deps = deps
        self._leases = Leases(deps.ledger, owner, clock=deps.clock, known=deps.known)
        self._breakers = Breakers(deps.current, deps.clock, deps.observer)
        self._slots = Slots(deps, calls=bounds.calls)
        self._asker = Asker(deps, self._breakers, self._leases, self._slots, calls=bounds.calls)
        self._recorder = RunRecorder(deps)
        self._spooled = SpoolSweep(deps, self._asker, self._recorder)
        self._keeper = Keeper(deps, self._recorder, bounds)
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._nudge = asyncio.Event()
        self._wake_at = 0.0
        self._looked_round = -math.inf
        self._stopping = False
        self._impatient = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    # --- start and stop ------------------------------------------------------------------------

    def run(self) -> None:
        """Begins to lease due runs: whatever others left too, once nobody has a lease of it."""
        self._loop = asyncio.create_task(self._lease_due_runs(), name="worker")
        self._renewing = asyncio.create_task(self._renew(), name="leases")

    def start(self, run: Run) -> None:
        """Drives a run whose intention to submit was just committed under our lease."""
        if run.id not in self._driving:
            self._leases.begin(run)
            self._drive_soon(run, intended=True)

    def look(self) -> None:
        """Something may have become due: the ledger is looked into at once."""
        self._wake_soon(self._deps.clock())

    def reconnected(self) -> None:
        """The upstreams' settings have changed: each route gets a new chance at once."""
        self._breakers.forget()

    def route_state(self, upstream: str, model: str) -> BreakerState:
        """How the breaker of a route is."""
        return self._breakers.state(upstream, model)

    async def hint(self, run_id: str) -> None:
        """Upstream says that the run's task may have ended: it is asked after at once.

        A step under way is waited for, so that the hint is not lost in it. Raises `Unavailable`.
        """
        if step := self._driving.get(run_id):
            await asyncio.wait((step,), timeout=HINT_SECONDS)
        now = self._deps.clock()

        def decide(view: View) -> tuple[None, Writes]:
            run = view.run
            if run is None or run.state is not RunState.RUNNING:
                return None, Writes()
            hinted = lifecycle.advance(run, Hinted(), now, self._deps.rules(run))
            return None, Writes(runs=(hinted,))

        await self._deps.ledger.transact(Keys(run_id=run_id), decide)
        self._wake_soon(now)

    async def try_again(self, run: Run, act: Act) -> Run | None:
        """An operator wants the run tried now; None: there is nothing to try.

        A step under way is waited for. Raises `Unavailable`.
        """
        if step := self._driving.get(run.id):
            await asyncio.wait((step,), timeout=HINT_SECONDS)
        after = await self._recorder.try_again(run, act)
        self._wake_soon(self._deps.clock())
        return after

    async def stop(self, grace_seconds: float) -> None:
        """Takes up nothing new and lets steps under way end, for at most this long.

        What is cut then is what a crash would have cut: the next start recovers it. Submits that
        are the whole work cannot be had again: they are waited for, as long as each may take, and
        their pictures are kept; `stop_at_once` ends that.
        """
        self._stopping = True
        self._nudge.set()
        self._slots.close()
        await self._take_up_what_lies_here()
        whole = {id_ for id_ in self._driving if self._is_last_copy(self._leases.in_hand(id_))}
        patient = {self._driving[run_id] for run_id in whole}
        others = {*self._driving.values(), *([self._loop] if self._loop else [])} - patient
        calls, longest = self._asker.open_calls()
        if calls:
            log.warning(
                "the stop waits for calls that are paid already; one more signal cuts them",
                calls=calls,
                at_most_seconds=round(longest),
            )
        await asyncio.gather(
            ending.cut_after(grace_seconds, others),
            ending.cut_after(grace_seconds + longest, patient, self._impatient),
        )
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
            await self._leases.give_back()

    def stop_at_once(self) -> None:
        """A stop waits for no long call any more."""
        self._impatient.set()

    async def sweep(self) -> None:
        """Answers that lie here are told of where nobody knows of them yet, and go where nobody
        needs them any more."""
        if await self._spooled.sweep(set(self._driving)):
            self.look()

    async def _take_up_what_lies_here(self) -> None:
        """Pictures that nobody else can keep are tried once more before this process ends."""
        try:
            async with asyncio.timeout(LAST_LOOK_SECONDS):
                if await self._spooled.hurry(set(self._driving)):
                    await self._lease_once()
        except (TimeoutError, Unavailable, OSError) as error:
            log.warning("what lies in the spool waits for the next start", reason=str(error))

    def _is_last_copy(self, run: Run) -> bool:
        """Whether what is under way is all that there will be of what is paid."""
        return self._deps.is_whole(run.upstream) or lies_here(run)

    # --- the loop ------------------------------------------------------------------------------

    async def _lease_due_runs(self) -> None:
        unexpected = Unexpected("runs")
        while not self._stopping:
            try:
                await self._lease_once()
            except Unavailable as error:
                log.warning("ledger unavailable", reason=error.message)
                self._wake_soon(self._deps.clock() + IDLE_SECONDS)
            except Exception as error:
                unexpected.met(error)
                self._wake_soon(self._deps.clock() + IDLE_SECONDS)
            await self._sleep()

    async def _lease_once(self) -> None:
        now = self._deps.clock()
        self._wake_at = now + IDLE_SECONDS
        await self._look_round()
        due = await self._leases.next_due()  # a read: others may have been quicker
        if due is not None and due <= now:
            leased = await self._leases.take(BATCH)
            for run in leased:
                self._drive_soon(run, intended=False)
            due = now if len(leased) == BATCH else await self._leases.next_due()
        if due is not None:
            self._wake_soon(due)

    async def _look_round(self) -> None:
        """Counts the runs that are asked after, once in a while."""
        now = time.monotonic()
        if now - self._looked_round >= CROWD_SECONDS:
            self._looked_round = now
            self._deps.crowd.running = await self._deps.ledger.running()

    async def _sleep(self) -> None:
        """Until the next run is due, and at least one gathering time; a nudge looks again."""
        earliest = time.monotonic() + GATHER_SECONDS
        while not self._stopping:
            self._nudge.clear()
            until_due = self._wake_at - self._deps.clock()
            # Bounded, because a clock that was set back would make it hours.
            delay = min(max(earliest - time.monotonic(), until_due), IDLE_SECONDS)
            if delay <= 0:
                return
            try:
                async with asyncio.timeout(delay):
                    await self._nudge.wait()
            except TimeoutError:
                return

    def _wake_soon(self, at: float) -> None:
        if at < self._wake_at:
            self._wake_at = at
            self._nudge.set()

    async def _renew(self) -> None:
        unexpected = Unexpected("leases")
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._leases.renew()
            except Unavailable as error:
                log.warning("leases wait for the ledger", reason=error.message)
            except Exception as error:
                unexpected.met(error)

    def _drive_soon(self, run: Run, *, intended: bool) -> None:
        self._keep_driving(run.id, self._drive(run, intended=intended))

    def _keep_driving(self, run_id: str, drive: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(drive, name=f"drive {run_id}")
        self._driving[run_id] = task
        task.add_done_callback(lambda done: self._ended(run_id, done))

    def _ended(self, run_id: str, done: asyncio.Task[None]) -> None:
        """A drive that broke off leaves its lease to run out; then the run is taken up again."""
        self._driving.pop(run_id, None)
        again = self._leases.end(run_id)
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("driving a run failed", run=run_id, exc_info=error)
        if again is not None and not self._stopping:
            self._keep_driving(again.id, self._drive_again(again))

    # --- one run -------------------------------------------------------------------------------

    async def _drive(self, run: Run, *, intended: bool) -> None:
        """Step by step until the run has to wait or is final, or is another worker's.

        A permit is held from before an intention is committed until its submit begins.
        """
        permit: Permit | None = None
        lease = self._leases.of(run)
        try:
            while self._is_ours(run):
                lease.take_over(run)
                step = next_step(
                    run,
                    self._deps.clock(),
                    intended=intended,
                    link_life_seconds=self._deps.rules(run).kind.link_life_seconds,
                )
                event: Event | None
                if isinstance(step, Submit):
                    permit, mine = None, permit
                    run, event = await self._submitted(run, mine, lease)
                else:
                    run, event = await self._done(step, run)
                if event is None:
                    return
                outlook, permit = self._breakers.outlook(run, event)
                if not self._slots.has_place(run, outlook):
                    self._breakers.leave(permit)
                    permit = None
                    if await self._slots.in_line(run, outlook):
                        continue  # meanwhile another route may have come up
                    outlook = outlook.put_off(self._deps.clock())
                if isinstance(event, PicturesKept):
                    run, happened = await self._keeper.own(run, event)
                else:
                    run, happened = await self._recorder.record(run, event, outlook)
                self._breakers.follow(run)
                if (
                    happened
                    and run.is_final
                    and not lifecycle.may_need_answer(run, self._deps.clock())
                ):
                    await self._asker.forget(run)
                intended = happened and run.state is RunState.SUBMITTING
                if not intended:
                    self._breakers.leave(permit)
                    permit = None
        except LeaseLost:
            log.warning("another worker has taken the run over", run=run.id)
        finally:
            self._breakers.leave(permit)
            self._slots.leave(run.id)

    async def _submitted(
        self, run: Run, permit: Permit | None, lease: Lease
    ) -> tuple[Run, SubmitEvent]:
        """What came of a submit. One that lasts is told of before it has ended."""

        async def begins() -> None:
            nonlocal run
            begun, happened = await self._recorder.record(run, Begun())
            if happened:
                run = begun
                lease.take_over(run)

        event = await self._asker.submit(run, permit, begins)
        return run, event

    async def _drive_again(self, run: Run) -> None:
        """A run that was leased while its last drive came to an end; unless that did it all."""
        try:
            await self._leases.prove(self._leases.of(run))
        except (LeaseLost, Unavailable):
            return
        await self._drive(run, intended=False)

    async def _done(
        self, step: Feed | Recover | Poll | Keep | Rest, run: Run
    ) -> tuple[Run, Event | None]:
        """What came of a step that sends no order; None: nothing, and there is no more to do."""
        match step:
            case Rest(until):
                self._rest(until)
                return run, None
            case Feed(Retry()) | Poll() if self._stopping:
                return run, None
            case Keep() if self._stopping and not self._is_last_copy(run):
                return run, None
            case Feed(event):
                return run, event
            case Recover():
                return run, await self._asker.recovered(run)
            case Poll():
                return run, await self._asker.poll(run)
            case Keep(refresh):
                run = await self._refresh(run) if refresh else run
                return run, await self._keeper.keep(run) if self._is_ours(run) else None
            case unknown:
                assert_never(unknown)

    def _is_ours(self, run: Run) -> bool:
        """Whether there may be more to do for it here: it has not been given back, nor taken."""
        if run.is_final:
            return False
        if run.lease_owner != self.owner:
            self._rest(run.due_at)
            return False
        return True

    def _rest(self, until: float | None) -> None:
        if until is not None:
            self._wake_soon(until)

    async def _refresh(self, run: Run) -> Run:
        """Asks for the links once more before they are tried again."""
        event = await self._asker.poll(run)
        return (await self._recorder.record(run, event))[0] if isinstance(event, Finished) else run
