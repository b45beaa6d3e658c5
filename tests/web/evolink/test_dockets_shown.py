"""Tasks as clients see them, whatever kind of upstream made the pictures, and whoever wrote it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from former_rendering import former_object
from hypothesis import given
from hypothesis import strategies as st
from test_wire import BASE, JOB_VERDICTS, NOW, PERMANENT, STEADY, THEIRS, S, V, a_job, a_run

from gateway.core.model import Run, RunState, Verdict
from gateway.core.runs import docket
from gateway.core.runs.docket import Docket, Tokens
from gateway.web.evolink.wire import task_body, task_object, task_row, to_json

numbers = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15)
texts = st.sampled_from(["x", "ü \x00", THEIRS, "https://files.upstream.test/acc/a.png", "failed"])
values = st.recursive(
    numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["url", "id", "status", "docket", "said"]), inner)
    ),
    max_leaves=8,
)
WORDS = ("pending", "processing", "running", "Running", "in_progress", "completed", "failed", "?")
COUNTS = ("credits_used", "total_tokens", "image_output_tokens", "estimated_cost", "cost")
FIELDS = ("billing", "error", "duration", "created", "object", "type", "model", "note", "docket")
tasks = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just(THEIRS) | values,
        "status": st.sampled_from(WORDS) | values,
        "progress": st.integers(-5, 250) | values,
        "usage": st.dictionaries(st.sampled_from(COUNTS), values) | values,
        "task_info": st.fixed_dictionaries({"estimated_time": values}) | values,
        "results": values,
        "result_data": values,
        **dict.fromkeys(FIELDS, values),
    },
)


@STEADY
@given(tasks, st.sampled_from(S), st.sampled_from(JOB_VERDICTS))
def test_the_mirrored_kind_reads_as_it_always_did(
    theirs: dict[str, Any], state: RunState, verdict: Verdict
) -> None:
    """To the byte: in rows of former versions, and in those that are written now."""
    former, job = a_run(state, theirs), a_job(verdict)
    shown = to_json(former_object(job, former, BASE))
    assert to_json(task_object(job, former, BASE, NOW)) == shown
    told = docket.of_task(orjson.loads(former.task))
    now = replace(former, task=docket.written(told))
    assert to_json(task_object(job, now, BASE, NOW)) == shown
    assert task_row(job, now, NOW) == task_row(job, former, NOW)


# --- other kinds ---------------------------------------------------------------------------------

TOKENS = Tokens(text_in=18, image_in=5, image_out=196)
SAID = {"created": 7, "data": [], "usage": {"total_tokens": 9}, "error": {"code": "secret"}}
OTHER = Docket("openai", at_work=True, progress=100, tokens=TOKENS, said=SAID, request_id="req_1")
SHAPE = {"created", "id", "model", "object", "progress", "status", "task_info", "type"}


def other(state: RunState, told: Docket = OTHER, **fields: Any) -> Run:
    fields = {"upstream_task_id": None, **fields}
    return replace(a_run(state), task=docket.written(told), **fields)


def shown(run: Run, verdict: Verdict = V.STARTED, now: float = NOW) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(to_json(task_object(a_job(verdict), run, BASE, now)))
    return read


def test_a_finished_task_of_another_kind_has_the_same_shape_and_no_vendors_words() -> None:
    task = shown(other(S.DONE, upstream_finished_at=NOW + 40.4))
    assert task.keys() == SHAPE | {"duration", "result_data", "results", "usage"}
    assert (task["status"], task["progress"], task["duration"]) == ("completed", 100, 40)
    assert task["results"] == PERMANENT
    assert task["result_data"] == [{"url": link} for link in PERMANENT]
    assert task["usage"] == {
        "credits_used": 0,
        "image_input_tokens": 5,
        "image_output_tokens": 196,
        "text_input_tokens": 18,
        "total_tokens": 219,
    }
    bare = shown(other(S.DONE, replace(OTHER, tokens=None)))
    assert bare["usage"] == {"credits_used": 0}


@pytest.mark.parametrize("state", [S.KEEPING, S.FAILED])
def test_what_is_not_kept_yet_is_not_shown(state: RunState) -> None:
    task = shown(other(state))
    assert not {"results", "result_data", "duration"} & task.keys()
    assert "secret" not in str(task)


def test_all_jobs_of_an_ended_run_have_one_rendering() -> None:
    run = other(S.DONE)
    for verdict in JOB_VERDICTS:
        alone = to_json(task_object(a_job(verdict), run, BASE, NOW))
        assert task_body(a_job(verdict), run, BASE, NOW + 9) == alone


# --- while the answer is awaited -----------------------------------------------------------------


def test_a_task_is_processing_from_when_its_request_has_left() -> None:
    run = a_run(S.SUBMITTING)
    assert shown(run)["status"] == task_row(a_job(), run, NOW)["status"] == "pending"
    begun = replace(run, accepted_at=NOW)
    seen = []
    for seconds in (-5, 0, 1, 10, 30, 59, 60, 61, 300, 1e6):
        task, row = shown(begun, now=NOW + seconds), task_row(a_job(), begun, NOW + seconds)
        assert task["status"] == row["status"] == "processing"
        assert task["progress"] == row["progress"]
        assert task["task_info"]["can_cancel"] is False
        seen.append((task["progress"], -task["task_info"]["estimated_time"]))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == ((1, -60), (95, -1))
