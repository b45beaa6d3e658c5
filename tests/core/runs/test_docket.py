"""What upstream has told of a run, written down and read again; and rows of former versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from core_samples import STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.runs.docket import FORMER, NOTHING, Docket, Tokens, of_task, read, written

counts = st.integers(0, 2**53)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e300, 1e300) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=9,
)
said = st.dictionaries(texts | st.sampled_from(["docket", "said", "status", "usage"]), values)
dockets = st.builds(
    Docket,
    kind=st.sampled_from([FORMER, "openai", ""]),
    at_work=st.booleans(),
    progress=st.integers(0, 100),
    tokens=st.none() | st.builds(Tokens, counts, counts, counts, counts, st.none() | counts),
    request_id=texts,
    said=said,
)


@STEADY
@given(dockets)
def test_what_is_written_is_read_again(docket: Docket) -> None:
    assert read(written(docket)) == docket
    assert isinstance(json.loads(written(docket)), dict)


@STEADY
@given(said)
def test_a_row_of_a_former_version_is_read_as_what_it_is(task: dict[str, Any]) -> None:
    told = read(json.dumps(task))
    assert (told.kind, told.request_id) == (FORMER, "")
    assert told == of_task(task) == read(written(of_task(task)))
    assert told.said == task


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}"])
def test_what_is_no_object_tells_nothing(text: str) -> None:
    assert read(text) == NOTHING
    assert written(NOTHING) == "{}"


@pytest.mark.parametrize(
    ("task", "at_work", "progress"),
    [
        ({"status": "processing", "progress": 45}, True, 45),
        ({"status": "in_progress", "progress": 450}, True, 100),
        ({"status": "completed", "progress": -3}, True, 0),
        ({"status": "queued", "progress": "45"}, False, 0),
        ({"status": ["?"], "progress": True}, False, 0),
        ({}, False, 0),
    ],
)
def test_how_far_a_task_is(task: dict[str, Any], at_work: bool, progress: int) -> None:
    told = of_task(task)
    assert (told.at_work, told.progress) == (at_work, progress)


COUNTED = {"image_input_tokens": 5, "text_input_tokens": 57, "image_output_tokens": 1120}


@pytest.mark.parametrize(
    ("usage", "tokens", "total"),
    [
        (COUNTED, Tokens(57, 5, 1120), 1182),
        ({**COUNTED, "total_tokens": 1200}, Tokens(57, 5, 1120, told=1200), 1200),
        ({**COUNTED, "total_tokens": "many"}, Tokens(57, 5, 1120), 1182),
        ({**COUNTED, "text_input_tokens": "57"}, None, 0),
        ({**COUNTED, "image_input_tokens": True}, None, 0),
        ({**COUNTED, "image_output_tokens": -1}, None, 0),
        ({"total_tokens": 1182}, None, 0),
        ([1], None, 0),
        (None, None, 0),
    ],
)
def test_tokens_are_counted_where_all_are_there(
    usage: object, tokens: Tokens | None, total: int
) -> None:
    told = of_task({"usage": usage}).tokens
    assert told == tokens
    assert told is None or told.total == total
