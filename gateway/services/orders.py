"""The story of a request, as the list of its stages.

    submit: read → name → decide → submit → answer

What goes on upstream is the worker's; what money may do is admission's, which `decisions` asks;
this module only puts the stages in their order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import orjson
import structlog

from gateway import ids
from gateway.core.catalog import Team
from gateway.core.model import Freshness, Order, Run, Task, Verdict
from gateway.core.money import budgets
from gateway.core.orders import validation
from gateway.core.orders.admission import (
    Denied,
    Doubtful,
    Hit,
    Joined,
    Replayed,
    Settled,
    Started,
)
from gateway.core.orders.ask import Ask, honoured
from gateway.core.orders.asked import Asked
from gateway.core.orders.estimate import Estimate, estimate
from gateway.core.orders.fingerprint import fingerprint, references
from gateway.core.orders.receipt import NOTHING, Receipt, receipt
from gateway.core.orders.replies import answered, outcome_unknown
from gateway.core.policy import Current, Policy
from gateway.core.runs.answered import Reply, reply
from gateway.core.runs.leases import RUN_LEASE_SECONDS
from gateway.errors import CallerError, GatewayError, Unavailable, Unsettled
from gateway.ports.clock import Clock
from gateway.ports.ledger import TaskReads
from gateway.ports.observer import Observer
from gateway.ports.tokens import TokenCounter
from gateway.process.lately import Lately
from gateway.process.waiters import Waiters
from gateway.services.decisions import Decisions
from gateway.services.references import References
from gateway.services.refusals import Refusals

log = structlog.get_logger("gateway.orders")

SUBMIT_WAIT_SECONDS: Final = 28.0
"""Clients give a POST 30 s; a run still on its way out by then is reported as such."""

TOLD_PER_TEAM: Final = 200
"""Alerts known to be written: more than a team's limits have thresholds, and a few kilobytes."""

SMALL_BYTES: Final = 2_000
"""A body of so many is remembered for a moment: a thousand of them are a few megabytes."""


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


@dataclass(frozen=True, slots=True)
class Sent:
    """How an order came: what a refusal is remembered by, and under which `Idempotency-Key`.

    `told` is told of its receipt, once it is refused or decided and whenever there is more to it:
    also where it ends in an error.
    """

    told: Callable[[Receipt], None]
    request_id: str = ""
    key: str | None = None


class Starter(Protocol):
    """The worker, as the service sees it."""

    owner: str

    def start(self, run: Run) -> None:
        """Takes over a run whose intention to submit was just committed."""


@dataclass(frozen=True, slots=True)
class OrdersDeps:
    """What the service is built from."""

    ledger: TaskReads
    decisions: Decisions
    tokens: TokenCounter
    waiters: Waiters
    worker: Starter
    observer: Observer
    current: Current
    clock: Clock
    nudge_webhooks: Callable[[], None]
    references: References
    refusals: Refusals


@dataclass(frozen=True, slots=True)
class _Understood:
    """What a body was found to ask for, by the team and the policy of that moment."""

    team: Team
    policy: Policy
    order: Order
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _Reading(AbstractContextManager[None]):
    """A class, since a generator takes three times as long around an answer from the cache."""

    refused: Callable[[CallerError, Asked, Sent], None]
    asked: Asked
    sent: Sent

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, CallerError):
            self.refused(error, self.asked, self.sent)


class Orders:
    def __init__(self, deps: OrdersDeps) -> None:
        self._deps = deps
        self._stopping = False
        self._told: dict[str, frozenset[str]] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._lately = Lately[tuple[str, bytes], _Understood]()

    def stop_taking(self) -> None:
        """From now on every new order is answered 503; polls go on."""
        self._stopping = True

    async def submit(
        self,
        team: Team,
        body: object,
        freshness: Freshness,
        sent: Sent,
    ) -> Answer:
        """Takes an order: from parsed JSON to a task, or an error that says what to do."""
        if self._stopping:
            raise Unavailable("The gateway is being restarted.", retry_after_seconds=5)
        began = time.perf_counter()
        policy = self._deps.current.policy
        try:
            order, named = await self._understood(team, body, policy)
            ask = self._ask(team, order, named, freshness, policy)
            decision = await self._deps.decisions.on(ask, sent.key)
        except CallerError as error:
            self._refused(error, Asked(team, _known_model(body, policy), body), sent)
            raise
        except Unsettled as doubt:
            self._settle(self._carry_on(ask, doubt, sent.request_id))
            raise
        self._tell(ask, decision, sent.request_id)
        sent.told(receipt(decision))
        if isinstance(decision, Started | Denied) and decision.alerted:
            self._alerted(team.name, decision.alerted)
        if isinstance(decision, Denied):
            raise decision.denial.error(ask.now)
        if isinstance(decision, Doubtful):
            raise outcome_unknown(decision.run, team)
        if isinstance(decision, Hit):
            if decision.job.callback_url is not None:
                self._deps.nudge_webhooks()
            task = Task(decision.job, decision.run)
            return Answer(task, decision, ask.freshness, ask.ignored)
        return await self._upstream_answer(ask, decision, began, sent)

    def reading(self, team: Team, sent: Sent) -> AbstractContextManager[None]:
        """Around what reads an order before `submit` sees it: what is wrong there is told too."""
        return _Reading(self._refused, Asked(team), sent)

    def _refused(self, error: CallerError, asked: Asked, sent: Sent) -> None:
        """By its caller's fault, and before it was decided: so it cost nothing, whatever it was."""
        self._deps.refusals.invalid(error, asked, sent.request_id)
        sent.told(NOTHING)

    async def estimate(self, team: Team, body: object, freshness: Freshness) -> Estimate:
        """What an order would come to if it were sent now. Changes nothing, counts nothing."""
        policy = self._deps.current.policy
        order, named = await self._understood(team, body, policy)
        ask = self._ask(team, order, named, freshness, policy)
        decision = await self._deps.decisions.foreseen(ask)
        return estimate(ask, decision)

    # --- the stages ----------------------------------------------------------------------------

    async def _understood(self, team: Team, body: object, policy: Policy) -> tuple[Order, str]:
        """The order, and its fingerprint.

        The same words from the same team within a second are the same order, unless it names
        pictures: those are looked up. It took a tenth of an answer from the cache.
        """
        words = _as_bytes(body)
        known = self._lately.found((team.name, words)) if words else None
        if known is not None and known.policy is policy and known.team is team:
            return known.order, known.fingerprint
        changes = self._lately.changes
        order = await self._read(team, body, policy)
        named = fingerprint(order, team, policy.catalog.models[order.model])
        if words and not references(order):
            understood = _Understood(team, policy, order, named)
            self._lately.note((team.name, words), understood, changes=changes)
        return order, named

    async def _read(self, team: Team, body: object, policy: Policy) -> Order:
        order = validation.read_order(
            body, policy.catalog, team, private_callbacks=policy.private_callbacks
        )
        limits = policy.catalog.models[order.model].limits
        if validation.needs_counting(order, limits):
            count = await self._deps.tokens.count(order.prompt, team=team.name)
            validation.check_prompt_tokens(count, limits)
        known = references(order)
        return await self._deps.references.identify(team, order, known) if known else order

    def _ask(
        self, team: Team, order: Order, named: str, freshness: Freshness, policy: Policy
    ) -> Ask:
        now, heard = self._deps.clock(), honoured(freshness, team.client_control)
        model = policy.catalog.models[order.model]
        return Ask(
            order=order,
            team=team,
            model=model,
            fingerprint=named,
            freshness=heard,
            ignored=heard != freshness,
            ttl_seconds=policy.cache_ttl_seconds,
            remember_lost_seconds=policy.remember_lost_seconds,
            windows=budgets.windows_at(int(now), policy.zone),
            zone=policy.zone,
            now=now,
            job_id=ids.new_task_id(now),
            run_id=ids.new_run_id(),
            lease_owner=self._deps.worker.owner,
            lease_until=now + RUN_LEASE_SECONDS,
            alerting=policy.alerting,
            told=self._told.get(team.name, frozenset()),
        )

    async def _upstream_answer(
        self, ask: Ask, decision: Joined | Started | Replayed, began: float, sent: Sent
    ) -> Answer:
        """The answer once the outcome of the submit is known, or its time is over."""
        asked = time.perf_counter()
        try:
            left = SUBMIT_WAIT_SECONDS - (asked - began)
            run = await self._on_its_way(decision, left)
            sent.told(receipt(decision, run))
            answered(run, ask.team)
        except GatewayError as error:
            error.upstream_seconds = time.perf_counter() - asked
            self._deps.refusals.answered(ask, decision.job, error, sent.request_id)
            raise
        waited = time.perf_counter() - asked
        return Answer(Task(decision.job, run), decision, ask.freshness, ask.ignored, waited)

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

    def _settle(self, carrying_on: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(carrying_on, name="settle an order")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _carry_on(self, ask: Ask, doubt: Unsettled, request_id: str) -> None:
        """An order whose commit was in doubt, once it is known: what was accepted goes its way.

        Its client was told to look or to send it again, and joins it then. Nothing was sent yet,
        and nobody but this process knows that.
        """
        try:
            decision = await doubt.settled()
        except Unavailable:
            return
        if isinstance(decision, Settled):
            self._tell(ask, decision, request_id)
        if isinstance(decision, Started):
            self._deps.worker.start(decision.run)

    def _alerted(self, team: str, ids: Sequence[str]) -> None:
        """Remembers what is written, so that a flood of refusals writes nothing more.

        What is forgotten here is found in the ledger again.
        """
        known = self._told.get(team, frozenset())
        self._told[team] = (known if len(known) < TOLD_PER_TEAM else frozenset()) | {*ids}
        self._deps.nudge_webhooks()

    def _tell(self, ask: Ask, decision: Settled | Replayed, request_id: str) -> None:
        """One line and one count per order, after the fact. A replay is no order of its own."""
        shadow = None
        facts: dict[str, object] = {}
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


def _as_bytes(body: object) -> bytes:
    """What a small body says; nothing of one that is large, or that is no JSON of small numbers."""
    try:
        words = orjson.dumps(body)
    except orjson.JSONEncodeError:
        return b""
    is_told_apart = b"null" not in words  # a number without an end is written so too
    return words if is_told_apart and len(words) <= SMALL_BYTES else b""


def _is_answer(run: Run) -> bool:
    return reply(run) is not Reply.LATER


def _known_model(body: object, policy: Policy) -> str:
    """The public name of the model asked for, if it is one of ours: labels must stay few."""
    name = body.get("model") if isinstance(body, dict) else None
    model = policy.catalog.find(name) if isinstance(name, str) else None
    return model.name if model else ""
