"""A submit whose answer was lost, sent again under its key: bounded, and never a second payment."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from core_samples import NOW, PRICE, a_run, some_rules

from gateway.core.model import FailureKind, Run, RunState
from gateway.core.money.accounts import NOTHING, Amounts
from gateway.core.runs.answered import is_sent_again
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    DeadlinePassed,
    NotNow,
    Refused,
    SubmitEvent,
)
from gateway.core.runs.lifecycle import RESENDS, Rules, advance
from gateway.core.runs.routing import Alternative, Outlook
from gateway.core.runs.steps import Feed, Rest, Submit, next_step

PLAIN, RESENDING = some_rules(), some_rules(resend=True)
LOST = AnswerLost("cut")
STILL_LOST: list[SubmitEvent] = [
    LOST,
    NotNow("HTTP 503"),
    NotNow("HTTP 503", its_own=True),
    CredentialsRefused(401, "no"),
    Refused(400, "{}", "invalid_request", "no"),  # it may be of the second try alone
]


def unsure(rules: Rules = RESENDING) -> Run:
    return advance(a_run(tries=4), LOST, NOW, rules)


def test_without_the_setting_nothing_is_sent_again() -> None:
    run = unsure(PLAIN)
    assert not is_sent_again(run)
    assert next_step(run, run.deadline_at - 1, intended=False) == Rest(run.deadline_at)
    assert next_step(run, run.deadline_at, intended=False) == Feed(DeadlinePassed())


def test_the_same_attempt_is_sent_again_after_a_while() -> None:
    run = unsure()
    assert run.state is RunState.UNSURE and is_sent_again(run)
    assert NOW < run.due_at < NOW + 2 and run.lease_owner is None
    assert next_step(run, NOW, intended=False) == Rest(run.due_at)
    # Whoever finds it: that the request may have gone out is written already.
    for intended in (False, True):
        assert next_step(run, run.due_at, intended=intended) == Submit()


@pytest.mark.parametrize("event", STILL_LOST, ids=lambda event: type(event).__name__)
def test_it_is_given_up_after_some_times_and_counts_as_spent(event: SubmitEvent) -> None:
    """Nor does it go to another route: the first time may have been taken."""
    spare = Alternative("spare", "model", PRICE)
    rules = replace(RESENDING, outlook=Outlook(spare, ((spare, NOW),)))
    run, dues = unsure(), []
    while is_sent_again(run):
        dues.append(run.due_at)
        run = advance(run, event, run.due_at, rules)
        assert run.state is RunState.UNSURE and run.attempts == 1
        assert run.route != spare.name and run.hold == Amounts(PRICE, 1, 1)
    assert len(dues) == RESENDS
    waits = [later - earlier for earlier, later in pairwise([NOW, *dues])]
    assert waits == sorted(waits)
    assert next_step(run, dues[-1] + 1, intended=False) == Rest(run.deadline_at)
    failed = advance(run, DeadlinePassed(), run.deadline_at, RESENDING)
    assert failed.failure and failed.failure.kind is FailureKind.OUTCOME_UNKNOWN
    assert failed.spent == Amounts(PRICE, 1, 1) and failed.hold == NOTHING


def test_the_answer_comes_after_all() -> None:
    run = advance(unsure(), Accepted("task-unified-1", "{}"), NOW + 2, RESENDING)
    assert run.state is RunState.RUNNING and run.tries == 0 and run.attempts == 1


def test_a_refusal_of_that_key_says_that_it_was_not_taken_before() -> None:
    no = Refused(400, "{}", "invalid_request", "no", replayed=True)
    run = advance(unsure(), no, NOW + 2, RESENDING)
    assert run.state is RunState.FAILED and run.spent == NOTHING
    assert run.failure and run.failure.kind is FailureKind.REFUSED


def test_upstream_may_ask_for_more_time_but_not_beyond_the_deadline() -> None:
    run = unsure()
    assert advance(run, NotNow("", 45.0), NOW + 2, RESENDING).due_at == NOW + 47
    late = advance(run, LOST, run.deadline_at - 0.1, RESENDING)
    assert late.due_at == run.deadline_at and not is_sent_again(late)


def test_the_setting_is_taken_back() -> None:
    run = advance(unsure(), LOST, NOW + 2, PLAIN)
    assert run.due_at == run.deadline_at
