"""Which runs may be on upstream's record, since when, and what is done to the doubtful ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_samples import NOW, PRICE, a_run, some_rules, zeros

from gateway.core.model import Failure, FailureKind, Run, RunState
from gateway.core.money.accounts import NOTHING, Amounts
from gateway.core.money.booking import book
from gateway.core.orders.admission import NEVER_TAKEN
from gateway.core.reconciling.works import Sureness, work_of
from gateway.core.runs import history
from gateway.core.runs.doubts import is_doubtful
from gateway.core.runs.events import Delivered, FoundPaid, Freed, TriedAgain
from gateway.core.runs.history import Step
from gateway.core.runs.lifecycle import IllegalTransition, advance
from gateway.core.runs.redaction import is_erased, wordless

SPENT = Amounts(PRICE, 1, 1)
RULES = some_rules()
LOST = replace(
    a_run(),
    state=RunState.FAILED,
    failure=Failure(FailureKind.OUTCOME_UNKNOWN, "outcome_unknown", "lost"),
    hold=NOTHING,
    spent=SPENT,
    finished_at=NOW + 900,
)
FREED, CONFIRMED = Freed("upstream has no task of its time"), FoundPaid("it has it", "task-1")


def step(event: str, at: float, after: RunState = RunState.UNSURE) -> Step:
    return Step(LOST.id, 0, at, event, "submitting", after, "evolink/m")


def test_a_doubtful_run_is_of_the_time_of_its_last_submit() -> None:
    steps = (
        step("Started", NOW, RunState.SUBMITTING),
        step("NotNow", NOW + 1, RunState.QUEUED),
        step("Retry", NOW + 60, RunState.SUBMITTING),
        step("AnswerLost", NOW + 85),
        step("DeadlinePassed", NOW + 900, RunState.FAILED),
    )
    work = work_of(LOST, steps)
    assert work is not None
    assert (work.sureness, work.began, work.ended) == (Sureness.DOUBTFUL, NOW + 60, NOW + 85)
    without = work_of(LOST)
    assert without is not None and (without.began, without.ended) == (NOW, NOW + 900)


@pytest.mark.parametrize(
    ("run", "sureness"),
    [
        (a_run(), Sureness.OPEN),
        (a_run(state=RunState.UNSURE), Sureness.OPEN),
        (a_run(state=RunState.QUEUED), None),
        (a_run(state=RunState.RUNNING, upstream_task_id="t"), Sureness.TAKEN),
        (a_run(state=RunState.KEEPING, links=("spool:1/0",)), Sureness.TAKEN),
        (LOST, Sureness.DOUBTFUL),
        (advance(LOST, FREED, NOW, RULES), None),
        (advance(LOST, CONFIRMED, NOW, RULES), Sureness.TAKEN),
        (advance(LOST, FoundPaid("counted"), NOW, RULES), Sureness.TAKEN),
        (replace(LOST, failure=Failure(FailureKind.REFUSED, "no", "no")), Sureness.PERHAPS),
        (replace(LOST, failure=Failure(FailureKind.CREDENTIALS, "no", "no")), None),
    ],
)
def test_what_the_ledger_knows_of_a_run(run: Run, sureness: Sureness | None) -> None:
    work = work_of(run)
    assert (work and work.sureness) is sureness


def test_freed_is_as_never_taken_and_the_books_follow() -> None:
    doubt = LOST
    accounts = {key: replace(account, spent=SPENT) for key, account in zeros(doubt).items()}
    after = advance(doubt, FREED, NOW + 5000, RULES)
    assert after.spent == NOTHING and after.finished_at == doubt.finished_at
    assert after.failure is not None and after.failure.kind in NEVER_TAKEN
    writes = book(doubt, after, accounts)
    assert {account.spent for account in writes.accounts} == {NOTHING}
    [usage] = writes.usage
    assert (usage.spent_usd_micros, usage.spent_failed_usd_micros) == (-PRICE, -PRICE)
    assert (usage.failed, usage.started, usage.spent_bypassed_usd_micros) == (0, 0, 0)
    [by_passing] = book(
        replace(doubt, bypassed=True), replace(after, bypassed=True), accounts
    ).usage
    assert by_passing.spent_bypassed_usd_micros == -PRICE


def test_confirmed_stays_spent_and_may_be_tried_again() -> None:
    after = advance(LOST, CONFIRMED, NOW + 5000, RULES)
    assert after.spent == SPENT and after.upstream_task_id == "task-1"
    assert book(LOST, after, {}).usage == () and book(LOST, after, {}).accounts == ()
    again = advance(after, TriedAgain(), NOW + 5000, RULES)
    assert again.state is RunState.KEEPING and again.spent == SPENT
    only_counted = advance(LOST, FoundPaid("counted"), NOW + 5000, RULES)
    with pytest.raises(IllegalTransition):
        advance(only_counted, TriedAgain(), NOW, RULES)
    found = advance(only_counted, Delivered("{}", ("spool:1/0",), 9), NOW + 6000, RULES)
    assert found.state is RunState.KEEPING


@pytest.mark.parametrize("event", [FREED, CONFIRMED])
def test_it_happens_once_and_only_to_a_doubtful_run(event: Freed | FoundPaid) -> None:
    after = advance(LOST, event, NOW, RULES)
    assert not is_doubtful(after)
    others = [
        after,
        *(
            replace(LOST, failure=Failure(kind, "code", "message"))
            for kind in FailureKind
            if kind is not FailureKind.OUTCOME_UNKNOWN
        ),
        *(replace(a_run(), state=state) for state in RunState if state is not RunState.FAILED),
    ]
    for other in others:
        for again in (FREED, CONFIRMED):
            with pytest.raises(IllegalTransition):
                advance(other, again, NOW, RULES)


@pytest.mark.parametrize("event", [FREED, CONFIRMED])
def test_its_step_says_why_and_an_erased_run_stays_erased(event: Freed | FoundPaid) -> None:
    after = advance(LOST, event, NOW, RULES)
    noted = history.note(LOST, event, after, NOW)
    assert noted is not None and noted.detail == event.reason
    erased = advance(wordless(LOST), event, NOW, RULES)
    assert is_erased(erased)
