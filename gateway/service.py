"""The story of a request, as the list of its stages.

    submit: validate → name → admit → submit → answer
    status: find → answer
    wait: watch → find → wait → answer

What goes on upstream is the worker's; what money may do is admission's; this module only puts
the stages in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

import structlog

from gateway import enquiries, ids
from gateway.core import admission, budgets, orders
from gateway.core.admission import (
    Ask,
    Claimed,
    Conflicting,
    Decision,
    Denied,
    Doubtful,
    Hit,
    Joined,
    Judgement,
    Replayed,
    Settled,
    Started,
    Unvetted,
)
from gateway.core.budgets import Standing
from gateway.core.fingerprint import claim_digest, fingerprint
from gateway.core.lifecycle import is_sent_again
from gateway.core.model import (
    AccountKey,
    Claim,
    Freshness,
    Job,
    Mode,
    Order,
    Run,
    RunState,
    Team,
    Verdict,
    Window,
)
from gateway.core.pictures import PictureProblem
from gateway.core.policy import Current, Policy
from gateway.core.schedule import RUN_LEASE_SECONDS
from gateway.core.transaction import ConstraintViolation, Decide, Keys, Writes
from gateway.enquiries import Estimate, Purse
from gateway.errors import (
    CallerError,
    GatewayError,
    IdempotencyConflict,
    OutcomeUnknown,
    TaskNotFound,
    Unavailable,
)
from gateway.failures import submit_error
from gateway.ports import Clock, Ledger, Observer, Pictures, ResponseCache, TokenCounter
from gateway.references import References
from gateway.waiting import Board

log = structlog.get_logger("gateway.orders")

SUBMIT_WAIT_SECONDS: Final = 28.0
"""Clients give a POST 30 s; a run still on its way out by then is reported as such."""

VETTING_ROUNDS: Final = 4
"""A finished run is vetted between two looks; it can be overtaken, but not for ever."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller is told about an order: its job, the run as it is now, and the verdict."""

    job: Job
    run: Run
    decision: Hit | Joined | Started | Replayed
    upstream_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a poll finds."""

    job: Job
    run: Run


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks are asked for: in these states, of this model (None: any), on this page."""

    states: Sequence[RunState] = tuple(RunState)
    model: str | None = None
    page: int = 1
    page_size: int = 20


class Starter(Protocol):
    """The worker, as the service sees it."""

    owner: str

    def start(self, run: Run) -> None:
        """Takes over a run whose intention to submit was just committed."""


class Room(Protocol):
    def enough(self) -> bool:
        """Whether the disk has space for more paid pictures."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service is built from."""

    ledger: Ledger
    cache: ResponseCache
    pictures: Pictures
    tokens: TokenCounter
    board: Board
    worker: Starter
    room: Room
    observer: Observer
    current: Current
    clock: Clock
    nudge_courier: Callable[[], None]
    references: References


D = TypeVar("D")
Deciding = Callable[[Ask], Decide[D]]


def _decide(ask: Ask) -> Decide[Decision]:
    return lambda view: admission.admit(ask, view)


def _look(ask: Ask) -> Decide[Judgement]:
    """The same decision, and nothing comes of it."""
    return lambda view: (admission.judge(ask, view)[0], Writes())


class Service:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stopping = False

    def stop_taking(self) -> None:
        """From now on every new order is answered 503; polls go on."""
        self._stopping = True

    async def submit(
        self, team: Team, body: object, freshness: Freshness, *, key: str | None = None
    ) -> Answer:
        """Takes an order: from parsed JSON to a task, or an error that says what to do.

        `key` is the caller's `Idempotency-Key`.
        """
        if self._stopping:
            raise Unavailable("The gateway is being restarted.", retry_after_seconds=5)
        began = time.perf_counter()
        policy = self._parts.current.policy
        order = await self._validate(team, body, policy)
        ask = self._name(team, order, freshness, policy)
        decision = await self._admit_once(ask, key)
        self._tell(ask, decision)
        if isinstance(decision, Denied):
            raise decision.denial.error(ask.now)
        if isinstance(decision, Doubtful):
            raise outcome_unknown(decision.run)
        if isinstance(decision, Hit):
            if decision.job.callback_url is not None:
                self._parts.nudge_courier()
            return Answer(decision.job, decision.run, decision)
        asked = time.perf_counter()
        try:
            run = await self._on_its_way(decision, SUBMIT_WAIT_SECONDS - (asked - began))
        except GatewayError as error:
            error.upstream_seconds = time.perf_counter() - asked
            raise
        return Answer(decision.job, run, decision, time.perf_counter() - asked)

    async def estimate(self, team: Team, body: object, freshness: Freshness) -> Estimate:
        """What an order would come to if it were sent now. Changes nothing, counts nothing."""
        policy = self._parts.current.policy
        ask = self._name(team, await self._read(team, body, policy), freshness, policy)
        decision: Settled = await self._admit(ask, _look)
        return enquiries.estimate(ask, decision, await self._standings(team))

    async def purse(self, team: Team) -> Purse:
        """The team's money over all its budgets."""
        standings = await self._standings(team)
        total = AccountKey(team.name, Window.TOTAL, 0)
        spent = (await self._parts.ledger.accounts([total]))[total].spent
        return enquiries.purse(standings, spent.usd_micros)

    async def status(self, team: Team, task_id: str) -> Task:
        """The team's own task; anyone else's is as unknown as none at all."""
        found = await self._parts.ledger.job(task_id)
        if found is None or found[0].team != team.name:
            raise TaskNotFound("The requested task could not be found.", param="task_id")
        return Task(*found)

    @property
    def may_wait(self) -> bool:
        """Whether one more client may wait for its task."""
        return self._parts.board.takes_patient(self._parts.current.policy.max_waiters)

    async def wait(self, team: Team, task_id: str, timeout_seconds: float) -> Task:
        """The team's task once it has ended, or as it is when the time is over."""
        return await self.ended(await self.status(team, task_id), timeout_seconds)

    async def ended(self, task: Task, timeout_seconds: float) -> Task:
        """The task once it has ended, or as it is when the time is over.

        While no more clients may wait, it is told as it is at once.
        """
        if task.run.is_final or not self.may_wait:
            return task
        with self._parts.board.watching(task.run.id, patient=True) as watch:
            task = await self._again(task)  # what happened before we watched
            if task.run.is_final:
                return task
            run = await watch.until(_is_final, timeout_seconds)
        return replace(task, run=run) if run else await self._again(task)

    async def _again(self, task: Task) -> Task:
        found = await self._parts.ledger.job(task.job.id)
        return Task(*found) if found else task

    async def tasks(self, team: Team, filters: TaskFilter) -> tuple[Sequence[Task], int]:
        """One page of the team's tasks, newest first, and how many there are on all pages."""
        found, total = await self._parts.ledger.tasks(
            team.name,
            states=filters.states,
            page=filters.page,
            page_size=filters.page_size,
            model=filters.model,
        )
        return [Task(*one) for one in found], total

    async def batch(self, team: Team, task_ids: Sequence[str]) -> Sequence[Task]:
        """Those of these tasks that are the team's, in the order asked."""
        return [Task(*one) for one in await self._parts.ledger.jobs(team.name, task_ids)]

    async def run_now(self, run_id: str) -> Run | None:
        """The run as the ledger has it."""
        return await self._parts.ledger.transact(
            Keys(run_id=run_id), lambda view: (view.run, Writes())
        )

    # --- the stages ----------------------------------------------------------------------------

    async def _validate(self, team: Team, body: object, policy: Policy) -> Order:
        try:
            return await self._read(team, body, policy)
        except CallerError as error:
            self._parts.observer.order(team.name, _known_model(body, policy), Verdict.INVALID)
            log.info("order refused", team=team.name, param=error.param, reason=error.message)
            raise

    async def _read(self, team: Team, body: object, policy: Policy) -> Order:
        order = orders.read_order(body, policy.catalog, private_callbacks=policy.private_callbacks)
        limits = policy.catalog.models[order.model].limits
        if orders.needs_counting(order, limits):
            orders.check_prompt_tokens(await self._parts.tokens.count(order.prompt), limits)
        return await self._parts.references.identify(team, order)

    def _name(self, team: Team, order: Order, freshness: Freshness, policy: Policy) -> Ask:
        now = self._parts.clock()
        return Ask(
            order=order,
            team=team,
            model=policy.catalog.models[order.model],
            fingerprint=fingerprint(order, team),
            freshness=freshness,
            ttl_seconds=policy.cache_ttl_seconds,
            windows=budgets.windows_at(now, policy.zone),
            zone=policy.zone,
            now=now,
            job_id=ids.new_task_id(now),
            run_id=ids.new_run_id(),
            lease_owner=self._parts.worker.owner,
            lease_until=now + RUN_LEASE_SECONDS,
            room=self._parts.room.enough(),
        )

    async def _standings(self, team: Team) -> Sequence[Standing]:
        now, zone = self._parts.clock(), self._parts.current.policy.zone
        keys = budgets.windows_at(now, zone).account_keys(team.name)
        accounts = await self._parts.ledger.accounts(keys)
        return budgets.standings(
            team.caps, accounts, lambda window: budgets.resets_at(window, now, zone)
        )

    async def _admit_once(self, ask: Ask, key: str | None) -> Settled | Replayed:
        """The decision; an order that comes again under its key gets its first task."""
        if key is not None:
            digest = claim_digest(ask.order)
            ask = replace(ask, claim=Claim(ask.team.name, key, digest, ask.job_id, ask.now))
        for _ in range(VETTING_ROUNDS):
            decision: Settled | Claimed = await self._admit(ask, _decide)
            if not isinstance(decision, Claimed):
                return decision
            found = await self._parts.ledger.job(decision.claim.job_id)
            match admission.replay(ask, decision.claim, found):
                case Replayed() as replayed:
                    return replayed
                case Conflicting():
                    self._parts.observer.order(ask.team.name, ask.order.model, Verdict.INVALID)
                    raise IdempotencyConflict(
                        "This Idempotency-Key came before with another order: take a new key for "
                        "each order.",
                        param="Idempotency-Key",
                    )
            ask = replace(ask, free=decision.claim)
        raise Unavailable("This Idempotency-Key keeps changing hands.", retry_after_seconds=1)

    async def _admit(self, ask: Ask, decide: Deciding[D | Unvetted]) -> D:
        """The decision, committed. Finished runs are vetted between the looks at the ledger."""
        ask = await self._look_into_cache(ask)
        for rounds_left in reversed(range(VETTING_ROUNDS)):
            try:
                decision = await self._parts.ledger.transact(ask.keys(), decide(ask))
            except ConstraintViolation:
                if not rounds_left:
                    raise
                ask = await self._asked_anew(ask)
                continue
            if not isinstance(decision, Unvetted):
                return decision
            ask = await self._vet(ask, decision.run)
        raise Unavailable("The cached answer keeps changing; try again.", retry_after_seconds=1)

    async def _look_into_cache(self, ask: Ask) -> Ask:
        if ask.bypasses or ask.freshness.no_cache:
            return ask
        cached = await self._parts.cache.get(ask.fingerprint)
        fresh = cached is not None and admission.answer_hit(ask, cached) is not None
        stale_or_hit = "hit" if fresh else "stale"
        self._parts.observer.cache_looked_up("miss" if cached is None else stale_or_hit)
        return await self._vet(replace(ask, cached=cached), cached) if fresh and cached else ask

    async def _asked_anew(self, ask: Ask) -> Ask:
        """Without what may have broken a constraint.

        That is a cached run of a cache that outlived its ledger, or a task id that is taken.
        """
        if ask.cached is not None:
            await self._parts.cache.delete(ask.fingerprint)
        return replace(ask, cached=None, job_id=ids.new_task_id(ask.now))

    async def _vet(self, ask: Ask, run: Run) -> Ask:
        try:
            readable = await self._parts.pictures.readable(run.pictures)
        except PictureProblem:  # nobody knows: to make it anew might be to pay twice
            message = "The picture store cannot be read just now; try again."
            raise Unavailable(message, retry_after_seconds=5) from None
        if not readable:
            await self._parts.cache.delete(ask.fingerprint)
        return replace(ask, vetted={**ask.vetted, run.id: readable})

    async def _on_its_way(self, decision: Joined | Started | Replayed, wait_seconds: float) -> Run:
        """The run once its submit has an outcome; raises what that outcome means."""
        run = decision.run
        with self._parts.board.watching(run.id) as watch:
            if isinstance(decision, Started):
                self._parts.worker.start(run)
            elif not _is_out(run):
                found = await self._parts.ledger.job(decision.job.id)
                run = found[1] if found else run
            if not _is_out(run):
                news = await watch.until(_is_out, wait_seconds)
                if news is None:
                    raise outcome_unknown(run)
                run = news
        return taken(run)

    def _tell(self, ask: Ask, decision: Settled | Replayed) -> None:
        """One line and one count per order, after the fact. A replay is no order of its own."""
        if isinstance(decision, Replayed):
            job, run = decision.job, decision.run
            log.info("order replayed", team=ask.team.name, task=job.id, run=run.id)
            return
        verdict, facts = _facts(decision)
        self._parts.observer.order(ask.team.name, ask.order.model, verdict)
        if isinstance(decision, Denied):
            self._parts.observer.denied(ask.team.name, decision.denial, Mode.ENFORCE)
        if isinstance(decision, Hit | Joined | Started) and decision.shadow:
            self._parts.observer.denied(ask.team.name, decision.shadow, Mode.SHADOW)
            facts["shadow"] = decision.shadow.rule
        if self._parts.current.policy.log_prompts:
            facts["prompt"] = ask.order.prompt
        log.info("order", verdict=str(verdict), team=ask.team.name, model=ask.order.model, **facts)


def taken(run: Run) -> Run:
    """The run, for a caller who was not told a task yet; raises what its submit came to."""
    if run.state is RunState.UNSURE:
        raise outcome_unknown(run)
    if run.state is RunState.FAILED and run.accepted_at is None and not run.tried and run.failure:
        raise submit_error(run.failure)
    return run


def _is_out(run: Run) -> bool:
    return run.state is not RunState.SUBMITTING and not is_sent_again(run)


def _is_final(run: Run) -> bool:
    return run.is_final


def _facts(decision: Settled) -> tuple[Verdict, dict[str, object]]:
    match decision:
        case Hit(job, run) | Joined(job, run):
            return job.verdict, {"task": job.id, "run": run.id}
        case Started(job, run):
            return job.verdict, {"task": job.id, "run": run.id, "hold": run.hold.usd_micros}
        case Denied(denial):
            return Verdict.DENIED, {"reason": str(denial.reason), "rule": denial.rule}
        case Doubtful(run):
            return Verdict.DENIED, {"reason": "outcome_unknown", "run": run.id}


def _known_model(body: object, policy: Policy) -> str:
    """The public name of the model asked for, if it is one of ours: labels must stay few."""
    name = body.get("model") if isinstance(body, dict) else None
    model = policy.catalog.find(name) if isinstance(name, str) else None
    return model.name if model else ""


def outcome_unknown(run: Run) -> OutcomeUnknown:
    if is_sent_again(run):
        return OutcomeUnknown(
            "The request was sent upstream and its answer was lost. It is sent again under the "
            "same idempotency key, so that it is paid once at most. Send yours again later: it "
            "joins that one."
        )
    return OutcomeUnknown(
        "The request was sent upstream and its answer was lost, so it may or may not have been "
        "paid. Nothing was sent again. Ask later, or send it with 'Cache-Control: no-cache' to "
        f"start a new one knowingly (until {budgets.rfc3339(run.deadline_at)} the same request "
        "gets this answer)."
    )
