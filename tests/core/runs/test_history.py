"""What is written down of a run's way: all that says something new, and never very much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from core_samples import NOW, PRICE, a_run, an_ask, kept, some_rules
from core_samples import Books as Ledger

from gateway.core.catalog import Mode, Team
from gateway.core.kinds import Kind
from gateway.core.model import Run, RunState
from gateway.core.money.accounts import Cap, Measure, Window
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    Begun,
    CredentialsRefused,
    DeadlinePassed,
    Delivered,
    Event,
    Finished,
    Hinted,
    KeepFailed,
    NotNow,
    PicturesKept,
    Progressed,
    Refused,
    Retry,
    TaskFailed,
    Unreachable,
    Why,
)
from gateway.core.runs.history import (
    ATTEMPTS_TOLD,
    DETAIL_CHARACTERS,
    MOST_STEPS,
    Step,
    begun,
    last_number,
    note,
)
from gateway.core.runs.lifecycle import Rules, advance
from gateway.core.runs.routing import Alternative, Outlook

A, B = "https://files.test/a.png", "https://files.test/b.png"
BACK = Alternative("evolink", "gpt-image-1.5-beta", PRICE)
SPARE = Alternative("spare", "gpt-image-1.5", 3 * PRICE)
TASK = Accepted("task-unified-1", "{}")


@dataclass
class Life:
    """A run and the steps that it leaves, a second after each other."""

    run: Run = field(default_factory=lambda: a_run(n=2))
    now: float = NOW
    steps: list[Step] = field(default_factory=list)
    rules: Rules = field(default_factory=lambda: some_rules(dead_after_seconds=1.0))

    def __post_init__(self) -> None:
        self.steps.append(begun(self.run))

    def happen(self, *events: Event, go: Alternative | None = None) -> Life:
        for event in events:
            self.now += 1.0
            before = self.run
            rules = replace(self.rules, outlook=Outlook(go))
            self.run = advance(before, event, self.now, rules)
            if step := note(before, event, self.run, self.now):
                self.steps.append(step)
        return self

    def told(self) -> Sequence[tuple[str, str, str, str]]:
        return [(one.event, one.before, one.after, one.detail) for one in self.steps]


def test_a_simple_life_is_four_steps() -> None:
    life = Life().happen(
        TASK,
        Progressed("{}", 10),
        Progressed("{}", 60),
        Hinted(),
        Finished("{}", (A, B), 1.8),
        PicturesKept((kept(A), kept(B))),
    )
    assert life.told() == [
        ("Started", "", "submitting", ""),
        ("Accepted", "submitting", "running", ""),
        ("Finished", "running", "keeping", "2 pictures"),
        ("PicturesKept", "keeping", "done", "2 pictures"),
    ]
    assert [step.at for step in life.steps] == [NOW, NOW + 1, NOW + 5, NOW + 6]
    assert {step.run_id for step in life.steps} == {life.run.id}
    assert {step.number for step in life.steps} == {0}  # the ledger gives the numbers


WHOLE = some_rules(kind=Kind("whole", is_whole=True))


@pytest.mark.parametrize(
    ("bill", "detail"),
    [
        (None, "2 pictures"),
        (25_000, "2 pictures, billed $0.025"),
        (31_000, "2 pictures, billed $0.031, $0.005 more than held"),
    ],
)
def test_a_submit_that_is_the_whole_work_is_four_steps(bill: int | None, detail: str) -> None:
    life = Life(rules=WHOLE).happen(Begun(), Delivered("{}", (A, B), bill))
    life.happen(PicturesKept((kept(A), kept(B))))
    assert life.told() == [
        ("Started", "", "submitting", ""),
        ("Begun", "submitting", "submitting", ""),
        ("Delivered", "submitting", "keeping", detail),
        ("PicturesKept", "keeping", "done", "2 pictures"),
    ]


def test_an_answer_that_is_found_late_is_a_step_out_of_the_end() -> None:
    life = Life(rules=WHOLE).happen(AnswerLost("the gateway was stopped"))
    life.happen(Delivered("{}", (A, B), 9))
    assert life.told()[1:] == [
        ("AnswerLost", "submitting", "failed", "outcome_unknown"),
        ("Delivered", "failed", "keeping", "2 pictures, billed $0.000009"),
    ]


def test_a_step_has_the_route_that_the_run_is_on_then() -> None:
    life = Life().happen(NotNow("HTTP 503 no_available_channel"), go=SPARE)
    assert life.told()[1:] == [
        ("NotNow", "submitting", "submitting", "HTTP 503 no_available_channel")
    ]
    assert [step.route for step in life.steps] == [
        "evolink/gpt-image-1.5-beta",
        "spare/gpt-image-1.5",
    ]


def test_admission_writes_the_first_step_with_the_run() -> None:
    decision, writes = Ledger().admit(an_ask())
    (run,) = writes.runs
    assert writes.steps == (begun(run),)
    assert writes.steps[0].at == run.created_at
    assert type(decision).__name__ == "Started"


def test_the_first_step_names_the_rule_that_only_shadow_mode_let_pass() -> None:
    team = Team("alpha", caps=(Cap(Measure.USD, Window.DAY, 1),), mode=Mode.SHADOW)
    _, writes = Ledger().admit(an_ask(team=team))
    assert [step.detail for step in writes.steps] == ["shadow: usd_per_day"]


def test_what_starts_no_run_writes_no_step() -> None:
    books = Ledger()
    books.admit(an_ask())
    _, joined = books.admit(an_ask())
    poor = Team("poor", caps=(Cap(Measure.USD, Window.DAY, 1),))
    _, denied = books.admit(an_ask(team=poor))
    assert joined.jobs
    assert joined.steps == denied.steps == ()


def test_hours_of_an_upstream_that_is_down_are_some_tens_of_steps() -> None:
    life = Life(run=a_run(n=2, deadline_at=NOW + 1e7)).happen(NotNow("HTTP 503"))
    for _ in range(20_000):
        life.happen(Retry(), go=BACK).happen(Begun(), NotNow("HTTP 503"))
    life.happen(Retry(), go=BACK).happen(TASK)
    assert life.run.attempts == 20_002
    assert len(life.steps) < MOST_STEPS
    assert life.told()[-1][:3] == ("Accepted", "submitting", "running")
    first = [step.detail for step in life.steps if step.event == "Retry"][: ATTEMPTS_TOLD - 1]
    assert first == [f"attempt {number}" for number in range(2, ATTEMPTS_TOLD + 1)]


def test_waiting_for_a_route_in_vain_is_no_step() -> None:
    life = Life().happen(NotNow("HTTP 503"), Retry(), Retry(), Retry())
    assert [step.event for step in life.steps] == ["Started", "NotNow"]


def test_of_failed_polls_in_a_row_the_first_is_told() -> None:
    away = Unreachable("HTTP 502 without a task")
    life = Life().happen(TASK, away, away, away, Progressed("{}", 10), away)
    assert [step.detail for step in life.steps[2:]] == ["HTTP 502 without a task"] * 2


def test_of_failed_downloads_in_a_row_the_first_is_told() -> None:
    dead = KeepFailed("LinkDead: https://files.test/a.png says 404", dead=True)
    life = Life().happen(TASK, Finished("{}", (A, B)))
    life.happen(dead, dead, Finished("{}", (A, B)), dead, PicturesKept((kept(A),)))
    life.happen(*[dead] * 5)
    assert life.told()[3:] == [
        ("KeepFailed", "keeping", "keeping", "LinkDead"),
        ("PicturesKept", "keeping", "keeping", "1 of 2 pictures"),
        ("KeepFailed", "keeping", "failed", "LinkDead, result_lost"),
    ]


@pytest.mark.parametrize(
    ("events", "detail"),
    [
        ([Refused(400, "{}", "content_policy_violation", "no")], "400 content_policy_violation"),
        ([CredentialsRefused(402, "sk-1234")], "402 upstream_error"),
        ([AnswerLost("no answer: ReadTimeout"), DeadlinePassed()], "outcome_unknown"),
        ([TASK, TaskFailed("{}", "invalid_prompt", "what?")], "invalid_prompt"),
        ([NotNow("HTTP 503"), DeadlinePassed()], "service_unavailable"),
        ([NotNow("size: none of 1:1", why=Why.MISFIT, its_own=True)], "size: none of 1:1"),
    ],
)
def test_the_end_says_why(events: Sequence[Event], detail: str) -> None:
    life = Life().happen(*events)
    assert life.run.state is RunState.FAILED
    assert life.steps[-1].detail == detail
    assert life.steps[-1].after == "failed"


def test_what_upstream_says_is_cut_down_to_what_it_is_about() -> None:
    said = "see https://provider.test/k?key=abc, key sk-abcdef or Bearer xyz \n" + "a" * 500
    life = Life().happen(NotNow(said))
    detail = life.steps[-1].detail
    assert detail.startswith("see [link] key [redacted] or [redacted] aaa")
    assert len(detail) == DETAIL_CHARACTERS


def test_there_is_always_room_for_the_end() -> None:
    step = begun(a_run())
    assert last_number(step) < last_number(replace(step, after="failed")) == MOST_STEPS
    assert last_number(replace(step, after="done")) == MOST_STEPS
