"""Where an order's words lie in its run, and the run without them.

What is left are numbers, states, ids, and the names of settings that the models' limits close: an
erased run still adds up, and says nothing any more of what was asked for or answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.core.copies import replace
from gateway.core.model import Failure, Run
from gateway.core.runs import docket

ERASED: Final = "What was said of this order was erased."

_CODE: Final = re.compile(r"[a-z0-9_.-]{1,64}")
"""What upstream calls a code and is none may be anything."""

_SETTINGS: Final = frozenset({"n", "size", "quality"})
"""All else in a request is free text, or may be: fields that we do not know are forwarded too."""

_TASK_WORDS: Final = frozenset({"id", "object", "model", "status", "type"})
"""The texts in what upstream said that name things. Any other may repeat the prompt."""


def wordless(run: Run) -> Run:
    """The run without prompt, links or anything that upstream said; it answers nobody any more.

    Doing it twice changes nothing.
    """
    links = dict.fromkeys((*run.links, *(one.link for one in run.kept)))
    marks = {link: f"erased-{number}" for number, link in enumerate(links)}
    return replace(
        run,
        shared=False,
        request=_dumped(_bare_request(_read(run.request))),
        task=_bare_task(run.task, marks),
        links=tuple(marks[link] for link in run.links),
        kept=tuple(replace(one, link=marks[one.link]) for one in run.kept),
        failure=run.failure and _bare_failure(run.failure),
    )


def is_erased(run: Run) -> bool:
    """Whether this run, which failed, was made wordless."""
    return run.failure is not None and run.failure.message == ERASED


def _read(document: str) -> dict[str, Any]:
    """What is no object tells nothing that has to stay."""
    try:
        plain = json.loads(document)
    except ValueError:
        return {}
    return plain if isinstance(plain, dict) else {}


def _dumped(plain: object) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _bare_request(request: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in request.items() if name in _SETTINGS | {"prompt"}}
    return {**kept, "prompt": ""} if "prompt" in kept else kept


def _bare_task(task: str, marks: Mapping[str, str]) -> str:
    told = docket.read(task)
    return docket.written(replace(told, said=_bare(told.said, "", marks)))


def _bare(value: Any, name: str, marks: Mapping[str, str]) -> Any:
    """Links become their marks, by which the task still finds the permanent ones."""
    if isinstance(value, str):
        return marks.get(value, value if name in _TASK_WORDS else "")
    if isinstance(value, list):
        return [_bare(one, name, marks) for one in value]
    if isinstance(value, dict):
        return {key: _bare(one, key, marks) for key, one in value.items()}
    return value


def _bare_failure(failure: Failure) -> Failure:
    """Kind, code and status stay; an answer of upstream's keeps its shape."""
    code = failure.code if _CODE.fullmatch(failure.code) else "erased"
    body = _dumped({"error": {"code": code, "message": ERASED}})
    body_or_none = None if failure.body is None else body
    return replace(failure, code=code, message=ERASED, body=body_or_none)
