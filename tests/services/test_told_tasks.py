"""What is told again while the ledger is away, and what is not."""

from __future__ import annotations

from dataclasses import replace

from core_samples import NOW, a_run

from gateway.core.model import Job, RunState, Task, Verdict
from gateway.services.told_tasks import MOST, ToldTasks


class Epoch:
    now = 3

    def __call__(self) -> int:
        return self.now


def a_task(task_id: str = "task-1", state: RunState = RunState.DONE) -> Task:
    run = replace(a_run(), state=state)
    return Task(Job(task_id, run.id, run.team, Verdict.STARTED, NOW), run)


def test_what_is_done_is_told_again() -> None:
    told, task = ToldTasks(Epoch()), a_task()
    told.tell(task, since=3)
    assert told.found("task-1") == task
    assert told.found("task-2") is None


def test_what_may_change_is_not() -> None:
    told = ToldTasks(Epoch())
    for state in set(RunState) - {RunState.DONE}:
        told.tell(a_task(state=state), since=3)
        assert told.found("task-1") is None


def test_nothing_outlives_an_erasure_elsewhere() -> None:
    epoch = Epoch()
    told, task = ToldTasks(epoch), a_task()
    told.tell(task, since=3)
    epoch.now = 4
    assert told.found("task-1") is None
    told.tell(task, since=3)  # read before it, told after
    assert told.found("task-1") is None
    told.tell(task, since=4)
    assert told.found("task-1") == task


def test_only_so_many_are_remembered() -> None:
    told = ToldTasks(Epoch())
    for number in range(MOST + 1):
        told.tell(a_task(f"task-{number}"), since=3)
    assert told.found("task-0") is None
    assert told.found(f"task-{MOST}") is not None
