"""What is remembered of the way a run and an order went, so that it can be explained later.

A step is a row that the ledger writes in the transaction of the event itself; polls that only
found the task going on leave none. A refusal costs nothing and changes nothing: it is written
down after the fact, in batches, and only the newest are kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.core.model import Run, RunState
from gateway.core.money.usd import show_usd
from gateway.core.runs.events import (
    Begun,
    CredentialsRefused,
    Delivered,
    Event,
    Finished,
    FoundPaid,
    Freed,
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

MOST_STEPS: Final = 50
"""What a person may still read; the end of a run is written down beyond it."""

STEPS_AT_ITS_END: Final = 4
"""Room that is left for what ends a run, however long the story before was."""

ATTEMPTS_TOLD: Final = 8
"""The first submits are told one by one, of the further ones the 16th, the 32nd and so on."""

DETAIL_CHARACTERS: Final = 120
"""What is said in a few words of our own; upstream's words come behind it."""

WORDS_CHARACTERS: Final = 200

STARTED: Final = "Started"
"""The first step of every run; all others are named like their event."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event in the life of a run.

    `event` is the event's name as in the lifecycle's table, `before` and `after` are states
    (`before` is empty for the first), `route` is the one that it is on afterwards, `detail` says
    in a few words what there is to say (a status, a reason, a number of pictures). Steps are
    numbered from 1 without a gap; the ledger gives a new one, which has 0, the next number.
    """

    run_id: str
    number: int
    at: float
    event: str
    before: str
    after: str
    route: str
    detail: str = ""


OUR_DETAILS: Final = frozenset(
    {
        STARTED,
        "Begun",
        "Retry",
        "Finished",
        "Delivered",
        "PicturesKept",
        "Freed",
        "FoundPaid",
    }
)
"""The events whose details are ours alone; those of all others may hold upstream's words."""

FAILED: Final = "failed"
"""The verdict on an order that was admitted and whose submit came to nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order whose request was answered with an error, or would have been but for shadow mode.

    `request_id` is what the request was called, by its client or by us: its answer carried it as
    `X-Request-Id`, and many may be called alike. So `id` is one of our own. `verdict` is denied,
    invalid, or failed: then it was admitted, and upstream did not take it. `mode` is enforce or
    shadow; `rule` names the limit that decided. What was admitted has a `job_id`. `asked` is what
    was ordered (`core/orders/asked.py`), as JSON.
    """

    id: str
    at: float
    team: str
    model: str
    verdict: str
    mode: str
    reason: str
    rule: str
    message: str
    param: str | None = None
    job_id: str | None = None
    request_id: str = ""
    asked: str = "{}"


def in_turn(refusals: Iterable[Refusal]) -> list[Refusal]:
    """Each team's newest, then each team's second newest, and so on."""
    turns: Counter[str] = Counter()
    placed = []
    for one in sorted(refusals, key=lambda one: (one.at, one.id), reverse=True):
        placed.append((turns[one.team], one))
        turns[one.team] += 1
    return [one for _, one in sorted(placed, key=lambda place: place[0])]


def begun(run: Run, *, shadow: str = "") -> Step:
    """The first step of a new run; `shadow` names the rule that would have denied its order."""
    detail = f"shadow: {shadow}" if shadow else ""
    return Step(run.id, 0, run.created_at, STARTED, "", str(run.state), run.route, detail)


def note(before: Run, event: Event, after: Run, now: float) -> Step | None:
    """What is written down of this event; None for one that only repeats what is there already.

    Whatever changes the state is a step, except that of many submits in a row only some are.
    """
    if not after.is_final and _is_repeat(before, event, after):
        return None
    detail = _with_words(_words(event, after)[:DETAIL_CHARACTERS], event)
    name, was, state = type(event).__name__, str(before.state), str(after.state)
    return Step(after.id, 0, now, name, was, state, after.route, detail)


def last_number(step: Step) -> int:
    """The highest number that this step may get; a run that has more is told no further."""
    final = step.after in (RunState.DONE, RunState.FAILED)
    return MOST_STEPS if final else MOST_STEPS - STEPS_AT_ITS_END


def _is_repeat(before: Run, event: Event, after: Run) -> bool:
    moved = before.state is not after.state or before.route != after.route
    match event:
        case Progressed() | Hinted() | Finished():
            return not moved
        case Retry():
            return after.state is RunState.QUEUED or not _is_told(after.attempts)
        case Begun():
            return before.told_at is not None  # whoever ordered has had a task since the first
        case NotNow() | CredentialsRefused() if before.state is RunState.SUBMITTING:
            return not _is_told(before.attempts)
        case PicturesKept():
            return not moved and len(before.kept) == len(after.kept)
        case KeepFailed() | Unreachable():
            return not moved and before.tries > 0
        case _:
            return False


def _is_told(attempt: int) -> bool:
    return attempt <= ATTEMPTS_TOLD or attempt & (attempt - 1) == 0


def _with_words(detail: str, event: Event) -> str:
    """With the first of what upstream said about a submit, in its own words."""
    said = _plain(getattr(event, "words", ""))[:WORDS_CHARACTERS]
    return ": ".join(part for part in (detail, said) if part)


def _words(event: Event, after: Run) -> str:
    """Never a key, a link or a path: upstream's words are cut down to what they are about."""
    code = _plain(after.failure.code) if after.failure else ""
    match event:
        case Refused(status=status):
            return f"{status} {code}".strip()
        case CredentialsRefused(status=status):
            return f"{status} {code}".strip()
        case TaskFailed(code=theirs):
            return _plain(theirs)
        case KeepFailed(reason=reason):
            told = _plain(reason.partition(":")[0])  # behind it are links and our folder
            return f"{told}, {code}" if code else told
        case Retry():
            return f"attempt {after.attempts}"
        case Finished(links=links):
            return _pictures(len(links))
        case Delivered(links=links):
            return ", ".join(filter(None, (_pictures(len(links)), _bill(after))))
        case Freed(reason=reason) | FoundPaid(reason=reason):
            return _plain(reason)
        case NotNow(why=Why.MISFIT, reason=reason):
            return _plain(reason)
        case PicturesKept():
            return _pictures(len(after.kept), of=len(after.links))
        case _:
            return code or _plain(getattr(event, "reason", ""))


def _bill(run: Run) -> str:
    """What upstream billed, and by how much that is more than was held."""
    if run.billed_usd_micros is None:
        return ""
    too_much = run.over_hold_usd_micros
    more = f", {show_usd(too_much)} more than held" if too_much else ""
    return f"billed {show_usd(run.billed_usd_micros)}{more}"


def _pictures(count: int, *, of: int | None = None) -> str:
    whole = count if of is None else of
    noun = "picture" if whole == 1 else "pictures"
    return f"{count} {noun}" if count == whole else f"{count} of {whole} {noun}"


_LINK: Final = re.compile(r"\w+://\S*")
_SECRET: Final = re.compile(r"(?i)bearer\s+\S+|(?<![a-z0-9])(?:sk-|igw_)[\w-]+")


def _plain(text: str) -> str:
    return " ".join(_SECRET.sub("[redacted]", _LINK.sub("[link]", text)).split())
