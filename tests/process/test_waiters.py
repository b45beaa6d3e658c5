"""Waiters: everyone who waits hears in time, nobody holds the loop, nothing is left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from gateway.core.model import Run, RunState
from gateway.core.money.accounts import Amounts, Windows
from gateway.errors import Unavailable
from gateway.ports.replicas import News
from gateway.process.waiters import WAKE_BATCH, Waiter, Waiters

RUN = Run(
    id="run_1",
    fingerprint="f" * 64,
    team="blue",
    model="m",
    quality="",
    n=1,
    request="{}",
    upstream="u",
    upstream_model="m",
    price_usd_micros=1,
    windows=Windows(0, 0, 0, 0, 0),
    hold=Amounts(1, 1, 1),
    created_at=0.0,
    deadline_at=900.0,
    due_at=0.0,
)
RUNNING = replace(RUN, state=RunState.RUNNING)
DONE = replace(RUN, state=RunState.DONE)


def final(run: Run) -> bool:
    return run.is_final


@contextmanager
def empty_after(waiters: Waiters) -> Iterator[None]:
    yield
    assert not waiters._watched and not waiters._patient and not waiters._patient_of
    assert not waiters._wheel._ticks and waiters._wheel._timer is None


async def begun(*tasks: asyncio.Task[Run | None]) -> None:
    """Returns once these tasks have begun to wait."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_only_the_news_that_are_waited_for_wake() -> None:
    waiters = Waiters()
    with empty_after(waiters), waiters.watching(RUN.id) as watch:
        waiting = asyncio.create_task(watch.until(final, 5))
        await begun(waiting)
        waiters.publish(RUNNING)
        waiters.publish(replace(DONE, id="run_of_another"))
        await begun(waiting)
        waiters.publish(DONE)
        waiters.publish(replace(DONE, tries=1))  # what comes later changes nothing
        assert await waiting is DONE


async def test_news_between_watching_and_waiting_are_not_missed() -> None:
    waiters = Waiters()
    with empty_after(waiters), waiters.watching(RUN.id) as watch:
        waiters.publish(DONE)
        assert await watch.until(final, 5) is DONE


async def test_time_runs_out_within_a_tick_and_not_before() -> None:
    waiters = Waiters()
    with empty_after(waiters):
        for seconds in (0.0, 0.15, 0.3):
            start = time.monotonic()
            with waiters.watching(RUN.id) as watch:
                assert await watch.until(final, seconds) is None
            assert time.monotonic() - start >= seconds - 0.002


async def test_each_waits_for_as_long_as_it_said() -> None:
    waiters = Waiters()
    ended: list[float] = []

    async def wait(seconds: float) -> None:
        with waiters.watching(RUN.id) as watch:
            await watch.until(final, seconds)
        ended.append(seconds)

    with empty_after(waiters):
        await asyncio.gather(*(wait(seconds) for seconds in (0.5, 0.05, 0.25)))
    assert ended == [0.05, 0.25, 0.5]


async def test_a_waiter_that_is_cancelled_leaves_nothing_behind() -> None:
    waiters = Waiters()

    async def wait() -> None:
        with waiters.watching(RUN.id, patient="blue") as watch:
            await watch.until(final, 60)

    with empty_after(waiters):
        waiting = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(waiters._patient) == 3
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_cancelled_waiter_in_the_batch_does_not_keep_the_others() -> None:
    waiters = Waiters()
    with ExitStack() as watching, empty_after(waiters):
        watches = [watching.enter_context(waiters.watching(RUN.id)) for _ in range(3)]
        tasks = [asyncio.create_task(watch.until(final, 5)) for watch in watches]
        await begun(*tasks)
        waiters.publish(DONE)
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert answers[1:] == [DONE, DONE]
        watching.close()


async def test_thousands_are_woken_in_turns() -> None:
    """In one turn of the loop at most one batch goes on, whatever was published in it."""
    waiters = Waiters()
    turn, woken = 0, []

    async def wait(watch: Waiter) -> None:
        assert await watch.until(final, 60) is not None
        woken.append(turn)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    with ExitStack() as watching:
        runs = [replace(DONE, id=f"run_{i}") for i in range(20)]
        watches = [watching.enter_context(waiters.watching(r.id)) for r in runs for _ in range(150)]
        tasks = [asyncio.create_task(wait(watch)) for watch in watches]
        await asyncio.sleep(0)
        counting = asyncio.create_task(count_turns())
        for run in runs:
            waiters.publish(run)
        await asyncio.gather(*tasks)
        counting.cancel()
    assert len(woken) == 3000
    most = max(woken.count(one) for one in set(woken))
    assert most <= 2 * WAKE_BATCH  # the counting task may have its turn before or after a batch
    assert len(set(woken)) >= 3000 / WAKE_BATCH / 2


async def test_patience_is_counted_and_let_go() -> None:
    waiters = Waiters()
    with empty_after(waiters):
        with waiters.watching(RUN.id, patient="blue") as first, waiters.watching(RUN.id) as second:
            assert not waiters.takes_patient("blue", 1) and waiters.takes_patient("blue", 3)
            patient = asyncio.create_task(first.until(final, 60))
            submit = asyncio.create_task(second.until(final, 60))
            await begun(patient, submit)
            waiters.release()
            assert await patient is None
            assert not waiters.takes_patient("blue", 3)
            await begun(submit)  # whoever waits for its submit goes on waiting
            waiters.publish(DONE)
            assert await submit is DONE
        with waiters.watching(RUN.id, patient="blue") as late:
            waiters.release()
            assert await late.until(final, 60) is None


@pytest.mark.parametrize("problem", [Unavailable("away"), RuntimeError("broken")])
async def test_a_silent_run_is_looked_up(problem: Exception) -> None:
    """Its news may be another process's; whatever went wrong, the next round looks again."""
    waiters = Waiters(silence_seconds=0.06)
    looked: list[str] = []

    async def look(run_ids: Sequence[str]) -> Sequence[Run]:
        looked.extend(run_ids)
        if len(looked) == 1:
            raise problem
        return [RUNNING if len(looked) == 2 else DONE]

    waiters.start(look)
    with empty_after(waiters), waiters.watching(RUN.id) as watch:
        assert await watch.until(final, 10) == DONE
    await waiters.stop()
    assert looked == [RUN.id] * 3


async def test_a_run_with_news_is_not_looked_up() -> None:
    waiters = Waiters(silence_seconds=0.2)

    async def look(_: Sequence[str]) -> Sequence[Run]:
        pytest.fail("it was heard of")

    waiters.start(look)
    with waiters.watching(RUN.id) as watch:
        waiting = asyncio.create_task(watch.until(final, 10))
        for _ in range(10):
            await asyncio.sleep(0.04)
            waiters.publish(RUNNING)
        waiters.publish(DONE)
        assert await waiting is DONE
    await waiters.stop()


@pytest.mark.parametrize("news", [News(runs=frozenset({RUN.id, "run_2"})), News(missed=True)])
async def test_what_another_process_tells_of_is_looked_up_at_once(news: News) -> None:
    """Also once the store is back; only what somebody waits for is asked after."""
    waiters = Waiters(silence_seconds=0.9)
    looked: list[list[str]] = []

    async def look(run_ids: Sequence[str]) -> Sequence[Run]:
        looked.append([*run_ids])
        if len(looked) == 1:
            raise Unavailable("away")
        return [DONE]

    waiters.start(look)
    with empty_after(waiters):
        waiters.heard(News(runs=frozenset({"run_3"})))
        with waiters.watching(RUN.id) as watch:
            waiting = asyncio.create_task(watch.until(final, 10))
            await begun(waiting)
            assert looked == []
            waiters.heard(news)
            async with asyncio.timeout(0.8):
                assert await waiting == DONE
    await waiters.stop()
    assert looked == [[RUN.id]] * 2
