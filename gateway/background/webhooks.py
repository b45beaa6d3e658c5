"""The webhooks: leases due callbacks from the outbox, attempts each, records what came of it.

Alerts to the operator are rows of the same outbox, and go out in the same way. It decides
nothing: the outbox says what an attempt means and when there is another. A delivery is a row
from the transaction that made it owed, so a process that dies loses none: each is made at
least once, under the same id. What waits here and what is done at once is bounded for each
team and each of its receiving hosts, so that one that hangs holds up its own callbacks only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from gateway.background.webhook_queues import WebhookQueues
from gateway.core import delivery as outbox
from gateway.core.delivery import Outcome
from gateway.core.model import Delivery, DeliveryState, Job, Run, Task
from gateway.core.money.alerts import trial
from gateway.core.policy import Current
from gateway.core.teams.changes import Act, Action
from gateway.core.teams.records import Change
from gateway.core.transaction import Keys, Writes
from gateway.errors import Unavailable
from gateway.ports.clock import Clock
from gateway.ports.ledger import Outbox
from gateway.ports.observer import Observer
from gateway.ports.outbound import Callbacks
from gateway.process.unexpected import Unexpected

log = structlog.get_logger("gateway.callbacks")

LEASE_SECONDS: Final = 15.0
"""How long what waits here stays ours without a word: when this process dies, another one has it
within that time."""

RENEW_SECONDS: Final = 4.0
"""How often it is said that it still waits here, or is under way."""

ATTEMPT_SECONDS: Final = 6.0
"""What must be left of a lease when an attempt begins: enough to say so once more under it."""

BATCH: Final = 200
"""Deliveries leased at a time: a small transaction, and enough for every slot."""

IN_HAND: Final = 500
"""Deliveries of one team that wait here for their turn; the rest waits in the ledger."""

LONG_LINE: Final = 125
"""One host's deliveries beyond this many give their places here to others of the team when all
that it may have here are taken."""

PUT_OFF_SECONDS: Final = 30.0
ROOM_SECONDS: Final = 0.2
"""How often places are taken from a long line: a thousand a second, for 5 % of the ledger."""

IDLE_SECONDS: Final = 1.0
"""The longest sleep of the loop; leases that ran out are noticed this late."""

GATHER_SECONDS: Final = 0.02
"""News that come within this time of each other are one look at the ledger."""

RECORD_RETRY_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class WebhooksDeps:
    """What they are sent with; `render` makes the body that a poll would answer."""

    ledger: Outbox
    observer: Observer
    current: Current
    clock: Clock
    render: Callable[[Job, Run], bytes]


class Webhooks:
    """Makes every delivery of this process.

    `callbacks` and `alerts` (without them the callbacks' way) may be exchanged while it runs.
    """

    def __init__(
        self,
        deps: WebhooksDeps,
        callbacks: Callbacks,
        *,
        concurrency: int,
        owner: str,
        alerts: Callbacks | None = None,
    ) -> None:
        self.callbacks = callbacks
        self.alerts = alerts or callbacks
        self._deps = deps
        self._owner = owner
        self._lines = WebhookQueues(concurrency)
        self._attempts: set[asyncio.Task[None]] = set()
        self._nudge = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    # --- start and stop ------------------------------------------------------------------------

    def run(self) -> None:
        """Begins to lease: what others left too, once nobody has a lease of it."""
        self._loop = asyncio.create_task(self._lease_due(), name="webhooks")
        self._renewing = asyncio.create_task(self._renew(), name="leases of webhooks")

    def nudge(self) -> None:
        """Told that there may be something new in the outbox."""
        self._nudge.set()

    async def stop(self, grace_seconds: float) -> None:
        """Begins nothing new and lets attempts under way end, for at most this long.

        What is cut then, and what waits here, is given back: another gateway delivers it, or this
        one after its next start.
        """
        self._stopping = True
        self._nudge.set()
        tasks = {*self._attempts, *([self._loop] if self._loop else [])}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
            with contextlib.suppress(Unavailable):  # then the leases run out
                await self._deps.ledger.give_back(self._owner)

    async def redeliver(self, delivery_id: str, act: Act | None = None) -> Delivery | None:
        """Begins a new series of attempts under the same id; None when there is no such callback.

        One whose series is still going on is left to it. An alert goes where the settings say now.
        """
        found = await self._deps.ledger.delivery(delivery_id)
        if found is None or found.state is DeliveryState.PENDING:
            return found
        after = outbox.again(found, now=self._deps.clock())
        alerting = self._deps.current.policy.alerting
        if after.job_id is None and alerting is not None:
            after = replace(after, url=alerting.webhook)
        changes = (_change(act, found, after),) if act else ()
        writes = Writes(deliveries=(after,), changes=changes)
        await self._deps.ledger.transact(Keys(), lambda _: (None, writes))
        self.nudge()
        return after

    async def try_alert(self, act: Act) -> Delivery | None:
        """One attempt at a test alert, at once and on the way of every alert, beside the outbox.

        What came of it; None where the settings have no receiver. Raises `Unavailable` when the
        act cannot be written down.
        """
        alerting, now = self._deps.current.policy.alerting, self._deps.clock()
        if alerting is None:
            return None
        delivery = trial(alerting, act.id, now)
        noted = Writes(changes=(act.change(Action.ALERT_TEST, outbox.receiver(delivery.url)),))
        await self._deps.ledger.transact(Keys(), lambda _: (None, noted))
        outcome = await self._outcome(delivery)
        after = outbox.after_attempt(delivery, outcome, now=self._deps.clock(), retries=())
        _log_attempt(after)
        return after

    # --- the loop ------------------------------------------------------------------------------

    async def _lease_due(self) -> None:
        unexpected = Unexpected("webhooks")
        while not self._stopping:
            sleep_seconds = IDLE_SECONDS
            try:
                sleep_seconds = await self._lease_once()
            except Unavailable as error:
                log.warning("ledger unavailable", reason=error.message)
            except Exception as error:
                unexpected.met(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(sleep_seconds):
                    await self._nudge.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._nudge.clear()

    async def _lease_once(self) -> float:
        """Takes up to a batch of what is due, and returns how long to sleep then, in seconds."""
        now = self._deps.clock()
        due = await self._deps.ledger.next_delivery_due()
        if due is None or due > now:
            return IDLE_SECONDS if due is None else min(IDLE_SECONDS, due - now)
        made_room = await self._make_room(now)
        leased = await self._deps.ledger.lease_deliveries(
            self._owner, now=now, until=now + LEASE_SECONDS, limit=BATCH, share=IN_HAND
        )
        for delivery in leased:
            self._lines.add(delivery)
        self._begin()
        if made_room:
            return ROOM_SECONDS
        return 0.0 if leased else IDLE_SECONDS

    async def _renew(self) -> None:
        unexpected = Unexpected("leases of webhooks")
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            until = self._deps.clock() + LEASE_SECONDS
            ids = self._lines.ids()
            try:
                if ids:
                    ours = await self._deps.ledger.renew_deliveries(self._owner, ids, until=until)
                    self._lines.renewed(ours, until)
            except Unavailable as error:
                log.warning("leases wait for the ledger", reason=error.message)
            except Exception as error:
                unexpected.met(error)

    async def _make_room(self, now: float) -> bool:
        """Puts off the last ones of a team's longest line, so that those of its other hosts get
        in."""
        put_off = self._lines.put_off(more_than=IN_HAND, longest=LONG_LINE, most=BATCH)
        if put_off:
            await self._put([outbox.put_off(one, until=now + PUT_OFF_SECONDS) for one in put_off])
        return bool(put_off)

    # --- attempts ------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Gives every free slot to whoever's turn it is."""
        while not self._stopping and (delivery := self._lines.next()) is not None:
            task = asyncio.create_task(self._attempt(delivery), name=f"deliver {delivery.id}")
            self._attempts.add(task)
            task.add_done_callback(partial(self._ended, delivery))

    def _ended(self, delivery: Delivery, done: asyncio.Task[None]) -> None:
        """An attempt that broke off leaves its lease to run out; then it is made again."""
        self._attempts.discard(done)
        self._lines.ended(delivery)
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("an attempt failed", delivery=delivery.id, exc_info=error)
        self._begin()
        self.nudge()

    async def _attempt(self, delivery: Delivery) -> None:
        now = self._deps.clock()
        if delivery.lease_until <= now:
            return  # it waited for too long, and may be someone else's by now
        if delivery.lease_until < now + ATTEMPT_SECONDS:
            # Given back as it was: it is the longest due, so it comes again first, and at once.
            await self._put([outbox.put_off(delivery, until=delivery.due_at)])
            return
        outcome = await self._outcome(delivery)
        after = outbox.after_attempt(
            delivery,
            outcome,
            now=self._deps.clock(),
            retries=self._deps.current.policy.callback_retries,
        )
        if not await self._put([after]):
            log.warning("another one has taken the callback over", delivery=after.id)
            return
        self._deps.observer.called_back(after)
        _log_attempt(after)

    async def _outcome(self, delivery: Delivery) -> Outcome:
        if delivery.job_id is None:
            said = (delivery.body or "").encode()
            return await self._deliver(self.alerts, delivery, lambda: said)
        found = await self._found(delivery.job_id)
        if found is None:
            return Outcome(error="its task is not kept any more")
        return await self._deliver(self.callbacks, delivery, partial(self._deps.render, *found))

    async def _found(self, job_id: str) -> Task | None:
        while True:
            try:
                return await self._deps.ledger.job(job_id)
            except Unavailable as error:
                log.warning("callback waits for the ledger", reason=error.message)
                await asyncio.sleep(RECORD_RETRY_SECONDS)

    async def _deliver(
        self, callbacks: Callbacks, delivery: Delivery, render: Callable[[], bytes]
    ) -> Outcome:
        try:
            return await callbacks.deliver(delivery, render())
        except Exception as error:  # one task that cannot be shown must not stop the others
            log.exception("an attempt raised", delivery=delivery.id)
            return Outcome(error=f"internal error: {type(error).__name__}")

    async def _put(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        """Those that were still ours. What has come of a callback that another one has taken is
        his to say.

        Tried until it is committed: what is not recorded is done once more.
        """
        while True:
            try:
                return await self._deps.ledger.put_deliveries(self._owner, deliveries)
            except Unavailable as error:
                log.warning("a callback's outcome waits for the ledger", reason=error.message)
                await asyncio.sleep(RECORD_RETRY_SECONDS)


def _change(act: Act, before: Delivery, after: Delivery) -> Change:
    told = [json.dumps({"state": one.state, "attempts": one.attempts}) for one in (before, after)]
    return act.change(Action.CALLBACK_REDELIVER, after.id, before=told[0], after=told[1])


def _log_attempt(after: Delivery) -> None:
    """Of the URL only the host: receivers put secrets of theirs into path and query."""
    log.info(
        "callback",
        delivery=after.id,
        task=after.job_id,
        team=after.team,
        host=outbox.receiver(after.url),
        state=str(after.state),
        attempt=after.attempts,
        status=after.status,
        reason=after.error,
    )
