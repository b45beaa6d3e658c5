"""Places that teams share: what one may have, who is next, and what those who go leave behind."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RateLimited, Unavailable
from gateway.process.shares import Shares, may_take

TEAMS = ("a", "b", "c")


def taken(places: int, *teams: str) -> Counter[str]:
    """What the teams have when each takes all that it may, in this order."""
    counts: Counter[str] = Counter()
    for team in teams:
        while may_take(places, counts, team):
            counts[team] += 1
    return counts


@pytest.mark.parametrize(
    ("places", "expected"),
    [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (2, 1, 0)), (8, (4, 2, 1)), (16, (8, 4, 2))],
)
def test_who_comes_first_gets_half_and_the_next_half_of_the_rest(
    places: int, expected: tuple[int, ...]
) -> None:
    counts = taken(places, *TEAMS)
    assert tuple(counts[team] for team in TEAMS) == expected


async def begun(shares: Shares, *teams: str) -> list[asyncio.Task[None]]:
    """Tasks that each take one place and keep it, in this order."""
    tasks = [asyncio.create_task(shares.take(team)) for team in teams]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def served(tasks: list[asyncio.Task[None]]) -> list[int]:
    return [number for number, task in enumerate(tasks) if task.done()]


async def test_a_team_that_has_none_finds_one_however_long_a_line_is() -> None:
    shares = Shares(2)
    assert served(await begun(shares, *["a"] * 100)) == [0]
    await asyncio.wait_for(shares.take("b"), 1)


async def test_of_those_who_wait_the_one_with_the_fewest_is_next() -> None:
    shares = Shares(4)
    waiting = await begun(shares, "a", "a", "a", "b", "c", "b", "c", "c")
    assert served(waiting) == [0, 1, 3, 4]
    shares.give("b")
    await asyncio.sleep(0.01)
    assert served(waiting) == [0, 1, 3, 4, 5]
    shares.give("a")  # nobody has fewer than one, so the one that is free stays so
    await asyncio.sleep(0.01)
    assert served(waiting) == [0, 1, 3, 4, 5]
    shares.give("c")
    await asyncio.sleep(0.01)
    assert served(waiting) == [0, 1, 3, 4, 5, 6]


async def test_teams_that_have_as_much_are_served_in_turn() -> None:
    shares = Shares(1)
    order: list[str] = []

    async def work(team: str) -> None:
        async with shares.place(team):
            order.append(team)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for team in (*"aaaaa", *"bb", "c"):
            group.create_task(work(team))
    assert "".join(order) == "abcabaaa"


async def test_a_team_that_has_its_share_and_its_line_is_told() -> None:
    shares = Shares(4, waiting=2, what="edits")
    waiting = await begun(shares, *"aaaa")
    assert served(waiting) == [0, 1]
    with pytest.raises(RateLimited, match="This team has 2 edits under way") as turned_away:
        await shares.take("a")
    assert turned_away.value.retry_after_seconds
    await shares.take("b")


async def test_who_has_nothing_is_not_blamed_for_others() -> None:
    shares = Shares(2, waiting=0)
    await begun(shares, "a", "b")
    with pytest.raises(Unavailable, match="just now") as turned_away:
        await shares.take("c")
    assert turned_away.value.retry_after_seconds


async def test_who_goes_while_waiting_leaves_its_turn_to_the_next() -> None:
    shares = Shares(1)
    first, second, third = await begun(shares, *"aab")
    second.cancel()
    shares.give("a")  # in the same moment: nobody has been told yet
    await asyncio.wait({second, third})
    assert second.cancelled() and third.done() and not third.cancelled()
    shares.give("b")
    await asyncio.wait_for(shares.take("a"), 1)
    assert first.done()


async def test_who_goes_as_its_turn_comes_gives_the_place_back() -> None:
    shares = Shares(1)
    first, second = await begun(shares, *"aa")
    shares.give("a")
    second.cancel()  # it has the place, and has not heard of it
    await asyncio.wait({second})
    await asyncio.wait_for(shares.take("b"), 1)
    assert first.done() and second.cancelled()


STEPS = st.lists(st.tuples(st.sampled_from(["take", "give", "go"]), st.sampled_from(TEAMS)))


@given(places=st.integers(1, 6), steps=STEPS)
def test_no_place_is_lost_or_given_twice(places: int, steps: list[tuple[str, str]]) -> None:
    async def run() -> None:
        shares = Shares(places)
        there: dict[str, list[asyncio.Task[None]]] = {team: [] for team in TEAMS}
        for what, team in steps:
            mine = there[team]
            has = [task for task in mine if task.done()]
            if what == "take":
                mine.append(asyncio.create_task(shares.take(team)))
            elif what == "give" and has:
                mine.remove(has[0])
                shares.give(team)
            elif what == "go" and len(mine) > len(has):
                goes = next(task for task in mine if not task.done())
                mine.remove(goes)
                goes.cancel()
            for _ in range(4):
                await asyncio.sleep(0)
            holding = Counter(
                {team: sum(task.done() for task in tasks) for team, tasks in there.items()}
            )
            assert holding.total() <= places
            assert +holding == +shares._taken
            for other, tasks in there.items():  # nobody waits for what it may have
                assert len(tasks) == holding[other] or not may_take(places, holding, other)
        for tasks in there.values():
            for task in tasks:
                task.cancel()

    asyncio.run(run())
