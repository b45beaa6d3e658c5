"""What a team asks of its own tasks: one, many, and to be told when one has ended.

    status: find → answer
    ended: watch → find → wait → answer

Only reads: what happens to a task's run is the worker's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.catalog import Team
from gateway.core.model import Run, RunState, Task
from gateway.core.policy import Current
from gateway.errors import TaskNotFound, Unavailable
from gateway.ports.ledger import TaskReads
from gateway.process.waiters import Waiters
from gateway.services.told_tasks import ToldTasks

STAY_AWAY_SECONDS: Final = (5.0, 10.0)
"""A restart is over by then; and they do not all come at once."""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks are asked for: in these states, of this model (None: any), on this page."""

    states: Sequence[RunState] = tuple(RunState)
    model: str | None = None
    page: int = 1
    page_size: int = 20


class Tasks:
    """Anyone else's task is as unknown to a team as none at all."""

    def __init__(
        self, ledger: TaskReads, waiters: Waiters, current: Current, told: ToldTasks
    ) -> None:
        self._ledger = ledger
        self._waiters = waiters
        self._current = current
        self._told = told

    async def status(self, team: Team, task_id: str) -> Task:
        """The team's task as it is. Raises `TaskNotFound`, and `Unavailable` while the ledger is
        away and the task was not told lately."""
        found = await self._found(task_id)
        if found is None or found.job.team != team.name:
            raise TaskNotFound("The requested task could not be found.", param="task_id")
        return found

    async def _found(self, task_id: str) -> Task | None:
        if just_told := self._told.just_found(task_id):
            return just_told
        since = self._told.epoch()
        try:
            found = await self._ledger.job(task_id)
        except Unavailable:
            if (told := self._told.found(task_id)) is None:
                raise
            return told
        if found is not None:
            self._told.tell(found, since=since)
        return found

    def may_wait(self, team: str) -> bool:
        """Whether one more client of the team may wait for its task."""
        return self._waiters.takes_patient(team, self._current.policy.max_waiters)

    def come_again_seconds(self, team: str) -> float | None:
        """How long a client should stay away whose waiting was ended by our stop, or never begun;
        None for one whose time was over."""
        return None if self.may_wait(team) else random.uniform(*STAY_AWAY_SECONDS)

    async def ended(self, task: Task, timeout_seconds: float) -> Task:
        """The task once it has ended, or as it is when the time is over.

        While no more clients of its team may wait, it is told as it is at once.
        """
        team = task.job.team
        if task.run.is_final or not self.may_wait(team):
            return task
        with self._waiters.watching(task.run.id, patient=team) as watch:
            task = await self._ledger.job(task.job.id) or task  # what happened before we watched
            if task.run.is_final:
                return task
            run = await watch.until(_is_final, timeout_seconds)
        return Task(task.job, run) if run else await self._ledger.job(task.job.id) or task

    async def page(self, team: Team, filters: TaskFilter) -> tuple[Sequence[Task], int]:
        """One page of the team's tasks, newest first, and how many there are on all pages."""
        return await self._ledger.tasks(
            team.name,
            states=filters.states,
            page=filters.page,
            page_size=filters.page_size,
            model=filters.model,
        )

    async def batch(self, team: Team, task_ids: Sequence[str]) -> Sequence[Task]:
        """Those of these tasks that are the team's, in the order asked."""
        return await self._ledger.jobs(team.name, task_ids)


def _is_final(run: Run) -> bool:
    return run.is_final
