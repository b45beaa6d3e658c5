"""What an answer means: the one table, row by row.

`code` is read first, then `param`, then the status: `type` does not tell kinds of errors apart.
Only where it is certain that no picture was begun may the order go to another route; what may have
been made is never sent again. What is refused for its content is refused for good, wherever it may
go.

| the answer | means |
| --- | --- |
| 2xx with pictures | delivered, whatever else it says |
| a refusal for content, at any status from 400, but for Azure's block | its refusal of the order |
| the same, which says that the pictures were made before, or comes after `SLOW_SECONDS` and does
  not say that the prompt was refused | failed, and it may be charged |
| a quota code, also with 429; a model that is gone; Azure's block; 401 to 404 | we are down |
| a code of a lost answer (`was_lost`), but with 429 | unknown |
| 429, a code of a crowd | not now, for any order |
| other 4xx with a code or `param` of a field; 413, 415, 422 | it does not fit |
| other 4xx, but 408, 409, 499 | its refusal of the order |
| 500, 503 with a readable error that tells of a lost answer, or has the number of one | unknown |
| other 500, 503 with a readable error within `SLOW_SECONDS` | not now |
| the same after that, also of a crowd | failed at the provider, and it may be charged |
| 2xx with an error | as it would be with the status that its words stand for; but what is not about
  content, and comes after `SLOW_SECONDS`, failed at the provider, and it may be charged; what comes
  sooner, and would be sent again or elsewhere, is unknown: somebody has said 200 to it |
| 2xx with neither; 3xx; 408, 409, 499; other 5xx; a page with 5xx | unknown |

A page or an empty body with 4xx goes by its status: whoever says so has passed nothing on.
That we are down is not read in a prompt that is repeated: one's words would close a route to all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import orjson

from gateway.adapters.openai_images.fault_codes import (
    ABOUT_A_FIELD,
    ABOUT_CONTENT,
    BLOCKED,
    CONTENT_KIND,
    CONTENT_WORDS,
    CROWD_WORDS,
    CROWDED,
    INPUT_STAGE,
    MODEL_GONE,
    OUR_BALANCE,
    OUR_KEY,
    OUTPUT_STAGE,
    OUTPUT_WORDS,
    SERVER,
    STAGE_BY_CODE,
)
from gateway.adapters.openai_images.kind import NAME
from gateway.adapters.outbound.lost import LOST_BEHIND_IT, was_lost
from gateway.adapters.outbound.said import (
    VendorAnswer,
    VendorProblem,
    any_error,
    code_of,
    error_object,
    without,
    words,
)
from gateway.core.runs.docket import Docket, written
from gateway.core.runs.events import (
    AnswerLost,
    CredentialsRefused,
    NotNow,
    Refused,
    SubmitEvent,
    TaskFailed,
    Why,
)
from gateway.core.runs.failures import BLOCKED as CONTENT_CODES

SLOW_SECONDS: Final = 5.0
"""A failure that takes longer has had time for work that may be charged."""

UNANSWERED: Final = frozenset({408, 409, 499})
OPEN: Final = UNANSWERED | frozenset(range(501, 600)) - {503}
"""What has these statuses, or passes one of them on as its code, may have been made."""

DOWN: Final = frozenset({401, 402, 403, 404})
MISFIT: Final = frozenset({413, 415, 422})

MAX_CODE: Final = 64


class Meant(Enum):
    CONTENT = "its refusal of the order"
    CONTENT_LATE = "its refusal, after the pictures were made"
    DOWN = "it does not serve us"
    PASSING = "not now, for any order"
    MISFIT = "it does not fit"
    REFUSED = "its refusal of the order, for another reason"
    BROKEN = "it failed"
    UNKNOWN = "it may have been made"


_GOES_ON: Final = frozenset({Meant.DOWN, Meant.PASSING, Meant.MISFIT, Meant.BROKEN})
"""It may be sent again, or to another route."""
_FREE: Final = _GOES_ON | {Meant.REFUSED}


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer without pictures; `is_slow`: upstream has had time for work before it."""

    answer: VendorAnswer
    is_slow: bool
    prompt: str = ""


def request_id(headers: Mapping[str, str]) -> str:
    """The vendor's own name for the call."""
    return headers.get("x-request-id") or headers.get("apim-request-id") or ""


def read_refusal(heard: Heard) -> SubmitEvent:
    """What an answer means that has no pictures."""
    answer = heard.answer
    parsed = answer.json_object()
    problem = _problem(parsed)
    own = without(problem.message, heard.prompt) if problem else ""
    status, is_taken = answer.status, 200 <= answer.status < 300
    if is_taken:
        status = 0 if problem is None else _stands_for(problem, own)
    meant = _meant(status, problem, parsed, own)
    if meant is Meant.CONTENT and heard.is_slow and _stage(parsed, problem) != INPUT_STAGE:
        meant = Meant.CONTENT_LATE
    elif heard.is_slow and (is_taken or answer.status >= 500) and meant in _FREE:
        meant = Meant.BROKEN  # it was taken, and worked on for as long
    elif is_taken and not heard.is_slow and meant in _GOES_ON:
        meant = Meant.UNKNOWN  # somebody has said 200 to it: that it was not taken is not certain
    return _event(meant, _Telling(heard, parsed, problem, status or answer.status))


# --- what it means -------------------------------------------------------------------------------


def _meant(
    status: int, problem: VendorProblem | None, parsed: Mapping[str, Any] | None, own: str
) -> Meant:
    """`own` is its message without the prompt."""
    if status < 400 or status in UNANSWERED:
        return Meant.UNKNOWN
    if problem is None:
        return _by_status(status)
    code, kind = code_of(problem.code), code_of(problem.kind)
    if BLOCKED.search(own):
        return Meant.DOWN
    if _is_about_content(problem, own):
        late = _stage(parsed, problem) == OUTPUT_STAGE or OUTPUT_WORDS.search(problem.message)
        return Meant.CONTENT_LATE if late else Meant.CONTENT
    if status >= 500:
        return _broken(status, problem)
    if status != 429 and LOST_BEHIND_IT.search(code):
        return Meant.UNKNOWN
    if {code, kind} & OUR_BALANCE:
        return Meant.DOWN
    if status == 429 or code in CROWDED:
        return Meant.PASSING
    if status in DOWN or code in OUR_KEY or _is_about_the_model(problem, own):
        return Meant.DOWN
    is_field = bool(ABOUT_A_FIELD.match(code)) or problem.param is not None
    return Meant.MISFIT if is_field or status in MISFIT else Meant.REFUSED


def _by_status(status: int) -> Meant:
    """For an answer that says nothing readable."""
    if status == 429:
        return Meant.PASSING
    if status >= 500:
        return Meant.UNKNOWN
    if status in DOWN:
        return Meant.DOWN
    return Meant.MISFIT if status in MISFIT else Meant.REFUSED


def _broken(status: int, problem: VendorProblem) -> Meant:
    """For a readable error; its number may be the status that was heard from further on."""
    if was_lost(problem) or {status, problem.number} & OPEN:
        return Meant.UNKNOWN
    is_crowd = status == 503 or code_of(problem.code) in CROWDED
    return Meant.PASSING if is_crowd else Meant.BROKEN


def _is_about_content(problem: VendorProblem, own: str) -> bool:
    code = code_of(problem.code)
    if code in ABOUT_CONTENT:
        return True
    told_apart = bool(problem.code) and problem.number is None
    by_words = not told_apart or code == CONTENT_KIND
    about = bool(CONTENT_WORDS.search(problem.message))
    of_no_field = code_of(problem.kind) == CONTENT_KIND and problem.param is None
    return by_words and (about or (of_no_field and not MODEL_GONE.search(own)))


def _is_about_the_model(problem: VendorProblem, own: str) -> bool:
    return problem.param == "model" or (problem.param is None and bool(MODEL_GONE.search(own)))


def _stage(parsed: Mapping[str, Any] | None, problem: VendorProblem | None) -> str:
    """Where it was refused, as far as that is told."""
    error = parsed.get("error") if parsed else None
    details = error.get("moderation_details") if isinstance(error, dict) else None
    stage = details.get("moderation_stage") if isinstance(details, dict) else None
    if isinstance(stage, str):
        return stage
    return STAGE_BY_CODE.get(code_of(problem.code), "") if problem else ""


def _stands_for(problem: VendorProblem, own: str) -> int:
    """The status that an error in a 200 would have had; 0 where it says nothing known."""
    if problem.number is not None:
        return problem.number if 400 <= problem.number < 600 else 0
    code, kind = code_of(problem.code), code_of(problem.kind)
    if _is_about_content(problem, own):
        return 400
    if {code, kind} & OUR_BALANCE:
        return 429
    if code in OUR_KEY or _is_about_the_model(problem, own):
        return 403
    if {code, kind} & CROWDED or CROWD_WORDS.search(problem.message):
        return 429
    if {code, kind} & SERVER:
        return 500
    return 400 if ABOUT_A_FIELD.match(code) else 0


def _problem(parsed: Mapping[str, Any] | None) -> VendorProblem | None:
    """The error, also as other servers write it: `{"detail": "…"}`, or a list of details."""
    found = any_error(parsed)
    if found is not None or not parsed:
        return found
    detail = parsed.get("detail")
    if isinstance(detail, list):
        told = [one.get("msg") for one in detail if isinstance(one, dict)]
        detail = "; ".join(one for one in told if isinstance(one, str))
    if not isinstance(detail, str) or not detail:
        return None
    return VendorProblem("", detail, None)


# --- what follows --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Telling:
    """What an event is made of; `status` is the one that the answer stands for."""

    heard: Heard
    parsed: Mapping[str, Any] | None
    problem: VendorProblem | None
    status: int

    @property
    def code(self) -> str:
        code = self.problem.code if self.problem and not self.problem.bare else ""
        return code if code_of(code) and len(code) <= MAX_CODE else ""

    @property
    def reason(self) -> str:
        return f"HTTP {self.heard.answer.status} {self.code}".strip()

    @property
    def words(self) -> str:
        return words(self.heard.answer, self.problem, self.heard.prompt)


def _event(meant: Meant, told: _Telling) -> SubmitEvent:
    wait = told.heard.answer.retry_after_seconds()
    match meant:
        case Meant.REFUSED:
            return _refused(told, told.code or "invalid_request")
        case Meant.CONTENT:
            return _refused(told, _of_content(told))
        case Meant.CONTENT_LATE:
            return _failed(told, _of_content(told), is_providers=False)
        case Meant.DOWN:
            return CredentialsRefused(told.status, told.code, told.words)
        case Meant.PASSING:
            return NotNow(told.reason, wait, Why.PASSING, words=told.words)
        case Meant.MISFIT:
            return NotNow(_misfit(told), wait, Why.MISFIT, its_own=True, words=told.words)
        case Meant.BROKEN if not told.heard.is_slow:
            return NotNow(told.reason, wait, Why.DECLINED, words=told.words)
        case Meant.BROKEN:
            return _failed(told, told.code or "server_error", is_providers=True)
        case Meant.UNKNOWN:
            what = "" if told.problem else " without a readable answer"
            return AnswerLost(f"{told.reason}{what}", told.words, heard=True)


def _misfit(told: _Telling) -> str:
    param = told.problem.param if told.problem else None
    return f"{told.reason}: {param}" if param else told.reason


def _failed(told: _Telling, code: str, *, is_providers: bool) -> TaskFailed:
    docket = Docket(
        NAME, request_id=request_id(told.heard.answer.headers), said=dict(told.parsed or {})
    )
    message = (told.problem and told.problem.message) or "The upstream provider failed."
    return TaskFailed(written(docket), code, message, charged=True, is_providers=is_providers)


def _of_content(told: _Telling) -> str:
    """One of the codes by which everybody else knows that the content was refused."""
    return told.code if told.code in CONTENT_CODES else "moderation_blocked"


def _refused(told: _Telling, code: str) -> Refused:
    """In the shape that clients know, with upstream's own words; whatever else it said of it."""
    message = (told.problem and told.problem.message) or (
        "The upstream provider refused the request "
        f"(HTTP {told.heard.answer.status}) without a reason."
    )
    status = told.status if 400 <= told.status < 500 else 400
    error: dict[str, Any] = {
        "code": code,
        "message": message,
        "type": (told.problem and told.problem.kind) or "invalid_request_error",
        "param": told.problem.param if told.problem else None,
    }
    if error_object(told.parsed) is not None and told.parsed is not None:
        error = {**told.parsed["error"], **error}
    body = orjson.dumps({"error": error}).decode()
    return Refused(status, body, code, message, words=told.words)
