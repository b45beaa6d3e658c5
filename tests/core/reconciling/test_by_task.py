"""A list of tasks beside the ledger: no paid money goes back, and no stranger's task comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from core_samples import NOW, STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.reconciling.by_task import compare_tasks
from gateway.core.reconciling.evidence import ListedTask, TaskList
from gateway.core.reconciling.findings import Comparison, Conclusion
from gateway.core.reconciling.works import CLOCKS_SECONDS, Sureness, Work

HOUR = 3600.0
SERVED = {"a": "a", "b": "b-beta"}
FIRST = Work("run_first", "blue", "a", Sureness.TAKEN, NOW, NOW + 30, "task-first", 0.9)
FIRST_TASK = ListedTask("task-first", NOW + 1, "a", credits=0.9)


def doubtful(name: str, began: float, *, model: str = "a", seconds: float = 25.0) -> Work:
    run, end = f"run_{name}", began + seconds
    return Work(run, "blue", model, Sureness.DOUBTFUL, began, end, spent_usd_micros=50_000)


def task(name: str, at: float, model: str = "a", **more: object) -> ListedTask:
    return replace(ListedTask(f"task-{name}", at, model, credits=0.9), **more)  # type: ignore[arg-type]


def compared(
    works: Sequence[Work],
    *tasks: ListedTask,
    now: float = NOW + 9 * HOUR,
    since: float = NOW - HOUR,
) -> Comparison:
    listed = TaskList((FIRST_TASK, *tasks), since)
    return compare_tasks(listed, (FIRST, *works), now=now, settled_seconds=HOUR)


def concluded(found: Comparison) -> list[Conclusion]:
    return [one.conclusion for one in found.doubts]


LOST = doubtful("lost", NOW + HOUR)


def test_two_records_that_agree_say_nothing() -> None:
    found = compared(())
    assert not found.differs and found.compared == 1


def test_what_upstream_has_nothing_of_was_not_taken() -> None:
    found = compared((LOST,), task("later", NOW + 2 * HOUR))
    assert concluded(found) == [Conclusion.NOT_TAKEN]
    assert [one.task and one.task.id for one in found.extra] == ["task-later"]


def test_a_task_that_can_be_nobody_elses_is_the_lost_runs() -> None:
    its = task("its", NOW + HOUR + 2)
    found = compared((LOST,), its)
    assert concluded(found) == [Conclusion.TAKEN] and found.doubts[0].task == its
    assert found.extra[0].may_be == ("run_lost",)


@pytest.mark.parametrize(
    ("works", "tasks", "reason"),
    [
        ((LOST,), (task("1", NOW + HOUR), task("2", NOW + HOUR)), "2 tasks"),
        ((LOST, doubtful("two", NOW + HOUR + 9)), (task("1", NOW + HOUR),), "another run"),
        (
            (LOST, replace(LOST, run_id="run_open", sureness=Sureness.OPEN, ended=float("inf"))),
            (task("1", NOW + HOUR),),
            "another run",
        ),
        ((LOST,), (task("1", NOW + HOUR), task("2", NOW + 5 * HOUR)), "whoever else uses the key"),
        ((replace(LOST, model="b"),), (task("1", NOW + HOUR, "odd"),), "is of model odd"),
        (
            (LOST, replace(FIRST, run_id="run_gone", task_id="task-gone", began=NOW + 3 * HOUR)),
            (),
            "lacks tasks",
        ),
    ],
)
def test_what_is_not_certain_stays_as_it_is(
    works: tuple[Work, ...], tasks: tuple[ListedTask, ...], reason: str
) -> None:
    found = compared(works, *tasks)
    assert set(concluded(found)) == {Conclusion.UNKNOWN}
    assert reason in found.doubts[0].reason


def test_silence_is_believed_only_of_what_is_old_and_within_reach() -> None:
    young = compared((LOST,), now=LOST.ended + HOUR - 1)
    assert concluded(young) == [Conclusion.UNKNOWN] and "too young" in young.doubts[0].reason
    assert concluded(compared((LOST,), now=LOST.ended + HOUR)) == [Conclusion.NOT_TAKEN]
    cut = compared((LOST,), since=LOST.began - CLOCKS_SECONDS + 1)
    assert concluded(cut) == [Conclusion.UNKNOWN]
    assert concluded(compared((LOST,), since=LOST.ended + 1)) == []


def test_a_list_without_a_task_of_ours_from_before_shows_nothing() -> None:
    others = TaskList((task("other", NOW),), NOW - HOUR)
    found = compare_tasks(others, (LOST,), now=NOW + 9 * HOUR, settled_seconds=HOUR)
    assert concluded(found) == [Conclusion.UNKNOWN]
    nothing = TaskList((), NOW - HOUR)
    found = compare_tasks(nothing, (LOST,), now=NOW + 9 * HOUR, settled_seconds=HOUR)
    assert concluded(found) == [Conclusion.UNKNOWN]


def test_a_failed_task_that_cost_nothing_hinders_nobody() -> None:
    free = task("free", NOW + HOUR, is_failed=True, credits=0.0)
    found = compared((LOST,), free)
    assert concluded(found) == [Conclusion.NOT_TAKEN] and not found.extra
    charged = replace(free, credits=0.9)
    assert concluded(compared((LOST,), charged)) == [Conclusion.TAKEN]


def test_a_model_whose_name_upstream_changes_is_known_by_what_was_seen() -> None:
    lost = replace(LOST, model="b")
    seen = replace(FIRST, run_id="run_b", model="b", task_id="task-b", began=NOW + 200)
    its = task("its", NOW + HOUR, "b-beta")
    found = compared((lost, seen), task("b", NOW + 200, "b-beta"), its)
    assert concluded(found) == [Conclusion.TAKEN] and found.doubts[0].task == its
    others = compared((lost, seen), task("b", NOW + 200, "b-beta"), task("x", NOW + HOUR, "a"))
    assert concluded(others) == [Conclusion.NOT_TAKEN]


def test_missing_and_different_are_told_of_what_is_known() -> None:
    gone = replace(FIRST, run_id="run_gone", task_id="task-gone", began=NOW + HOUR)
    dear = replace(FIRST, run_id="run_dear", task_id="task-dear", began=NOW + HOUR, credits=0.5)
    free = replace(FIRST, run_id="run_free", task_id="task-free", began=NOW + HOUR, credits=None)
    tasks = (task("dear", NOW + HOUR), task("free", NOW + HOUR))
    found = compared((gone, dear, free), *tasks)
    assert [one.work and one.work.run_id for one in found.missing] == ["run_gone"]
    assert [one.work.run_id for one in found.different] == ["run_dear"]
    assert found.compared == 4
    under_way = task("dear", NOW + HOUR, is_over=False, credits=0.0)
    assert not compared((dear,), under_way).different


def test_of_what_the_list_may_have_forgotten_nothing_is_missing() -> None:
    old = replace(FIRST, run_id="run_old", task_id="task-old", began=NOW - HOUR / 2)
    assert not compared((old,)).missing


# --- whatever happened ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Happened:
    """What really was: each run and its task, and the tasks of others."""

    works: tuple[Work, ...]
    tasks: dict[str, ListedTask]
    strangers: tuple[ListedTask, ...]


@st.composite
def histories(draw: st.DrawFn, *, strangers: int) -> Happened:
    works: list[Work] = []
    tasks: dict[str, ListedTask] = {}
    for number in range(draw(st.integers(1, 7))):
        began = NOW + HOUR + draw(st.integers(0, 900))
        model = draw(st.sampled_from(sorted(SERVED)))
        work = doubtful(str(number), began, model=model, seconds=draw(st.integers(0, 60)))
        is_doubtful = draw(st.booleans())
        if not is_doubtful or draw(st.booleans()):
            at = began + draw(st.integers(-60, 90))
            tasks[work.run_id] = task(str(number), float(at), SERVED[model])
        if not is_doubtful:
            known = f"task-{number}"
            work = replace(work, sureness=Sureness.TAKEN, task_id=known, credits=0.9)
        works.append(work)
    others = tuple(
        task(
            f"other-{number}",
            NOW + HOUR + draw(st.integers(-300, 1300)),
            draw(st.sampled_from("ab")),
        )
        for number in range(draw(st.integers(0, strangers)))
    )
    return Happened(tuple(works), tasks, others)


@STEADY
@given(histories(strangers=3))
def test_nothing_that_was_taken_is_ever_freed(history: Happened) -> None:
    found = compared(history.works, *history.tasks.values(), *history.strangers)
    for doubt in found.doubts:
        if doubt.conclusion is Conclusion.NOT_TAKEN:
            assert doubt.work.run_id not in history.tasks
    assert not found.missing
    assert len(found.doubts) == sum(one.sureness is Sureness.DOUBTFUL for one in history.works)


@STEADY
@given(histories(strangers=0))
def test_where_nobody_else_uses_the_key_a_task_is_given_to_its_own_run(history: Happened) -> None:
    for doubt in compared(history.works, *history.tasks.values()).doubts:
        if doubt.conclusion is Conclusion.TAKEN:
            assert doubt.task == history.tasks[doubt.work.run_id]


@STEADY
@given(histories(strangers=2), st.data())
def test_where_the_list_lacks_one_of_ours_nothing_is_freed(
    history: Happened, data: st.DataObject
) -> None:
    known = [one for one in history.works if one.sureness is Sureness.TAKEN]
    if not known:
        return
    gone = data.draw(st.sampled_from(known))
    left = [one for name, one in history.tasks.items() if name != gone.run_id]
    found = compared(history.works, *left, *history.strangers)
    assert gone in [one.work for one in found.missing]
    assert Conclusion.NOT_TAKEN not in concluded(found)
