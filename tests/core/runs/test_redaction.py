"""What stays of a run whose words are erased, and what does not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from core_samples import a_run

from gateway.core.model import Failure, FailureKind, Kept, Picture, RunState
from gateway.core.runs import docket
from gateway.core.runs.docket import Docket, Tokens
from gateway.core.runs.redaction import wordless

SECRET = "secret"
TASK = {
    "id": "task-1",
    "model": "m",
    "status": "completed",
    "progress": 100,
    "created": 12,
    "prompt": SECRET,
    "results": ["https://u/secret.png"],
    "result_data": [{"url": "https://u/secret.png", "revised_prompt": SECRET}],
    "error": {"code": SECRET, "message": SECRET},
    "usage": {"credits_used": 2.5},
}
REQUEST = {
    "prompt": SECRET,
    "n": 2,
    "size": "1:1",
    "quality": "low",
    "negative_prompt": SECRET,
    "image_urls": ["https://h/secret.png"],
    "metadata": {"for": SECRET},
}


def test_numbers_states_and_ids_stay_and_words_go() -> None:
    link = "https://u/secret.png"
    run = a_run(
        request=json.dumps(REQUEST),
        task=json.dumps(TASK),
        links=(link, "https://u/2"),
        kept=(Kept(link, Picture("d" * 64, "png", 9, 1, 1)),),
        failure=Failure(FailureKind.REFUSED, "bad_prompt", SECRET, 400, f'{{"error":"{SECRET}"}}'),
    )
    bare = wordless(run)
    assert SECRET not in repr(bare)
    assert json.loads(bare.request) == {"prompt": "", "n": 2, "size": "1:1", "quality": "low"}
    task = docket.read(bare.task).said
    assert task["results"] == [bare.kept[0].link]  # by which it still finds the permanent one
    assert task["result_data"] == [{"url": bare.kept[0].link, "revised_prompt": ""}]
    assert (task["id"], task["progress"], task["usage"]) == ("task-1", 100, {"credits_used": 2.5})
    assert (len(bare.links), bare.pictures, bare.shared) == (2, run.pictures, False)
    assert bare.failure is not None
    assert (bare.failure.kind, bare.failure.code) == (FailureKind.REFUSED, "bad_prompt")
    assert bare.failure.status == 400
    assert json.loads(bare.failure.body or "")["error"]["code"] == "bad_prompt"
    assert (bare.id, bare.spent, bare.hold) == (run.id, run.spent, run.hold)
    assert wordless(bare) == bare


def test_of_a_docket_the_counts_stay() -> None:
    told = Docket("openai", at_work=True, tokens=Tokens(1, 2, 3), request_id="req_1", said=TASK)
    former, now = a_run(task=json.dumps(TASK)), a_run(task=docket.written(told))
    bare = docket.read(wordless(now).task)
    assert bare == replace(told, said=docket.read(wordless(former).task).said)
    assert SECRET not in wordless(now).task and SECRET in now.task
    assert wordless(wordless(now)) == wordless(now)


@pytest.mark.parametrize("code", ["No SECRET please", "a secret", "SECRET", "", "x" * 65])
def test_a_code_that_is_none_goes(code: str) -> None:
    failure = Failure(FailureKind.TASK_FAILED, code, "m")
    bare = wordless(a_run(state=RunState.FAILED, failure=failure)).failure
    assert bare is not None
    assert (bare.code, bare.body) == ("erased", None)


@pytest.mark.parametrize("document", ["", "null", "[]", "{", '"secret"'])
def test_what_is_no_object_is_emptied(document: str) -> None:
    bare = wordless(a_run(request=document, task=document))
    assert (bare.request, bare.task) == ("{}", "{}")
