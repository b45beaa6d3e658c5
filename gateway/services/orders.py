"""The story of a request, as the list of its stages.

    submit: validate → name → admit → submit → answer

What goes on upstream is the worker's; what money may do is admission's; this module only puts
the stages in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

import structlog

from gateway import ids
from gateway.core.catalog import Team
from gateway.core.instants import rfc3339
from gateway.core.model import Claim, Freshness, Job, Order, Run, Verdict
from gateway.core.money import budgets
from gateway.core.orders import admission, validation
from gateway.core.orders import estimate as enquiries
from gateway.core.orders.admission import (
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
from gateway.core.orders.estimate import Estimate
from gateway.core.orders.fingerprint import claim_digest, fingerprint
from gateway.core.orders.freshness import honoured
from gateway.core.picture_errors import PictureProblem
from gateway.core.policy import Current, Policy
from gateway.core.runs.answered import Reply, is_sent_again, reply
from gateway.core.runs.failures import submit_error
from gateway.core.runs.schedule import RUN_LEASE_SECONDS
from gateway.core.transaction import ConstraintViolation, Decide, Writes
from gateway.errors import (
    GatewayError,
    IdempotencyConflict,
    OutcomeUnknown,
    Unauthorized,
    Unavailable,
)
from gateway.ports.cache import ResponseCache
from gateway.ports.clock import Clock
from gateway.ports.ledger import OrderRecords
from gateway.ports.observer import Observer
from gateway.ports.pictures import Pictures
from gateway.ports.tokens import TokenCounter
from gateway.process.waiters import Waiters
from gateway.services.references import References
from gateway.services.refusals import Refusals

log = structlog.get_logger("gateway.orders")

SUBMIT_WAIT_SECONDS: Final = 28.0
"""Clients give a POST 30 s; a run still on its way out by then is reported as such."""

VETTING_ROUNDS: Final = 4
"""A finished run is vetted between two looks; it can be overtaken, but not for ever."""

TOLD_PER_TEAM: Final = 200
"""Alerts known to be written: more than a team's limits have thresholds, and a few kilobytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller is told about an order: its job, the run as it is now, and the verdict.

    `freshness` is what was honoured of the client's wishes; `ignored`: that was not all of them.
    """

    job: Job
    run: Run
    decision: Hit | Joined | Started | Replayed
    freshness: Freshness
    ignored: bool
    upstream_seconds: float = 0.0


class Starter(Protocol):
    """The worker, as the service sees it."""

    owner: str

    def start(self, run: Run) -> None:
        """Takes over a run whose intention to submit was just committed."""


class Room(Protocol):
    def enough(self) -> bool:
        """Whether the disk has space for more paid pictures."""


@dataclass(frozen=True, slots=True)
class OrdersDeps:
    """What the service is built from."""

    ledger: OrderRecords
    cache: ResponseCache
    pictures: Pictures
    tokens: TokenCounter
    waiters: Waiters
    worker: Starter
    room: Room
    observer: Observer
    current: Current
    clock: Clock
    nudge_webhooks: Callable[[], None]
    references: References
    refusals: Refusals


D = TypeVar("D")
Deciding = Callable[[Ask], Decide[D]]


def _look(ask: Ask) -> Decide[Judgement]:
    """The same decision, and nothing comes of it."""
    return lambda view: (admission.judge(ask, view)[0], Writes())


class Orders:
    def __init__(self, deps: OrdersDeps) -> None:
        self._deps = deps
        self._stopping = False
        self._told: dict[str, frozenset[str]] = {}

    def stop_taking(self) -> None:
        """From now on every new order is answered 503; polls go on."""
        self._stopping = True

    async def submit(
        self,
        team: Team,
        body: object,
        freshness: Freshness,
        *,
        key: str | None = None,
        request_id: str = "",
    ) -> Answer:
        """Takes an order: from parsed JSON to a task, or an error that says what to do.

        `key` is the caller's `Idempotency-Key`, `request_id` what a refusal is remembered by.
        """
        if self._stopping:
            raise Unavailable("The gateway is being restarted.", retry_after_seconds=5)
        began = time.perf_counter()
        policy = self._deps.current.policy
        with self._deps.refusals.invalid(team.name, _known_model(body, policy), request_id):
            order = await self._read(team, body, policy)
            ask = self._name(team, order, freshness, policy)
            decision = await self._admit_once(ask, key)
        self._tell(ask, decision, request_id)
        if isinstance(decision, Started | Denied) and decision.alerted:
            self._alerted(team.name, decision.alerted)
        if isinstance(decision, Denied):
            raise decision.denial.error(ask.now)
        if isinstance(decision, Doubtful):
            raise outcome_unknown(decision.run, team)
        told = ask.freshness, ask.ignored
        if isinstance(decision, Hit):
            if decision.job.callback_url is not None:
                self._deps.nudge_webhooks()
            return Answer(decision.job, decision.run, decision, *told)
        asked = time.perf_counter()
        try:
            left = SUBMIT_WAIT_SECONDS - (asked - began)
            run = answered(await self._on_its_way(decision, left), team)
        except GatewayError as error:
            error.upstream_seconds = time.perf_counter() - asked
            self._deps.refusals.answered(ask, decision.job, error, request_id)
            raise
        return Answer(decision.job, run, decision, *told, time.perf_counter() - asked)

    def reading(self, team: Team, request_id: str) -> AbstractContextManager[None]:
        """Around what reads an order before `submit` sees it: what is wrong there is told too."""
        return self._deps.refusals.invalid(team.name, "", request_id)

    async def estimate(self, team: Team, body: object, freshness: Freshness) -> Estimate:
        """What an order would come to if it were sent now. Changes nothing, counts nothing."""
        policy = self._deps.current.policy
        ask = self._name(team, await self._read(team, body, policy), freshness, policy)
        decision: Settled = await self._admit(ask, _look)
        return enquiries.estimate(ask, decision)

    # --- the stages ----------------------------------------------------------------------------

    async def _read(self, team: Team, body: object, policy: Policy) -> Order:
        order = validation.read_order(
            body, policy.catalog, private_callbacks=policy.private_callbacks
        )
        limits = policy.catalog.models[order.model].limits
        if validation.needs_counting(order, limits):
            count = await self._deps.tokens.count(order.prompt, team=team.name)
            validation.check_prompt_tokens(count, limits)
        return await self._deps.references.identify(team, order)

    def _name(self, team: Team, order: Order, freshness: Freshness, policy: Policy) -> Ask:
        now, heard = self._deps.clock(), honoured(freshness, team.client_control)
        return Ask(
            order=order,
            team=team,
            model=policy.catalog.models[order.model],
            fingerprint=fingerprint(order, team),
            freshness=heard,
            ignored=heard != freshness,
            ttl_seconds=policy.cache_ttl_seconds,
            remember_lost_seconds=policy.remember_lost_seconds,
            windows=budgets.windows_at(now, policy.zone),
            zone=policy.zone,
            now=now,
            job_id=ids.new_task_id(now),
            run_id=ids.new_run_id(),
            lease_owner=self._deps.worker.owner,
            lease_until=now + RUN_LEASE_SECONDS,
            room=self._deps.room.enough(),
            alerting=policy.alerting,
            told=self._told.get(team.name, frozenset()),
        )

    async def _admit_once(self, ask: Ask, key: str | None) -> Settled | Replayed:
        """The decision; an order that comes again under its key gets its first task."""
        if key is not None:
            digest = claim_digest(ask.order)
            ask = replace(ask, claim=Claim(ask.team.name, key, digest, ask.job_id, ask.now))
        for _ in range(VETTING_ROUNDS):
            decision: Settled | Claimed = await self._admit(ask, self._decide)
            if not isinstance(decision, Claimed):
                return decision
            found = await self._deps.ledger.job(decision.claim.job_id)
            match admission.replay(ask, decision.claim, found):
                case Replayed() as replayed:
                    return replayed
                case Conflicting():
                    raise IdempotencyConflict(
                        "This Idempotency-Key came before with another order: take a new key for "
                        "each order.",
                        param="Idempotency-Key",
                    )
            ask = replace(ask, free=decision.claim)
        raise Unavailable("This Idempotency-Key keeps changing hands.", retry_after_seconds=1)

    def _decide(self, ask: Ask) -> Decide[Decision]:
        return lambda view: admission.admit(self._under_way(ask), view)

    def _under_way(self, ask: Ask) -> Ask:
        """The order under the team's limits of this moment: a changed one counts for all that are
        not decided yet.

        Raises `Unauthorized` where the team is gone, `ZoneChanged` where it is to be judged in
        other windows by now: their accounts have to be loaded first.
        """
        policy = self._deps.current.policy
        team = policy.teams.get(ask.team.name)
        if team is None:
            raise Unauthorized("This team was just deleted, or taken out of the settings.")
        if policy.zone != ask.zone:
            raise budgets.ZoneChanged
        return ask if team is ask.team else replace(ask, team=team)

    async def _admit(self, ask: Ask, decide: Deciding[D | Unvetted]) -> D:
        """The decision, committed. Finished runs are vetted between the looks at the ledger."""
        ask = await self._look_into_cache(ask)
        for rounds_left in reversed(range(VETTING_ROUNDS)):
            ask = self._in_zone(ask)
            try:
                decision = await self._deps.ledger.transact(ask.keys(), decide(ask))
            except budgets.ZoneChanged:
                continue
            except ConstraintViolation:
                if not rounds_left:
                    raise
                ask = await self._asked_anew(ask)
                continue
            if not isinstance(decision, Unvetted):
                return decision
            ask = await self._vet(ask, decision.run)
        raise Unavailable("The cached answer keeps changing; try again.", retry_after_seconds=1)

    def _in_zone(self, ask: Ask) -> Ask:
        zone = self._deps.current.policy.zone
        if zone == ask.zone:
            return ask
        return replace(ask, zone=zone, windows=budgets.windows_at(ask.now, zone))

    async def _look_into_cache(self, ask: Ask) -> Ask:
        """With the answer that was held ready; without one, pictures may have to be kept."""
        ask = await self._find_cached(ask)
        if ask.cached is None:
            try:
                await self._deps.pictures.require()
            except PictureProblem:
                raise _store_away() from None
        return ask

    async def _find_cached(self, ask: Ask) -> Ask:
        if ask.bypasses or ask.freshness.no_cache:
            return ask
        cached = await self._deps.cache.get(ask.fingerprint)
        fresh = cached is not None and admission.answer_hit(ask, cached) is not None
        stale_or_hit = "hit" if fresh else "stale"
        self._deps.observer.cache_looked_up("miss" if cached is None else stale_or_hit)
        return await self._vet(replace(ask, cached=cached), cached) if fresh and cached else ask

    async def _asked_anew(self, ask: Ask) -> Ask:
        """Without what may have broken a constraint.

        That is a cached run of a cache that outlived its ledger, or a task id that is taken.
        """
        if ask.cached is not None:
            await self._deps.cache.delete(ask.fingerprint)
        return replace(ask, cached=None, job_id=ids.new_task_id(ask.now))

    async def _vet(self, ask: Ask, run: Run) -> Ask:
        try:
            readable = await self._deps.pictures.readable(run.pictures)
        except PictureProblem:  # nobody knows: to make it anew might be to pay twice
            raise _store_away() from None
        if not readable:
            await self._deps.cache.delete(ask.fingerprint)
        return replace(ask, vetted={**ask.vetted, run.id: readable})

    async def _on_its_way(self, decision: Joined | Started | Replayed, wait_seconds: float) -> Run:
        """The run once there is something to answer, or as it is when the time is over."""
        run = decision.run
        with self._deps.waiters.watching(run.id) as watch:
            if isinstance(decision, Started):
                self._deps.worker.start(run)
            elif not _is_answer(run):
                found = await self._deps.ledger.job(decision.job.id)
                run = found[1] if found else run
            if not _is_answer(run):
                run = await watch.until(_is_answer, wait_seconds) or run
        return run

    def _alerted(self, team: str, ids: Sequence[str]) -> None:
        """Remembers what is written, so that a flood of refusals writes nothing more.

        What is forgotten here is found in the ledger again.
        """
        known = self._told.get(team, frozenset())
        self._told[team] = (known if len(known) < TOLD_PER_TEAM else frozenset()) | {*ids}
        self._deps.nudge_webhooks()

    def _tell(self, ask: Ask, decision: Settled | Replayed, request_id: str) -> None:
        """One line and one count per order, after the fact. A replay is no order of its own."""
        if isinstance(decision, Replayed):
            job, run = decision.job, decision.run
            log.info("order replayed", team=ask.team.name, task=job.id, run=run.id)
            return
        verdict, facts = _facts(decision)
        self._deps.observer.order(ask.team.name, ask.order.model, verdict)
        self._deps.refusals.judged(ask, decision, request_id)
        if isinstance(decision, Hit | Joined | Started) and decision.shadow:
            facts["shadow"] = decision.shadow.rule
        if self._deps.current.policy.log_prompts:
            facts["prompt"] = ask.order.prompt
        log.info("order", verdict=str(verdict), team=ask.team.name, model=ask.order.model, **facts)


def _store_away() -> Unavailable:
    message = "The picture store cannot be used just now; nothing was ordered. Try again."
    return Unavailable(message, retry_after_seconds=5)


def answered(run: Run, team: Team) -> Run:
    """The run, if its POST is answered with a task; raises the error that is its answer."""
    match reply(run):
        case Reply.FAILURE if run.failure:
            raise submit_error(run.failure)
        case Reply.LATER | Reply.DOUBT:  # its time is over: whatever comes, nobody knows it yet
            raise outcome_unknown(run, team)
        case _:
            return run


def _is_answer(run: Run) -> bool:
    return reply(run) is not Reply.LATER


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


def outcome_unknown(run: Run, team: Team) -> OutcomeUnknown:
    if is_sent_again(run):
        return OutcomeUnknown(
            "The request was sent upstream and its answer was lost. It is sent again under the "
            "same idempotency key, so that it is paid once at most. Send yours again later: it "
            "joins that one."
        )
    return OutcomeUnknown(
        "The request was sent upstream and its answer was lost, so it may or may not have been "
        f"paid. Nothing was sent again. Until {rfc3339(run.deadline_at)} at least the same "
        f"request gets this answer; {admission.knowingly(team)}"
    )
