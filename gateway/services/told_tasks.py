"""Tasks that are done and were told lately: told again while the ledger is away, and for a second
without asking it.

What is done changes no more, but for an erasure: that raises the epoch of stored answers, and then
nothing is remembered from before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.core.model import RunState, Task
from gateway.process.lately import Lately

MOST: Final = 1_000
"""Of some kilobytes each."""


class ToldTasks:
    def __init__(self, epoch: Callable[[], int]) -> None:
        """`epoch` is that up to which stored answers are right."""
        self.epoch = epoch
        self._since = epoch()
        self._told: OrderedDict[str, Task] = OrderedDict()
        self._lately = Lately[str, Task]()

    def tell(self, task: Task, *, since: int) -> None:
        """It is told as the ledger had it in this epoch or later."""
        self._forget_former()
        if task.run.state is RunState.DONE and since == self._since:
            self._told[task.job.id] = task
            self._told.move_to_end(task.job.id)
            if len(self._told) > MOST:
                self._told.popitem(last=False)
            self._lately.note(task.job.id, task, changes=self._lately.changes)

    def just_found(self, task_id: str) -> Task | None:
        """Where the ledger was asked within the last second."""
        self._forget_former()
        return self._lately.found(task_id)

    def found(self, task_id: str) -> Task | None:
        self._forget_former()
        return self._told.get(task_id)

    def _forget_former(self) -> None:
        if (now := self.epoch()) != self._since:
            self._since = now
            self._told.clear()
            self._lately.clear()
