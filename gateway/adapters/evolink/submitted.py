"""What the answer to a submit means: the one table, row by row.

What decides is what a status *means*, and codes that can be read; not whether a body parses. Only
where it is certain that nobody took the order may it be sent again. Whatever else may have arrived
is unknown, and is never sent again under another key or to another route.

| the answer | means |
| --- | --- |
| 2xx with a task id | accepted, whatever else it says: polls tell what became of it |
| a code that says the outcome is open, or is one of `LOST_BEHIND_IT` (but 408, 429) | unknown |
| 2xx with an `id` or `data` that cannot be read, or not now with the id of a task | unknown |
| a code that says nobody took it, at any status (`NOBODY_TOOK_IT`, the settings' own) | not now |
| 2xx with an error | as the status that the error's number, code or type stands for |
| 2xx without one, or with one that says nothing known | unknown |
| 301, 307, 308: the same request should go elsewhere | not now, for any order |
| other 3xx: the answer to it may be elsewhere | unknown |
| 401, 402; 403 of which code or `param` speaks of our key, balance or model | our key or balance |
| 403 otherwise: content, parameters, a firewall's page | its refusal of this request |
| 408, 429 | not now, for any order |
| 409 without a readable error, 499 (a proxy's word that its client left) | unknown |
| other 4xx: its refusal of this request, but for a code of our key or balance | as it says |
| 503 with a readable error, unless it tells of a lost answer (`was_lost`) | not now |
| 503 with the page of a proxy that had nobody to ask (`NOBODY_THERE`) | not now, for any order |
| 503 otherwise: some proxies say so when they lost the answer | unknown |
| 521, 522, 523, 525, 526, 530 with the CDN's own signs | not now, for any order |
| these without the signs, and all other 5xx, whatever their body | unknown |

An unknown 403 is a refusal, because otherwise one team's forbidden prompts would pass for a
refused key and close the route to all; a key that is really refused is 401 or 402.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Final

import orjson

from gateway.adapters.evolink.fault_codes import (
    ABOUT_CONTENT,
    ABOUT_PARAMETERS,
    ANSWER_WAS_LOST,
    CLIENT_LEFT,
    CROWDED,
    NEVER_ARRIVED,
    NOBODY_THERE,
    NOBODY_TOOK_IT,
    OUR_ACCOUNT,
    OUR_BALANCE,
    OUR_KEY,
    OUTCOME_OPEN,
    SAME_REQUEST_ELSEWHERE,
    STATUS_OF,
)
from gateway.adapters.outbound.lost import LOST_BEHIND_IT, was_lost
from gateway.adapters.outbound.said import VendorAnswer, VendorProblem, any_error, code_of, words
from gateway.core.runs import docket
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    NotNow,
    Refused,
    SubmitEvent,
    Why,
)

MAX_TASK_ID: Final = 256


class Meaning(StrEnum):
    REFUSED = "its refusal of this request"
    OUR_KEY = "our key or balance"
    PASSING = "not now, for any order"
    DECLINED = "not now"
    UNKNOWN = "it may have been taken"


def read_submit(
    answer: VendorAnswer, *, not_taken: Collection[str] = (), prompt: str = ""
) -> SubmitEvent:
    """What the answer to a submit means.

    `not_taken` are more codes that say that nobody took it, as `code_of` spells them; `prompt` is
    left out of what is told of upstream's words.
    """
    parsed, ok = answer.json_object(), 200 <= answer.status < 300
    if ok and parsed and _is_task_id(parsed.get("id")):
        return Accepted(parsed["id"], docket.written(docket.of_task(parsed)))
    problem = any_error(parsed)
    if ok and parsed and _may_name_a_task(parsed):
        meaning = Meaning.UNKNOWN
    else:
        meaning = _meaning(answer, problem, NOBODY_TOOK_IT.union(not_taken))
        if meaning is not Meaning.REFUSED and _names_a_task(parsed):
            meaning = Meaning.UNKNOWN
    status = _stands_for(problem) or 400 if ok else answer.status
    return _event(meaning, status, answer, problem, words(answer, problem, prompt))


def _meaning(
    answer: VendorAnswer, problem: VendorProblem | None, not_taken: Collection[str]
) -> Meaning:
    """The rows of the table from its second on."""
    code = code_of(problem.code) if problem else ""
    late = bool(LOST_BEHIND_IT.search(code)) and answer.status not in (408, 429)
    if code in OUTCOME_OPEN or late:
        return Meaning.UNKNOWN
    if code in not_taken:
        return Meaning.PASSING if code in CROWDED else Meaning.DECLINED
    if 200 <= answer.status < 300:
        status = _stands_for(problem)
        return _by_status(status, answer, problem) if status else Meaning.UNKNOWN
    return _by_status(answer.status, answer, problem)


def _by_status(status: int, answer: VendorAnswer, problem: VendorProblem | None) -> Meaning:
    if status in (408, 429):
        return Meaning.PASSING
    if status < 400:
        return Meaning.PASSING if status in SAME_REQUEST_ELSEWHERE else Meaning.UNKNOWN
    if status < 500:
        return _refused_by(status, problem)
    if status == 503:
        return _unavailable(answer, problem)
    if status in NEVER_ARRIVED and answer.status == status and _is_from_the_cdn(answer):
        return Meaning.PASSING
    return Meaning.UNKNOWN


def _refused_by(status: int, problem: VendorProblem | None) -> Meaning:
    """Whether a 4xx speaks of the request or of us."""
    if status in (401, 402):
        return Meaning.OUR_KEY
    if status == CLIENT_LEFT or (status == 409 and problem is None):
        return Meaning.UNKNOWN
    if problem and problem.param not in (None, "model"):
        return Meaning.REFUSED
    about_model = status == 403 and problem is not None and problem.param == "model"
    ours = problem is not None and _is_about_us(code_of(problem.code))
    return Meaning.OUR_KEY if ours or about_model else Meaning.REFUSED


def _unavailable(answer: VendorAnswer, problem: VendorProblem | None) -> Meaning:
    if problem and not problem.bare:
        doubtful = was_lost(problem) or problem.number not in (None, 503, 429)
        return Meaning.UNKNOWN if doubtful else Meaning.DECLINED
    said = "" if answer.json_object() is not None else answer.text()
    nobody = NOBODY_THERE.search(said) and not ANSWER_WAS_LOST.search(said)
    return Meaning.PASSING if nobody else Meaning.UNKNOWN


def _is_from_the_cdn(answer: VendorAnswer) -> bool:
    """Its two signs: a relay that copies a status copies neither."""
    server = answer.headers.get("server", "").strip().lower()
    return server == "cloudflare" and bool(answer.headers.get("cf-ray", "").strip())


def _is_about_us(code: str) -> bool:
    return code in OUR_KEY or code in OUR_BALANCE or code.startswith(OUR_ACCOUNT)


def _stands_for(problem: VendorProblem | None) -> int | None:
    """The status that an error in a 200 would have had; None where it says nothing known."""
    if problem is None:
        return None
    if problem.number is not None:
        return problem.number if 400 <= problem.number < 600 else None
    return next(filter(None, map(_status_of, (code_of(problem.code), code_of(problem.kind)))), None)


def _status_of(code: str) -> int | None:
    if code in OUR_KEY:
        return 403 if code == "model_access_denied" else 401
    if _is_about_us(code):
        return 402
    if code in STATUS_OF or code in NOBODY_TOOK_IT:
        return STATUS_OF.get(code) or (429 if code in CROWDED else 503)
    return 400 if code in ABOUT_CONTENT or code.startswith(ABOUT_PARAMETERS) else None


def _is_task_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TASK_ID


def _may_name_a_task(parsed: Mapping[str, Any]) -> bool:
    """Whether something in an answer of 2xx may be work that was begun."""
    return any(parsed.get(name) not in (None, "", [], {}) for name in ("id", "task_id", "data"))


def _names_a_task(parsed: Mapping[str, Any] | None) -> bool:
    """Whether it is told of a task, which is then there: nothing is sent again."""
    found = [parsed.get(name) for name in ("id", "task_id")] if parsed else []
    return any(isinstance(one, str) and one.startswith("task-") for one in found)


def _event(
    meaning: Meaning, status: int, answer: VendorAnswer, problem: VendorProblem | None, said: str
) -> SubmitEvent:
    code = problem.code if problem and (code_of(problem.code) != "" and not problem.bare) else ""
    reason = f"HTTP {answer.status} {code}".strip()
    match meaning:
        case Meaning.REFUSED:
            return _refusal(status, answer, problem, said)
        case Meaning.OUR_KEY:
            return CredentialsRefused(status, code, said)
        case Meaning.UNKNOWN:
            return AnswerLost(_of_unknown(answer, problem, reason), said, heard=True)
        case _:
            why = Why.PASSING if meaning is Meaning.PASSING else Why.DECLINED
            return NotNow(reason, answer.retry_after_seconds(), why, words=said)


def _of_unknown(answer: VendorAnswer, problem: VendorProblem | None, reason: str) -> str:
    if problem:
        return reason
    what = "task" if answer.status < 300 else "error"
    return f"{reason} without a readable {what}"


def _refusal(
    status: int, answer: VendorAnswer, problem: VendorProblem | None, said: str
) -> Refused:
    """Upstream's JSON as it came; what clients could not read is put into words of our own."""
    code = (problem and problem.code) or "invalid_request"
    message = (problem and problem.message) or (
        f"The upstream provider refused the request (HTTP {answer.status}) without a reason."
    )
    parsed, body = answer.json_object(), answer.body
    has_object = parsed is not None and (status == answer.status or _has_error(parsed))
    if body is None or not has_object:
        error = {"code": code, "message": message, "type": "invalid_request_error"}
        body = orjson.dumps({"error": error})
    replayed = answer.headers.get("idempotency-replayed", "").strip().lower() == "true"
    own = parsed is not None and _has_error(parsed)
    return Refused(status, body.decode(), code, message, replayed=replayed and own, words=said)


def _has_error(parsed: Mapping[str, Any]) -> bool:
    return isinstance(parsed.get("error"), dict)
