"""The vendor's list of tasks: every page that is needed, no row made up, none passed over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from gateway.adapters.evolink import task_list
from gateway.adapters.evolink.task_list import PAGE_SIZE, ReadPage, read_task_list
from gateway.adapters.outbound.said import VendorAnswer
from gateway.core.reconciling.evidence import ListedTask, NoEvidence, TaskList

SINCE, UNTIL = 1000.0, 9000.0


def row(number: int, at: float, **more: Any) -> dict[str, Any]:
    task = {"id": f"task-unified-{number}", "status": "completed", "model": "m", "created_at": at}
    return {**task, "type": "image", "credits_used": 0.9, **more}


def answer(rows: object, status: int = 200) -> VendorAnswer:
    return VendorAnswer(status, orjson.dumps({"data": rows, "total": 9}), {})


def pages(*found: object) -> ReadPage:
    """One after the other, then empty ones."""

    async def read(number: int) -> VendorAnswer | None:
        one = found[number - 1] if number <= len(found) else []
        return one if one is None or isinstance(one, VendorAnswer) else answer(one)

    return read


async def listed(*found: object) -> TaskList:
    told = await read_task_list(pages(*found), SINCE, UNTIL)
    assert isinstance(told, TaskList)
    return told


def numbers(tasks: Sequence[ListedTask]) -> list[str]:
    return [one.id.removeprefix("task-unified-") for one in tasks]


async def test_it_is_read_back_to_the_time_that_is_asked_for() -> None:
    told = await listed([row(3, 8000), row(2, 2000)], [row(2, 2000), row(1, 999)], [row(0, 5)])
    assert numbers(told.tasks) == ["3", "2", "1"]  # the last shows how far back it goes
    assert told.since == SINCE


async def test_a_list_that_ends_is_whole() -> None:
    told = await listed([row(2, 2000)], [])
    assert (numbers(told.tasks), told.since) == (["2"], SINCE)
    assert (await listed([])).tasks == ()


async def test_what_came_later_is_not_of_that_time() -> None:
    assert numbers((await listed([row(2, UNTIL), row(1, 2000)])).tasks) == ["1"]


async def test_what_a_task_is_stands_in_its_row() -> None:
    rows = [
        row(1, 2000, status="failed", credits_used=0),
        row(2, 2000, status="Processing", credits_used="none"),
        row(3, 2000, model=None),
    ]
    failed, going, nameless = (await listed(rows)).tasks
    assert failed.is_free and failed.is_over
    assert not going.is_over and going.credits is None and not going.is_free
    assert nameless.model == "" and nameless.credits == 0.9


async def test_pages_that_go_round_end_and_tell_how_far_they_came() -> None:
    same = [row(2, 5000), row(1, 4000)]
    told = await listed(*[same] * 5)
    assert (numbers(told.tasks), told.since) == (["2", "1"], 4001)


async def test_too_many_are_told_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_list, "MOST_PAGES", 2)
    told = await listed([row(3, 6000)], [row(2, 5000)], [row(1, 4000)])
    assert (numbers(told.tasks), told.since) == (["3", "2"], 5001)
    clock = iter((0.0, task_list.MOST_SECONDS))
    slow = await read_task_list(
        pages([row(3, 6000)], [row(2, 5000)]), SINCE, UNTIL, seconds=lambda: next(clock)
    )
    assert isinstance(slow, TaskList) and slow.since == 6001


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (None, "no answer came"),
        (answer([], 404), "it answered 404"),
        (VendorAnswer(401, b'{"error":{"code":"unauthorized","message":"no"}}', {}), "401 unauth"),
        (VendorAnswer(200, b"<html>", {}), "it answered 200"),
        (VendorAnswer(200, None, {}), "it answered 200"),
        (VendorAnswer(200, b'{"data":{}}', {}), "it answered 200"),
        ([7], "cannot be understood"),
        ([{"id": "x"}], "cannot be understood"),
        ([row(1, 2000, created_at="today")], "cannot be understood"),
    ],
)
async def test_what_cannot_be_read_is_no_evidence(broken: object, words: str) -> None:
    for found in ([broken], [[row(9, 8000)], broken]):
        told = await read_task_list(pages(*found), SINCE, UNTIL)
        assert isinstance(told, NoEvidence) and words in told.reason


def test_a_page_is_as_large_as_the_vendor_gives() -> None:
    assert PAGE_SIZE == 50
