"""Admission: cache look-up, coalescing and budget as ONE decision over one view of the ledger.

    hit      a finished run answers, for nothing
    joined   a running run will answer, for nothing
    started  a new run, its price held
    denied   with the rule that decided and when it frees

An identical order that ended without a picture and counts as spent is not paid again for a while:
its ending is repeated, as a denial. An order that comes again under its `Idempotency-Key` gets its
first task instead.

`admit` is pure; the ledger calls it inside a transaction and commits what it returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from enum import StrEnum
from typing import Final

from gateway.core.catalog import ClientControl, ImageModel, Mode, Team
from gateway.core.delivery import owes
from gateway.core.model import (
    Claim,
    Delivery,
    FailureKind,
    Freshness,
    Job,
    Order,
    Run,
    RunState,
    Task,
    Usage,
    Verdict,
)
from gateway.core.money.accounts import Account, AccountKey, Amounts, Measure, Window, Windows
from gateway.core.money.alerts import Alerting, Moment, alerts
from gateway.core.money.booking import book
from gateway.core.money.budgets import NEVER, Excess, account_keys, first_excess, resets_at, rfc3339
from gateway.core.orders.fingerprint import canonical_json
from gateway.core.orders.pricing import ceiling, cheapest, priced_values
from gateway.core.orders.spellings import AUTO
from gateway.core.runs.answered import Reply, reply
from gateway.core.runs.history import begun
from gateway.core.runs.sharing import give_way
from gateway.core.transaction import Keys, View, Writes
from gateway.errors import (
    BudgetExhausted,
    GatewayError,
    GenerationTimeout,
    InvalidRequest,
    ModelAccessDenied,
    NotCached,
    OutcomeUnknown,
    RateLimited,
    ResultLost,
    Unavailable,
)

ROOM_RETRY_SECONDS: Final = 60.0
"""An operator has to make room on the disk; asking more often than this is no use."""


class Reason(StrEnum):
    """Why an order was denied: the closed list of the metrics' label."""

    BUDGET = "budget"
    IMAGES = "images"
    RUNS_PER_MINUTE = "runs_per_minute"
    CONCURRENT_RUNS = "concurrent_runs"
    MODEL = "model_not_allowed"
    SIZE = "size_not_allowed"
    QUALITY = "quality_not_allowed"
    COUNT = "n_not_allowed"
    UNPRICED = "unpriced"
    ROOM = "no_room"
    NOT_CACHED = "not_cached"
    RESULT_LOST = "result_lost"
    TIMED_OUT = "generation_timeout"
    OUTCOME_UNKNOWN = "outcome_unknown"


REMEMBERED: Final[Mapping[FailureKind, Reason]] = {
    # Endings that count as spent: sent again, such an order might be paid again.
    FailureKind.RESULT_LOST: Reason.RESULT_LOST,
    FailureKind.TIMED_OUT: Reason.TIMED_OUT,
    FailureKind.OUTCOME_UNKNOWN: Reason.OUTCOME_UNKNOWN,
}

NEVER_PAID_TWICE: Final = "never_paid_twice"
"""The rule that refuses an order which may have been paid already."""


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal as data: why, by which rule, what to tell the caller, when it frees."""

    reason: Reason
    message: str
    rule: str
    param: str | None = None
    frees_at: float = NEVER
    excess: Excess | None = None

    def error(self, now: float) -> GatewayError:
        """What the caller is told."""
        retry_after = None if self.frees_at == NEVER else max(1.0, self.frees_at - now)
        resets_at = None if self.frees_at == NEVER else rfc3339(self.frees_at)
        limit = {"limit_scope": self.rule, "resets_at": resets_at}
        match self.reason:
            case Reason.BUDGET:
                return BudgetExhausted(self.message, retry_after_seconds=retry_after, extra=limit)
            case Reason.IMAGES | Reason.RUNS_PER_MINUTE | Reason.CONCURRENT_RUNS:
                return RateLimited(self.message, retry_after_seconds=retry_after, extra=limit)
            case Reason.MODEL:
                return ModelAccessDenied(self.message, param=self.param)
            case Reason.ROOM:
                return Unavailable(self.message, retry_after_seconds=retry_after)
            case Reason.NOT_CACHED:
                return NotCached(self.message)
            case Reason.RESULT_LOST:
                return ResultLost(self.message)
            case Reason.TIMED_OUT:
                return GenerationTimeout(self.message)
            case Reason.OUTCOME_UNKNOWN:
                return OutcomeUnknown(self.message)
            case _:
                return InvalidRequest(self.message, param=self.param)


@dataclass(frozen=True, slots=True)
class Ask:
    """An order at the gateway's door, with everything the decision may look at.

    `freshness` is what is honoured of the client's wishes, `ignored` says that this is not all
    of them. `cached` is what the response cache had for the fingerprint; `vetted` tells of finished
    runs whether their pictures are readable; `room` whether the disk has space for more. `claim`
    is the idempotency key as it is claimed for the job, `free` a former claim of that key which
    holds no longer. `alerting` says where to tell that a team comes near a limit, `told` which of
    those alerts are written already. Ids and lease are made before, so that the decision is pure.
    """

    order: Order
    team: Team
    model: ImageModel
    fingerprint: str
    freshness: Freshness
    ttl_seconds: float
    windows: Windows
    zone: tzinfo
    now: float
    job_id: str
    run_id: str
    lease_owner: str
    lease_until: float
    ignored: bool = False
    room: bool = True
    cached: Run | None = None
    vetted: Mapping[str, bool] = field(default_factory=dict)
    claim: Claim | None = None
    free: Claim | None = None
    remember_lost_seconds: float = 0.0
    alerting: Alerting | None = None
    told: frozenset[str] = frozenset()

    @property
    def bypasses(self) -> bool:
        """`no-store` keeps the cache out of it altogether."""
        return self.freshness.no_store

    def renews_at(self, window: Window) -> float:
        return resets_at(window, self.now, self.zone)

    def in_force(self, view: View) -> Mapping[AccountKey, Account]:
        """The team's accounts that its limits are held against."""
        keys = account_keys(self.team.name, self.now, self.zone)
        return {key: view.accounts[key] for key in keys}

    def keys(self) -> Keys:
        """What `admit` needs to see: the team's accounts, the runs of the fingerprint, the claim.

        Only the claim when the response cache has the answer: that saves the ledger's read.
        """
        claim = (self.claim.team, self.claim.key) if self.claim else None
        if (
            self.cached
            and not self.bypasses
            and self.vetted.get(self.cached.id)
            and answer_hit(self, self.cached)
        ):
            return Keys(claim=claim)
        fingerprint = None if self.bypasses else self.fingerprint
        return Keys(
            account_keys(self.team.name, self.now, self.zone),
            counted=(self.team.name, self.now),
            fingerprint=fingerprint,
            claim=claim,
        )


# --- the verdicts ------------------------------------------------------------------------------
#
# `shadow` tells of a team in shadow mode what would have denied the order, `alerted` the ids of the
# alerts that came of it.


@dataclass(frozen=True, slots=True)
class Hit:
    job: Job
    run: Run
    ttl_seconds: float
    shadow: Denial | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    job: Job
    run: Run
    shadow: Denial | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """`stored`: the result will be cached."""

    job: Job
    run: Run
    stored: bool
    shadow: Denial | None = None
    alerted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Denied:
    denial: Denial
    alerted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Doubtful:
    """An identical order's submit has an unknown outcome; it is not sent again."""

    run: Run


@dataclass(frozen=True, slots=True)
class Unvetted:
    """This finished run would be a hit if its pictures are readable: find out, ask again."""

    run: Run


@dataclass(frozen=True, slots=True)
class Claimed:
    """The key was used before: find out what became of it (`replay`), and maybe ask again."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Replayed:
    """The order came before under its key; this is its task."""

    job: Job
    run: Run


@dataclass(frozen=True, slots=True)
class Conflicting:
    """Another order came before under its key."""


Settled = Hit | Joined | Started | Denied | Doubtful
Judgement = Settled | Unvetted
Decision = Judgement | Claimed

NEVER_TAKEN: Final = frozenset(
    {FailureKind.REFUSED, FailureKind.CREDENTIALS, FailureKind.UNAVAILABLE}
)


def admit(ask: Ask, view: View) -> tuple[Decision, Writes]:
    """The decision on an order and the records that make it true."""
    if ask.claim and view.claim and view.claim != ask.free:
        return Claimed(view.claim), Writes()
    decision, writes = judge(ask, view)
    if ask.claim and isinstance(decision, Hit | Joined | Started):
        freed = (view.claim,) if view.claim else ()
        writes = replace(writes, claims=(ask.claim,), freed=freed)
    return decision, writes


def replay(ask: Ask, claim: Claim, found: Task | None) -> Replayed | Conflicting | None:
    """What an order gets whose key was used before, with the job of that claim and its run.

    None: the key is free again, because its task is forgotten or was an HTTP error that cost
    nothing. Whoever got that error may mend the order or send it once more under the same key.
    """
    if found is None:
        return None
    job, run = found
    if reply(run) is Reply.FAILURE and run.failure and run.failure.kind in NEVER_TAKEN:
        return None
    if ask.claim and claim.digest != ask.claim.digest:
        return Conflicting()
    return Replayed(job, run)


def judge(ask: Ask, view: View) -> tuple[Judgement, Writes]:
    """The decision on an order, whatever key it came under."""
    denial = forbidden(ask)
    shadow = denial if ask.team.mode is Mode.SHADOW else None
    if denial and not shadow:
        return Denied(denial), Writes()
    found = None if ask.bypasses else _from_cache(ask, view)
    if found:
        decision, writes = found
        if isinstance(decision, Hit | Joined):
            decision = replace(decision, shadow=shadow)
        return decision, writes
    if ask.freshness.only_if_cached:
        message = "There is no stored answer, and 'only-if-cached' forbids making a new one."
        return Denied(Denial(Reason.NOT_CACHED, message, "only_if_cached")), Writes()
    remembered = _remembered(ask, view)
    if remembered:
        return Denied(remembered), Writes()
    return _start(ask, view, shadow)


def answer_hit(ask: Ask, run: Run) -> tuple[Hit, Writes] | None:
    """The hit that this finished run gives; None when it is too old, for us or for the caller,
    or when no route leads any more to where its pictures were made."""
    if not _is_served(ask, run):
        return None
    age = ask.now - (run.finished_at or 0.0)
    wanted = ask.freshness.max_age_seconds
    limit = ask.ttl_seconds if wanted is None else min(ask.ttl_seconds, wanted)
    if ask.freshness.no_cache or age >= limit:
        return None
    job = _job(ask, run, Verdict.HIT)
    saved = Usage(
        ask.team.name,
        run.model,
        ask.windows.day,
        hits=1,
        images_cache=len(run.kept),
        saved_hit_usd_micros=run.spent.usd_micros,
    )
    writes = Writes(jobs=(job,), usage=(saved,), deliveries=owes(job, ask.now))
    return Hit(job, run, ask.ttl_seconds - age), writes


def _is_served(ask: Ask, run: Run) -> bool:
    """Whether the model's routes still lead to the upstream model that the run is on, or was.

    Another upstream model makes other pictures, under whatever public name; prices, the order of
    routes and another way to the same model change none. What waits for a route will be sent on
    one of today's, and a doubt is a doubt wherever it came from.
    """
    if run.state in (RunState.QUEUED, RunState.UNSURE):
        return True
    return run.upstream_model in {route.model for route in ask.model.routes}


def forbidden(ask: Ask) -> Denial | None:
    """What the team may not ask for at all, whatever its budget."""
    allow, order = ask.team.allow, ask.order
    if allow.models is not None and order.model not in allow.models:
        return _not_allowed(Reason.MODEL, "model", order.model, allow.models)
    if allow.sizes is not None and (order.size or AUTO) not in allow.sizes:
        return _not_allowed(Reason.SIZE, "size", order.size, allow.sizes)
    if allow.qualities is not None and (order.quality or AUTO) not in allow.qualities:
        return _not_allowed(Reason.QUALITY, "quality", order.quality, allow.qualities)
    if allow.max_n is not None and order.n > allow.max_n:
        message = f"This team may ask for at most {allow.max_n} pictures at once; n is {order.n}."
        return Denial(Reason.COUNT, message, "allow.max_n", param="n")
    return None


def _not_allowed(reason: Reason, param: str, value: str | None, allowed: frozenset[str]) -> Denial:
    got = f"not '{value}'" if value is not None else "and must say so: the field is missing"
    message = f"This team may use these values of '{param}': {', '.join(sorted(allowed))}; {got}."
    return Denial(reason, message, f"allow.{param}", param=param)


def _from_cache(ask: Ask, view: View) -> tuple[Judgement, Writes] | None:
    if ask.freshness.no_cache:
        return None
    finished = view.finished or ask.cached
    if finished and (hit := answer_hit(ask, finished)):
        readable = ask.vetted.get(finished.id)
        if readable is None:
            return Unvetted(finished), Writes()
        if readable:
            return hit
    if view.live is None or ask.freshness.only_if_cached or not _is_served(ask, view.live):
        return None
    if view.live.state is RunState.UNSURE:
        return Doubtful(view.live), Writes()
    return _join(ask, view.live)


def _remembered(ask: Ask, view: View) -> Denial | None:
    """The ending of an identical order that counts as spent, while it is repeated.

    A picture that came since then shows that there is more to be had.
    """
    lost = view.lost
    if ask.bypasses or ask.freshness.no_cache or not lost or not lost.failure:
        return None
    ended, later = lost.finished_at or 0.0, (view.finished and view.finished.finished_at) or 0.0
    until = ended + ask.remember_lost_seconds
    reason = REMEMBERED.get(lost.failure.kind)
    if reason is None or ask.now >= until or later > ended:
        return None
    message = (
        f"An identical order ended at {rfc3339(ended)}, and nothing was ordered now: "
        f"{lost.failure.message} The same request gets this answer until {rfc3339(until)}; "
        f"{knowingly(ask.team)}"
    )
    return Denial(reason, message, NEVER_PAID_TWICE, frees_at=until)


def knowingly(team: Team) -> str:
    """How a client may pay for what may be paid already."""
    if team.client_control is ClientControl.IGNORE:
        return "the gateway's settings let no client start a new one before."
    return "send it with 'Cache-Control: no-cache' to start a new one knowingly."


def _join(ask: Ask, live: Run) -> tuple[Joined, Writes]:
    joins = dict(live.joins)
    joins[ask.team.name] = joins.get(ask.team.name, 0) + 1
    run = replace(live, joins=tuple(sorted(joins.items())))
    job = _job(ask, run, Verdict.JOINED)
    usage = Usage(ask.team.name, run.model, ask.windows.day, joined=1)
    return Joined(job, run), Writes(runs=(run,), jobs=(job,), usage=(usage,))


def _start(ask: Ask, view: View, shadow: Denial | None) -> tuple[Started | Denied, Writes]:
    priced = cheapest(ask.model, ask.order)
    if priced is None:
        return Denied(_unpriced(ask)), Writes()
    if not ask.room:
        message = (
            "The gateway's picture store is nearly full, or refuses to be written, so no new "
            "pictures are ordered."
        )
        frees_at = ask.now + ROOM_RETRY_SECONDS
        return Denied(Denial(Reason.ROOM, message, "free_space", frees_at=frees_at)), Writes()
    route, price = priced
    run = _new_run(ask, price=price, upstream=route.upstream, upstream_model=route.model)
    run = replace(run, bypassed=_bypassed(ask, view))
    denial = shadow or over_budget(ask, run, view)
    if denial and ask.team.mode is Mode.ENFORCE:
        told = _alerts(ask, ask.in_force(view), refused=run.hold)
        return Denied(denial, _ids(told)), Writes(alerts=told)
    job = _job(ask, run, Verdict.STARTED)
    first = begun(run, shadow=denial.rule if denial else "")
    writes = replace(book(None, run, view.accounts), steps=(first,))
    if view.live is not None:  # `no-cache`, or it is on a former model: others join the new run
        writes = replace(writes, runs=(give_way(view.live), *writes.runs))
    booked = {one.key: one for one in writes.accounts}
    told = _alerts(ask, {key: booked[key] for key in ask.in_force(view)})
    started = Started(job, run, run.shared, denial, _ids(told))
    return started, replace(writes, jobs=(job,), alerts=told)


def _unpriced(ask: Ask) -> Denial:
    """The first field at fault is named: one whose value no price knows, or that is left out."""
    known = sorted(priced_values(ask.model).items())
    fields = [name for name, values in known if ask.order.body.get(name) not in list(values)]
    listed = "; ".join(f"{name} {', '.join(sorted(values))}" for name, values in known)
    message = (
        f"'{ask.order.model}' has no price for this order in the gateway's settings, so it is "
        f"refused. Prices name {listed}. Choose among them, or ask the platform team."
    )
    return Denial(Reason.UNPRICED, message, "unpriced", param=next(iter(fields), None))


def _bypassed(ask: Ask, view: View) -> bool:
    """Whether the client passed by the cache: it did not look, or found its answer too old."""
    fresh, answer = ask.freshness, view.finished
    if fresh.no_cache or fresh.no_store:
        return True
    if fresh.max_age_seconds is None or answer is None or not ask.vetted.get(answer.id, True):
        return False
    return fresh.max_age_seconds <= ask.now - (answer.finished_at or 0.0) < ask.ttl_seconds


def _alerts(
    ask: Ask, accounts: Mapping[AccountKey, Account], *, refused: Amounts | None = None
) -> tuple[Delivery, ...]:
    """What the order gives cause to tell the operator of, and was not told yet."""
    if ask.alerting is None:
        return ()
    moment = Moment(ask.team.name, ask.now, ask.windows, ask.renews_at, ask.told)
    return alerts(ask.alerting, moment, ask.team.caps, accounts, refused=refused)


def _ids(told: tuple[Delivery, ...]) -> tuple[str, ...]:
    return tuple(one.id for one in told)


def over_budget(ask: Ask, run: Run, view: View) -> Denial | None:
    """The cap that the run would break, if any."""
    excess = first_excess(
        ask.team.caps, ask.in_force(view), run.hold, now=ask.now, renews_at=ask.renews_at
    )
    if excess is None:
        return None
    reason = {
        Measure.USD: Reason.BUDGET,
        Measure.IMAGES: Reason.IMAGES,
        Measure.RUNS: Reason.RUNS_PER_MINUTE,
        Measure.LIVE: Reason.CONCURRENT_RUNS,
    }[excess.cap.measure]
    return Denial(
        reason,
        f"{excess.sentence} {_advice(excess)}",
        excess.cap.rule,
        frees_at=excess.frees_at,
        excess=excess,
    )


def _advice(excess: Excess) -> str:
    if excess.asked > excess.cap.limit:
        return "It can never fit: ask for less, or ask the platform team for a larger limit."
    if excess.frees_at == NEVER:
        return "This limit does not renew: ask the platform team for a larger one."
    if excess.cap.measure is Measure.LIVE:
        return "Try again when one of the running ones has ended."
    return f"It renews at {rfc3339(excess.frees_at)}."


def _job(ask: Ask, run: Run, verdict: Verdict) -> Job:
    return Job(
        id=ask.job_id,
        run_id=run.id,
        team=ask.team.name,
        verdict=verdict,
        created_at=ask.now,
        callback_url=ask.order.callback_url,
        labels=canonical_json(ask.order.labels),
    )


def _new_run(ask: Ask, *, price: int, upstream: str, upstream_model: str) -> Run:
    return Run(
        id=ask.run_id,
        fingerprint=ask.fingerprint,
        team=ask.team.name,
        model=ask.order.model,
        quality=ask.order.quality or "",
        n=ask.order.n,
        request=canonical_json(ask.order.body),
        upstream=upstream,
        upstream_model=upstream_model,
        price_usd_micros=price,
        windows=ask.windows,
        hold=ceiling(ask.order, price),
        created_at=ask.now,
        deadline_at=ask.now + ask.model.deadline_seconds,
        due_at=ask.now,
        shared=not ask.bypasses,
        lease_owner=ask.lease_owner,
        lease_until=ask.lease_until,
    )
