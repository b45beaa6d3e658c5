"""Writes refused orders down, so that a refusal can be explained later.

A refusal costs nothing and must go on costing nothing: an order only puts a record into a
bounded buffer, and a task of our own carries batches into the ledger. Nothing here makes an order
wait or fail. In a flood the first refusals of each team are kept and the others only counted.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from gateway import ids
from gateway.core.catalog import Mode
from gateway.core.model import Job, Verdict
from gateway.core.orders.admission import Denied, Doubtful, Hit, Joined, Settled, Started
from gateway.core.orders.ask import Ask
from gateway.core.orders.asked import Asked
from gateway.core.orders.denials import Denial
from gateway.core.runs.history import FAILED, Refusal
from gateway.core.transaction import Keys, Writes
from gateway.errors import CallerError, GatewayError, Unavailable
from gateway.ports.clock import Clock
from gateway.ports.ledger import Transactions
from gateway.ports.observer import Observer

log = structlog.get_logger("gateway.orders")

BUFFERED: Final = 10_000
"""About ten megabytes, twenty where prompts are kept, and some twenty seconds of writing."""

FLUSH_SECONDS: Final = 1.0
ROWS_AT_ONCE: Final = 500
"""In one transaction, and so in a second: a few milliseconds of the ledger's time."""

TEAM_BURST: Final = 2_000
TEAM_ROWS_PER_SECOND: Final = 2.0
"""A client that tries again without a pause must not fill the disk: this is 50 MB a day."""

MESSAGE_CHARACTERS: Final = 500
PARAM_CHARACTERS: Final = 100

DOUBT: Final = (
    "outcome_unknown",
    "never_paid_twice",
    "An identical order was sent upstream and its answer was lost, so that it may have been paid.",
)
"""Reason, rule and message of an order that is not started since it might be paid twice."""


class _Line:
    """One team's refusals that are not written yet, and how many more it may write."""

    def __init__(self, now: float) -> None:
        self.waiting: deque[Refusal] = deque()
        self._allowance = float(TEAM_BURST)
        self._counted_at = now

    def take_one(self, now: float) -> bool:
        """Whether one more may be written now; a clock that was set back grants nothing."""
        grown = max(0.0, now - self._counted_at) * TEAM_ROWS_PER_SECOND
        self._allowance = min(float(TEAM_BURST), self._allowance + grown)
        self._counted_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


class Refusals:
    """The recorder. `find` knows what is not in the ledger yet; `prompts` says whether the prompt
    of a refused order is kept."""

    def __init__(
        self,
        ledger: Transactions,
        observer: Observer,
        *,
        clock: Clock,
        prompts: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ledger = ledger
        self._observer = observer
        self._clock = clock
        self._prompts = prompts
        self._lines: dict[str, _Line] = {}
        self._by_id: dict[str, Refusal] = {}
        self._dropped = 0
        self._flushing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    # --- what is told --------------------------------------------------------------------------

    def invalid(self, error: CallerError, asked: Asked, request_id: str) -> None:
        """Counts and remembers what was raised while an order was read."""
        team, model = asked.team.name, asked.model
        self._observer.order(team, model, Verdict.INVALID)
        log.info("order refused", team=team, param=error.param, reason=error.message)
        self._add(
            Refusal(
                id=ids.new_refusal_id(),
                request_id=request_id,
                at=self._clock(),
                team=team,
                model=model,
                verdict=str(Verdict.INVALID),
                mode=str(Mode.ENFORCE),
                reason=error.code,
                rule="",
                message=error.message[:MESSAGE_CHARACTERS],
                param=error.param and error.param[:PARAM_CHARACTERS],
                asked=asked.told(with_prompt=self._prompts()),
            )
        )

    def judged(self, ask: Ask, decision: Settled, request_id: str) -> None:
        """Counts and remembers what was denied, or would have been but for the shadow mode."""
        match decision:
            case Denied(denial):
                self._denied(ask, denial, request_id)
            case Doubtful():
                self._add(self._refusal(ask, DOUBT, request_id))
            case Hit() | Joined() | Started() if decision.shadow:
                self._denied(ask, decision.shadow, request_id, decision.job)

    def _denied(self, ask: Ask, denial: Denial, request_id: str, job: Job | None = None) -> None:
        mode = Mode.ENFORCE if job is None else Mode.SHADOW
        self._observer.denied(ask.team.name, denial, mode)
        said = (str(denial.reason), denial.rule, denial.message)
        refusal = self._refusal(ask, said, request_id)
        job_id = None if job is None else job.id
        self._add(replace(refusal, mode=str(mode), param=denial.param, job_id=job_id))

    def answered(self, ask: Ask, job: Job, error: GatewayError, request_id: str) -> None:
        """Remembers an order that was admitted and whose request is answered with this error."""
        refusal = self._refusal(ask, (error.code, "", error.message), request_id)
        self._add(replace(refusal, verdict=FAILED, job_id=job.id))

    def find(self, name: str) -> Sequence[Refusal]:
        """Those with this id, or whose request was called so, that are not written yet."""
        return [one for one in self._by_id.values() if name in (one.id, one.request_id)]

    def _refusal(self, ask: Ask, said: tuple[str, str, str], request_id: str) -> Refusal:
        reason, rule, message = said
        return Refusal(
            id=ids.new_refusal_id(),
            request_id=request_id,
            at=ask.now,
            team=ask.team.name,
            model=ask.order.model,
            verdict=str(Verdict.DENIED),
            mode=str(Mode.ENFORCE),
            reason=reason,
            rule=rule,
            message=message[:MESSAGE_CHARACTERS],
            asked=Asked.of(ask).told(with_prompt=self._prompts()),
        )

    def _add(self, refusal: Refusal) -> None:
        """Into the buffer, or to the dropped ones. A full buffer is shared evenly by the teams."""
        line = self._lines.get(refusal.team)
        if line is None:
            line = self._lines[refusal.team] = _Line(refusal.at)
        if not refusal.request_id:
            return  # nobody could ask for it
        if not line.take_one(refusal.at) or not self._room_for(line):
            self._dropped += 1
            return
        line.waiting.append(refusal)
        self._by_id[refusal.id] = refusal

    def _room_for(self, line: _Line) -> bool:
        if len(self._by_id) < BUFFERED:
            return True
        if len(line.waiting) >= BUFFERED // len(self._lines):
            return False
        longest = max(self._lines.values(), key=lambda one: len(one.waiting))
        if len(longest.waiting) <= len(line.waiting):
            return False  # all is on its way into the ledger
        del self._by_id[longest.waiting.pop().id]
        self._dropped += 1
        return True

    # --- the way into the ledger ---------------------------------------------------------------

    def run(self) -> None:
        """Begins to write what is told."""
        self._task = asyncio.create_task(self._keep_flushing(), name="refusals")

    async def stop(self) -> None:
        """Writes what is left, if the ledger takes it, and ends."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        while await self.flush():
            pass

    async def flush(self) -> bool:
        """Writes one batch; False when there was none or the ledger did not take it. Never raises.

        The teams take turns in it.
        """
        async with self._flushing:
            batch = self._next_batch()
            if not batch:
                return False
            writes = Writes(refusals=tuple(batch))
            try:
                await self._ledger.transact(Keys(), lambda _: (None, writes))
            except Unavailable as error:
                log.warning("refusals wait for the ledger", reason=error.message, count=len(batch))
                self._put_back(batch)
                return False
            except asyncio.CancelledError:
                self._put_back(batch)  # written twice is written once
                raise
            except Exception:
                log.exception("refusals were not written down", count=len(batch))
            for refusal in batch:
                self._by_id.pop(refusal.id, None)
            return True

    def _next_batch(self) -> list[Refusal]:
        turns = (line.waiting.copy() for line in self._lines.values() if line.waiting)
        in_turn = (one for turn in itertools.zip_longest(*turns) for one in turn if one)
        batch = list(itertools.islice(in_turn, ROWS_AT_ONCE))
        for refusal in batch:
            self._lines[refusal.team].waiting.popleft()
        return batch

    def _put_back(self, batch: list[Refusal]) -> None:
        for refusal in reversed(batch):
            self._lines[refusal.team].waiting.appendleft(refusal)

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if self._by_id:
                await self.flush()
            if self._dropped:
                log.warning("refusals not written down: there are too many", count=self._dropped)
                self._dropped = 0
