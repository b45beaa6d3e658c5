"""The soak finds what it looks for: growth, drift, an order that went out twice.

A short one, with all that a long one has, finds nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.soak.books import Billed, Recorded, differences
from benchmarks.soak.promises import Done, Promises
from benchmarks.soak.readings import MIB, Reading, bounds, read, trends

MICROS_PER_CREDIT = 10_000
ROOT = Path(__file__).parent.parent

# --- what grows ----------------------------------------------------------------------------------


def reading(second: int) -> Reading:
    """Of a gateway that serves 100 requests and 20 orders a second, and is as large as ever."""
    return Reading(
        at=float(second),
        requests=100 * second,
        orders=20 * second,
        memory_bytes=100 * MIB,
        descriptors=80,
        threads=20,
        processor_seconds=0.2 * second,
        ledger_bytes=64 * MIB + 80_000 * second,
        wal_bytes=4 * MIB,
        cache_bytes=2 * MIB,
    )


STEADY = [reading(second) for second in range(200)]


def not_flat(readings: list[Reading]) -> set[str]:
    return {one.name for one in trends(readings) if not one.is_flat}


def test_what_stays_as_it_is_is_flat() -> None:
    assert not_flat(STEADY) == set()
    assert len(trends(STEADY)) == 5


@pytest.mark.parametrize(
    ("name", "grown"),
    [
        ("memory", lambda one, s: replace(one, memory_bytes=one.memory_bytes + s * MIB // 5)),
        ("descriptors", lambda one, s: replace(one, descriptors=one.descriptors + s)),
        ("threads", lambda one, s: replace(one, threads=one.threads + s // 5)),
        ("processor, a request", lambda one, s: replace(one, processor_seconds=0.002 * s * s)),
        ("ledger, an order", lambda one, s: replace(one, ledger_bytes=MIB * (64 + s * s // 20))),
    ],
)
def test_what_grows_is_found(name: str, grown: Callable[[Reading, int], Reading]) -> None:
    assert not_flat([grown(one, second) for second, one in enumerate(STEADY)]) == {name}


def test_memory_that_comes_and_goes_is_flat() -> None:
    waves = [replace(one, memory_bytes=(100 + n % 7) * MIB) for n, one in enumerate(STEADY)]
    assert not_flat(waves) == set()


def test_page_caches_that_fill_are_no_leak_and_full_ones_excuse_none() -> None:
    def growing(first_mib: int) -> list[Reading]:
        return [
            replace(
                one,
                memory_bytes=(100 * MIB + n * MIB // 5),
                ledger_bytes=(first_mib + n // 10) * MIB,
            )
            for n, one in enumerate(STEADY)
        ]

    assert not_flat(growing(0)) == set()
    assert not_flat(growing(40)) == {"memory"}


def test_a_handful_of_requests_tells_nothing_of_their_cost() -> None:
    few = [replace(one, requests=one.requests // 50) for one in STEADY]
    assert {one.name for one in trends(few)} == {"memory", "descriptors", "threads"}


def test_too_short_to_tell() -> None:
    with pytest.raises(ValueError, match="longer"):
        trends(STEADY[:4])


def test_bounds_look_at_the_largest() -> None:
    once = [*STEADY, replace(STEADY[-1], wal_bytes=99 * MIB)]
    held = {one.name: one.holds for one in bounds(once, wal_bytes=68 * MIB, cache_bytes=8 * MIB)}
    assert held == {"write-ahead log": False, "response cache": True}


def test_nothing_is_read_of_a_process_that_has_ended(tmp_path: Path) -> None:
    assert read(0, tmp_path, requests=0, orders=0) is None


# --- money ---------------------------------------------------------------------------------------

TASK = Billed("task-1", "a bicycle", 0.53)
RUN = Recorded(
    "run-1",
    "a bicycle",
    "task-1",
    "done",
    "",
    spent_micros=5_300,
    held_micros=0,
    most_micros=360_000,
)
FREE = replace(TASK, credits=0)
FAILED = replace(RUN, state="failed")
LOST = replace(RUN, task=None, state="failed", why="outcome_unknown", spent_micros=RUN.most_micros)


def told(runs: list[Recorded], tasks: list[Billed]) -> str:
    return "\n".join(differences(runs, tasks, micros_per_credit=MICROS_PER_CREDIT))


@pytest.mark.parametrize(
    ("runs", "tasks"),
    [
        ([RUN], [TASK]),
        ([replace(RUN, prompt="")], [TASK]),  # erased
        ([LOST], [TASK]),  # it was taken all the same
        ([LOST], []),  # it never went out
        ([replace(FAILED, why="task_failed", spent_micros=0)], [FREE]),
        ([replace(FAILED, why="timed_out", spent_micros=360_000)], [FREE]),
        ([replace(RUN, spent_micros=360_000)], [replace(TASK, credits=99)]),  # never above the hold
        ([replace(RUN, task=None, state="failed", why="refused", spent_micros=0)], []),
    ],
)  # fmt: skip
def test_books_that_agree(runs: list[Recorded], tasks: list[Billed]) -> None:
    assert told(runs, tasks) == ""


@pytest.mark.parametrize(
    ("runs", "tasks", "said"),
    [
        ([replace(RUN, spent_micros=5_301)], [TASK], "has spent 5301 micro-dollars, not 5300"),
        ([RUN], [], "upstream knows nothing of its task task-1"),
        ([], [TASK], "task-1 is no run's"),
        ([RUN], [TASK, replace(TASK, id="task-2")], "task-2 is no run's"),
        ([LOST], [TASK, replace(TASK, id="task-2")], "task-2 is no run's"),
        ([replace(LOST, spent_micros=0)], [TASK], "not 360000"),
        ([RUN, replace(RUN, id="run-2")], [TASK], "2 runs say that task-1 is theirs"),
        ([replace(RUN, state="running")], [TASK], "has not ended: running"),
        ([replace(RUN, held_micros=1)], [TASK], "holds 1 micro-dollars"),
        ([replace(FAILED, why="task_failed")], [FREE], "has spent 5300 micro-dollars, not 0"),
    ],
)
def test_books_that_differ(runs: list[Recorded], tasks: list[Billed], said: str) -> None:
    assert said in told(runs, tasks)


# --- promises ------------------------------------------------------------------------------------


def test_a_picture_that_was_shown_is_expected_until_it_is_erased() -> None:
    one = Promises()
    first, second = (f"{digit * 64}.png" for digit in "ab")
    text = f'{{"results":["http://127.0.0.1:1/pictures/{first}","/pictures/{second}"]}}'
    assert one.show(text) == (first, second)
    one.finish(Done({}, "task-1", (first,)))
    one.finish(Done({}, "task-2", (second,)))
    one.erase((first,))
    assert one.expected_pictures == [second]
    assert [each.task for each in one.finished] == ["task-2"]
    one.finish(Done({}, "task-3", (first,)))
    assert [each.task for each in one.finished] == ["task-2"]


# --- the whole -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(
    "IMAGE_GATEWAY_TEST_SOAK" not in os.environ, reason="CI has two minutes of `make soak` for it"
)
@pytest.mark.timeout(300)
def test_a_short_soak_finds_nothing(tmp_path: Path) -> None:
    command = "-m", "benchmarks.soak", "--minutes", "0.3", "--clients", "8", "--json"
    done = subprocess.run(
        [sys.executable, *command, "--keep", str(tmp_path / "soak")],
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["failed"] == []
    assert told["orders"] and told["pictures"]
    assert {"SIGKILL", "SIGTERM"} & told["seen"].keys()
    assert {"200", "304", "400", "401"} <= told["statuses"].keys()
