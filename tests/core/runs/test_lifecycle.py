"""The run's life: the whole table, and that every life ends whatever the world does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle, pairwise
from random import Random
from typing import Any, get_args

import pytest
from core_samples import MODEL, NOW, PRICE, STEADY, a_run, kept, some_rules
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Catalog, Pace, PriceRule, Route
from gateway.core.kinds import ANY, LINK_LIFE_SECONDS, Kind
from gateway.core.model import (
    FINAL_STATES,
    LIVE_STATES,
    Failure,
    FailureKind,
    Kept,
    Run,
    RunState,
)
from gateway.core.money.accounts import NOTHING, Amounts
from gateway.core.runs import answered
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
    Loss,
    NotNow,
    PicturesKept,
    Progressed,
    Refused,
    Retry,
    TaskFailed,
    TriedAgain,
    Unreachable,
    Why,
)
from gateway.core.runs.lifecycle import TABLE, IllegalTransition, Rules, advance
from gateway.core.runs.losses import DEAD_LINK_TRIES
from gateway.core.runs.redaction import wordless
from gateway.core.runs.routing import Alternative, Outlook, alternatives, moves, next_after
from gateway.core.runs.steps import (
    KEEP_MARGIN_SECONDS,
    Feed,
    Keep,
    Poll,
    Recover,
    Rest,
    Submit,
    next_step,
)

S = RunState
RULES = some_rules()
DEARER = Alternative("spare", "gpt-image-1.5", 3 * PRICE)
GOING = some_rules(outlook=Outlook(DEARER))
WAITING = some_rules(outlook=Outlook(None, ((DEARER, NOW + 100.0),)))
A, B, C = (f"https://files.test/{name}.png" for name in "abc")
HOUR = 3600.0

EVENTS: dict[type, Event] = {
    Accepted: Accepted("task-unified-1", '{"id":"task-unified-1"}'),
    Refused: Refused(400, '{"error":{}}', "invalid_request", "no", replayed=True),
    NotNow: NotNow("HTTP 503"),
    CredentialsRefused: CredentialsRefused(402, "insufficient_quota"),
    AnswerLost: AnswerLost("cut"),
    Begun: Begun(),
    Delivered: Delivered('{"docket":"whole"}', (A, B), 31_000),
    Retry: Retry(),
    Progressed: Progressed('{"progress":10}', 10, 100.0),
    Finished: Finished('{"status":"completed"}', (A, B), 1.8),
    TaskFailed: TaskFailed('{"status":"failed"}', "service_error", "sorry", is_providers=True),
    Unreachable: Unreachable("HTTP 502"),
    PicturesKept: PicturesKept((kept(A), kept(B))),
    KeepFailed: KeepFailed("LinkBroken: cut", dead=False),
    Hinted: Hinted(),
    TriedAgain: TriedAgain(),
    Freed: Freed("upstream has no task of its time"),
    FoundPaid: FoundPaid("it has", "task-unified-1"),
    DeadlinePassed: DeadlinePassed(),
}

SPENT = Amounts(2 * PRICE, 2, 1)

LIFE: dict[tuple[RunState, type], set[RunState]] = {
    # What may happen in which state, and the states that can follow.
    (S.SUBMITTING, Accepted): {S.RUNNING},
    (S.SUBMITTING, Refused): {S.FAILED},
    (S.SUBMITTING, CredentialsRefused): {S.SUBMITTING, S.QUEUED, S.FAILED},
    (S.SUBMITTING, NotNow): {S.SUBMITTING, S.QUEUED, S.FAILED},
    (S.SUBMITTING, AnswerLost): {S.UNSURE, S.FAILED},
    (S.SUBMITTING, Begun): {S.SUBMITTING},
    (S.SUBMITTING, Delivered): {S.KEEPING},
    (S.SUBMITTING, TaskFailed): {S.SUBMITTING, S.QUEUED, S.FAILED},
    (S.QUEUED, Retry): {S.SUBMITTING, S.QUEUED},
    (S.QUEUED, TriedAgain): {S.QUEUED},
    (S.QUEUED, DeadlinePassed): {S.FAILED},
    (S.UNSURE, Accepted): {S.RUNNING},
    (S.UNSURE, Refused): {S.UNSURE, S.FAILED},
    (S.UNSURE, NotNow): {S.UNSURE},
    (S.UNSURE, CredentialsRefused): {S.UNSURE},
    (S.UNSURE, AnswerLost): {S.UNSURE},
    (S.UNSURE, Delivered): {S.KEEPING},
    (S.UNSURE, TaskFailed): {S.UNSURE},
    (S.UNSURE, DeadlinePassed): {S.FAILED},
    (S.RUNNING, Progressed): {S.RUNNING, S.FAILED},
    (S.RUNNING, Hinted): {S.RUNNING},
    (S.RUNNING, Unreachable): {S.RUNNING, S.FAILED},
    (S.RUNNING, Finished): {S.KEEPING, S.FAILED},
    (S.RUNNING, TaskFailed): {S.SUBMITTING, S.QUEUED, S.FAILED},
    (S.RUNNING, DeadlinePassed): {S.FAILED},
    (S.KEEPING, Finished): {S.KEEPING},
    (S.KEEPING, PicturesKept): {S.KEEPING, S.DONE},
    (S.KEEPING, KeepFailed): {S.KEEPING, S.FAILED},
    (S.KEEPING, TriedAgain): {S.KEEPING},
    (S.FAILED, TriedAgain): {S.KEEPING},
    (S.FAILED, Delivered): {S.KEEPING},
    (S.FAILED, Freed): {S.FAILED},
    (S.FAILED, FoundPaid): {S.FAILED},
}

WHOLE = Kind("whole", is_whole=True)
IN_ONE = some_rules(kind=WHOLE, outlook=Outlook(DEARER))
UNKNOWN = Failure(FailureKind.OUTCOME_UNKNOWN, "outcome_unknown", "lost")


def in_state(state: RunState, **fields: Any) -> Run:
    run = a_run(n=2)
    if state in (S.RUNNING, S.KEEPING):
        run = replace(run, upstream_task_id="task-unified-1", accepted_at=NOW, lease_owner="w")
    if state is S.KEEPING:
        run = replace(run, links=(A, B), upstream_finished_at=NOW)
    if state in FINAL_STATES:
        run = replace(run, hold=NOTHING, finished_at=NOW)
    if state is S.FAILED:
        lost = Failure(FailureKind.RESULT_LOST, "result_lost", "lost")
        run = replace(run, failure=lost, spent=SPENT, upstream_task_id="task-unified-1")
    return replace(run, state=state, **fields)


def test_the_samples_are_complete() -> None:
    assert set(EVENTS) == set(get_args(Event))
    assert set(TABLE) == set(LIFE)


@pytest.mark.parametrize(
    "rules", [RULES, GOING, WAITING, IN_ONE], ids=["alone", "going", "waiting", "whole"]
)
@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("kind", EVENTS)
def test_every_pair_is_in_the_table_or_raises(state: RunState, kind: type, rules: Rules) -> None:
    run = in_state(state)
    if state is S.FAILED and kind in (Delivered, Freed, FoundPaid):
        run = replace(run, failure=UNKNOWN)
    if (state, kind) not in LIFE:
        with pytest.raises(IllegalTransition, match=f"{kind.__name__} while {state}"):
            advance(run, EVENTS[kind], NOW + 10, rules)
        return
    after = advance(run, EVENTS[kind], NOW + 10, rules)
    assert after.state in LIFE[state, kind]
    assert_sane(run, after, NOW + 10)


def assert_sane(before: Run, after: Run, now: float) -> None:
    """What every transition keeps."""
    if before.spent:  # it failed before, and costs nothing once more
        assert after.hold == NOTHING
        if after.spent == NOTHING:  # it was never taken
            assert after.is_final and after.failure is not None
            return
        billed = after.is_final and after.billed_usd_micros is not None
        usd_micros = after.billed_usd_micros if billed else before.spent.usd_micros
        assert after.spent.usd_micros == usd_micros
        assert after.deadline_at >= before.deadline_at and after.attempts == before.attempts
        return
    assert after.is_final == (after.hold == NOTHING)
    if after.is_final:
        assert after.finished_at == now
        assert (after.failure is None) == (after.state is S.DONE)
        for part in ("usd_micros", "images", "runs"):
            most = getattr(before.hold, part)
            if part == "usd_micros" and after.billed_usd_micros is not None:
                assert after.spent.usd_micros == after.billed_usd_micros
            else:
                assert 0 <= getattr(after.spent, part) <= most
    else:
        assert after.hold == Amounts(after.ceiling_usd_micros, after.n, 1)
        assert after.spent == NOTHING and after.failure is None
    if after.attempts == before.attempts:
        assert (after.route, after.price_usd_micros) == (before.route, before.price_usd_micros)
    else:
        assert after.attempts == before.attempts + 1 and after.state is S.SUBMITTING
        assert after.upstream_task_id is None and after.accepted_at is None and after.task == "{}"
    assert after.tried[: len(before.tried)] == before.tried
    waits = after.is_final or after.due_at > now
    assert (after.lease_owner is None) == (waits or before.lease_owner is None)
    fixed = ("id", "fingerprint", "team", "n", "request", "windows", "created_at", "deadline_at")
    assert all(getattr(after, name) == getattr(before, name) for name in fixed)


# --- what each event does ------------------------------------------------------------------------


def test_an_accepted_run_is_asked_after_when_the_pace_says() -> None:
    run = advance(in_state(S.SUBMITTING, tries=3), EVENTS[Accepted], NOW + 1, RULES)
    assert run.upstream_task_id == "task-unified-1" and run.accepted_at == NOW + 1
    assert run.due_at == NOW + 1 + RULES.pace.first_seconds and run.tries == 0


def test_a_refusal_costs_nothing_and_is_kept_word_for_word() -> None:
    run = advance(in_state(S.SUBMITTING), EVENTS[Refused], NOW + 1, RULES)
    assert (run.hold, run.spent) == (NOTHING, NOTHING)
    assert run.failure and run.failure.kind is FailureKind.REFUSED
    assert (run.failure.status, run.failure.body) == (400, '{"error":{}}')


def test_refused_credentials_cost_nothing_and_do_not_show_upstreams_words() -> None:
    run = advance(in_state(S.SUBMITTING), EVENTS[CredentialsRefused], NOW + 1, RULES)
    assert (run.hold, run.spent) == (NOTHING, NOTHING)
    assert run.failure and run.failure.kind is FailureKind.CREDENTIALS
    assert run.failure.body is None


def test_a_queued_run_backs_off_and_counts_its_attempts() -> None:
    run, now, dues = in_state(S.SUBMITTING), NOW, [NOW]
    for _ in range(5):
        run = advance(run, NotNow("HTTP 503"), now, RULES)
        dues.append(run.due_at)
        assert next_step(run, now, intended=False) == Rest(run.due_at)
        now = run.due_at
        step = next_step(run, now, intended=False)
        assert step == Feed(Retry())
        run = advance(run, Retry(), now, GOING)
        assert next_step(run, now, intended=True) == Submit()
    waits = [later - earlier for earlier, later in pairwise(dues)]
    assert all(later == pytest.approx(2 * earlier) for earlier, later in pairwise(waits))
    assert (run.attempts, run.tries) == (6, 5)


def test_a_queued_run_waits_as_long_as_it_is_told_but_not_beyond_its_deadline() -> None:
    run = in_state(S.SUBMITTING)
    assert advance(run, NotNow("", 45.0), NOW, RULES).due_at == NOW + 45
    assert advance(run, NotNow("", 1e9), NOW, RULES).due_at == NOW + 60
    late = run.deadline_at - 1
    queued = advance(run, NotNow("", 45.0), late, RULES)
    assert queued.due_at == run.deadline_at
    assert next_step(queued, run.deadline_at, intended=False) == Feed(DeadlinePassed())
    over = advance(run, NotNow(""), run.deadline_at + 5, RULES)
    assert over.due_at == run.deadline_at + 5 and over.lease_owner == run.lease_owner
    failed = advance(over, DeadlinePassed(), over.due_at, RULES)
    assert failed.failure and failed.failure.kind is FailureKind.UNAVAILABLE
    assert failed.spent == NOTHING


def test_a_lost_answer_is_never_sent_again_and_counts_as_spent() -> None:
    run = advance(in_state(S.SUBMITTING), AnswerLost("cut"), NOW + 1, RULES)
    assert (run.state, run.due_at, run.lease_owner) == (S.UNSURE, run.deadline_at, None)
    assert next_step(run, run.deadline_at - 1, intended=False) == Rest(run.deadline_at)
    assert next_step(run, run.deadline_at, intended=False) == Feed(DeadlinePassed())
    failed = advance(run, DeadlinePassed(), run.deadline_at, RULES)
    assert failed.failure and failed.failure.kind is FailureKind.OUTCOME_UNKNOWN
    assert failed.spent == Amounts(2 * PRICE, 2, 1)


def test_an_intention_that_another_process_left_is_not_carried_out() -> None:
    run = in_state(S.SUBMITTING)
    assert next_step(run, NOW, intended=True) == Submit()
    assert next_step(run, NOW, intended=False) == Recover()


# --- other routes --------------------------------------------------------------------------------

MOVING = [
    (S.SUBMITTING, EVENTS[NotNow]),
    (S.SUBMITTING, EVENTS[CredentialsRefused]),
    (S.RUNNING, EVENTS[TaskFailed]),
    (S.QUEUED, EVENTS[Retry]),
]


@pytest.mark.parametrize(("state", "event"), MOVING, ids=lambda one: type(one).__name__)
def test_the_next_route_gets_an_intention_and_a_hold_of_its_own(
    state: RunState, event: Event
) -> None:
    before = in_state(state, due_at=NOW + 5)
    run = advance(before, event, NOW + 5, GOING)
    assert (run.route, run.price_usd_micros) == ("spare/gpt-image-1.5", 3 * PRICE)
    assert run.hold == Amounts(2 * 3 * PRICE, 2, 1)
    assert (run.attempts, run.tries) == (2, 0)
    assert run.tried == ((before.route,) if state is S.RUNNING else ())
    assert next_step(run, NOW + 5, intended=True) == Submit()
    assert next_step(run, NOW + 5, intended=False) == Recover()


@pytest.mark.parametrize(("state", "event"), MOVING, ids=lambda one: type(one).__name__)
def test_where_no_route_is_up_a_run_waits_for_the_first(state: RunState, event: Event) -> None:
    before = in_state(state, due_at=NOW + 5)
    run = advance(before, event, NOW + 5, WAITING)
    assert run.state is S.QUEUED and run.hold == before.hold
    assert NOW + 100 <= run.due_at <= NOW + 100 + 95 / 4
    assert run.lease_owner is None
    assert (run.upstream_task_id, run.task) == (None, "{}")


def test_those_who_wait_do_not_come_back_all_at_once() -> None:
    dues = set()
    for number in range(50):
        run = in_state(S.QUEUED, id=f"run_{number * 1303:032x}")
        dues.add(advance(run, Retry(), NOW, WAITING).due_at)
    assert len(dues) == 50 and max(dues) - min(dues) > 10


def test_a_run_that_waits_is_not_looked_at_without_a_pause() -> None:
    now_up = some_rules(outlook=Outlook(None, ((DEARER, NOW - 50),)))
    for state, event in MOVING:
        assert advance(in_state(state), event, NOW, now_up).due_at > NOW + 0.7


@pytest.mark.parametrize(("state", "event"), MOVING[:3], ids=lambda one: type(one).__name__)
def test_after_the_deadline_nothing_new_is_begun(state: RunState, event: Event) -> None:
    run = in_state(state)
    late = advance(run, event, run.deadline_at, GOING)
    assert late.attempts == 1 and late.due_at == run.deadline_at
    assert late.is_final or isinstance(next_step(late, late.due_at, intended=False), Feed)


def test_a_request_that_would_fail_anywhere_is_not_tried_elsewhere() -> None:
    refused = TaskFailed("{}", "content_policy_violation", "no")
    for rules in (GOING, WAITING):
        run = advance(in_state(S.RUNNING), refused, NOW + 9, rules)
        assert run.failure and run.failure.code == "content_policy_violation"
        assert advance(in_state(S.SUBMITTING), EVENTS[Refused], NOW + 1, rules).state is S.FAILED


def test_the_route_that_delivers_is_the_one_that_is_paid() -> None:
    run = advance(in_state(S.SUBMITTING), EVENTS[NotNow], NOW, GOING)
    run = advance(run, EVENTS[Accepted], NOW + 1, RULES)
    run = advance(run, EVENTS[Finished], NOW + 9, RULES)
    done = advance(run, EVENTS[PicturesKept], NOW + 10, RULES)
    assert done.spent == Amounts(2 * 3 * PRICE, 2, 1) and done.hold == NOTHING


# --- the end of a task ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credits_used", "worth", "cost"),
    [
        (None, 14_705.5, 0),
        (0.0, 14_705.5, 0),
        (0.0, None, 0),
        (1.0, 14_705.5, 14_706),
        (99.0, 14_705.5, 2 * PRICE),
        (1e-9, 14_705.5, 2 * PRICE),  # something, and too little to be true
        (1.0, None, 2 * PRICE),  # nobody knows what they are worth
    ],
)
@pytest.mark.parametrize("code", ["service_error", "content_policy_violation"])
def test_a_failed_task_that_reports_credits_costs_them(
    credits_used: float | None, worth: float | None, cost: int, code: str
) -> None:
    """And is not paid once more on another route."""
    rules = replace(GOING if cost else RULES, usd_micros_per_credit=worth)
    ours = code[0] == "s"
    event = TaskFailed('{"status":"failed"}', code, "sorry", credits_used, is_providers=ours)
    run = advance(in_state(S.RUNNING), event, NOW + 9, rules)
    assert run.state is S.FAILED and run.spent == Amounts(cost, 0, 1)
    assert run.failure and run.failure.kind is FailureKind.TASK_FAILED
    assert run.credits_used == credits_used and moves(event) is (ours and not cost)


@pytest.mark.parametrize("worth", [None, 14_705.5])
def test_a_failed_task_that_was_charged_without_a_count_costs_what_was_held(
    worth: float | None,
) -> None:
    rules = replace(GOING, usd_micros_per_credit=worth)
    event = TaskFailed("{}", "service_error", "sorry", charged=True, is_providers=True)
    for state in (S.RUNNING, S.SUBMITTING):
        run = advance(in_state(state), event, NOW + 9, rules)
        assert run.state is S.FAILED and run.spent == Amounts(2 * PRICE, 0, 1)
        assert run.hold == NOTHING and not moves(event)


def test_a_request_that_its_route_declines_again_and_again_ends_and_costs_nothing() -> None:
    event = NotNow("HTTP 503", its_own=True)
    run = advance(in_state(S.SUBMITTING, tries=2), event, NOW + 9, RULES)
    assert run.state is S.FAILED and run.spent == run.hold == NOTHING
    assert run.failure and run.failure.kind is FailureKind.UNAVAILABLE
    assert "took others" in run.failure.message and "Nothing was charged" in run.failure.message
    gone = advance(in_state(S.SUBMITTING, tries=2), event, NOW + 9, GOING)
    assert (gone.route, gone.tried) == (DEARER.name, (run.route,))
    waits = advance(in_state(S.SUBMITTING, tries=2), event, NOW + 9, WAITING)
    assert waits.state is S.QUEUED and waits.tried == (run.route,)
    doubtful = advance(in_state(S.UNSURE), event, NOW + 9, GOING)
    assert doubtful.state is S.UNSURE


def test_what_no_route_can_make_is_told_as_the_orders_own_mistake() -> None:
    event = NotNow("HTTP 400: seed", why=Why.MISFIT, its_own=True, words="No such field.")
    run = advance(in_state(S.SUBMITTING), event, NOW + 9, RULES)
    assert run.state is S.FAILED and run.spent == run.hold == NOTHING
    assert run.failure and (run.failure.kind, run.failure.status) == (FailureKind.REFUSED, 400)
    assert "HTTP 400: seed (No such field.)" in run.failure.message
    assert run.failure.message in str(run.failure.body)
    gone = advance(in_state(S.SUBMITTING), event, NOW + 9, GOING)
    assert (gone.route, gone.tried) == (DEARER.name, (run.route,))


def test_a_failed_task_costs_nothing() -> None:
    run = advance(in_state(S.RUNNING), EVENTS[TaskFailed], NOW + 9, RULES)
    assert run.spent == Amounts(runs=1) and run.task == '{"status":"failed"}'
    assert run.failure and (run.failure.code, run.failure.message) == ("service_error", "sorry")


def test_a_running_run_is_polled_at_its_deadline_and_then_closed() -> None:
    run = in_state(S.RUNNING)
    near = advance(run, Progressed("{}"), run.deadline_at - 1, RULES)
    assert near.due_at == run.deadline_at
    assert next_step(near, run.deadline_at, intended=False) == Poll()
    over = advance(near, Progressed("{}"), run.deadline_at, RULES)
    assert over.failure and over.failure.kind is FailureKind.TIMED_OUT
    assert over.spent == run.hold
    assert advance(near, EVENTS[Finished], run.deadline_at + 1, RULES).state is S.KEEPING


def test_a_paid_task_that_cannot_be_asked_after_is_not_given_up_for_a_day() -> None:
    run, late = in_state(S.RUNNING), NOW + 23 * HOUR
    assert advance(run, Unreachable("down"), late, RULES).state is S.RUNNING
    assert next_step(run, late, intended=False) == Poll()
    over = NOW + LINK_LIFE_SECONDS
    assert next_step(run, over, intended=False) == Poll()  # a clock that jumped: ask first
    missed = replace(run, tries=1)
    assert next_step(missed, over, intended=False) == Feed(DeadlinePassed())


def test_a_task_that_upstream_does_not_know_is_given_up_at_the_deadline() -> None:
    run, gone = in_state(S.RUNNING), Unreachable("HTTP 404", gone=True)
    assert advance(run, gone, NOW + 5, RULES).state is S.RUNNING
    over = advance(run, gone, run.deadline_at, RULES)
    assert over.failure and over.failure.kind is FailureKind.TIMED_OUT


@pytest.mark.parametrize("count", [1, 2, 3])
def test_upstream_may_make_fewer_or_more_pictures_than_asked(count: int) -> None:
    links = (A, B, C)[:count]
    run = advance(in_state(S.RUNNING), Finished("{}", links), NOW + 9, RULES)
    assert (run.state, run.due_at, run.upstream_finished_at) == (S.KEEPING, NOW + 9, NOW + 9)
    assert next_step(run, NOW + 9, intended=False) == Keep(refresh=False)
    done = advance(run, PicturesKept(tuple(kept(link) for link in links)), NOW + 10, RULES)
    assert done.state is S.DONE and len(done.kept) == count
    images = min(count, 2)
    assert done.spent == Amounts(images * PRICE, images, 1)


@pytest.mark.parametrize(
    ("credits_used", "worth", "cost"),
    [
        (1.0, 14_705.5, 14_706),
        (0.0, 14_705.5, 26_000),
        (99.0, 14_705.5, 2 * PRICE),
        (None, 1.0, 26_000),
    ],
)
def test_credits_are_the_cost_where_their_worth_is_known(
    credits_used: float | None, worth: float, cost: int
) -> None:
    rules = some_rules(usd_micros_per_credit=worth)
    run = advance(in_state(S.RUNNING), Finished("{}", (A, B), credits_used), NOW + 9, rules)
    done = advance(run, EVENTS[PicturesKept], NOW + 10, rules)
    assert done.spent == Amounts(cost, 2, 1)


def test_some_pictures_kept_are_not_lost_again() -> None:
    run = advance(in_state(S.KEEPING), PicturesKept((kept(B),)), NOW + 1, RULES)
    assert (run.state, run.kept, run.due_at <= NOW + 1) == (S.KEEPING, (kept(B),), True)
    run = advance(run, KeepFailed("cut", dead=False), NOW + 2, RULES)
    assert run.kept == (kept(B),)
    done = advance(run, PicturesKept((kept(A),)), NOW + 3, RULES)
    assert done.state is S.DONE and done.kept == (kept(A), kept(B))  # in the links' order


def test_keeping_without_progress_waits() -> None:
    run = advance(in_state(S.KEEPING), PicturesKept(()), NOW + 1, RULES)
    assert run.due_at > NOW + 1
    stranger = advance(in_state(S.KEEPING), PicturesKept((kept(C),)), NOW + 1, RULES)
    assert stranger.kept == () and stranger.due_at > NOW + 1


def test_fresh_links_keep_the_pictures_that_are_there() -> None:
    run = advance(in_state(S.KEEPING), PicturesKept((kept(B),)), NOW + 1, RULES)
    fresh = advance(run, Finished('{"fresh":1}', ("https://x/1", "https://x/2")), NOW + 2, RULES)
    assert fresh.links == ("https://x/1", "https://x/2") and fresh.task == '{"fresh":1}'
    assert [(one.link, one.picture) for one in fresh.kept] == [("https://x/2", kept(B).picture)]
    swapped = advance(run, Finished("{}", (B, A)), NOW + 2, RULES)
    assert [one.link for one in swapped.kept] == [A]
    for links in ((C,), (A, B, C)):
        assert advance(run, Finished("{}", links), NOW + 2, RULES) == run


def test_dead_links_are_asked_for_afresh_and_given_up() -> None:
    run, now = in_state(S.KEEPING), NOW
    while now < NOW + RULES.dead_after_seconds:
        run = advance(run, KeepFailed("LinkDead: 404", dead=True), now, RULES)
        assert run.state is S.KEEPING and run.due_at > now
        now = run.due_at
        assert next_step(run, now, intended=False) == Keep(refresh=True)
    assert run.tries > DEAD_LINK_TRIES
    run = advance(run, KeepFailed("LinkDead: 404", dead=True), now, RULES)
    assert run.failure and run.failure.kind is FailureKind.RESULT_LOST
    assert "no whole picture" in run.failure.message
    assert run.spent == Amounts(2 * PRICE, 2, 1)


def test_the_end_says_where_what_came_may_be_had() -> None:
    run = replace(in_state(S.KEEPING), links=(A, B), tries=DEAD_LINK_TRIES)
    now = NOW + 24 * 3600
    part = advance(run, KeepFailed("cut", dead=False, kept=(kept(B),), set_aside=True), now, RULES)
    assert part.failure and part.kept == (kept(B),) and part.spent == Amounts(2 * PRICE, 2, 1)
    assert "about to die; the gateway's operator can fetch the bytes" in part.failure.message
    assert "1 of 2 are kept all the same" in part.failure.message
    none = advance(run, KeepFailed("cut", dead=False), now, RULES)
    assert none.failure and "about to die." in none.failure.message
    assert "all the same" not in none.failure.message and "operator" not in none.failure.message


def test_a_long_trouble_of_our_own_does_not_make_a_link_dead() -> None:
    run, now = in_state(S.KEEPING), NOW
    for _ in range(50):
        run = advance(run, KeepFailed("StoreFull", dead=False), now, RULES)
        assert next_step(run, run.due_at, intended=False) == Keep(refresh=True)
        now = run.due_at
    soon = replace(RULES, dead_after_seconds=0.0)
    for _ in range(DEAD_LINK_TRIES - 2):
        run = advance(run, KeepFailed("LinkDead: 404", dead=True), now, soon)
        assert run.state is S.KEEPING
    assert advance(run, KeepFailed("", dead=True), now, soon).state is S.FAILED


def test_broken_links_are_tried_less_and_less_often() -> None:
    run, now, waits = in_state(S.KEEPING), NOW + 0.1, []
    while now < NOW + 10 * 60:
        run = advance(run, KeepFailed("LinkBroken", dead=False), now, RULES)
        waits.append(run.due_at - now)
        now = run.due_at
    assert 0.7 < waits[0] < 1.3
    assert max(waits) < 40
    assert 20 < len(waits) < 60


def test_keeping_is_given_up_before_the_links_die() -> None:
    run = in_state(S.KEEPING)
    end = NOW + LINK_LIFE_SECONDS - KEEP_MARGIN_SECONDS
    assert next_step(run, end - 1, intended=False) == Keep(refresh=False)
    assert advance(run, KeepFailed("cut", dead=False), end - 1, RULES).state is S.KEEPING
    assert next_step(run, end, intended=False) == Keep(refresh=True)  # once more, with fresh links
    for last in (KeepFailed("cut", dead=False), KeepFailed("404", dead=True), PicturesKept(())):
        lost = advance(run, last, end, RULES)
        assert lost.failure and "about to die" in lost.failure.message and lost.spent == SPENT
    assert advance(run, EVENTS[PicturesKept], end + 9 * HOUR, RULES).state is S.DONE


# --- a second try --------------------------------------------------------------------------------


def revived(**fields: Any) -> Run:
    return advance(in_state(S.FAILED, **fields), TriedAgain(), NOW + 10, RULES)


def test_a_lost_run_is_kept_without_being_paid_again() -> None:
    run = revived(links=(A, B), kept=(kept(B),), upstream_finished_at=NOW)
    assert next_step(run, NOW + 10, intended=False) == Keep(refresh=True)
    assert (run.failure, run.finished_at, run.hold, run.spent) == (None, None, NOTHING, SPENT)
    done = advance(run, PicturesKept((kept(A),)), NOW + 11, some_rules(usd_micros_per_credit=1.0))
    assert (done.state, done.spent, done.kept) == (S.DONE, SPENT, (kept(A), kept(B)))


def test_a_lost_run_that_is_lost_again_has_been_paid_once() -> None:
    run, now = revived(links=(A, B), upstream_finished_at=NOW), NOW + 10
    while not run.is_final:
        run, now = advance(run, KeepFailed("404", dead=True), now, RULES), run.due_at
    assert run.failure and run.spent == SPENT and run.hold == NOTHING
    again = advance(run, TriedAgain(), now, RULES)
    assert (again.state, again.trouble, again.spent) == (S.KEEPING, None, SPENT)


def test_a_run_closed_at_its_deadline_shows_its_links_when_it_is_tried_again() -> None:
    late = Failure(FailureKind.TIMED_OUT, "generation_timeout", "late")
    run = revived(failure=late)
    assert next_step(run, NOW + 10, intended=False) == Keep(refresh=True)
    run = advance(run, EVENTS[Finished], NOW + 11, RULES)
    assert (run.state, run.links, run.credits_used) == (S.KEEPING, (A, B), 1.8)


@pytest.mark.parametrize("kind", sorted(set(FailureKind) - {FailureKind.RESULT_LOST}))
def test_what_upstream_never_made_is_not_tried_again(kind: FailureKind) -> None:
    failure = Failure(kind, "code", "message")
    with pytest.raises(IllegalTransition):
        revived(failure=failure, upstream_task_id=None)


def test_a_run_that_waits_is_tried_at_once() -> None:
    for state in (S.QUEUED, S.KEEPING):
        run = advance(in_state(state, due_at=NOW + 500), TriedAgain(), NOW + 10, RULES)
        assert (run.state, run.due_at) == (state, NOW + 10)


# --- a submit that is the whole work -------------------------------------------------------------

BOTH = PicturesKept((kept(A), kept(B)))


def delivered(cost: int | None, **fields: Any) -> Run:
    event = replace(EVENTS[Delivered], cost_usd_micros=cost)
    run = advance(in_state(S.SUBMITTING, **fields), Begun(), NOW + 1, IN_ONE)
    return advance(run, event, NOW + 40, IN_ONE)


def test_its_client_has_a_task_as_soon_as_the_request_has_left() -> None:
    run = in_state(S.SUBMITTING, lease_owner="w")
    begun = advance(run, Begun(), NOW + 1, IN_ONE)
    assert answered.reply(run) is answered.Reply.LATER
    assert answered.reply(begun) is answered.Reply.TASK
    assert (begun.accepted_at, begun.told_at, begun.lease_owner) == (NOW, NOW + 1, "w")
    assert (begun.state, begun.hold, begun.due_at) == (S.SUBMITTING, run.hold, run.due_at)
    assert next_step(begun, NOW + 1, intended=False) == Recover()
    put_off = advance(begun, NotNow("HTTP 429"), NOW + 2, replace(IN_ONE, outlook=Outlook()))
    assert (put_off.state, put_off.accepted_at, put_off.told_at) == (S.QUEUED, None, NOW + 1)
    gone = advance(begun, NotNow("HTTP 429"), NOW + 2, IN_ONE)
    assert (gone.route, gone.accepted_at) == (DEARER.name, None)


def test_its_work_begins_with_its_submit_however_soon_it_shows() -> None:
    """As long as pictures take, whether its answer came before it was seen to have begun or not."""
    waited = in_state(S.QUEUED, due_at=NOW + 90)
    sent = advance(waited, Retry(), NOW + 100, replace(IN_ONE, outlook=Outlook(go=DEARER)))
    begun = advance(sent, Begun(), NOW + 102, IN_ONE)
    for one in (sent, begun):
        run = advance(one, EVENTS[Delivered], NOW + 101.5, IN_ONE)
        assert (run.accepted_at, run.upstream_finished_at) == (NOW + 100, NOW + 101.5)


def test_its_lost_answer_ends_it_at_once_and_goes_nowhere() -> None:
    for run in (in_state(S.SUBMITTING), advance(in_state(S.SUBMITTING), Begun(), NOW, IN_ONE)):
        lost = advance(run, AnswerLost("cut"), NOW + 1, IN_ONE)
        assert lost.failure and lost.failure.kind is FailureKind.OUTCOME_UNKNOWN
        assert (lost.spent, lost.hold, lost.attempts) == (SPENT, NOTHING, 1)


@pytest.mark.parametrize("bill", [0, 1, 25_999, 2 * PRICE, 2 * PRICE + 1, 10**9])
def test_the_bill_is_the_cost_whatever_was_held(bill: int) -> None:
    run = delivered(bill)
    assert (run.state, run.links, run.hold) == (S.KEEPING, (A, B), Amounts(2 * PRICE, 2, 1))
    assert (run.accepted_at, run.upstream_finished_at) == (NOW, NOW + 40)
    assert run.over_hold_usd_micros == max(0, bill - 2 * PRICE)
    done = advance(run, BOTH, NOW + 41, some_rules(kind=WHOLE, usd_micros_per_credit=1.0))
    assert (done.state, done.spent, done.hold) == (S.DONE, Amounts(bill, 2, 1), NOTHING)


def test_without_a_bill_the_cost_is_the_ceiling_of_what_came() -> None:
    fields = {"besides_usd_micros": 700, "hold": Amounts(2 * PRICE + 700, 2, 1)}
    run = delivered(None, **fields)
    assert advance(run, BOTH, NOW + 41, IN_ONE).spent == Amounts(2 * PRICE + 700, 2, 1)
    one = replace(run, links=(A,))
    done = advance(one, PicturesKept((kept(A),)), NOW + 41, IN_ONE)
    assert done.spent == Amounts(PRICE + 700, 1, 1)


def test_its_pictures_are_kept_for_as_long_as_it_takes_without_fresh_links() -> None:
    """Whatever its kind is taken for: its upstream may have gone from the settings."""
    here = replace(delivered(5), links=("spool:run-1/0", "spool:run-1/1"))
    for rules in (IN_ONE, RULES):
        run = advance(here, KeepFailed("StoreFull", dead=False), NOW + 900 * HOUR, rules)
        assert run.state is S.KEEPING
        late = run.due_at
        assert next_step(run, late, intended=False) == Keep(refresh=False)
        both = PicturesKept(tuple(kept(link) for link in run.links))
        assert advance(run, both, late, rules).state is S.DONE


def test_links_that_it_answers_with_live_as_long_as_any() -> None:
    """Also where what lay here beside them is kept."""
    end = NOW + 40 + LIFETIME
    for links in ((A, B), ("spool:run-1/0", B)):
        run = replace(delivered(31_000), links=links, kept=(kept(links[0]),))
        for event in (CUT, PAGE_A, PAGE_B):
            assert advance(run, event, end - 1, IN_ONE).state is S.KEEPING
            lost = advance(run, event, end, IN_ONE)
            assert lost.failure and lost.failure.kind is FailureKind.RESULT_LOST
            assert lost.spent == Amounts(31_000, 2, 1)


def test_pictures_that_cannot_be_kept_cost_what_was_billed() -> None:
    run, now = delivered(31_000), NOW + 40
    while not run.is_final:
        run, now = advance(run, KeepFailed("404", dead=True), now, IN_ONE), run.due_at
    assert run.failure and run.failure.kind is FailureKind.RESULT_LOST
    assert run.spent == Amounts(31_000, 2, 1)


@pytest.mark.parametrize(("bill", "cost"), [(31_000, 31_000), (9, 9), (None, 2 * PRICE)])
def test_an_answer_found_after_it_was_given_up_puts_it_right(bill: int | None, cost: int) -> None:
    lost = advance(in_state(S.SUBMITTING), AnswerLost("cut"), NOW + 1, IN_ONE)
    late = lost.deadline_at + 50
    found = advance(lost, Delivered("{}", (A, B), bill), late, IN_ONE)
    assert (found.state, found.failure, found.finished_at) == (S.KEEPING, None, None)
    assert (found.spent, found.hold, found.deadline_at) == (SPENT, NOTHING, late)
    done = advance(found, BOTH, late + 1, IN_ONE)
    assert (done.state, done.spent) == (S.DONE, Amounts(cost, 2, 1))


@pytest.mark.parametrize("kind", sorted(set(FailureKind) - {FailureKind.OUTCOME_UNKNOWN}))
def test_nothing_is_found_of_a_run_that_ended_otherwise(kind: FailureKind) -> None:
    run = in_state(S.FAILED, failure=Failure(kind, "code", "message"))
    with pytest.raises(IllegalTransition):
        advance(run, EVENTS[Delivered], NOW + 9, IN_ONE)


def test_what_was_erased_is_not_found() -> None:
    run = wordless(in_state(S.FAILED, failure=UNKNOWN))
    with pytest.raises(IllegalTransition):
        advance(run, EVENTS[Delivered], NOW + 9, IN_ONE)


# --- what dead links are -------------------------------------------------------------------------


def rounds(run: Run, *events: KeepFailed, dead_after: float = HOUR) -> tuple[Run, float]:
    """The run after these failures, again and again, until it ends; and how long that took."""
    now, rules = NOW, replace(RULES, dead_after_seconds=dead_after)
    for event in cycle(events):
        run = advance(run, event, now, rules)
        if run.is_final:
            return run, now - NOW
        now = run.due_at
    raise AssertionError


PAGE_A, PAGE_B = (
    KeepFailed("NotAPicture: a page", dead=True, loss=Loss.FOREIGN, body=name * 64) for name in "ab"
)
BROKEN_A, BROKEN_B = (replace(page, loss=Loss.UNDECODABLE) for page in (PAGE_A, PAGE_B))
GONE = KeepFailed("LinkDead: 404", dead=True)
CUT = KeepFailed("LinkBroken: cut", dead=False)
LIFETIME = LINK_LIFE_SECONDS - KEEP_MARGIN_SECONDS


@pytest.mark.parametrize(
    ("events", "least", "most"),
    [
        ([GONE], HOUR, HOUR + 60),
        ([PAGE_A], HOUR, HOUR + 60),
        ([PAGE_A, GONE], HOUR, HOUR + 60),
        ([replace(GONE, loss=Loss.REFUSED)], HOUR, HOUR + 60),
        ([BROKEN_A], 0, 10),
        ([PAGE_A, PAGE_B], LIFETIME, LIFETIME + 60),
        ([BROKEN_A, BROKEN_B], LIFETIME, LIFETIME + 60),
        ([GONE, CUT], LIFETIME, LIFETIME + 60),
        ([BROKEN_A, BROKEN_A, CUT], LIFETIME, LIFETIME + 60),
    ],
)
def test_how_long_a_paid_picture_is_waited_for(
    events: list[KeepFailed], least: float, most: float
) -> None:
    lost, seconds = rounds(in_state(S.KEEPING), *events)
    assert least <= seconds <= most
    assert lost.failure and lost.failure.kind is FailureKind.RESULT_LOST and lost.spent == SPENT


def test_eight_tries_are_made_however_short_the_time_is() -> None:
    _, seconds = rounds(in_state(S.KEEPING), GONE, dead_after=0.001)
    assert 60 < seconds < 150


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (replace(GONE, loss=Loss.REFUSED), "refused here"),
        (GONE, "no whole picture"),
        (PAGE_A, "no picture"),
        (replace(BROKEN_A, set_aside=True), "operator can fetch the bytes"),
        (replace(GONE, loss=Loss.TOO_LARGE), "more bytes"),
    ],
)
def test_the_failure_says_why_in_words_for_whoever_ordered(event: KeepFailed, words: str) -> None:
    lost, _ = rounds(in_state(S.KEEPING), event)
    assert lost.failure and words in lost.failure.message


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_nothing_follows_the_end(state: RunState) -> None:
    assert next_step(in_state(state), NOW + 1e9, intended=False) == Rest(None)


@pytest.mark.parametrize("state", sorted(LIVE_STATES))
def test_nobody_acts_before_it_is_time(state: RunState) -> None:
    run = in_state(state, due_at=NOW + 5)
    assert next_step(run, NOW + 4.9, intended=False) == Rest(NOW + 5)
    assert not isinstance(next_step(run, NOW + 5, intended=False), Rest)


def test_an_intention_is_carried_out_though_the_clock_was_set_back() -> None:
    assert next_step(in_state(S.SUBMITTING), NOW - 3600, intended=True) == Submit()


# --- every life ends -----------------------------------------------------------------------------

SLOW = some_rules(
    pace=Pace(first_seconds=30, every_seconds=60, max_seconds=300),
    retry_first_seconds=300,
    retry_max_seconds=900,
    usd_micros_per_credit=14_705.9,
)
"""Seldom enough that a day is a few hundred steps."""

MOST_STEPS = 1_500
MOST_AT_ONCE = 12
LATEST_END = 900.0 + 2 * LINK_LIFE_SECONDS


def _times(random: Random) -> float | None:
    return random.choice([None, 0.0, 1.0, 30.0, 1e9])


def _links(random: Random) -> tuple[str, ...]:
    fresh = random.randrange(5)
    return tuple(f"https://files.test/{fresh}/{index}" for index in range(1 + random.randrange(3)))


SUBMITS: dict[str, Callable[[Random], Event]] = {
    "accepted": lambda r: Accepted(f"task-{r.random()}", "{}"),
    "refused": lambda _: EVENTS[Refused],
    "not now": lambda r: NotNow("no", _times(r)),
    "credentials": lambda _: EVENTS[CredentialsRefused],
    "lost": lambda _: AnswerLost("cut"),
}
ANSWERS: dict[str, Callable[[Random], Event]] = {
    **{name: event for name, event in SUBMITS.items() if name != "accepted"},
    "begun": lambda _: Begun(),
    "finished": lambda r: Delivered("{}", _links(r), r.choice([None, 0, 900, 10**9])),
    "failed": lambda r: replace(EVENTS[TaskFailed], charged=r.random() < 0.5),
}
"""What comes of a submit that is the whole work."""

POLLS: dict[str, Callable[[Random], Event]] = {
    "progress": lambda r: Progressed("{}", r.randrange(101), _times(r)),
    "finished": lambda r: Finished("{}", _links(r), r.choice([None, 0.0, 0.9, 1e8])),
    "failed": lambda _: EVENTS[TaskFailed],
    "unreachable": lambda r: Unreachable("?", _times(r), gone=r.random() < 0.3),
}
ROUTES = Catalog(
    {
        MODEL.name: replace(
            MODEL,
            routes=(
                *MODEL.routes,
                Route("spare", "gpt-image-1.5", (PriceRule(70_000),)),
                Route(
                    "last",
                    "gpt-image-1.5",
                    (PriceRule(500_000),),
                    kind=Kind("tokens", besides=lambda order, rates: 777),
                ),
            ),
        )
    }
)
MOODS = (
    *("accepted", "not now", "credentials", "progress", "finished", "failed", "unreachable"),
    *("kept", "dead", "cut"),
)


@dataclass
class World:
    """Everything outside: it does what it likes, and mostly the same thing."""

    random: Random
    mood: set[str]

    def pick(self, choices: dict[str, Callable[[Random], Event]]) -> Event:
        liked = sorted(choices.keys() & self.mood)
        name = self.random.choice(liked if liked and self.random.random() < 0.9 else [*choices])
        return choices[name](self.random)

    def outlook(self, run: Run, event: Event, now: float) -> Outlook:
        """Routes that go and come as they like."""
        if not moves(event):
            return Outlook()
        at_once, later = next_after(run, event, alternatives(run, ROUTES))
        up = [route for route in at_once if self.random.random() < 0.5]
        waits = [(route, now + self.random.choice([-9.0, 0.0, 3.0, 1e4])) for route in later]
        return Outlook(up[0] if up else None, tuple(waits))

    def keep(self, run: Run, *, without: str = "") -> Event:
        have = {one.link for one in run.kept}
        missing = [link for link in run.links if link not in have]
        some = tuple(kept(link) for link in missing if self.random.random() < 0.4)
        return self.pick(
            {name: event for name, event in self.keeps(missing, some).items() if name != without}
        )

    def keeps(
        self, missing: list[str], some: tuple[Kept, ...]
    ) -> dict[str, Callable[[Random], Event]]:
        return {
            "kept": lambda _: PicturesKept(tuple(kept(link) for link in missing)),
            "some kept": lambda _: PicturesKept(some),
            "dead": lambda _: KeepFailed("404", dead=True, kept=some),
            "cut": lambda _: KeepFailed("cut", dead=False, kept=some),
        }


@STEADY
@given(
    st.integers(0, 2**32),
    st.sets(st.sampled_from(MOODS), max_size=3),
    st.booleans(),
    st.booleans(),
    st.integers(1, 3),
    st.sampled_from([None, 14_705.9]),
)
def test_every_life_ends_and_its_money_with_it(
    seed: int, mood: set[str], crashes: bool, whole: bool, n: int, credit: float | None
) -> None:
    """What is here already has all the time it needs: a store that takes nothing for ever is left
    out where a submit is the whole work."""
    world, finds = World(Random(seed), mood), whole
    kind = WHOLE if whole else ANY
    run, now, intended, here = a_run(n=n), NOW, True, 0
    slow, submits = replace(SLOW, usd_micros_per_credit=credit, kind=kind), 0
    for _ in range(MOST_STEPS):
        if crashes and world.random.random() < 0.1:
            intended = False
        step = next_step(run, now, intended=intended, link_life_seconds=kind.link_life_seconds)
        match step:
            case Rest(None):
                unknown = run.failure and run.failure.kind is FailureKind.OUTCOME_UNKNOWN
                if not (unknown and finds):
                    break
                event, finds = Delivered("{}", _links(world.random), 5), False
            case Rest(float() as until):
                assert until > now
                assert run.lease_owner is None
                now, here = until + world.random.choice([0.0, 0.0, 5.0, HOUR]), 0
                run = replace(run, lease_owner="w", lease_until=now + 180)
                continue
            case Feed(event):
                pass
            case Submit():
                event, submits = world.pick(ANSWERS if whole else SUBMITS), submits + 1
                if isinstance(event, Begun):
                    run = advance(run, event, now, slow)
                    answers = {name: ANSWERS[name] for name in ANSWERS if name != "begun"}
                    event = world.pick(answers)
            case Recover():
                event = world.pick(
                    {
                        "lost": SUBMITS["lost"],
                        **({"finished": ANSWERS["finished"]} if whole else {}),
                    }
                )
            case Poll():
                event = world.pick(POLLS)
            case Keep(refresh):
                if refresh and isinstance(fresh := world.pick(POLLS), Finished):
                    run = advance(run, fresh, now, slow)
                event = world.keep(run, without="cut" if whole else "")
        before = run
        run = advance(before, event, now, replace(slow, outlook=world.outlook(run, event, now)))
        intended, here = run.state is S.SUBMITTING, here + 1
        assert_sane(before, run, now)
        assert here < MOST_AT_ONCE
    assert run.is_final, f"still {run.state} after {MOST_STEPS} steps"
    assert run.hold == NOTHING
    assert submits <= run.attempts, "an attempt was sent twice"
    assert (run.finished_at or 0) < NOW + LATEST_END + 3 * HOUR
    if run.state is S.DONE:
        assert len(run.kept) == len(run.links) > 0
        if run.billed_usd_micros is not None:
            assert run.spent.usd_micros == run.billed_usd_micros
        elif credit is None:
            came = run.price_usd_micros * min(len(run.kept), n) + run.besides_usd_micros
            assert run.spent.usd_micros == came
