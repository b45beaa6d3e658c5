"""An event into the ledger, with the money, the callbacks and the step that follow from it.

What upstream said is never forgotten while the process lives: a commit is tried until it is made.
Whoever waits or watches is told after it, and can undo nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from gateway.core import history, lifecycle, outbox, sharing
from gateway.core.booking import book
from gateway.core.events import Accepted, AnswerLost, CredentialsRefused, Event, Progressed
from gateway.core.lifecycle import IllegalTransition
from gateway.core.model import Run, RunState
from gateway.core.routing import NOWHERE, Outlook
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.errors import Unavailable
from gateway.worker.tools import Tools

log = structlog.get_logger("gateway.runs")

RETRY_SECONDS: Final = 0.5


class Recorder:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def record(self, run: Run, event: Event, outlook: Outlook = NOWHERE) -> tuple[Run, bool]:
        """Commits the event and what follows from it.

        Returns the run as it is then, and whether the event happened to it: news that came too
        late changes nothing. Tried until it is committed: a store that is away for a while must
        not make us forget what upstream said.
        """
        while True:
            try:
                before, after = await self._tools.ledger.transact(
                    Keys(run.account_keys(), fingerprint=run.fingerprint, run_id=run.id),
                    self._fold(run, event, outlook),
                )
                break
            except Unavailable as error:
                log.warning("event waits for the ledger", run=run.id, reason=error.message)
                await asyncio.sleep(RETRY_SECONDS)
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
        now, rules = self._tools.clock(), self._tools.rules(run)
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
            after, back = sharing.settle(before, after, view)
            deliveries = outbox.owed(before, after, view.owed, now=now)
            step = history.note(before, event, after, now)
            writes = book(before, after, view.accounts)
            told = (step,) if step else ()
            runs = writes.runs if back is None else (*writes.runs, back)
            return (before, after), replace(writes, runs=runs, deliveries=deliveries, steps=told)

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
