"""What an operator reads of an order: every verdict, every end, in sentences that are true."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.core.model import Failure, FailureKind, Job, Kept, Picture, Run, RunState, Verdict
from gateway.core.money.accounts import NOTHING, Amounts
from gateway.core.money.budgets import windows_at
from gateway.core.runs.explanation import Story, Timings, duration, summary, timings
from gateway.core.runs.history import Refusal, Step

AT = 1_767_355_203.0
"""Friday, 2026-01-02 12:00:03 UTC."""

BETA, PLAIN = "evolink/gpt-image-1.5-beta", "evolink/gpt-image-1.5"
PICTURES = tuple(
    Kept(f"https://files.test/{one}.png", Picture(one * 64, "png", 1000, 16, 16)) for one in "ab"
)


def a_run(**fields: Any) -> Run:
    upstream, _, model = fields.pop("route", BETA).partition("/")
    base = Run(
        id="run_1",
        fingerprint="f" * 64,
        team="marketing",
        model="gpt-image-1.5",
        quality="medium",
        n=2,
        request='{"prompt":"a red bicycle"}',
        upstream=upstream,
        upstream_model=model,
        price_usd_micros=60_000,
        windows=windows_at(AT, UTC),
        hold=Amounts(120_000, 2, 1),
        created_at=AT,
        deadline_at=AT + 900,
        due_at=AT,
    )
    return replace(base, **fields)


def a_done_run(**fields: Any) -> Run:
    return a_run(
        **{
            "state": RunState.DONE,
            "hold": NOTHING,
            "spent": Amounts(120_000, 2, 1),
            "accepted_at": AT + 1.2,
            "upstream_finished_at": AT + 30,
            "finished_at": AT + 31,
            "links": tuple(one.link for one in PICTURES),
            "kept": PICTURES,
            **fields,
        }
    )


def a_failed_run(kind: FailureKind, code: str, message: str, **fields: Any) -> Run:
    failed = {"state": RunState.FAILED, "hold": NOTHING, "finished_at": AT + 5}
    return a_run(**{**failed, "failure": Failure(kind, code, message), **fields})


def a_job(verdict: Verdict, **fields: Any) -> Job:
    return replace(Job("task-unified-1", "run_1", "marketing", verdict, AT), **fields)


def a_step(event: str, seconds: float, after: str, route: str = BETA, detail: str = "") -> Step:
    return Step("run_1", 0, AT + seconds, event, "?", after, route, detail)


FAILED_OVER = (
    a_step("Started", 0, "submitting"),
    a_step("NotNow", 0.4, "submitting", PLAIN, "HTTP 503 no_available_channel"),
    a_step("Accepted", 1.2, "running", PLAIN),
    a_step("Finished", 30, "keeping", PLAIN, "2 pictures"),
    a_step("PicturesKept", 31, "done", PLAIN, "2 pictures"),
)


def told(run: Run | None = None, **fields: Any) -> str:
    return summary(Story(run=run, **fields), UTC)


def test_a_run_from_its_order_to_what_it_saved() -> None:
    run = a_done_run(route=PLAIN, attempts=2, joins=(("marketing", 2), ("press", 1)))
    assert told(run, steps=FAILED_OVER, jobs_total=5) == (
        "Team marketing asked for 2 pictures by gpt-image-1.5 (medium) at 2026-01-02 12:00:03 UTC. "
        "A new run was started for at most $0.12. "
        "It was submitted to evolink/gpt-image-1.5-beta; evolink/gpt-image-1.5-beta did not take "
        "it (HTTP 503 no_available_channel) after 0.4 s, so it was submitted to "
        "evolink/gpt-image-1.5; evolink/gpt-image-1.5 accepted it after 1.2 s; upstream was "
        "finished after 30 s (2 pictures). "
        "After 31 s 2 pictures were kept (keeping took 1 s); the cost was $0.12. "
        "3 other orders joined it and saved $0.36. "
        "1 other order was answered from it and saved $0.12."
    )


def test_times_are_those_of_the_operators_zone() -> None:
    text = summary(Story(run=a_done_run()), ZoneInfo("Europe/Berlin"))
    assert "at 2026-01-02 13:00:03 CET." in text


def test_a_task_of_a_hit_was_answered_from_that_run_for_nothing() -> None:
    job = a_job(Verdict.HIT, team="press", created_at=AT + 3600)
    text = told(a_done_run(), asked=job, steps=FAILED_OVER, jobs_total=2)
    assert text.startswith(
        "Task task-unified-1 of team press, ordered at 2026-01-02 13:00:03 UTC, was answered from "
        "run run_1 of 2026-01-02 12:00:03 UTC for nothing and saved $0.12. How that run went: "
        "Team marketing asked for 2 pictures"
    )
    assert text.endswith("1 other order was answered from it and saved $0.12.")


def test_a_task_that_joined_says_which_run() -> None:
    run = a_run(joins=(("press", 1),))
    text = told(run, asked=a_job(Verdict.JOINED, team="press"), jobs_total=2)
    assert "joined run run_1 of 2026-01-02 12:00:03 UTC, which was under way." in text
    assert text.endswith("1 other order joined it.")


def test_the_task_that_started_the_run_needs_no_further_word() -> None:
    run = a_done_run()
    assert told(run, asked=a_job(Verdict.STARTED)) == told(run)


def test_a_run_from_before_steps_were_written_says_what_the_run_knows() -> None:
    text = told(a_done_run(attempts=3, route=PLAIN))
    assert "It was submitted 3 times, the last time to evolink/gpt-image-1.5." in text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (RunState.SUBMITTING, "Its request is on its way out; $0.12 is held for it"),
        (RunState.QUEUED, "It waits for a route that takes it; $0.12 is held for it"),
        (RunState.UNSURE, "Nobody knows yet whether upstream took it; $0.12 is held for it"),
        (RunState.RUNNING, "Upstream is at work on it; $0.12 is held for it"),
        (RunState.KEEPING, "0 of 0 pictures are kept so far; $0.12 is held for it"),
    ],
)
def test_a_live_run_says_what_it_is_doing_and_until_when(state: RunState, words: str) -> None:
    text = told(a_run(state=state))
    assert f"{words}, and its deadline is 2026-01-02 12:15:03 UTC." in text


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (
            a_failed_run(FailureKind.REFUSED, "content_policy_violation", "Not that."),
            "It failed after 5 s with content_policy_violation: Not that. Nothing was charged.",
        ),
        (
            a_failed_run(
                FailureKind.OUTCOME_UNKNOWN,
                "outcome_unknown",
                "Lost.",
                spent=Amounts(120_000, 2, 1),
            ),
            "It failed after 5 s with outcome_unknown: Lost. $0.12 counts as spent.",
        ),
    ],
)
def test_a_failed_run_says_why_and_what_it_cost(run: Run, words: str) -> None:
    assert told(run).endswith(words)


def test_a_bill_above_the_hold_is_told_with_both_numbers() -> None:
    bill = {"billed_usd_micros": 123_000, "spent": Amounts(123_000, 2, 1)}
    more = "Upstream's bill was $0.123, $0.003 more than was held: its ceiling is set too low."
    assert f"the cost was $0.123. {more}" in told(a_done_run(**bill))
    lost = a_failed_run(FailureKind.RESULT_LOST, "result_lost", "Lost.", **bill)
    assert told(lost).endswith(f"$0.123 counts as spent. {more}")
    assert "held" not in told(a_done_run(billed_usd_micros=120_000))


def test_what_is_held_besides_is_part_of_the_most() -> None:
    run = a_run(besides_usd_micros=700, hold=Amounts(120_700, 2, 1))
    assert "for at most $0.1207." in told(run)


def test_an_answer_found_late_says_that_it_put_things_right() -> None:
    lost = a_step("AnswerLost", 2, "failed", detail="the gateway was stopped")
    found = replace(a_step("Delivered", 60, "keeping", detail="2 pictures"), before="failed")
    text = told(a_done_run(), steps=[FAILED_OVER[0], lost, found])
    assert (
        f"; the answer of {BETA} was found after 1 min 0 s, and put that right (2 pictures)."
        in text
    )


def test_a_run_whose_request_has_left_is_at_work() -> None:
    assert "Upstream is at work on it; $0.12 is held" in told(a_run(accepted_at=AT + 0.2))


def test_shadow_mode_and_no_store_are_told_of_a_run() -> None:
    first = a_step("Started", 0, "submitting", detail="shadow: usd_per_day")
    text = told(a_run(shared=False), steps=[first])
    assert "The rule usd_per_day would have denied it, but the team is in shadow mode." in text
    assert "Its result is not shared with others." in text


def test_a_long_way_is_cut_in_its_middle() -> None:
    waits = [
        step
        for number in range(1, 15)
        for step in (
            a_step("NotNow", number, "queued", detail="HTTP 503"),
            a_step("Retry", number + 0.5, "submitting", detail=f"attempt {number + 1}"),
        )
    ]
    steps = [FAILED_OVER[0], *waits, a_step("Accepted", 20, "running")]
    text = told(a_run(state=RunState.RUNNING, attempts=15), steps=steps)
    assert "; and so on (20 more steps, 15 submits in all); " in text
    assert "after 1 s, so it waited;" in text
    assert "submitted to evolink/gpt-image-1.5-beta after 14 s (attempt 15)" in text


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("CredentialsRefused", f"{BETA} refused the gateway's own key or balance (why) after 2 s"),
        ("TaskFailed", f"{BETA} took it and failed (why) after 2 s"),
        ("Refused", f"{BETA} refused it after 2 s (why)"),
        ("AnswerLost", f"the answer of {BETA} was lost after 2 s (why)"),
        ("Unreachable", f"{BETA} could not be polled after 2 s (why)"),
        ("Begun", "its request had left after 2 s, and the pictures were awaited"),
        ("Delivered", f"{BETA} delivered after 2 s (why)"),
        ("KeepFailed", "a picture could not be fetched after 2 s (why)"),
        ("DeadlinePassed", "its time was over after 2 s"),
    ],
)
def test_each_event_has_words(event: str, words: str) -> None:
    steps = [FAILED_OVER[0], a_step(event, 2, "failed", detail="why")]
    run = a_failed_run(FailureKind.TIMED_OUT, "generation_timeout", "Late.")
    assert f"; {words}. It failed" in told(run, steps=steps)


# --- refusals ------------------------------------------------------------------------------------

DENIED = Refusal(
    id="req_1",
    at=AT,
    team="marketing",
    model="gpt-image-1.5",
    verdict="denied",
    mode="enforce",
    reason="budget",
    rule="usd_per_day",
    message="The team's limit of $50.00 per day would be exceeded: this request needs $0.12 and "
    "$0.05 is left. It renews at 2026-01-03T00:00:00Z.",
)


def test_a_denied_order_says_the_rule_the_limit_and_when_it_frees() -> None:
    assert told(refusal=DENIED) == (
        "Team marketing sent an order for gpt-image-1.5 at 2026-01-02 12:00:03 UTC. It was denied "
        "by the rule usd_per_day (budget): The team's limit of $50.00 per day would be exceeded: "
        "this request needs $0.12 and $0.05 is left. It renews at 2026-01-03T00:00:00Z. "
        "It cost nothing."
    )


def test_an_invalid_order_names_the_field() -> None:
    refusal = replace(
        DENIED,
        verdict="invalid",
        model="",
        reason="invalid_request",
        rule="",
        message="'n' must be a whole number.",
        param="n",
    )
    assert told(refusal=refusal) == (
        "Team marketing sent an order at 2026-01-02 12:00:03 UTC. It was invalid (invalid_request, "
        "at its field 'n'): 'n' must be a whole number. It was not judged any further, and cost "
        "nothing."
    )


def test_a_shadow_refusal_says_that_it_went_on_and_how() -> None:
    refusal = replace(DENIED, mode="shadow", job_id="task-unified-1")
    text = told(a_done_run(), refusal=refusal, asked=a_job(Verdict.STARTED))
    assert "It would have been denied by the rule usd_per_day (budget): The team's" in text
    assert "The team is in shadow mode, so that it went on as task task-unified-1." in text
    assert text.endswith("the cost was $0.12.")


# --- times ---------------------------------------------------------------------------------------


def test_timings_go_as_far_as_the_run_has_come() -> None:
    assert timings(a_run()) == Timings(None, None, None, None)
    done = timings(a_done_run())
    assert done.total == 31
    assert done.waiting == pytest.approx(1.2)
    assert done.upstream == pytest.approx(28.8)
    assert done.keeping == 1
    refused = timings(a_failed_run(FailureKind.REFUSED, "no", "No."))
    assert refused == Timings(5, None, None, 5)


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    assert timings(a_done_run(finished_at=AT - 10)).total == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.00001, "0 s"),
        (0.1234, "0.12 s"),
        (1.24, "1.2 s"),
        (9.96, "10 s"),
        (31.4, "31 s"),
        (59.9, "1 min 0 s"),
        (303, "5 min 3 s"),
        (7800, "2 h 10 min"),
        (None, "0 s"),
    ],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
