"""What the port `Ledger` promises of submits that are the whole work: how they are listed, and that
their bills are booked as they are; on every ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ledger_backends import Clock
from ledger_builders import (
    NOW,
    PRICE,
    a_job,
    a_picture,
    a_run,
    a_step,
    change,
    counted,
    done,
    failed,
    keys_of,
    now_is,
    start,
    windows,
    write,
)

from gateway.core.model import Failure, FailureKind, Run, RunState, Usage, Verdict
from gateway.core.money.accounts import NOTHING, Amounts
from gateway.core.money.booking import book
from gateway.core.money.invariants import Invariant
from gateway.core.transaction import Keys, View, Writes
from gateway.ports.ledger import Ledger, RunFilter

S = RunState

pytestmark = pytest.mark.oldest


# --- while the answer is awaited -----------------------------------------------------------------


async def listed(ledger: Ledger, *states: RunState) -> tuple[list[str], list[str]]:
    """The runs that a team's list and an operator's have in these states."""
    tasks, total = await ledger.tasks("alpha", states=states, page=1, page_size=9)
    runs = await ledger.runs(RunFilter(team="alpha", states=states), after=None, limit=9)
    assert total == len(tasks)
    return sorted({task.run.id for task in tasks}), sorted(run.id for run in runs)


def both(*runs: Run) -> tuple[list[str], list[str]]:
    ids = sorted(run.id for run in runs)
    return ids, ids


async def test_a_run_whose_request_has_left_is_listed_and_counted_as_running(
    ledger: Ledger,
) -> None:
    waits, going = await start(ledger, a_run()), await start(ledger, a_run())
    running = await start(ledger, a_run(state=S.RUNNING, upstream_task_id="t", accepted_at=NOW))
    assert await listed(ledger, S.SUBMITTING) == both(waits, going)
    begun = await change(ledger, replace(going, accepted_at=NOW + 1))
    joined = a_job(begun, Verdict.JOINED)
    await write(ledger, jobs=(joined,))
    assert await listed(ledger, S.SUBMITTING) == both(waits)
    assert await listed(ledger, S.RUNNING) == both(begun, running)
    assert await listed(ledger, S.RUNNING, S.KEEPING) == both(begun, running)
    assert await listed(ledger, S.QUEUED, S.SUBMITTING, S.UNSURE) == both(waits)
    assert await listed(ledger, S.SUBMITTING, S.RUNNING) == both(waits, begun, running)
    assert await listed(ledger, S.DONE) == both()
    counts = await ledger.run_counts()
    assert (counts[S.SUBMITTING], counts[S.RUNNING]) == (1, 2)
    again = await change(ledger, replace(begun, accepted_at=None, attempts=2))
    assert await listed(ledger, S.SUBMITTING) == both(waits, again)
    await change(ledger, done(replace(again, accepted_at=NOW + 2), a_picture()))
    assert await listed(ledger, S.DONE) == both(again)
    broken = {one.invariant for one in await ledger.violations()}
    assert Invariant.LISTED not in broken


# --- bills ---------------------------------------------------------------------------------------


def billed(run: Run, usd_micros: int, *, images: int = 1) -> Run:
    pictures = [a_picture(f"{run.id}-{number}") for number in range(images)]
    spent = Amounts(usd_micros, min(images, run.n), 1)
    return replace(done(run, *pictures), billed_usd_micros=usd_micros, spent=spent)


def with_besides(**fields: Any) -> Run:
    run = a_run(besides_usd_micros=700, **fields)
    return replace(run, hold=Amounts(run.ceiling_usd_micros, run.n, 1))


@pytest.mark.parametrize("bill", [0, 5, PRICE + 700, PRICE + 701, 10**9])
async def test_a_bill_is_booked_as_it_is(ledger: Ledger, bill: int) -> None:
    run = await start(ledger, with_besides())
    await change(ledger, billed(run, bill))
    assert await ledger.violations() == []
    accounts = await ledger.accounts(keys_of(run))
    assert {one.spent for one in accounts.values()} == {Amounts(bill, 1, 1)}
    assert {one.held for one in accounts.values()} == {NOTHING}
    too_much = max(0, bill - PRICE - 700)
    assert await ledger.over_hold() == ({"evolink": too_much} if too_much else {})


async def test_what_bills_were_more_than_held_adds_up_by_upstream(ledger: Ledger) -> None:
    assert await ledger.over_hold() == {}
    for upstream, more in (("x", 5), ("x", 0), ("y", 7), ("x", -9), ("x", 11), ("z", -1)):
        run = await start(ledger, with_besides(upstream=upstream, n=2))
        await change(ledger, billed(run, run.ceiling_usd_micros + more, images=2))
    await change(ledger, done(await start(ledger, a_run()), a_picture("free")))
    assert await ledger.over_hold() == {"x": 16, "y": 7}
    assert await ledger.violations() == []


async def test_without_a_bill_what_came_is_paid_and_all_that_is_besides(ledger: Ledger) -> None:
    run = await start(ledger, with_besides(n=3))
    came = done(run, a_picture("one"), a_picture("two"))
    right = replace(came, spent=Amounts(2 * PRICE + 700, 2, 1))
    await change(ledger, right)
    assert await ledger.violations() == []


@pytest.mark.parametrize("wrong", [0, 8, 10, PRICE])
async def test_a_run_that_spent_another_sum_than_its_bill_is_found(
    ledger: Ledger, wrong: int
) -> None:
    run = await start(ledger, a_run())
    await change(ledger, replace(billed(run, 9), spent=Amounts(wrong, 1, 1)))
    [found] = await ledger.violations()
    assert found.invariant is Invariant.SPENT and found.sentence.endswith("upstream billed 9.")


@pytest.mark.parametrize("bill", [None, 9, PRICE, 5 * PRICE])
async def test_pictures_that_were_lost_cost_their_bill(ledger: Ledger, bill: int | None) -> None:
    run = await start(ledger, with_besides())
    cost = run.ceiling_usd_micros if bill is None else bill
    lost = Failure(FailureKind.RESULT_LOST, "result_lost", "lost")
    ended = failed(replace(run, failure=lost), spent=Amounts(cost, 1, 1))
    await change(ledger, replace(ended, billed_usd_micros=bill))
    assert await ledger.violations() == []


# --- an answer that is found late ----------------------------------------------------------------


async def happen(ledger: Ledger, after: Run, event: str, *, before: str) -> Run:
    """Books the run with the step of that event."""

    def decide(view: View) -> tuple[Run, Writes]:
        assert view.run is not None
        step = replace(a_step(after), event=event, before=before, after=str(after.state))
        return after, replace(book(view.run, after, view.accounts), steps=(step,))

    return await ledger.transact(
        Keys(accounts=keys_of(after), counted=counted(after), run_id=after.id), decide
    )


@pytest.mark.parametrize("bypassed", [False, True])
@pytest.mark.parametrize("bill", [None, 0, 9, PRICE + 700, 10**9])
async def test_a_run_that_counted_as_spent_is_put_right(
    ledger: Ledger, bill: int | None, bypassed: bool
) -> None:
    run = await start(ledger, with_besides(bypassed=bypassed))
    unknown = Failure(FailureKind.OUTCOME_UNKNOWN, "outcome_unknown", "lost")
    lost = failed(replace(run, failure=unknown), spent=run.hold)
    await happen(ledger, lost, "AnswerLost", before="submitting")
    assert await usage(ledger) == [(0, 1, run.hold.usd_micros, run.hold.usd_micros)]
    found = replace(
        lost, state=S.KEEPING, failure=None, finished_at=None, billed_usd_micros=bill,
        links=("spool:1/0",), due_at=NOW,
    )  # fmt: skip
    await happen(ledger, found, "Delivered", before="failed")
    assert await ledger.violations() == []
    cost = run.hold.usd_micros if bill is None else bill
    ended = replace(done(found, a_picture()), spent=Amounts(cost, 1, 1))
    await happen(ledger, ended, "PicturesKept", before="keeping")
    assert await usage(ledger) == [(1, 0, cost, 0)]
    assert await ledger.violations() == []
    [row] = await ledger.usage()
    assert row.spent_bypassed_usd_micros == (cost if bypassed else 0)


async def usage(ledger: Ledger) -> Sequence[tuple[int, int, int, int]]:
    day = windows().day
    rows: Sequence[Usage] = await ledger.usage_by_day(since_day=day, until_day=day + 1)
    assert [replace(one, day=0) for one in rows] == list(await ledger.usage())
    return [
        (one.done, one.failed, one.spent_usd_micros, one.spent_failed_usd_micros) for one in rows
    ]


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "links", [("spool:1/0",), ("https://x/1.png", "spool:1/1"), ("https://x/1.png",)]
)
async def test_what_lies_here_has_all_the_time_it_needs(
    ledger: Ledger, clock: Clock, links: tuple[str, ...]
) -> None:
    run = await start(ledger, a_run())
    fields = {"accepted_at": NOW, "upstream_finished_at": NOW + 9}
    kept = replace(run, state=S.KEEPING, links=links, **fields)
    later = NOW + 5 * 86_400
    clock.now = later
    await change(ledger, replace(kept, due_at=later))
    broken = [one.invariant for one in await ledger.violations()]
    assert broken == ([] if any("spool:" in one for one in links) else [Invariant.IN_TIME])
    await change(ledger, replace(kept, due_at=later + 86_400))
    assert Invariant.IN_TIME in [one.invariant for one in await ledger.violations()]
    assert now_is(kept).after == "keeping"
