"""What operators read about runs and refused orders: lists, and the story of a single one.

Only reads; what the records mean is said by `explanation`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from gateway.core.model import Job, Run
from gateway.core.picture_errors import PictureProblem, SetAside
from gateway.core.runs.explanation import Story
from gateway.core.runs.history import Refusal, in_turn
from gateway.errors import NotFound
from gateway.ports.ledger import Lists, Mark, PictureFilter, RefusalFilter, RunFilter
from gateway.ports.pictures import Pictures
from gateway.services.refusals import Refusals

TASKS_TOLD: Final = 100
REFUSALS_TOLD: Final = 20
"""Of those that are called alike; lists have them all."""

PICTURES_TOLD: Final = 20
"""A run makes ten pictures at most."""

ROWS_AT_ONCE: Final = 25
PAGE_BYTES: Final = 4 * 1024 * 1024
"""A page of rows as they usually are comes nowhere near it. An order may be a megabyte, and whoever
sends such ones should not be able to fill the memory of those who look at them."""

T = TypeVar("T")


class Runs:
    """`remembered_seconds`: for how long refused orders are, as the settings have it now."""

    def __init__(
        self,
        ledger: Lists,
        refusals: Refusals,
        pictures: Pictures,
        *,
        remembered_seconds: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._remembered_seconds = remembered_seconds
        self._pictures = pictures
        self._refusals = refusals

    async def runs(
        self, asked: RunFilter, *, after: Mark | None, limit: int
    ) -> tuple[Sequence[Run], Mark | None]:
        """One page of runs, newest first, and where it goes on."""
        return await light_page(
            lambda mark, count: self._ledger.runs(asked, after=mark, limit=count),
            after=after,
            limit=limit,
            mark=lambda run: (run.created_at, run.id),
            weigh=lambda run: len(run.request) + len(run.task),
        )

    async def refusals(
        self, asked: RefusalFilter, *, after: Mark | None, limit: int
    ) -> tuple[Sequence[Refusal], Mark | None]:
        """One page of refused orders, newest first, those of this second too."""
        await self._refusals.flush()
        found = await self._ledger.refusals(asked, after=after, limit=limit + 1)
        return page(found, limit, lambda one: (one.at, one.id))

    async def story(self, asked: str) -> Story:
        """The story of a run, of a task, or of a refused order by its id or its request's.

        A client may call many requests alike, or like a run: whatever else is called so is in
        `others`. Raises `NotFound`.
        """
        named = await self._named(asked)
        if (run := await self._ledger.run(asked)) is not None:
            return replace(await self._story_of(run, None), others=named)
        if (found := await self._ledger.job(asked)) is not None:
            return replace(await self._story_of(found.run, found.job), others=named)
        if not named:
            raise NotFound(
                "There is no run, no task and no refused order with this id. Refused orders are "
                f"remembered for {_for_how_long(self._remembered_seconds())}; of very many in a "
                "row only the first.",
                param="id",
            )
        refusal, *others = named
        went_on = refusal.job_id and await self._ledger.job(refusal.job_id)
        story = await self._story_of(went_on.run, went_on.job) if went_on else Story()
        return replace(story, refusal=refusal, others=others)

    async def _named(self, name: str) -> Sequence[Refusal]:
        waiting = self._refusals.find(name)
        written = await self._ledger.refusals_named(name, limit=REFUSALS_TOLD)
        every = {one.id: one for one in (*written, *waiting)}
        return in_turn(every.values())[:REFUSALS_TOLD]

    async def _story_of(self, run: Run, asked: Job | None) -> Story:
        steps = await self._ledger.steps(run.id)
        jobs, total = await self._ledger.jobs_of_run(run.id, limit=TASKS_TOLD)
        pictures = await self._ledger.find_pictures(
            PictureFilter(run_id=run.id), after=None, limit=PICTURES_TOLD
        )
        aside = await self._set_aside(run)
        return Story(run, asked, steps, jobs, total, pictures, set_aside=aside)

    async def _set_aside(self, run: Run) -> Sequence[SetAside]:
        """The rest of the story is told also where the store cannot be read."""
        try:
            return await self._pictures.set_aside(run.id)
        except PictureProblem:
            return ()


def _for_how_long(seconds: float) -> str:
    """A time that records are kept, in words: "30 days", "12 hours"."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            count = round(seconds / length)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"


async def light_page(
    read: Callable[[Mark | None, int], Awaitable[Sequence[T]]],
    *,
    after: Mark | None,
    limit: int,
    mark: Callable[[T], Mark],
    weigh: Callable[[T], int],
) -> tuple[Sequence[T], Mark | None]:
    """As `page`, of rows that may be heavy: `read` some at a time, up to the bytes of a page."""
    rows: list[T] = []
    weight = 0
    while True:
        count = min(ROWS_AT_ONCE, limit - len(rows))
        found, after = page(await read(after, count + 1), count, mark)
        rows += found
        weight += sum(map(weigh, found))
        if after is None or len(rows) >= limit or weight >= PAGE_BYTES:
            return rows, after


def page(
    found: Sequence[T], limit: int, mark: Callable[[T], Mark]
) -> tuple[Sequence[T], Mark | None]:
    """The first `limit` rows, and the mark of the last when there are more."""
    if len(found) <= limit:
        return found, None
    return found[:limit], mark(found[limit - 1])
