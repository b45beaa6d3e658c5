"""What is found when upstream's record is held against the ledger.

How a list of tasks is compared stands in `by_task`, how counts are in `by_count`. Both keep one
rule: money goes back only where no reading of upstream's record has room for the run, and is
taken for spent only where none can do without it. Everything else stays as it is, and is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.reconciling.evidence import ListedTask
from gateway.core.reconciling.works import Work


class Conclusion(StrEnum):
    """Whether upstream took a doubtful run."""

    NOT_TAKEN = "not_taken"
    TAKEN = "taken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A doubtful run and what upstream's record says of it. `reason` is a clause that says why;
    `task` is the one that was its own."""

    work: Work
    conclusion: Conclusion
    reason: str
    task: ListedTask | None = None


@dataclass(frozen=True, slots=True)
class Extra:
    """What upstream has and the ledger has not: a task, or some requests of one minute.

    `may_be` are the doubtful runs that it could be; none: somebody else uses the key.
    """

    at: float
    model: str
    requests: int = 1
    task: ListedTask | None = None
    may_be: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """What the ledger has and upstream has not: a run with its task, or so many of a model."""

    model: str
    requests: int = 1
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class Different:
    """A task for which the two sides have other credits."""

    work: Work
    task: ListedTask


@dataclass(frozen=True, slots=True)
class ModelSums:
    """What both sides have of one model in all: requests, and pictures that came.

    At the ends of the time they may differ by what was under way.
    """

    model: str
    their_requests: int
    our_requests: int
    their_images: int
    our_images: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that two records that should be one do not agree on, from `since` on.

    `compared` is how many of the ledger's runs are there or ought to be. `sums` are told of counts.
    """

    since: float
    compared: int
    missing: tuple[Missing, ...] = ()
    extra: tuple[Extra, ...] = ()
    different: tuple[Different, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    sums: tuple[ModelSums, ...] = ()

    @property
    def differs(self) -> bool:
        return bool(self.missing or self.extra or self.different or self.doubts)
