"""The docket: what an upstream has told of a run's work so far, in our own words.

It is what `Run.task` holds as JSON. An adapter writes it; whoever shows a run reads it, and never
the vendor's own words but as an extra of that kind. Rows of former versions hold EvoLink's task
object itself, which is read as what it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

FORMER: Final = "evolink"
"""The only kind there was when a run's task was the vendor's own JSON."""

DONE: Final = 100
"""Percent."""

_MEMBERS: Final = {"docket", "at_work", "progress", "tokens", "request_id", "said"}
"""Of a docket as it is written: no vendor's task object has just these."""

_AT_WORK: Final = ("processing", "running", "in_progress", "completed")
"""What EvoLink calls a task that it has begun."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the work came to, as the vendor counted it; `told` is its own sum, where it has one."""

    text_in: int
    image_in: int
    image_out: int
    text_out: int = 0
    told: int | None = None

    @property
    def total(self) -> int:
        counted = self.text_in + self.image_in + self.image_out + self.text_out
        return counted if self.told is None else self.told


@dataclass(frozen=True, slots=True)
class Docket:
    """`kind` is whose it is. `at_work`: upstream has begun; `progress` is in percent. `request_id`
    is the vendor's own name for the call, for its support. `said` is its JSON."""

    kind: str
    at_work: bool = False
    progress: int = 0
    tokens: Tokens | None = None
    request_id: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)


NOTHING: Final = Docket(FORMER)
"""Of a run of which no upstream has said anything yet."""


_encoded: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def written(docket: Docket) -> str:
    """As a run holds it."""
    if docket == NOTHING:
        return "{}"
    plain = {
        "docket": docket.kind,
        "at_work": docket.at_work,
        "progress": docket.progress,
        "tokens": None if docket.tokens is None else asdict(docket.tokens),
        "request_id": docket.request_id,
        "said": docket.said,
    }
    return _encoded(plain)


def read(text: str) -> Docket:
    """What a run holds; what is no JSON object tells nothing."""
    try:
        plain = json.loads(text)
    except ValueError:
        return NOTHING
    if not isinstance(plain, dict) or not plain:
        return NOTHING
    if plain.keys() != _MEMBERS:
        return of_task(plain)
    tokens = plain["tokens"]
    return Docket(
        kind=plain["docket"],
        at_work=plain["at_work"],
        progress=plain["progress"],
        tokens=None if tokens is None else Tokens(**tokens),
        request_id=plain["request_id"],
        said=plain["said"],
    )


# --- rows of former versions ---------------------------------------------------------------------


def of_task(task: Mapping[str, Any]) -> Docket:
    """EvoLink's task object as a docket.

    Its adapter writes new ones by this too: so a row says the same whoever wrote it.
    """
    progress = task.get("progress")
    return Docket(
        FORMER,
        at_work=task.get("status") in _AT_WORK,
        progress=min(max(progress, 0), DONE) if type(progress) is int else 0,
        tokens=_tokens(task.get("usage")),
        said=task,
    )


def _tokens(usage: object) -> Tokens | None:
    """None unless all are counted; a sum may be missing."""
    counts = usage if isinstance(usage, dict) else {}
    text, image, made = (
        _count(counts.get(name))
        for name in ("text_input_tokens", "image_input_tokens", "image_output_tokens")
    )
    if text is None or image is None or made is None:
        return None
    return Tokens(text, image, made, told=_count(counts.get("total_tokens")))


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
