"""One rendering for all the jobs of an ended run, and rows of lists: the same as for one alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_wire import (
    BASE,
    JOB_VERDICTS,
    NOW,
    STEADY,
    THEIRS,
    S,
    V,
    a_job,
    a_run,
    shown,
    theirs_any,
)

from gateway.core.model import RunState, Verdict
from gateway.web.evolink.wire import STATES_OF_STATUS, task_body, task_object, task_row, to_json

texts = st.sampled_from([THEIRS, "task-unified-1-abcdefgh", '"created":1', "x"])


@STEADY
@given(theirs_any, st.sampled_from(S), st.sampled_from(JOB_VERDICTS), texts, st.integers(0, 2**33))
def test_every_job_gets_what_was_rendered_for_it_alone(
    theirs: dict[str, Any], state: RunState, verdict: Verdict, text: str, created: int
) -> None:
    run = a_run(state, {**theirs, "note": text, "nested": {"created": created, "id": text}})
    for suffix in ("aaaaaaaa", "bbbbbbbb"):
        job = replace(a_job(verdict), id=f"task-unified-{created}-{suffix}", created_at=created)
        assert task_body(job, run, BASE, NOW) == to_json(task_object(job, run, BASE, NOW))


def test_the_same_run_with_other_news_is_rendered_anew() -> None:
    run, job = a_run(S.DONE), a_job()
    first = task_body(job, run, BASE, NOW)
    assert task_body(job, replace(run, kept=run.kept[::-1]), BASE, NOW) == first
    moved = task_body(job, run, "https://elsewhere.test", NOW)
    assert moved == first.replace(BASE.encode(), b"https://elsewhere.test") != first


def test_every_state_has_one_status() -> None:
    listed = [state for states in STATES_OF_STATUS.values() for state in states]
    assert sorted(listed) == sorted(RunState)


@pytest.mark.parametrize("verdict", JOB_VERDICTS)
@pytest.mark.parametrize("state", S)
def test_a_row_says_what_the_task_says(state: RunState, verdict: Verdict) -> None:
    run = a_run(state)
    row, task = task_row(a_job(verdict), run, NOW), shown(run, verdict)
    assert row == {
        "created_at": int(NOW),
        "credits_used": 1.8 if (state, verdict) == (S.DONE, V.STARTED) else 0,
        "has_error": "error" in task,
        "has_results": "results" in task,
        "id": task["id"],
        "model": task["model"],
        "progress": task["progress"],
        "status": "processing" if state is S.RUNNING else task["status"],
        "type": "image",
    }


@pytest.mark.parametrize("odd", [{"usage": 7}, {"usage": {"credits_used": "many"}}, {"usage": {}}])
def test_odd_usage_is_no_number(odd: dict[str, Any]) -> None:
    run = a_run(S.DONE, {"status": "completed", **odd})
    assert task_row(a_job(), run, NOW)["credits_used"] == 0
