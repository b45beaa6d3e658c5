"""Which callbacks are owed when, and what an attempt at one means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core_samples import MODEL, NOW, a_run, an_ask, an_order, some_rules

from gateway.core.delivery import (
    ERROR_CHARACTERS,
    Outcome,
    after_attempt,
    again,
    owed,
    put_off,
    receiver,
    signing_key,
)
from gateway.core.kinds import Kind
from gateway.core.model import (
    Delivery,
    DeliveryState,
    Job,
    Kept,
    Picture,
    Run,
    RunState,
    Verdict,
)
from gateway.core.money.accounts import NOTHING
from gateway.core.orders.admission import Hit, Joined, Started, admit
from gateway.core.runs.events import (
    AnswerLost,
    Begun,
    Delivered,
    FoundPaid,
    Freed,
    PicturesKept,
)
from gateway.core.runs.lifecycle import advance
from gateway.core.transaction import View

URL = "https://hooks.example.com/secret-path?token=abc"
RETRIES = (1.0, 2.0, 4.0)


def a_job(name: str = "a", *, created_at: float = NOW, url: str | None = URL) -> Job:
    return Job(f"task-unified-1-{name:0>8}", "run_1", "alpha", Verdict.STARTED, created_at, url)


def a_delivery(**fields: Any) -> Delivery:
    base = Delivery("msg_1", "task-unified-1-a", "alpha", URL, created_at=NOW, due_at=NOW)
    return replace(base, lease_owner="here", lease_until=NOW + 60, **fields)


def done(run: Run) -> Run:
    return replace(run, state=RunState.DONE, finished_at=NOW)


def failed(run: Run) -> Run:
    return replace(run, state=RunState.FAILED, finished_at=NOW)


def test_each_job_that_asked_is_owed_one() -> None:
    before = a_run(state=RunState.KEEPING, accepted_at=NOW - 9)
    jobs = [a_job("a"), a_job("b", url="https://b.example.com/"), a_job("c", url=None)]
    first, second = owed(before, done(before), jobs, now=NOW)
    assert (first.job_id, first.team, first.url) == (jobs[0].id, "alpha", URL)
    assert (second.job_id, second.url) == (jobs[1].id, "https://b.example.com/")
    assert first.id != second.id
    assert (first.created_at, first.due_at, first.state) == (NOW, NOW, DeliveryState.PENDING)
    assert owed(before, done(before), jobs, now=NOW) == (first, second)


def test_only_the_end_of_a_run_owes() -> None:
    running = a_run(state=RunState.RUNNING, accepted_at=NOW, told_at=NOW)
    keeping = replace(running, state=RunState.KEEPING)
    assert owed(running, keeping, [a_job()], now=NOW) == ()
    assert owed(done(running), done(running), [a_job()], now=NOW) == ()
    assert owed(keeping, failed(keeping), [a_job()], now=NOW) != ()


def test_a_run_that_was_tried_again_is_told_once_more_under_a_new_id() -> None:
    before = a_run(state=RunState.KEEPING, accepted_at=NOW - 9, told_at=NOW - 9)
    (first,) = owed(before, failed(before), [a_job()], now=NOW)
    revived = replace(before, spent=before.hold)
    for end in (done, failed):  # whoever joined meanwhile hears of it only now
        (again_,) = owed(revived, end(revived), [a_job()], now=NOW + 5)
        assert again_.id == f"{first.id}-again" and again_.job_id == first.job_id


@pytest.mark.parametrize("looked_into", [None, Freed("not on record"), FoundPaid("counted")])
@pytest.mark.parametrize("bill", [31_000, None])
def test_what_is_found_after_it_was_told_as_lost_is_told_under_a_new_id(
    looked_into: Freed | FoundPaid | None, bill: int | None
) -> None:
    """Whatever upstream's record seemed to show meanwhile."""
    rules = some_rules(kind=Kind("whole", is_whole=True))
    begun = advance(a_run(state=RunState.SUBMITTING), Begun(), NOW + 2, rules)
    lost = advance(begun, AnswerLost("cut"), NOW + 3, rules)
    (first,) = owed(begun, lost, [a_job()], now=NOW + 3)
    if looked_into is not None:
        lost = advance(lost, looked_into, NOW + 60, rules)
    found = advance(lost, Delivered("{}", ("spool:1/0",), bill), NOW + 90, rules)
    assert found.hold + found.spent == begun.hold
    kept = PicturesKept((Kept("spool:1/0", Picture("d" * 64, "png", 1, 1, 1)),))
    made = advance(found, kept, NOW + 91, rules)
    (second,) = owed(found, made, [a_job()], now=NOW + 91)
    assert second.id == f"{first.id}-again"
    cost = begun.hold.usd_micros if bill is None else bill
    assert (made.spent, made.hold) == (replace(begun.hold, usd_micros=cost), NOTHING)


# How the run stood before it failed, and whether its callers were answered with a task id.
TOLD = [
    (a_run(state=RunState.SUBMITTING), False),
    (a_run(state=RunState.SUBMITTING, attempts=2, tries=3), False),
    (a_run(state=RunState.UNSURE, due_at=NOW + 900), False),
    (a_run(state=RunState.QUEUED, told_at=NOW - 9), True),
    (a_run(state=RunState.SUBMITTING, told_at=NOW - 9, attempts=2), True),
    (a_run(state=RunState.UNSURE, told_at=NOW - 9, due_at=NOW + 900), True),
    (a_run(state=RunState.RUNNING, accepted_at=NOW - 3, told_at=NOW - 3), True),
    (a_run(state=RunState.KEEPING, accepted_at=NOW - 3, told_at=NOW - 3), True),
    (a_run(state=RunState.SUBMITTING, tried=("a/b",), told_at=NOW - 9), True),
]


@pytest.mark.parametrize(("before", "told"), TOLD)
@pytest.mark.parametrize("came_at", [NOW - 50, NOW, NOW + 50])
def test_a_failure_that_was_the_posts_own_answer_is_not_called_back(
    before: Run, came_at: float, told: bool
) -> None:
    """Whenever a job joined it: what one caller is answered with, all are."""
    assert bool(owed(before, failed(before), [a_job(created_at=came_at)], now=NOW)) is told


def test_pictures_that_came_after_all_are_always_told() -> None:
    before = a_run(state=RunState.KEEPING, accepted_at=None)
    assert owed(before, done(before), [a_job()], now=NOW)


def test_a_hit_owes_at_once() -> None:
    order = an_order(callback_url=URL)
    finished = done(a_run(model=MODEL.name, accepted_at=NOW - 9))
    ask = an_ask(order=order, vetted={finished.id: True})
    decision, writes = admit(ask, View(finished=finished))
    assert isinstance(decision, Hit)
    [delivery] = writes.deliveries
    assert (delivery.job_id, delivery.url, delivery.due_at) == (decision.job.id, URL, ask.now)
    _, silent = admit(replace(ask, order=an_order()), View(finished=finished))
    assert silent.jobs and silent.deliveries == ()


def test_what_is_still_to_come_owes_nothing_yet() -> None:
    ask = an_ask(order=an_order(callback_url=URL))
    accounts = View(accounts={key: _account(key) for key in ask.keys().accounts})
    started, first = admit(ask, accounts)
    joined, second = admit(ask, replace(accounts, live=a_run(state=RunState.RUNNING)))
    assert isinstance(started, Started) and isinstance(joined, Joined)
    assert first.deliveries == second.deliveries == ()
    assert started.job.callback_url == joined.job.callback_url == URL


def _account(key: Any) -> Any:
    from gateway.core.money.accounts import Account

    return Account(key)


# --- attempts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_delivers(status: int) -> None:
    after = after_attempt(a_delivery(), Outcome(status), now=NOW + 1, retries=RETRIES)
    assert (after.state, after.attempts, after.status) == (DeliveryState.DELIVERED, 1, status)
    assert (after.ended_at, after.error, after.lease_owner) == (NOW + 1, None, None)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(500), "answered 500"),
        (Outcome(302), "answered 302"),
        (Outcome(404), "answered 404"),
        (Outcome(199), "answered 199"),
        (Outcome(error="no answer within 10 s"), "no answer within 10 s"),
    ],
)
def test_anything_else_is_tried_again_and_given_up(outcome: Outcome, reason: str) -> None:
    delivery, now, waits = a_delivery(), NOW, []
    while delivery.state is DeliveryState.PENDING:
        delivery = after_attempt(delivery, outcome, now=now, retries=RETRIES)
        assert (delivery.lease_owner, delivery.lease_until) == (None, 0.0)
        assert (delivery.status, delivery.error) == (outcome.status, reason)
        if delivery.state is DeliveryState.PENDING:
            assert delivery.ended_at is None
            waits.append(delivery.due_at - now)
            now = delivery.due_at
    assert waits == list(RETRIES)
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, 4)
    assert (delivery.ended_at, delivery.id) == (now, "msg_1")


def test_a_success_after_failures_forgets_their_reason() -> None:
    once = after_attempt(a_delivery(), Outcome(error="reset"), now=NOW, retries=RETRIES)
    after = after_attempt(once, Outcome(204), now=NOW + 1, retries=RETRIES)
    assert (after.state, after.attempts, after.error) == (DeliveryState.DELIVERED, 2, None)


def test_without_retries_the_first_failure_ends_it() -> None:
    after = after_attempt(a_delivery(), Outcome(500), now=NOW, retries=())
    assert (after.state, after.ended_at) == (DeliveryState.FAILED, NOW)


def test_a_long_reason_is_cut() -> None:
    after = after_attempt(a_delivery(), Outcome(error="x" * 9999), now=NOW, retries=RETRIES)
    assert after.error == "x" * ERROR_CHARACTERS


def test_what_is_put_off_was_not_tried() -> None:
    after = put_off(a_delivery(attempts=2), until=NOW + 30)
    assert (after.attempts, after.due_at, after.lease_owner) == (2, NOW + 30, None)


def test_a_new_series_has_the_same_id() -> None:
    ended = after_attempt(a_delivery(), Outcome(500), now=NOW, retries=())
    after = again(ended, now=NOW + 500)
    assert (after.id, after.state, after.attempts) == ("msg_1", DeliveryState.PENDING, 0)
    assert (after.due_at, after.ended_at, after.error) == (NOW + 500, None, "answered 500")
    assert again(after, now=NOW + 900) is after


def test_of_a_url_only_the_host_is_said() -> None:
    assert receiver("https://Hooks.Example.com:8443/secret?x=1") == "hooks.example.com"
    assert receiver("https://[::1]:8443/secret") == "::1"


# --- the key -----------------------------------------------------------------------------------


def test_a_standard_secret_is_base64_and_any_other_is_its_bytes() -> None:
    assert signing_key("whsec_c2VjcmV0LWtleQ==") == b"secret-key"
    assert signing_key("whsec_c2VjcmV0LWtleQ") == b"secret-key"
    assert signing_key("c2VjcmV0LWtleQ==") == b"c2VjcmV0LWtleQ=="


@pytest.mark.parametrize("secret", ["whsec_", "whsec_a", "whsec_not base64", "whsec_c2Vj!mV0"])
def test_a_broken_standard_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        signing_key(secret)
