"""What upstream itself has on record of a time: task by task, or only counted.

It is held against the ledger, which alone says what was ordered. An adapter reads
it; what is not understood in it is not made up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

BUCKET_SECONDS: Final = 60.0
"""How long a time is counted together."""

_DATED: Final = re.compile(r"-[0-9]{4}-[0-9]{2}-[0-9]{2}$")


@dataclass(frozen=True, slots=True)
class ListedTask:
    """One task as upstream lists it. `at` is when it was made there, `model` what upstream calls
    the model that served it, which may be another name than it was asked by. `credits` is what it
    has cost, None where the list does not say."""

    id: str
    at: float
    model: str
    is_over: bool = True
    is_failed: bool = False
    credits: float | None = None

    @property
    def is_free(self) -> bool:
        """Whether it certainly cost nothing, whoever ordered it."""
        return self.is_failed and self.credits == 0


@dataclass(frozen=True, slots=True)
class TaskList:
    """The tasks of an account, each once: all that upstream still has of those made since then."""

    tasks: tuple[ListedTask, ...]
    since: float


@dataclass(frozen=True, slots=True)
class MinuteCount:
    """What upstream counted of one model in the minute from `start` on."""

    start: float
    model: str
    requests: int
    images: int


@dataclass(frozen=True, slots=True)
class MinuteCounts:
    """The counts of all minutes since then; a minute without any has none."""

    rows: tuple[MinuteCount, ...]
    since: float


@dataclass(frozen=True, slots=True)
class NoEvidence:
    """Upstream tells nothing; `reason` is a sentence that says why, and what could mend it."""

    reason: str


Evidence = TaskList | MinuteCounts | NoEvidence


def undated(model: str) -> str:
    """The name of a model without the date of its snapshot: by either it is the same model."""
    return _DATED.sub("", model)
