"""The ledger against a list of upstream's tasks: which are missing, extra or cost something else.

Tasks are known by their ids. One that no run has may be the answer that was lost, or somebody
else's: the list has neither prompts nor our keys, only times and models. So a doubtful run gets
its money back where no such task is of its time, and its task where one can be nobody else's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.reconciling.evidence import ListedTask, TaskList
from gateway.core.reconciling.findings import (
    Comparison,
    Conclusion,
    Different,
    Doubt,
    Extra,
    Missing,
)
from gateway.core.reconciling.works import CLOCKS_SECONDS, Sureness, Work

SAME_CREDITS: Final = 0.0001
"""Upstream rounds them to so much."""


def compare_tasks(
    listed: TaskList, works: Sequence[Work], *, now: float, settled_seconds: float
) -> Comparison:
    """`works` are the ledger's runs of the list's time and somewhat before, read after the list.

    `settled_seconds`: how long after a loss the list is believed to be complete.
    """
    by_id = {work.task_id: work for work in works if work.task_id is not None}
    there = {task.id: task for task in listed.tasks}
    strange = [task for task in listed.tasks if task.id not in by_id and not task.is_free]
    served = _served(by_id, there)
    waiting = [one for one in works if one.sureness in (Sureness.DOUBTFUL, Sureness.OPEN)]
    owners = {
        task.id: [work for work in waiting if _may_be(work, task, served)] for task in strange
    }
    looks = _Looks(listed, there, by_id, now=now, settled_seconds=settled_seconds)
    missing = looks.missing()
    has_strangers = any(not found for found in owners.values())
    doubts = tuple(
        _conclude(work, strange, owners, served, looks, unsafe=bool(missing), shared=has_strangers)
        for work in waiting
        if work.sureness is Sureness.DOUBTFUL and work.ended >= listed.since
    )
    return Comparison(
        since=listed.since,
        compared=len(looks.expected()),
        missing=missing,
        extra=tuple(
            Extra(task.at, task.model, 1, task, tuple(work.run_id for work in owners[task.id]))
            for task in strange
            if not any(work.sureness is Sureness.OPEN for work in owners[task.id])
        ),
        different=tuple(
            Different(work, there[task_id])
            for task_id, work in by_id.items()
            if task_id in there and _is_unlike(work, there[task_id])
        ),
        doubts=doubts,
    )


class _Looks:
    """What the list can be believed to show."""

    def __init__(
        self,
        listed: TaskList,
        there: Mapping[str, ListedTask],
        by_id: Mapping[str, Work],
        *,
        now: float,
        settled_seconds: float,
    ) -> None:
        self._since, self._there, self._by_id = listed.since, there, by_id
        self._now, self._settled_seconds = now, settled_seconds
        self._oldest = min((task.at for task in listed.tasks), default=now)
        ours = [task.at for task in listed.tasks if task.id in by_id]
        self._oldest_of_ours = min(ours, default=now)

    def expected(self) -> Sequence[Work]:
        """The runs whose tasks must be in it: it may have forgotten those before its oldest."""
        begin = max(self._since, self._oldest) + CLOCKS_SECONDS
        return [work for work in self._by_id.values() if begin <= work.began]

    def missing(self) -> tuple[Missing, ...]:
        return tuple(
            Missing(work.model, 1, work)
            for work in self.expected()
            if work.task_id not in self._there
        )

    def is_settled(self, work: Work) -> bool:
        return self._now >= work.ended + self._settled_seconds

    def reaches(self, work: Work) -> bool:
        """Whether it goes back to before the run, and shows that it is of the same account."""
        begin = work.began - CLOCKS_SECONDS
        return self._since <= begin and self._oldest_of_ours <= work.began


def _conclude(
    work: Work,
    strange: Sequence[ListedTask],
    owners: Mapping[str, Sequence[Work]],
    served: Mapping[str, frozenset[str]],
    looks: _Looks,
    *,
    unsafe: bool,
    shared: bool,
) -> Doubt:
    found = [task for task in strange if work in owners[task.id]]
    if len(found) > 1:
        return _unknown(work, f"{len(found)} tasks of its time could be its own")
    if found:
        return _matched(work, found[0], owners[found[0].id], served, shared=shared)
    if not looks.is_settled(work):
        return _unknown(work, "it is too young for upstream's list to be believed")
    if not looks.reaches(work):
        return _unknown(
            work, "upstream's list shows no task of the gateway's from before it was sent"
        )
    if unsafe:
        return _unknown(work, "upstream's list lacks tasks that the gateway has been given")
    return Doubt(work, Conclusion.NOT_TAKEN, "upstream has no task of its time")


def _matched(
    work: Work,
    task: ListedTask,
    owners: Sequence[Work],
    served: Mapping[str, frozenset[str]],
    *,
    shared: bool,
) -> Doubt:
    """Only a task that can be nobody else's is taken for the run's: its pictures would be."""
    if len(owners) > 1:
        return _unknown(work, f"task {task.id} could also be that of another run")
    if shared:
        return _unknown(
            work, f"task {task.id} could be its own, or of whoever else uses the key"
        )
    if task.model not in {work.model, *served.get(work.model, ())}:
        return _unknown(work, f"task {task.id} could be its own, but is of model {task.model}")
    return Doubt(work, Conclusion.TAKEN, f"task {task.id} is of its time and model", task)


def _unknown(work: Work, reason: str) -> Doubt:
    return Doubt(work, Conclusion.UNKNOWN, reason)


def _served(
    by_id: Mapping[str, Work], there: Mapping[str, ListedTask]
) -> Mapping[str, frozenset[str]]:
    """What upstream calls the models that serve those it is asked for, as far as is seen."""
    names: dict[str, set[str]] = defaultdict(set)
    for task_id, work in by_id.items():
        if task_id in there:
            names[work.model].add(there[task_id].model)
    return {model: frozenset(seen) for model, seen in names.items()}


def _may_be(work: Work, task: ListedTask, served: Mapping[str, frozenset[str]]) -> bool:
    """Whether the task can be the run's. By whose name it goes is only known once it was seen."""
    names = served.get(work.model)
    if names is not None and task.model not in {work.model, *names}:
        return False
    return work.began - CLOCKS_SECONDS <= task.at <= work.ended + CLOCKS_SECONDS


def _is_unlike(work: Work, task: ListedTask) -> bool:
    if work.credits is None or task.credits is None or not task.is_over:
        return False
    return abs(work.credits - task.credits) > SAME_CREDITS
