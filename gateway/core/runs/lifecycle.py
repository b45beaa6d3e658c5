"""The run's life as a table: what may happen in which state, and what follows.

Only this module changes a run. `advance` takes a run and an event and gives the next run; a pair
that is not in the table raises. How a run goes on elsewhere or later is told in `onward`, how it
ends in `endings`, and what the driver has to do next in `steps`. Money follows the run by itself:
its `hold` and `spent` change here, and `booking` carries the difference to the accounts in the same
transaction.

    submitting ─accepted→ running ─finished→ keeping ─kept→ done

A run that its route does not take, or whose task fails there for the provider's reasons, goes on
with another route, or waits for one. Each submit is an attempt of its own with its own intention,
its own idempotency key and its own price held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.core.copies import replace
from gateway.core.kinds import GIVEN_UP_SECONDS
from gateway.core.model import FailureKind, Kept, Run, RunState
from gateway.core.money.accounts import Amounts
from gateway.core.runs import answered, doubts, endings, losses, onward, schedule
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    Begun,
    CredentialsRefused,
    DeadlinePassed,
    Delivered,
    Event,
    Finished,
    FoundPaid,
    Freed,
    Hinted,
    KeepFailed,
    NotNow,
    PicturesKept,
    Progressed,
    Refused,
    Retry,
    SubmitEvent,
    TaskFailed,
    TriedAgain,
    Unreachable,
)
from gateway.core.runs.redaction import is_erased
from gateway.core.runs.rules import Rules
from gateway.core.runs.steps import keep_until, lies_here

__all__ = [
    "RESENDS",
    "TABLE",
    "IllegalTransition",
    "Rules",
    "advance",
    "may_be_kept_yet",
    "once_kept",
]

RESENDS: Final = 5
"""A submit whose answer was lost is sent again this often at most, with growing waits between."""


class IllegalTransition(Exception):
    """This event cannot happen in this state: a defect, or news that came too late."""


def once_kept(run: Run, now: float, rules: Rules) -> Run:
    """The run as it would be done now, if there were a picture behind each of its links."""
    return _done(run, len(run.links), now, rules)


def advance(run: Run, event: Event, now: float, rules: Rules) -> Run:
    """The run after the event. Raises `IllegalTransition` for a pair that is not in the table.

    A run that has to wait, or is final, gives its lease back.
    """
    try:
        transition = TABLE[run.state, type(event)]
    except KeyError:
        raise IllegalTransition(f"{type(event).__name__} while {run.state}") from None
    after = answered.noted(transition(run, event, now, rules), now)
    if after.is_final or after.due_at > now:
        after = replace(after, lease_owner=None, lease_until=0.0)
    return after


def _accept(run: Run, event: Accepted, now: float, rules: Rules) -> Run:
    return replace(
        run,
        state=RunState.RUNNING,
        upstream_task_id=event.task_id,
        accepted_at=now,
        task=event.task,
        tries=0,
        due_at=now + rules.pace.first_seconds,
    )


def _begin(run: Run, _: Begun, now: float, __: Rules) -> Run:
    since = _intended(run, now)
    return replace(run, accepted_at=since, due_at=since)  # it stays in the same hands


def _intended(run: Run, now: float) -> float:
    """When its submit was: an intention is due at once. That it has begun shows a moment later."""
    return min(run.due_at, now)


def _deliver(run: Run, event: Delivered, now: float, _: Rules) -> Run:
    return replace(
        run,
        state=RunState.KEEPING,
        accepted_at=run.accepted_at or _intended(run, now),
        task=event.task,
        links=event.links,
        billed_usd_micros=event.cost_usd_micros,
        upstream_finished_at=now,
        tries=0,
        due_at=now,
    )


def _deliver_late(run: Run, event: Delivered, now: float, rules: Rules) -> Run:
    """What was given up as lost has been found: it is spent already, and is put right when done.

    Also where upstream's record has shown before that it was taken, or seemed to show that it was
    not: then it is held once more what it was freed of, but for the run that it has been already.
    """
    if not may_be_delivered_yet(run):
        raise IllegalTransition("Delivered of a run that was not in doubt")
    after = _deliver(run, event, now, rules)
    if doubts.is_freed(run):
        after = replace(after, hold=replace(_ceiling(run), runs=0), spent=Amounts(runs=1))
    deadline = max(run.deadline_at, now)
    return replace(after, failure=None, finished_at=None, deadline_at=deadline)


def may_be_delivered_yet(run: Run) -> bool:
    """Whether nobody knows what became of the run's submit, so that an answer may still be found.

    What was erased does not come back.
    """
    if is_erased(run):
        return False
    unknown = run.state is RunState.UNSURE or doubts.is_doubtful(run)
    return unknown or doubts.is_confirmed(run) or doubts.is_freed(run)


def _ceiling(run: Run) -> Amounts:
    cost = run.price_usd_micros * run.n + run.besides_usd_micros
    return Amounts(usd_micros=cost, images=run.n, runs=1)


def _refuse(run: Run, event: Refused, now: float, _: Rules) -> Run:
    return endings.refused(run, event, now)


def _refuse_credentials(run: Run, event: CredentialsRefused, now: float, rules: Rules) -> Run:
    """A fault of one upstream account: as long as another route may serve, not the caller's."""
    elsewhere = onward.elsewhere(run, now, rules)
    return elsewhere or endings.credentials_refused(run, event, now)


def _put_off(run: Run, event: NotNow, now: float, rules: Rules) -> Run:
    """On to the next route; without one it waits, longer each time that it was refused.

    Where the route has declined this run as often as it is asked, or cannot make it at all, it is
    not asked again.
    """
    if event.its_own:
        elsewhere = onward.elsewhere(onward.without_route(run), now, rules)
        return elsewhere or endings.declined(run, event, now, is_whole=rules.kind.is_whole)
    if rules.outlook.go and now < run.deadline_at:
        return onward.submit_on(run, rules.outlook.go, now)
    return onward.wait(run, event.retry_after_seconds, now, rules)


def _retry(run: Run, _: Retry, now: float, rules: Rules) -> Run:
    """On the cheapest route that is up by now; while there is none it goes on waiting."""
    if rules.outlook.go:
        return onward.submit_on(run, rules.outlook.go, now)
    if rules.outlook.waits:
        return onward.queue(replace(run, due_at=onward.turn(run, now, rules)), now)
    return onward.wait(run, None, now, rules)


def _doubt(run: Run, _: AnswerLost, now: float, rules: Rules) -> Run:
    """Where a submit is the whole work, nothing can arrive any more once its answer is lost."""
    if rules.kind.is_whole:
        return endings.outcome_unknown(run, now)
    return _ask_again(replace(run, state=RunState.UNSURE, tries=0), None, now, rules)


def _refuse_or_doubt(run: Run, event: Refused, now: float, rules: Rules) -> Run:
    """Only what is the answer to the same key says that the first time was not taken either."""
    if event.replayed:
        return endings.refused(run, event, now)
    return _doubt_still(run, event, now, rules)


def _doubt_still(run: Run, event: SubmitEvent, now: float, rules: Rules) -> Run:
    """Whatever came of sending it again, the first time may have been taken."""
    retry_after = event.retry_after_seconds if isinstance(event, NotNow) else None
    return _ask_again(run, retry_after, now, rules)


def _ask_again(run: Run, retry_after_seconds: float | None, now: float, rules: Rules) -> Run:
    """Due for the same submit under the same key, where that is allowed; else at the deadline.

    It stays `unsure` meanwhile: that the request may have gone out is written already.
    """
    last = max(run.deadline_at, now)
    if not rules.resend or run.tries >= RESENDS:
        return replace(run, due_at=last)
    after = onward.later(run, retry_after_seconds, now, rules)
    return replace(after, due_at=min(after.due_at, last))


def _progress(run: Run, event: Progressed, now: float, rules: Rules) -> Run:
    if now >= run.deadline_at:
        return endings.timed_out(run, now)
    age = now - (run.accepted_at or run.created_at)
    delay = schedule.poll_delay(
        rules.pace,
        age_seconds=age,
        estimated_seconds=event.estimated_seconds,
        progress=event.progress,
    )
    return replace(run, task=event.task, tries=0, due_at=min(now + delay, run.deadline_at))


def _look_now(run: Run, _: Hinted, now: float, __: Rules) -> Run:
    return replace(run, due_at=min(run.due_at, now))


def _miss(run: Run, event: Unreachable, now: float, rules: Rules) -> Run:
    if event.gone and now >= run.deadline_at:
        return endings.timed_out(run, now)
    return onward.later(run, event.retry_after_seconds, now, rules)


def _finish(run: Run, event: Finished, now: float, _: Rules) -> Run:
    return replace(
        run,
        state=RunState.KEEPING,
        task=event.task,
        links=event.links,
        credits_used=event.credits_used,
        upstream_finished_at=now,
        tries=0,
        due_at=now,
    )


def _refresh(run: Run, event: Finished, _: float, __: Rules) -> Run:
    """Fresh links for the same pictures, told apart by their place in the list.

    A task that was closed at its deadline and tried again shows its links now for the first time.
    """
    if not run.links:
        return replace(run, task=event.task, links=event.links, credits_used=event.credits_used)
    if len(event.links) != len(run.links):
        return run
    fresh = dict(zip(run.links, event.links, strict=True))
    kept = tuple(replace(kept, link=fresh[kept.link]) for kept in run.kept)
    return replace(run, task=event.task, links=event.links, kept=kept)


def _fail_task(run: Run, event: TaskFailed, now: float, rules: Rules) -> Run:
    """Where the provider failed and not the request, another may succeed.

    What was charged for all that is not paid once more elsewhere.
    """
    if event.is_providers and event.is_free:
        elsewhere = onward.elsewhere(onward.without_route(run), now, rules)
        if elsewhere is not None:
            return elsewhere
    return endings.task_failed(run, event, now, usd_micros_per_credit=rules.usd_micros_per_credit)


def _keep(run: Run, event: PicturesKept, now: float, rules: Rules) -> Run:
    after = _with_kept(run, event.kept)
    if len(after.kept) < len(after.links):
        if len(after.kept) > len(run.kept):
            return after
        if now >= keep_until(run, rules.kind.link_life_seconds):
            return endings.result_lost(after, losses.LINKS_DYING, now)
        return onward.later(after, None, now, rules)
    return _done(after, len(after.kept), now, rules)


def _done(run: Run, pictures: int, now: float, rules: Rules) -> Run:
    return endings.done(
        run, now, pictures=pictures, usd_micros_per_credit=rules.usd_micros_per_credit
    )


def _keep_later(run: Run, event: KeepFailed, now: float, rules: Rules) -> Run:
    """Dead links are counted; any other fault is waited out, and the count begins anew.

    That wait is as long as keeping has lasted, so that it grows without a count of its own.
    """
    trouble = losses.noted(run.trouble, event, now)
    after = replace(_with_kept(run, event.kept), trouble=trouble)
    if losses.is_dead(run.trouble, event):
        after = onward.later(after, None, now, rules)
    else:
        after = _keep_much_later(after, now, rules)
    why = losses.why_lost(
        after,
        event,
        now,
        dead_after_seconds=rules.dead_after_seconds,
        link_life_seconds=rules.kind.link_life_seconds,
    )
    return endings.result_lost(after, why, now) if why else after


def _keep_much_later(run: Run, now: float, rules: Rules) -> Run:
    lasted = now - (run.upstream_finished_at or run.created_at)
    wait = min(max(lasted, rules.retry_first_seconds), rules.retry_max_seconds)
    return onward.later(replace(run, tries=0), None, now, replace(rules, retry_first_seconds=wait))


def _wait_no_longer(run: Run, _: TriedAgain, now: float, __: Rules) -> Run:
    return replace(run, due_at=min(run.due_at, now))


def _take_up_again(run: Run, _: TriedAgain, now: float, __: Rules) -> Run:
    """Its pictures may be had after all. They are spent already, and cost nothing once more."""
    if not may_be_kept_yet(run, now):
        raise IllegalTransition(f"{TriedAgain.__name__} of a run that has no pictures upstream")
    return replace(
        run,
        state=RunState.KEEPING,
        failure=None,
        finished_at=None,
        trouble=None,
        tries=1,  # so that fresh links are asked for first
        deadline_at=max(run.deadline_at, now),
        due_at=now,
    )


def may_be_kept_yet(run: Run, now: float) -> bool:
    """Whether a failed run was paid, and its pictures may be had all the same: upstream can be
    asked for them once more, or its answer led to them. A spool has that for some days, but not
    where its bytes came and are no pictures: they will be none the next time, and are set aside.

    What was erased does not come back.
    """
    lost = (FailureKind.RESULT_LOST, FailureKind.TIMED_OUT)
    if is_erased(run) or run.failure is None or run.failure.kind not in lost:
        return False
    if run.upstream_task_id is None and lies_here(run):
        if run.trouble is not None and run.trouble.body:
            return False
        return now < (run.finished_at or now) + GIVEN_UP_SECONDS
    return bool(run.upstream_task_id or run.links)


def may_need_answer(run: Run, now: float) -> bool:
    """Whether what lies in a spool of a run that is final may be of use yet."""
    return may_be_delivered_yet(run) or may_be_kept_yet(run, now)


def _free(run: Run, _: Freed, __: float, ___: Rules) -> Run:
    if not doubts.is_doubtful(run):
        raise IllegalTransition(f"{Freed.__name__} of a run that was not in doubt")
    return doubts.freed(run)


def _confirm(run: Run, event: FoundPaid, _: float, __: Rules) -> Run:
    if not doubts.is_doubtful(run):
        raise IllegalTransition(f"{FoundPaid.__name__} of a run that was not in doubt")
    return doubts.confirmed(run, event.task_id)


def _with_kept(run: Run, kept: tuple[Kept, ...]) -> Run:
    known = {one.link: one for one in (*run.kept, *kept)}
    return replace(run, kept=tuple(known[link] for link in run.links if link in known))


Transition = Callable[[Run, Any, float, Rules], Run]


def _ends(ending: Callable[[Run, float], Run]) -> Transition:
    """Whatever the event says and the rules are."""
    return lambda run, _, now, __: ending(run, now)


TABLE: Final[Mapping[tuple[RunState, type[Event]], Transition]] = {
    (RunState.SUBMITTING, Begun): _begin,
    (RunState.SUBMITTING, Accepted): _accept,
    (RunState.SUBMITTING, Delivered): _deliver,
    (RunState.SUBMITTING, TaskFailed): _fail_task,
    (RunState.SUBMITTING, Refused): _refuse,
    (RunState.SUBMITTING, CredentialsRefused): _refuse_credentials,
    (RunState.SUBMITTING, NotNow): _put_off,
    (RunState.SUBMITTING, AnswerLost): _doubt,
    (RunState.QUEUED, Retry): _retry,
    (RunState.QUEUED, TriedAgain): _wait_no_longer,
    (RunState.QUEUED, DeadlinePassed): _ends(endings.not_taken),
    (RunState.UNSURE, Accepted): _accept,  # the answer came after all
    (RunState.UNSURE, Delivered): _deliver,
    (RunState.UNSURE, TaskFailed): _doubt_still,
    (RunState.UNSURE, Refused): _refuse_or_doubt,
    (RunState.UNSURE, NotNow): _doubt_still,
    (RunState.UNSURE, CredentialsRefused): _doubt_still,
    (RunState.UNSURE, AnswerLost): _doubt_still,
    (RunState.UNSURE, DeadlinePassed): _ends(endings.outcome_unknown),
    (RunState.RUNNING, Progressed): _progress,
    (RunState.RUNNING, Unreachable): _miss,
    (RunState.RUNNING, Finished): _finish,
    (RunState.RUNNING, TaskFailed): _fail_task,
    (RunState.RUNNING, Hinted): _look_now,
    (RunState.RUNNING, DeadlinePassed): _ends(endings.timed_out),
    (RunState.KEEPING, Finished): _refresh,
    (RunState.KEEPING, PicturesKept): _keep,
    (RunState.KEEPING, KeepFailed): _keep_later,
    (RunState.KEEPING, TriedAgain): _wait_no_longer,
    (RunState.FAILED, TriedAgain): _take_up_again,
    (RunState.FAILED, Delivered): _deliver_late,
    (RunState.FAILED, Freed): _free,
    (RunState.FAILED, FoundPaid): _confirm,
}
