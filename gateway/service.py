"""The story of a request, as the list of its stages.

    submit: validate → name → admit → submit → answer
    status: find → answer

What goes on upstream is the worker's; what money may do is admission's; this module only puts
the stages in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from gateway import ids
from gateway.core import admission, budgets, orders
from gateway.core.admission import (
    Ask,
    Decision,
    Denied,
    Doubtful,
    Hit,
    Joined,
    Settled,
    Started,
    Unvetted,
)
from gateway.core.fingerprint import fingerprint
from gateway.core.model import (
    Freshness,
    ImageModel,
    Job,
    Mode,
    Order,
    Run,
    RunState,
    Team,
    Verdict,
)
from gateway.core.pictures import PictureProblem
from gateway.core.policy import Current, Policy
from gateway.core.transaction import ConstraintViolation, View, Writes
from gateway.errors import (
    CallerError,
    GatewayError,
    OutcomeUnknown,
    TaskNotFound,
    Unavailable,
)
from gateway.failures import submit_error
from gateway.ports import Clock, Ledger, Observer, Pictures, ResponseCache, TokenCounter
from gateway.waiting import Board

log = structlog.get_logger("gateway.orders")

SUBMIT_WAIT_SECONDS: Final = 28.0
"""Clients give a POST 30 s; a run still on its way out by then is reported as such."""

LEASE_SECONDS: Final = 180.0
"""Longer than any single step of the driver: a submit, a poll, a round of downloads."""

VETTING_ROUNDS: Final = 4
"""A finished run is vetted between two looks; it can be overtaken, but not for ever."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller is told about an order: its job, the run as it is now, and the verdict."""

    job: Job
    run: Run
    decision: Hit | Joined | Started
    upstream_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a poll finds."""

    job: Job
    run: Run


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


class Service:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stopping = False

    def stop_taking(self) -> None:
        """From now on every new order is answered 503; polls go on."""
        self._stopping = True

    async def submit(self, team: Team, body: object, freshness: Freshness) -> Answer:
        """Takes an order: from parsed JSON to a task, or an error that says what to do."""
        if self._stopping:
            raise Unavailable("The gateway is being restarted.", retry_after_seconds=5)
        policy = self._parts.current.policy
        order = await self._validate(team, body, policy)
        ask = self._name(team, order, freshness, policy)
        decision = await self._admit(ask)
        self._tell(ask, decision)
        if isinstance(decision, Denied):
            raise decision.denial.error(ask.now)
        if isinstance(decision, Doubtful):
            raise outcome_unknown(decision.run)
        if isinstance(decision, Hit):
            return Answer(decision.job, decision.run, decision)
        asked = time.perf_counter()
        try:
            run = await self._on_its_way(decision)
        except GatewayError as error:
            error.upstream_seconds = time.perf_counter() - asked
            raise
        return Answer(decision.job, run, decision, time.perf_counter() - asked)

    async def status(self, team: Team, task_id: str) -> Task:
        """The team's own task; anyone else's is as unknown as none at all."""
        found = await self._parts.ledger.job(task_id)
        if found is None or found[0].team != team.name:
            raise TaskNotFound("The requested task could not be found.", param="task_id")
        return Task(*found)

    # --- the stages ----------------------------------------------------------------------------

    async def _validate(self, team: Team, body: object, policy: Policy) -> Order:
        try:
            order = orders.read_order(
                body, policy.catalog, private_callbacks=policy.private_callbacks
            )
            await self._check_length(order, policy.catalog.models[order.model])
        except CallerError as error:
            self._parts.observer.order(team.name, _known_model(body, policy), Verdict.INVALID)
            log.info("order refused", team=team.name, param=error.param, reason=error.message)
            raise
        return order

    async def _check_length(self, order: Order, model: ImageModel) -> None:
        if orders.needs_counting(order, model.limits):
            tokens = await self._parts.tokens.count(order.prompt)
            orders.check_prompt_tokens(tokens, model.limits)

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
            lease_until=now + LEASE_SECONDS,
            room=self._parts.room.enough(),
        )

    async def _admit(self, ask: Ask) -> Settled:
        """The decision, committed. Finished runs are vetted between the looks at the ledger."""
        ask = await self._look_into_cache(ask)
        for rounds_left in reversed(range(VETTING_ROUNDS)):
            try:
                decision = await self._parts.ledger.transact(ask.keys(), _decide(ask))
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

    async def _on_its_way(self, decision: Joined | Started) -> Run:
        """The run once its submit has an outcome; raises what that outcome means."""
        run = decision.run
        with self._parts.board.watching(run.id) as watch:
            if isinstance(decision, Started):
                self._parts.worker.start(run)
            elif run.state is RunState.SUBMITTING:
                found = await self._parts.ledger.job(decision.job.id)
                run = found[1] if found else run
            if run.state is RunState.SUBMITTING:
                news = await watch.until(_is_out, SUBMIT_WAIT_SECONDS)
                if news is None:
                    raise outcome_unknown(run)
                run = news
        if run.state is RunState.UNSURE:
            raise outcome_unknown(run)
        if run.state is RunState.FAILED and run.accepted_at is None and run.failure:
            raise submit_error(run.failure)
        return run

    def _tell(self, ask: Ask, decision: Settled) -> None:
        """One line and one count per order, after the fact."""
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


def _decide(ask: Ask) -> Callable[[View], tuple[Decision, Writes]]:
    return lambda view: admission.admit(ask, view)


def _is_out(run: Run) -> bool:
    return run.state is not RunState.SUBMITTING


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
    return OutcomeUnknown(
        "The request was sent upstream and its answer was lost, so it may or may not have been "
        "paid. Nothing was sent again. Ask later, or send it with 'Cache-Control: no-cache' to "
        f"start a new one knowingly (until {budgets.rfc3339(run.deadline_at)} the same request "
        "gets this answer)."
    )
