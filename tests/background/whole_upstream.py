"""An upstream where a submit is the whole work, in memory, and a worker that drives runs to it.

`Whole` is upstream, spool and links in one: what it has answered outlives the workers that asked.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from core_samples import a_policy, some_rules
from following_samples import alone
from PIL import Image

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.adapters.pictures.folder import FolderPictures
from gateway.background.runs import CallBounds, RunBounds, RunsDeps, Worker
from gateway.core.catalog import Catalog, ImageModel, PriceRule, Route, Team
from gateway.core.kinds import Kind
from gateway.core.model import Run, RunState
from gateway.core.money.accounts import Amounts
from gateway.core.money.booking import book
from gateway.core.money.budgets import account_keys, windows_at
from gateway.core.money.invariants import Invariant
from gateway.core.picture_errors import LinkDead
from gateway.core.policy import Current
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    Delivered,
    PollEvent,
    SubmitEvent,
    Unreachable,
)
from gateway.core.transaction import Keys, View, Writes
from gateway.ids import new_run_id
from gateway.ports.upstream import Sure, nothing_asked
from gateway.process.waiters import Waiters

WHOLE = Kind("whole", is_whole=True)
BILL = 7_777
PRICE = 10_000
POLICY = a_policy(
    catalog=Catalog(
        {
            "m": ImageModel(
                "m",
                (
                    Route("whole", "pictures", (PriceRule(PRICE),), kind=WHOLE),
                    Route("tasks", "pictures", (PriceRule(3 * PRICE),)),
                ),
                deadline_seconds=900.0,
            )
        }
    ),
    teams={name: Team(name) for name in ("blue", "green")},
    rules={
        "whole": some_rules(kind=WHOLE, retry_first_seconds=0.05, retry_max_seconds=0.2),
        "tasks": some_rules(),
    },
)

Answer = Callable[[Run], Awaitable[SubmitEvent]]


@dataclass
class Whole:
    """Answers with what it is told to (`answer`); by default one picture, once `made` is set.

    `sent` are the runs whose request has left, `most` how many calls were open at once. `stop_at`
    names the moment at which the process is to stand still, and `reached` that it does.
    """

    sent: list[str] = field(default_factory=list)
    most: int = 0
    open: int = 0
    made: asyncio.Event = field(default_factory=asyncio.Event)
    lying: dict[str, bytes] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    answer: Answer | None = None
    before_forget: Callable[[Run], Awaitable[None]] | None = None
    stop_at: str = ""
    is_unreadable: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def point(self, name: str) -> None:
        """Here a process may die."""
        if self.stop_at == name:
            self.reached.set()
            await asyncio.Event().wait()

    # --- the upstream --------------------------------------------------------------------------

    async def submit(self, run: Run, *, sure: Sure = nothing_asked) -> SubmitEvent:
        await sure()
        self.sent.append(run.id)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await self.point("sent")
            if self.answer is not None:
                return await self.answer(run)
            await self.made.wait()
            delivered = self.deliver(run)
            await self.point("answered")
            return delivered
        finally:
            self.open -= 1

    def deliver(self, run: Run) -> Delivered:
        name = f"{run.id}-{run.attempts}"
        self.lying[name] = _picture()
        return Delivered("{}", (f"spool:{name}/0",), BILL)

    async def recovered(self, run: Run) -> SubmitEvent:
        name = f"{run.id}-{run.attempts}"
        if self.is_unreadable:
            return AnswerLost("too many open files", unread=True)
        if name in self.lying:
            return Delivered("{}", (f"spool:{name}/0",), BILL)
        return AnswerLost("cut off")

    async def poll(self, upstream_task_id: str) -> PollEvent:
        return Unreachable("there are no tasks", gone=True)

    async def credits(self) -> None:
        return None

    async def forget(self, run: Run) -> None:
        await self.point("final")
        if self.before_forget is not None:
            await self.before_forget(run)
        self.forgotten.append(run.id)
        await self.remove(run.id)

    async def aclose(self) -> None: ...

    # --- the spool -----------------------------------------------------------------------------

    async def run_ids(self) -> Collection[str]:
        return {name.rpartition("-")[0] for name in self.lying}

    async def remove(self, run_id: str) -> None:
        for name in [name for name in self.lying if name.startswith(run_id)]:
            del self.lying[name]

    async def free_bytes(self) -> int:
        return 10**12

    # --- the links -----------------------------------------------------------------------------

    @asynccontextmanager
    async def stream(
        self, url: str, *, max_bytes: int, timeout_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        await self.point("delivered")
        name = url.removeprefix("spool:").partition("/")[0]
        if name not in self.lying:
            raise LinkDead("it does not lie here")
        yield _chunks(self.lying[name])


def _picture() -> bytes:
    into = io.BytesIO()
    Image.new("RGB", (8, 8)).save(into, "PNG")
    return into.getvalue()


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


class Tasks(Whole):
    """The other kind, which takes an order in a moment and never ends it."""

    async def submit(self, run: Run, *, sure: Sure = nothing_asked) -> SubmitEvent:
        await sure()
        self.sent.append(run.id)
        if self.answer is not None:
            return await self.answer(run)
        return Accepted(f"task {run.id}", "{}")

    async def poll(self, upstream_task_id: str) -> PollEvent:
        return Unreachable("not now")


class House:
    """A ledger, a picture store, and workers that come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.pictures = FolderPictures(folder / "pictures")
        self.whole, self.tasks = Whole(), Tasks()
        self.bounds = {"whole": CallBounds(4, 60.0)}
        self.current = Current(POLICY, time.time)
        self.following = alone()
        self.named: tuple[str, ...] = ("whole", "tasks")
        self.workers: list[Worker] = []
        self.advanced: list[tuple[str, str]] = []

    async def open(self) -> None:
        await self.ledger.open()
        await self.pictures.open()

    async def reopened(self) -> None:
        """The next process has the ledger."""
        await self.ledger.close()
        self.ledger = SqliteLedger(self.folder / "ledger.db")
        await self.ledger.open()

    def worker(self, name: str = "", whole: Whole | None = None) -> Worker:
        """One more process' worker, which is running."""
        mine = whole or self.whole
        nothing: Any = SimpleNamespace(epoch=0, put=_nothing)
        observer: Any = SimpleNamespace(
            called=lambda *_: None, route_turned=lambda *_, **__: None, advanced=self._advanced
        )
        upstreams: dict[str, Any] = {"whole": mine, "tasks": self.tasks}
        links: Any = {"whole": mine, "tasks": mine}
        deps = RunsDeps(
            ledger=self.ledger,
            upstreams={name: upstreams[name] for name in self.named},
            links=links,
            pictures=self.pictures,
            cache=nothing,
            waiters=Waiters(),
            observer=observer,
            current=self.current,
            clock=time.time,
            nudge_webhooks=lambda: None,
            following=self.following,
            recovered=mine.recovered,
            bounds=self.bounds,
            spool=mine,
        )
        owner = name or f"worker {len(self.workers)}"
        worker = Worker(deps, RunBounds(8, 8, 5.0), owner=owner)
        self.workers.append(worker)
        worker.run()
        return worker

    def _advanced(self, before: Run, event: object, after: Run) -> None:
        self.advanced.append((before.id, type(event).__name__))

    def events(self, run: Run) -> list[str]:
        return [event for run_id, event in self.advanced if run_id == run.id]

    async def ordered(self, worker: Worker, **fields: Any) -> Run:
        """A run whose intention is committed, and which its worker has begun with."""
        now = time.time()
        base = Run(
            id=new_run_id(),
            fingerprint=new_run_id(),
            team="blue",
            model="m",
            quality="",
            n=1,
            request="{}",
            upstream="whole",
            upstream_model="pictures",
            price_usd_micros=PRICE,
            windows=windows_at(int(now), POLICY.zone),
            hold=Amounts(PRICE, 1, 1),
            created_at=now,
            deadline_at=now + 900,
            due_at=now,
            lease_owner=worker.owner,
            lease_until=now + 15,
        )
        run = replace(base, **fields)
        await self.put(run, new=True)
        worker.start(run)
        return run

    async def put(self, run: Run, *, new: bool = False) -> None:
        keys = Keys(
            account_keys(run.team, run.created_at, POLICY.zone),
            counted=(run.team, run.created_at),
            run_id=run.id,
        )

        def decide(view: View) -> tuple[None, Writes]:
            return None, book(None if new else view.run, run, view.accounts)

        await self.ledger.transact(keys, decide)

    async def now_is(self, run: Run) -> Run:
        found = await self.ledger.run(run.id)
        assert found is not None
        return found

    async def until(self, run: Run, so: Callable[[Run], bool], seconds: float = 10) -> Run:
        """The run once it is so."""
        try:
            async with asyncio.timeout(seconds):
                while not so(found := await self.now_is(run)):
                    await asyncio.sleep(0.01)
                return found
        except TimeoutError:
            raise AssertionError(f"still {await self.now_is(run)}") from None

    async def final(self, run: Run) -> Run:
        """It, once nobody does anything for it any more."""

        def rests(one: Run) -> bool:
            return one.is_final and not any(one.id in worker._driving for worker in self.workers)

        return await self.until(run, rests)

    async def state(self, run: Run, state: RunState) -> Run:
        return await self.until(run, lambda one: one.state is state)

    async def adds_up(self) -> None:
        """Steps of these runs' beginnings were never written."""
        wrong = {one.invariant for one in await self.ledger.violations()}
        assert wrong <= {Invariant.TOLD}

    async def close(self) -> None:
        for worker in self.workers:
            await killed(worker)
        await self.pictures.close()
        await self.ledger.close()


async def killed(worker: Worker) -> None:
    """Its process is no more."""
    tasks = [one for one in (worker._loop, worker._renewing) if one is not None]
    worker._stopping = True
    while driving := [*tasks, *worker._driving.values()]:
        for task in driving:
            task.cancel()
        await asyncio.gather(*driving, return_exceptions=True)
        await asyncio.sleep(0)
        tasks = []


async def _nothing(*_: object, **__: object) -> None: ...
