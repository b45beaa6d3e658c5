"""An event into the ledger, with the money, the callbacks and the step that follow from it.

What upstream said is never forgotten while the process lives: a commit is tried until it is made.
Whoever waits or watches is told after it, and can undo nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import structlog

from gateway.background.runs.deps import RunsDeps
from gateway.core import delivery
from gateway.core.copies import replace
from gateway.core.model import Run, RunState
from gateway.core.money.accounts import AccountKey
from gateway.core.money.booking import book
from gateway.core.money.budgets import ZoneChanged
from gateway.core.replicas import Epoch
from gateway.core.runs import history, lifecycle, sharing
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    Begun,
    CredentialsRefused,
    Delivered,
    Event,
    Finished,
    Progressed,
    TriedAgain,
)
from gateway.core.runs.leases import may_record
from gateway.core.runs.lifecycle import IllegalTransition, Rules
from gateway.core.runs.routing import NOWHERE, Outlook
from gateway.core.teams.changes import Act, Action
from gateway.core.transaction import ConstraintViolation, Decide, Keys, Stale, View, Writes
from gateway.errors import Unavailable, Unsettled
from gateway.process.following import Behind
from gateway.process.picture_locks import FOR_EVER, Held

log = structlog.get_logger("gateway.runs")

T = TypeVar("T")

RETRY_SECONDS: Final = 0.5

GOES_ON: Final = (Accepted, Begun, Delivered, Finished, Progressed)
"""Events after which a run nearly always goes on as it was paid for: they are recorded without the
team's accounts, which spares their reading, and in PostgreSQL the lock that all its orders want.
Nor is anything read that only the end of a run needs: who else ordered the same, who is called."""


class MoneyMoves(Exception):
    """The event is to be recorded together with the team's accounts."""


class RunRecorder:
    def __init__(self, deps: RunsDeps) -> None:
        self._deps = deps

    async def record(
        self, run: Run, event: Event, outlook: Outlook = NOWHERE, held: Held = FOR_EVER
    ) -> tuple[Run, bool]:
        """Commits the event and what follows from it; raises `TurnOver` where what is `held` is so
        for too short a time.

        Returns the run as it is then, and whether the event happened to it: news that came too
        late changes nothing. Tried until it is committed: a store that is away for a while must
        not make us forget what upstream said.
        """
        epoch = self._deps.cache.epoch
        moneyless = isinstance(event, GOES_ON) and outlook is NOWHERE
        while True:
            try:
                keys = () if moneyless else self._in_force(run)
                before, after = await self._transact(
                    Keys(
                        keys,
                        counted=None if moneyless else (run.team, run.created_at),
                        fingerprint=run.fingerprint,
                        run_id=run.id,
                        epochs=self._deps.following.is_shared,
                        alone=moneyless,
                    ),
                    partial(_while_held, held, self._fold(run, event, outlook, keys)),
                )
                break
            except (ZoneChanged, Stale):
                continue
            except MoneyMoves:
                moneyless = False
            except Behind as behind:
                await self._catch_up(behind)
            except Unavailable as error:
                log.warning("event waits for the ledger", run=run.id, reason=error.message)
                await asyncio.sleep(RETRY_SECONDS)
            except ConstraintViolation as error:
                if not isinstance(event, Accepted):
                    raise
                log.error("upstream gave a task to two runs", run=run.id, reason=str(error))
                event = AnswerLost("upstream named a task that belongs to another run")
        if before is not after:
            await self._announce(before, event, after, epoch)
        return after, before is not after

    async def _transact(self, keys: Keys, decide: Decide[T]) -> T:
        """Where the ledger stopped answering at the commit, its outcome is waited for.

        Until it is known nothing may follow from the event: an intention to submit that was
        committed after all would else be taken for one that was carried out.
        """
        try:
            return await self._deps.ledger.transact(keys, decide)
        except Unsettled as doubt:
            log.warning("an event's commit is in doubt", run=keys.run_id)
            answer: T = await doubt.settled()
            return answer

    async def _catch_up(self, behind: Behind) -> None:
        try:
            await self._deps.following.catch_up(behind)
        except Unavailable as error:
            log.warning("following waits for the ledger", reason=error.message)
            await asyncio.sleep(RETRY_SECONDS)

    async def try_again(self, run: Run, act: Act) -> Run | None:
        """Has an operator's wish happen to the run, and writes down whose it was.

        None: the run cannot be tried again. Raises `Unavailable`.
        """
        keys = Keys(counted=(run.team, run.created_at), fingerprint=run.fingerprint, run_id=run.id)
        before, after = await self._deps.ledger.transact(
            keys, partial(_take_up, self._deps.rules(run), act)
        )
        if before is None or after is None:
            return None
        await self._announce(before, TriedAgain(), after, self._deps.cache.epoch)
        return after

    def _in_force(self, run: Run) -> tuple[AccountKey, ...]:
        """The accounts that the run counts in, in the windows that are in force now."""
        return self._deps.current.policy.account_keys(run.team, run.created_at)

    def _fold(
        self, run: Run, event: Event, outlook: Outlook, keys: tuple[AccountKey, ...]
    ) -> Callable[[View], tuple[tuple[Run, Run], Writes]]:
        """The decision that lets the event happen to the run as the ledger has it now.

        Limits and windows are those of the transaction, as for an order: a change counts for all
        that is not decided yet. Raises `ZoneChanged` where `keys` are no longer in force, and
        `MoneyMoves` where there are none and some are needed.
        """
        now, rules = self._deps.clock(), self._deps.rules(run)

        def decide(view: View) -> tuple[tuple[Run, Run], Writes]:
            self._deps.following.check(view.epochs)
            Stale.check(now, self._deps.clock())
            if keys and self._in_force(run) != keys:
                raise ZoneChanged
            before = view.run or run
            team = self._deps.current.policy.teams.get(run.team)
            accounts = {key: view.accounts[key] for key in keys}
            within = outlook.within_budget(before, accounts, team)
            try:
                if not may_record(run, event, before):
                    raise IllegalTransition(f"{type(event).__name__} of one who lost the run")
                after = lifecycle.advance(before, event, now, replace(rules, outlook=within))
            except IllegalTransition as stale:
                log.warning("event came too late", run=run.id, reason=str(stale))
                return (before, before), Writes()
            if not keys and _moves_money(before, after):
                raise MoneyMoves
            after, back = sharing.settle(before, after, view)
            deliveries = delivery.owed(before, after, view.owed, now=now)
            step = history.note(before, event, after, now)
            told = (step,) if step else ()
            booked = book(before, after, view.accounts)
            writes = replace(booked, deliveries=deliveries, steps=told)
            if back is not None:
                writes = replace(writes, runs=(*writes.runs, back))
            if self._is_newer_answer(after, view):
                writes = replace(writes, raised=frozenset({Epoch.CACHE}))
            return (before, after), writes

        return decide

    def _is_newer_answer(self, after: Run, view: View) -> bool:
        """Whether other gateways may hold an older run ready for what this one answers from now on,
        as when a client would have none from the cache."""
        older, ttl = view.finished, self._deps.current.policy.cache_ttl_seconds
        return (
            self._deps.following.is_shared
            and after.shared
            and after.state is RunState.DONE
            and older is not None
            and older.id != after.id
            and self._deps.clock() - (older.finished_at or 0.0) < ttl
        )

    async def _announce(self, before: Run, event: Event, after: Run, epoch: int) -> None:
        """Tells those who wait and watch, after the commit; nothing here can undo it."""
        self._deps.waiters.publish(after)
        if after.is_final:
            self._deps.nudge_webhooks()
        try:
            self._deps.observer.advanced(before, event, after)
            _log_event(before, event, after)
            if after.state is RunState.DONE and after.shared:
                ttl = self._deps.current.policy.cache_ttl_seconds
                await self._deps.cache.put(after, ttl_seconds=ttl, epoch=epoch)
        except Exception:
            log.exception("telling of an event failed", run=after.id)


def _moves_money(before: Run, after: Run) -> bool:
    return (before.hold, before.spent) != (
        after.hold,
        after.spent,
    ) or before.is_final != after.is_final


def _while_held(held: Held, decide: Decide[T], view: View) -> tuple[T, Writes]:
    held.check()
    return decide(view)


def _take_up(rules: Rules, act: Act, view: View) -> tuple[tuple[Run | None, Run | None], Writes]:
    """The decision that has the run tried again; where others can join another one, they do."""
    before = view.run
    if before is None:
        return (None, None), Writes()
    try:
        after = lifecycle.advance(before, TriedAgain(), act.at, rules)
    except IllegalTransition:
        return (before, None), Writes()
    after = sharing.taken_up(after, view)
    step = history.note(before, TriedAgain(), after, act.at)
    told = {"state": before.state.value, "failure": before.failure and before.failure.code}
    change = act.change(Action.RUN_RETRY, before.id, before=json.dumps(told))
    writes = book(before, after, view.accounts)
    return (before, after), replace(writes, steps=(step,) if step else (), changes=(change,))


def _log_event(before: Run, event: Event, after: Run) -> None:
    facts: dict[str, object] = {}
    if before.route != after.route:
        facts["former_route"] = before.route
    if reason := getattr(event, "reason", None):
        facts["reason"] = reason
    if words := getattr(event, "words", None):
        facts["upstream_said"] = words
    if after.failure:
        facts["failure"] = after.failure.code
    if after.over_hold_usd_micros:
        facts["billed"] = after.billed_usd_micros
        facts["more_than_held"] = after.over_hold_usd_micros
    if after.is_final:
        facts["spent"] = after.spent.usd_micros
        facts["seconds"] = round((after.finished_at or 0.0) - after.created_at, 3)
    log.log(
        _level(event, after),
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


def _level(event: Event, after: Run) -> int:
    """What somebody has to look at is a warning, money without pictures above all."""
    over_hold = bool(after.over_hold_usd_micros) and isinstance(event, Delivered)
    if after.is_paid_in_vain or over_hold or isinstance(event, CredentialsRefused | AnswerLost):
        return logging.WARNING
    return logging.DEBUG if isinstance(event, Progressed) and not after.is_final else logging.INFO
