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
from dataclasses import dataclass
from typing import Final

from gateway.core.catalog import Mode, Route
from gateway.core.copies import replace
from gateway.core.delivery import owes
from gateway.core.model import (
    Claim,
    Delivery,
    FailureKind,
    Job,
    Run,
    RunState,
    Task,
    Usage,
    Verdict,
)
from gateway.core.money.accounts import Account, AccountKey, Amounts
from gateway.core.money.alerts import Moment, alerts
from gateway.core.money.booking import book
from gateway.core.money.budgets import Left, left
from gateway.core.orders.ask import Ask
from gateway.core.orders.denials import (
    Denial,
    Reason,
    forbidden,
    no_room,
    no_route,
    over_budget,
    remembered,
)
from gateway.core.orders.fingerprint import canonical_json, is_same_claim
from gateway.core.orders.pricing import ceiling, cheapest
from gateway.core.runs.answered import Reply, reply
from gateway.core.runs.history import begun
from gateway.core.runs.sharing import give_way
from gateway.core.transaction import View, Writes

UNTOLD: Final = Left()

# --- the verdicts ------------------------------------------------------------------------------
#
# `shadow` tells of a team in shadow mode what would have denied the order, `alerted` the ids of the
# alerts that came of it, `left` what the team has left after the order.


@dataclass(frozen=True, slots=True)
class Hit:
    job: Job
    run: Run
    ttl_seconds: float
    shadow: Denial | None = None
    left: Left = UNTOLD


@dataclass(frozen=True, slots=True)
class Joined:
    job: Job
    run: Run
    shadow: Denial | None = None
    left: Left = UNTOLD


@dataclass(frozen=True, slots=True)
class Started:
    """`stored`: the result will be cached."""

    job: Job
    run: Run
    stored: bool
    shadow: Denial | None = None
    alerted: tuple[str, ...] = ()
    left: Left = UNTOLD


@dataclass(frozen=True, slots=True)
class Denied:
    denial: Denial
    alerted: tuple[str, ...] = ()
    left: Left = UNTOLD


@dataclass(frozen=True, slots=True)
class Doubtful:
    """An identical order's submit has an unknown outcome; it is not sent again."""

    run: Run
    left: Left = UNTOLD


@dataclass(frozen=True, slots=True)
class Unvetted:
    """This finished run would be a hit if its pictures are readable: find out, ask again."""

    run: Run


@dataclass(frozen=True, slots=True)
class Claimed:
    """The key was used before: find out what became of it (`replay`), and maybe ask again."""

    claim: Claim
    left: Left = UNTOLD


@dataclass(frozen=True, slots=True)
class Replayed:
    """The order came before under its key; this is its task."""

    job: Job
    run: Run
    left: Left = UNTOLD


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
        return Claimed(view.claim, _left(ask, view, Writes())), Writes()
    decision, writes = judge(ask, view)
    if ask.claim and isinstance(decision, Hit | Joined | Started):
        freed = (view.claim,) if view.claim else ()
        writes = replace(writes, claims=(ask.claim,), freed=freed)
    if ask.team.caps and not isinstance(decision, Unvetted):
        decision = replace(decision, left=_left(ask, view, writes))
    return decision, writes


def _left(ask: Ask, view: View, writes: Writes) -> Left:
    """What the team has left once these writes are made."""
    accounts = view.accounts
    if writes.accounts:
        accounts = {**accounts, **{account.key: account for account in writes.accounts}}
    return left(ask.team.caps, ask.told_of(accounts))


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
    if ask.claim and not is_same_claim(claim.digest, ask.claim.digest):
        return Conflicting()
    return Replayed(job, run)


def judge(ask: Ask, view: View) -> tuple[Judgement, Writes]:
    """The decision on an order, whatever key it came under."""
    denial = forbidden(ask)
    shadow = denial if ask.team.mode is Mode.SHADOW else None
    if denial and not shadow:
        return Denied(denial), Writes()
    found = None if ask.freshness.no_store else _from_cache(ask, view)
    if found:
        decision, writes = found
        if shadow and isinstance(decision, Hit | Joined):
            decision = replace(decision, shadow=shadow)
        return decision, writes
    if ask.freshness.only_if_cached:
        message = "There is no stored answer, and 'only-if-cached' forbids making a new one."
        return Denied(Denial(Reason.NOT_CACHED, message, "only_if_cached")), Writes()
    if lost := remembered(ask, view):
        return Denied(lost), Writes()
    return _start(ask, view, shadow)


def answer_hit(ask: Ask, run: Run) -> tuple[Hit, Writes] | None:
    """The hit that this finished run gives; None when it may not answer the order."""
    left = ask.seconds_left(run)
    if left <= 0:
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
    return Hit(job, run, left), writes


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
    if view.live is None or ask.freshness.only_if_cached or not ask.is_served(view.live):
        return None
    if view.live.state is RunState.UNSURE:
        return Doubtful(view.live), Writes()
    return _join(ask, view.live)


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
        return Denied(no_route(ask)), Writes()
    if not ask.room:
        return Denied(no_room(ask)), Writes()
    route, price = priced
    run = _new_run(ask, route, price)
    run = replace(run, bypassed=_bypassed(ask, view))
    denial = shadow or over_budget(ask, run, view)
    if denial and ask.team.mode is Mode.ENFORCE:
        told = _alerts(ask, ask.in_force(view.accounts), refused=run.hold)
        return Denied(denial, _ids(told)), Writes(alerts=told)
    job = _job(ask, run, Verdict.STARTED)
    first = begun(run, shadow=denial.rule if denial else "")
    writes = replace(book(None, run, view.accounts), steps=(first,))
    if view.live is not None:  # `no-cache`, or it is on a former model: others join the new run
        writes = replace(writes, runs=(give_way(view.live), *writes.runs))
    booked = {one.key: one for one in writes.accounts}
    told = _alerts(ask, ask.in_force(booked))
    started = Started(job, run, run.shared, denial, _ids(told))
    return started, replace(writes, jobs=(job,), alerts=told)


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


def _job(ask: Ask, run: Run, verdict: Verdict) -> Job:
    return Job(
        id=ask.job_id,
        run_id=run.id,
        team=ask.team.name,
        verdict=verdict,
        created_at=ask.now,
        callback_url=ask.order.callback_url,
        labels=canonical_json(ask.order.labels) if ask.order.labels else "{}",
    )


def _new_run(ask: Ask, route: Route, price: int) -> Run:
    return Run(
        id=ask.run_id,
        fingerprint=ask.fingerprint,
        team=ask.team.name,
        model=ask.order.model,
        quality=ask.order.quality or "",
        n=ask.order.n,
        request=canonical_json(ask.order.body),
        upstream=route.upstream,
        upstream_model=route.model,
        price_usd_micros=price,
        windows=ask.windows,
        besides_usd_micros=route.besides_usd_micros(ask.order),
        hold=ceiling(ask.order, price, route),
        created_at=ask.now,
        deadline_at=ask.now + ask.model.deadline_seconds,
        due_at=ask.now,
        shared=not ask.freshness.no_store,
        lease_owner=ask.lease_owner,
        lease_until=ask.lease_until,
    )
