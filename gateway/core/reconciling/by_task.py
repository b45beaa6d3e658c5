"""The ledger against a list of upstream's tasks: which are missing, extra or cost something else.

Tasks are known by their ids. One that no run has may be the answer that was lost, or somebody
else's: the list has neither prompts nor our keys, only times and models. So a doubtful run gets
its money back where no such task is of its time, and its task where one can be nobody else's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.instants import NEVER
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
    return _Sides(listed, works, believed_until=now - settled_seconds).compared()


class _Sides:
    """The list and the runs beside each other."""

    def __init__(self, listed: TaskList, works: Sequence[Work], *, believed_until: float) -> None:
        self._since, self._believed_until = listed.since, believed_until
        self._there = {task.id: task for task in listed.tasks}
        self._by_id = {work.task_id: work for work in works if work.task_id is not None}
        self._served = _served(self._by_id, self._there)
        waiting = [one for one in works if one.sureness in (Sureness.DOUBTFUL, Sureness.OPEN)]
        self._doubtful = [
            work
            for work in waiting
            if work.sureness is Sureness.DOUBTFUL and work.ended >= listed.since
        ]
        self._strange = [
            task for task in listed.tasks if task.id not in self._by_id and not task.is_free
        ]
        self._owners = {
            task.id: [work for work in waiting if self._may_be(work, task)]
            for task in self._strange
        }
        self._missing = tuple(
            Missing(work.model, 1, work)
            for work in self._expected()
            if work.task_id not in self._there
        )

    def compared(self) -> Comparison:
        return Comparison(
            since=self._since,
            compared=len(self._by_id.keys() & self._there.keys()) + len(self._missing),
            missing=self._missing,
            extra=tuple(
                Extra(task.at, task.model, 1, task, tuple(work.run_id for work in owners))
                for task in self._strange
                if not _is_on_its_way(owners := self._owners[task.id])
            ),
            different=tuple(
                Different(work, self._there[task_id])
                for task_id, work in self._by_id.items()
                if task_id in self._there and _is_unlike(work, self._there[task_id])
            ),
            doubts=tuple(self._conclude(work) for work in self._doubtful),
        )

    def _expected(self) -> Sequence[Work]:
        """The runs whose tasks must be in it: it may have forgotten those before its oldest."""
        oldest = min((task.at for task in self._there.values()), default=NEVER)
        begin = max(self._since, oldest) + CLOCKS_SECONDS
        return [work for work in self._by_id.values() if begin <= work.began]

    def _conclude(self, work: Work) -> Doubt:
        found = [task for task in self._strange if work in self._owners[task.id]]
        if len(found) > 1:
            return _unknown(work, f"{len(found)} tasks of its time could be its own")
        if found:
            return self._matched(work, found[0])
        if work.ended > self._believed_until:
            return _unknown(work, "it is too young for upstream's list to be believed")
        if not self._reaches(work):
            return _unknown(
                work, "upstream's list shows no task of the gateway's from before it was sent"
            )
        if self._missing:
            return _unknown(work, "upstream's list lacks tasks that the gateway has been given")
        return Doubt(work, Conclusion.NOT_TAKEN, "upstream has no task of its time")

    def _reaches(self, work: Work) -> bool:
        """Whether the list goes back to before the run, and is seen to be of the same account."""
        is_long = self._since <= work.began - CLOCKS_SECONDS
        ours = (task.at for task in self._there.values() if task.id in self._by_id)
        return is_long and min(ours, default=NEVER) <= work.began

    def _matched(self, work: Work, task: ListedTask) -> Doubt:
        """Only a task that can be nobody else's is taken for the run's: its pictures would be."""
        if len(self._owners[task.id]) > 1:
            return _unknown(work, f"task {task.id} could also be that of another run")
        if not all(self._owners.values()):
            reason = f"task {task.id} could be its own, or of whoever else uses the key"
            return _unknown(work, reason)
        if task.model not in {work.model, *self._served.get(work.model, ())}:
            return _unknown(work, f"task {task.id} could be its own, but is of model {task.model}")
        return Doubt(work, Conclusion.TAKEN, f"task {task.id} is of its time and model", task)

    def _may_be(self, work: Work, task: ListedTask) -> bool:
        """Whether the task can be the run's. By which name it goes is only known once it was
        seen."""
        names = self._served.get(work.model)
        if names is not None and task.model not in {work.model, *names}:
            return False
        return work.began - CLOCKS_SECONDS <= task.at <= work.ended + CLOCKS_SECONDS


def _is_on_its_way(owners: Sequence[Work]) -> bool:
    return any(work.sureness is Sureness.OPEN for work in owners)


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


def _is_unlike(work: Work, task: ListedTask) -> bool:
    if work.credits is None or task.credits is None or not task.is_over:
        return False
    return abs(work.credits - task.credits) > SAME_CREDITS
