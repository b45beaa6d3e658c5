"""The driver: leases due runs, does the next step of each, feeds the event back.

One loop serves a first submit and a recovery after a crash alike. It decides nothing: the
lifecycle says what to do next and what an event means, the ledger commits it together with the
money. What it does owns three promises: an event is never lost while the process lives, every
task it starts is awaited, and everything it does at once is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar, assert_never

import structlog

from gateway.core import history, lifecycle, outbox
from gateway.core.booking import book
from gateway.core.breaker import BreakerState
from gateway.core.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    Event,
    Finished,
    Hinted,
    KeepEvent,
    KeepFailed,
    NotNow,
    PicturesKept,
    PollEvent,
    Progressed,
    Retry,
    SubmitEvent,
    Unreachable,
)
from gateway.core.lifecycle import Feed, IllegalTransition, Keep, Poll, Rest, Rules, Submit
from gateway.core.model import Kept, Run, RunState
from gateway.core.pictures import (
    LinkDead,
    NotAPicture,
    PictureProblem,
    PictureTooLarge,
    name_of,
)
from gateway.core.policy import Current
from gateway.core.provenance import sidecar
from gateway.core.routing import NOWHERE, Outlook
from gateway.core.schedule import RUN_LEASE_SECONDS
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.custody import Custody
from gateway.errors import Unavailable
from gateway.gates import Gates, Permit
from gateway.ports import Clock, Ledger, Links, Observer, Pictures, ResponseCache, Upstream
from gateway.waiting import Board

log = structlog.get_logger("gateway.runs")

E = TypeVar("E")

BATCH: Final = 200
"""Runs leased at a time: enough to keep every slot busy, small enough for one transaction."""

IDLE_SECONDS: Final = 1.0
"""The longest sleep of the loop; a replica's leases that ran out are noticed this late."""

GATHER_SECONDS: Final = 0.02
"""Runs due within this time of each other are leased together."""

SLOT_SECONDS: Final = 4.0
"""A submit that finds no slot for so long goes into the queue. While it waits for one, nobody who
only has the ledger could say that it was not sent, and a stop would leave it in doubt."""

RECORD_RETRY_SECONDS: Final = 0.5
HINT_SECONDS: Final = 1.0
"""Longer than most polls; upstream's call is not kept waiting for a slow one."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the driver works with; `upstreams` and `links` are by the settings' names.

    `nudge_courier` is called after each commit that may owe callbacks.
    """

    ledger: Ledger
    upstreams: Mapping[str, Upstream]
    links: Mapping[str, Links]
    pictures: Pictures
    cache: ResponseCache
    board: Board
    observer: Observer
    current: Current
    clock: Clock
    nudge_courier: Callable[[], None]
    custody: Custody = field(default_factory=Custody)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is done at once, and how long a download may take."""

    calls: int = 64
    downloads: int = 8
    download_seconds: float = 120.0


class Worker:
    """Drives every run of this process. `owner` is its name on leases."""

    def __init__(self, tools: Tools, bounds: Bounds, *, owner: str) -> None:
        self.owner = owner
        self._tools = tools
        self._bounds = bounds
        self._gates = Gates(tools.current, tools.clock, tools.observer)
        self._submits = asyncio.Semaphore(bounds.calls)
        self._polls = asyncio.Semaphore(bounds.calls)
        self._downloads = asyncio.Semaphore(bounds.downloads)
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._nudge = asyncio.Event()
        self._wake_at = 0.0
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None

    # --- start and stop ------------------------------------------------------------------------

    def run(self) -> None:
        """Begins to lease due runs; whatever a former process left is taken up at once."""
        self._loop = asyncio.create_task(self._lease_due_runs(), name="worker")

    def start(self, run: Run) -> None:
        """Drives a run whose intention to submit was just committed under our lease."""
        self._drive_soon(run, intended=True)

    def reconnected(self) -> None:
        """The upstreams' settings have changed: each route gets a new chance at once."""
        self._gates.forget()

    def route_state(self, upstream: str, model: str) -> BreakerState:
        """How the breaker of a route is."""
        return self._gates.state(upstream, model)

    async def hint(self, run_id: str) -> None:
        """Upstream says that the run's task may have ended: it is asked after at once.

        A step under way is waited for, so that the hint is not lost in it. Raises `Unavailable`.
        """
        if step := self._driving.get(run_id):
            await asyncio.wait((step,), timeout=HINT_SECONDS)
        now = self._tools.clock()

        def decide(view: View) -> tuple[None, Writes]:
            if view.run is None or view.run.state is not RunState.RUNNING:
                return None, Writes()
            return None, Writes(runs=(lifecycle.advance(view.run, Hinted(), now, Rules()),))

        await self._tools.ledger.transact(Keys(run_id=run_id), decide)
        self._wake_soon(now)

    async def stop(self, grace_seconds: float) -> None:
        """Takes up nothing new and lets steps under way end, for at most this long.

        What is cut then is what a crash would have cut: the next start recovers it.
        """
        self._stopping = True
        self._nudge.set()
        tasks = {*self._driving.values(), *([self._loop] if self._loop else [])}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- the loop ------------------------------------------------------------------------------

    async def _lease_due_runs(self) -> None:
        while not self._stopping:
            try:
                await self._lease_once()
            except Unavailable as error:
                log.warning("ledger unavailable", reason=error.message)
                self._wake_soon(self._tools.clock() + IDLE_SECONDS)
            await self._sleep()

    async def _lease_once(self) -> None:
        now = self._tools.clock()
        self._wake_at = now + IDLE_SECONDS
        leased = await self._tools.ledger.lease(
            self.owner, now=now, until=now + RUN_LEASE_SECONDS, limit=BATCH
        )
        for run in leased:
            self._drive_soon(run, intended=False)
        if len(leased) == BATCH:
            self._wake_soon(now)
        elif (due := await self._tools.ledger.next_due(now)) is not None:
            self._wake_soon(due)

    async def _sleep(self) -> None:
        """Until the next run is due, and at least one gathering time; a nudge looks again."""
        earliest = time.monotonic() + GATHER_SECONDS
        while not self._stopping:
            self._nudge.clear()
            until_due = self._wake_at - self._tools.clock()
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

    def _drive_soon(self, run: Run, *, intended: bool) -> None:
        if run.id in self._driving:
            return  # our own lease ran out under a step that still goes on
        task = asyncio.create_task(self._drive(run, intended=intended), name=f"drive {run.id}")
        self._driving[run.id] = task
        task.add_done_callback(lambda done: self._ended(run.id, done))

    def _ended(self, run_id: str, done: asyncio.Task[None]) -> None:
        """A drive that broke off leaves its lease to run out; then the run is taken up again."""
        self._driving.pop(run_id, None)
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("driving a run failed", run=run_id, exc_info=error)

    # --- one run -------------------------------------------------------------------------------

    async def _drive(self, run: Run, *, intended: bool) -> None:
        """Step by step until the run has to wait or is final.

        A permit is held from before an intention is committed until its submit begins.
        """
        permit: Permit | None = None
        try:
            while True:
                event: Event
                match lifecycle.next_step(run, self._tools.clock(), intended=intended):
                    case Rest(until):
                        self._rest(until)
                        return
                    case Feed(Retry()) | Poll() | Keep() if self._stopping:
                        return
                    case Feed(event):
                        pass
                    case Submit():
                        permit, mine = None, permit
                        event = await self._submit(run, mine)
                    case Poll():
                        event = await self._poll(run)
                    case Keep(refresh):
                        run = await self._refresh(run) if refresh else run
                        event = await self._keep(run)
                    case unknown:
                        assert_never(unknown)
                outlook, permit = self._gates.outlook(run, event)
                if isinstance(event, PicturesKept):
                    run, happened = await self._own(run, event)
                else:
                    run, happened = await self._record(run, event, outlook)
                intended = happened and run.state is RunState.SUBMITTING
                if not intended:
                    self._gates.leave(permit)
                    permit = None
        finally:
            self._gates.leave(permit)

    def _rest(self, until: float | None) -> None:
        if until is not None:
            self._wake_soon(until)

    async def _own(self, run: Run, event: PicturesKept) -> tuple[Run, bool]:
        """Commits that the pictures are kept, unless an erasure took one since: then once more."""
        kept = (*run.kept, *event.kept)
        async with self._tools.custody.of(one.picture.digest for one in kept):
            there = await self._there(kept)
            if len(there) == len(kept):
                return await self._record(run, event)
            gone = "a picture was erased while it was kept"
            return await self._record(run, KeepFailed(gone, dead=False, kept=there))

    async def _there(self, kept: tuple[Kept, ...]) -> tuple[Kept, ...]:
        """Those whose bytes are in the store; none while the store cannot tell."""
        try:
            if await self._tools.pictures.readable([one.picture for one in kept]):
                return kept
            read = self._tools.pictures.readable
            return tuple([one for one in kept if await read([one.picture])])
        except PictureProblem:
            return ()

    async def _record(self, run: Run, event: Event, outlook: Outlook = NOWHERE) -> tuple[Run, bool]:
        """Commits the event and what follows from it.

        Returns the run as it is then, and whether the event happened to it: news that came too
        late changes nothing. Tried until it is committed: a store that is away for a while must
        not make us forget what upstream said.
        """
        while True:
            try:
                before, after = await self._tools.ledger.transact(
                    Keys(accounts=run.account_keys(), run_id=run.id),
                    self._fold(run, event, outlook),
                )
                break
            except Unavailable as error:
                log.warning("event waits for the ledger", run=run.id, reason=error.message)
                await asyncio.sleep(RECORD_RETRY_SECONDS)
            except ConstraintViolation as error:
                if not isinstance(event, Accepted):
                    raise
                log.error("upstream gave a task to two runs", run=run.id, reason=str(error))
                event = AnswerLost("upstream named a task that belongs to another run")
        if before is not after:
            await self._announce(before, event, after)
        return after, before is not after

    def _fold(
        self, run: Run, event: Event, outlook: Outlook
    ) -> Callable[[View], tuple[tuple[Run, Run], Writes]]:
        """The decision that lets the event happen to the run as the ledger has it now."""
        now, rules = self._tools.clock(), self._rules(run)
        team = self._tools.current.policy.teams.get(run.team)

        def decide(view: View) -> tuple[tuple[Run, Run], Writes]:
            before = view.run or run
            within = outlook.within_budget(before, view.accounts, team)
            try:
                if before.attempts != run.attempts:
                    raise IllegalTransition(f"{type(event).__name__} of an earlier attempt")
                after = lifecycle.advance(before, event, now, replace(rules, outlook=within))
            except IllegalTransition as stale:
                log.warning("event came too late", run=run.id, reason=str(stale))
                return (before, before), Writes()
            deliveries = outbox.owed(before, after, view.owed, now=now)
            step = history.note(before, event, after, now)
            writes = book(before, after, view.accounts)
            told = (step,) if step else ()
            return (before, after), replace(writes, deliveries=deliveries, steps=told)

        return decide

    async def _announce(self, before: Run, event: Event, after: Run) -> None:
        """Tells those who wait and watch, after the commit; nothing here can undo it."""
        self._tools.board.publish(after)
        if after.is_final:
            self._tools.nudge_courier()
        try:
            self._tools.observer.advanced(before, event, after)
            _log_event(before, event, after)
            if after.state is RunState.DONE and after.shared:
                ttl = self._tools.current.policy.cache_ttl_seconds
                await self._tools.cache.put(after, ttl_seconds=ttl)
        except Exception:
            log.exception("telling of an event failed", run=after.id)

    def _rules(self, run: Run) -> Rules:
        return self._tools.current.policy.rules.get(run.upstream) or Rules()

    # --- the steps -----------------------------------------------------------------------------

    async def _submit(self, run: Run, permit: Permit | None) -> SubmitEvent:
        """What upstream says; or what the route said before, while it may not be asked."""
        upstream = self._tools.upstreams.get(run.upstream)
        entered = permit or self._gates.enter(run)
        if not isinstance(entered, Permit):
            return entered
        try:
            event: SubmitEvent | None
            if upstream is None:
                event = NotNow(f"the settings no longer name the upstream {run.upstream!r}")
            else:
                event = await self._ask(upstream, run)
        except BaseException:
            self._gates.leave(entered)
            raise
        if event is None:  # our own crowd, which says nothing of the route
            self._gates.leave(entered)
            return NotNow("too many submits are under way; this one was not sent")
        self._gates.submitted(entered, event)
        return event

    async def _ask(self, upstream: Upstream, run: Run) -> SubmitEvent | None:
        """What upstream says; None when no slot came free in time, and nothing was sent."""
        try:
            async with asyncio.timeout(SLOT_SECONDS):
                await self._submits.acquire()
        except TimeoutError:
            return None
        try:
            async with self._measured(run, "submit") as outcome:
                event = await _never_raising(
                    lambda: upstream.submit(run), lambda why: AnswerLost(f"internal error: {why}")
                )
                outcome.append(event)
        finally:
            self._submits.release()
        return event

    async def _poll(self, run: Run) -> PollEvent:
        upstream = self._tools.upstreams.get(run.upstream)
        if upstream is None or run.upstream_task_id is None:
            return Unreachable(f"the settings no longer name the upstream {run.upstream!r}")
        task_id = run.upstream_task_id
        async with self._polls, self._measured(run, "poll") as outcome:
            event = await _never_raising(
                lambda: upstream.poll(task_id), lambda why: Unreachable(f"internal error: {why}")
            )
            outcome.append(event)
            self._gates.polled(run, event)
        return event

    async def _refresh(self, run: Run) -> Run:
        """Asks for the links once more before they are tried again."""
        event = await self._poll(run)
        return (await self._record(run, event))[0] if isinstance(event, Finished) else run

    async def _keep(self, run: Run) -> KeepEvent:
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

    async def _keep_one(self, run: Run, link: str) -> Kept | PictureProblem:
        limit = self._tools.current.policy.picture_limit_bytes
        async with self._downloads, self._measured(run, "download") as outcome:
            try:
                async with self._tools.links[run.upstream].stream(
                    link, max_bytes=limit, timeout_seconds=self._bounds.download_seconds
                ) as body:
                    picture = await self._tools.pictures.keep(body, max_bytes=limit)
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
        after = lifecycle.advance(run, event, self._tools.clock(), self._rules(run))
        try:
            for kept in after.kept:
                await self._tools.pictures.describe(kept.picture, sidecar(after, kept))
        except PictureProblem as problem:
            return KeepFailed(f"{name_of(problem)}: {problem}", dead=False, kept=event.kept)
        return event

    @contextlib.asynccontextmanager
    async def _measured(self, run: Run, operation: str) -> AsyncIterator[list[object]]:
        """Times one call; the caller puts what came of it into the list (nothing: ok)."""
        outcome: list[object] = []
        start = time.perf_counter()
        yield outcome
        name = name_of(outcome[0]) if outcome else "Kept"
        seconds = time.perf_counter() - start
        self._tools.observer.called(run.upstream, operation, name, seconds)


async def _never_raising(call: Callable[[], Awaitable[E]], otherwise: Callable[[str], E]) -> E:
    """An adapter that breaks its word must cost one step and not the run."""
    try:
        return await call()
    except Exception as error:
        log.exception("an upstream call raised")
        return otherwise(type(error).__name__)


def _log_event(before: Run, event: Event, after: Run) -> None:
    facts: dict[str, object] = {}
    if before.route != after.route:
        facts["former_route"] = before.route
    if reason := getattr(event, "reason", None):
        facts["reason"] = reason
    if after.failure:
        facts["failure"] = after.failure.code
    if after.is_final:
        facts["spent"] = after.spent.usd_micros
        facts["seconds"] = round((after.finished_at or 0.0) - after.created_at, 3)
    level = logging.DEBUG if isinstance(event, Progressed) else logging.INFO
    if isinstance(event, CredentialsRefused | AnswerLost):
        level = logging.WARNING  # somebody has to look at these
    log.log(
        level,
        "run",
        run=after.id,
        happened=type(event).__name__,
        before=str(before.state),
        state=str(after.state),
        team=after.team,
        route=after.route,
        upstream_task=after.upstream_task_id,
        **facts,
    )
