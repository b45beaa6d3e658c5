"""The story of a request, as the list of its stages.

    submit: validate → name → admit → submit → answer

What goes on upstream is the worker's; what money may do is admission's; this module only puts
the stages in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog

from gateway import ids
from gateway.core.catalog import Team
from gateway.core.model import Claim, Freshness, Order, Run, Task, Verdict
from gateway.core.money import budgets
from gateway.core.money.accounts import total_key
from gateway.core.money.budgets import Standing
from gateway.core.orders import admission, validation
from gateway.core.orders import estimate as enquiries
from gateway.core.orders.admission import (
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
from gateway.core.orders.ask import Ask, honoured
from gateway.core.orders.estimate import Estimate, Purse
from gateway.core.orders.fingerprint import claim_digest, fingerprint, references
from gateway.core.orders.replies import answered, outcome_unknown
from gateway.core.picture_errors import PictureProblem
from gateway.core.policy import Current, Policy
from gateway.core.runs.answered import Reply, reply
from gateway.core.runs.schedule import RUN_LEASE_SECONDS
from gateway.core.transaction import ConstraintViolation, View, Writes
from gateway.errors import (
    GatewayError,
    IdempotencyConflict,
    Unauthorized,
    Unavailable,
)
from gateway.ports.cache import ResponseCache
from gateway.ports.clock import Clock
from gateway.ports.ledger import Ledger
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
    """What a caller is told about an order: its task as it is now, and the verdict.

    `freshness` is what was honoured of the client's wishes; `ignored`: that was not all of them.
    """

    task: Task
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

    ledger: Ledger
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


def _look(ask: Ask, view: View) -> tuple[Judgement, Writes]:
    """The same decision, and nothing comes of it."""
    return admission.judge(ask, view)[0], Writes()


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
        try:
            order = await self._read(team, body, policy)
            ask = self._name(team, order, freshness, policy)
            decision = await self._admit_once(ask, key)
        except GatewayError as error:
            self._deps.refusals.invalid(error, team.name, _known_model(body, policy), request_id)
            raise
        self._tell(ask, decision, request_id)
        if isinstance(decision, Started | Denied) and decision.alerted:
            self._alerted(team.name, decision.alerted)
        if isinstance(decision, Denied):
            raise decision.denial.error(ask.now)
        if isinstance(decision, Doubtful):
            raise outcome_unknown(decision.run, team)
        run, upstream_seconds = decision.run, 0.0
        if not isinstance(decision, Hit):
            asked = time.perf_counter()
            try:
                left = SUBMIT_WAIT_SECONDS - (asked - began)
                run = answered(await self._on_its_way(decision, left), team)
            except GatewayError as error:
                error.upstream_seconds = time.perf_counter() - asked
                self._deps.refusals.answered(ask, decision.job, error, request_id)
                raise
            upstream_seconds = time.perf_counter() - asked
        elif decision.job.callback_url is not None:
            self._deps.nudge_webhooks()
        task = Task(decision.job, run)
        return Answer(task, decision, ask.freshness, ask.ignored, upstream_seconds)

    @contextmanager
    def reading(self, team: Team, request_id: str) -> Iterator[None]:
        """Around what reads an order before `submit` sees it: what is wrong there is told too."""
        try:
            yield
        except GatewayError as error:
            self._deps.refusals.invalid(error, team.name, "", request_id)
            raise

    async def estimate(self, team: Team, body: object, freshness: Freshness) -> Estimate:
        """What an order would come to if it were sent now. Changes nothing, counts nothing."""
        policy = self._deps.current.policy
        ask = self._name(team, await self._read(team, body, policy), freshness, policy)
        decision: Settled = await self._admit(ask, _look)
        return enquiries.estimate(ask, decision, await self._standings(team))

    async def purse(self, team: Team) -> Purse:
        """The team's money over all its budgets."""
        standings = await self._standings(team)
        total = total_key(team.name)
        spent = (await self._deps.ledger.accounts([total]))[total].spent
        return enquiries.purse(standings, spent.usd_micros)

    # --- the stages ----------------------------------------------------------------------------

    async def _read(self, team: Team, body: object, policy: Policy) -> Order:
        order = validation.read_order(
            body, policy.catalog, private_callbacks=policy.private_callbacks
        )
        limits = policy.catalog.models[order.model].limits
        if validation.needs_counting(order, limits):
            count = await self._deps.tokens.count(order.prompt, team=team.name)
            validation.check_prompt_tokens(count, limits)
        known = references(order)
        return await self._deps.references.identify(team, order, known) if known else order

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
            alerting=policy.alerting,
            told=self._told.get(team.name, frozenset()),
        )

    async def _standings(self, team: Team) -> Sequence[Standing]:
        now, zone = self._deps.clock(), self._deps.current.policy.zone
        keys = budgets.account_keys(team.name, now, zone)
        accounts = await self._deps.ledger.accounts(keys)
        return budgets.standings(
            team.caps, accounts, lambda window: budgets.resets_at(window, now, zone)
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

    def _decide(self, ask: Ask, view: View) -> tuple[Decision, Writes]:
        """The decision under the team's limits of this moment: a changed one counts for all orders
        that are not decided yet.

        Raises `Unauthorized` where the team is gone, `ZoneChanged` where it is to be judged in
        other windows by now: their accounts have to be loaded first.
        """
        policy = self._deps.current.policy
        team = policy.teams.get(ask.team.name)
        if team is None:
            raise Unauthorized("This team was just deleted, or taken out of the settings.")
        if policy.zone != ask.zone:
            raise budgets.ZoneChanged
        return admission.admit(ask if team is ask.team else replace(ask, team=team), view)

    async def _admit(
        self, ask: Ask, decide: Callable[[Ask, View], tuple[D | Unvetted, Writes]]
    ) -> D:
        """The decision, committed. Finished runs are vetted between the looks at the ledger."""
        ask = await self._find_cached(ask)
        if ask.cached is None:
            ask = await self._to_be_made(ask)
        for rounds_left in reversed(range(VETTING_ROUNDS)):
            try:
                decision = await self._deps.ledger.transact(ask.keys(), partial(decide, ask))
            except budgets.ZoneChanged:
                zone = self._deps.current.policy.zone
                ask = replace(ask, zone=zone, windows=budgets.windows_at(ask.now, zone))
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

    async def _find_cached(self, ask: Ask) -> Ask:
        """With the answer that the response cache holds ready, if it may be given."""
        if ask.freshness.no_store or ask.freshness.no_cache:
            return ask
        cached = await self._deps.cache.get(ask.fingerprint)
        if cached is None or ask.seconds_left(cached) <= 0:
            self._deps.observer.cache_looked_up("miss" if cached is None else "stale")
            return ask
        self._deps.observer.cache_looked_up("hit")
        ask = await self._vet(ask, cached)
        return replace(ask, cached=cached) if ask.vetted[cached.id] else ask

    async def _to_be_made(self, ask: Ask) -> Ask:
        """Without an answer held ready pictures may have to be made, and there must be a place to
        keep them."""
        try:
            await self._deps.pictures.require()
        except PictureProblem:
            raise _store_away() from None
        return replace(ask, cached=None, room=self._deps.room.enough())

    async def _asked_anew(self, ask: Ask) -> Ask:
        """Without what may have broken a constraint.

        That is a cached run of a cache that outlived its ledger, or a task id that is taken.
        """
        if ask.cached is not None:
            await self._deps.cache.delete(ask.fingerprint)
            ask = await self._to_be_made(ask)
        return replace(ask, job_id=ids.new_task_id(ask.now))

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
                run = found.run if found else run
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
        shadow, facts = None, dict[str, object]()
        match decision:
            case Replayed(job, run):
                log.info("order replayed", team=ask.team.name, task=job.id, run=run.id)
                return
            case Denied(denial):
                verdict, facts = Verdict.DENIED, {"reason": str(denial.reason), "rule": denial.rule}
            case Doubtful(run):
                verdict, facts = Verdict.DENIED, {"reason": "outcome_unknown", "run": run.id}
            case Hit(job, run) | Joined(job, run) | Started(job, run):
                verdict, facts = job.verdict, {"task": job.id, "run": run.id}
                shadow = decision.shadow
        if isinstance(decision, Started):
            facts["hold"] = decision.run.hold.usd_micros
        if shadow is not None:
            facts["shadow"] = shadow.rule
        if verdict is Verdict.DENIED or shadow is not None:
            self._deps.refusals.judged(ask, decision, request_id)
        if self._deps.current.policy.log_prompts:
            facts["prompt"] = ask.order.prompt
        self._deps.observer.order(ask.team.name, ask.order.model, verdict)
        log.info("order", verdict=str(verdict), team=ask.team.name, model=ask.order.model, **facts)


def _store_away() -> Unavailable:
    message = "The picture store cannot be used just now; nothing was ordered. Try again."
    return Unavailable(message, retry_after_seconds=5)


def _is_answer(run: Run) -> bool:
    return reply(run) is not Reply.LATER


def _known_model(body: object, policy: Policy) -> str:
    """The public name of the model asked for, if it is one of ours: labels must stay few."""
    name = body.get("model") if isinstance(body, dict) else None
    model = policy.catalog.find(name) if isinstance(name, str) else None
    return model.name if model else ""
