"""The books: accounts follow their runs, usage follows what ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_samples import NOW, PRICE, STEADY, a_run, kept, keys_of, zeros
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import Run, RunState, Usage
from gateway.core.money.accounts import NOTHING, Account, Amounts, Window
from gateway.core.money.booking import book

small = st.builds(Amounts, *[st.integers(0, 9)] * 3)
LINKS = ("https://files.test/a.png", "https://files.test/b.png")


def done(run: Run, *, joins: tuple[tuple[str, int], ...] = ()) -> Run:
    pictures = tuple(kept(link) for link in LINKS)
    return replace(
        run,
        state=RunState.DONE,
        hold=NOTHING,
        spent=Amounts(2 * PRICE, 2, 1),
        links=LINKS,
        kept=pictures,
        joins=joins,
        finished_at=NOW + 60,
    )


def test_a_new_run_holds_in_every_window_it_was_created_in() -> None:
    run = a_run(n=2)
    writes = book(None, run, zeros(run))
    assert writes.runs == (run,)
    assert {account.key for account in writes.accounts} == set(keys_of(run))
    assert {account.key.window for account in writes.accounts} == set(Window)
    assert {account.held for account in writes.accounts} == {run.hold}
    assert {account.spent for account in writes.accounts} == {NOTHING}
    assert writes.usage == (Usage("alpha", run.model, run.windows.day, started=1),)


@STEADY
@given(st.tuples(small, small), st.tuples(small, small), st.tuples(small, small))
def test_accounts_move_by_the_difference_of_the_run(
    old: tuple[Amounts, Amounts], new: tuple[Amounts, Amounts], others: tuple[Amounts, Amounts]
) -> None:
    before = a_run(spent=old[0], hold=old[1])
    after = replace(before, spent=new[0], hold=new[1])
    accounts = {
        key: Account(key, spent=others[0] + old[0], held=others[1] + old[1])
        for key in keys_of(before)
    }
    writes = book(before, after, accounts)
    changed = {account.key: account for account in writes.accounts}
    for key, account in {**accounts, **changed}.items():
        assert account == Account(key, others[0] + new[0], others[1] + new[1])
    assert bool(changed) == (old != new)
    assert writes.usage == ()


def test_a_run_without_its_accounts_cannot_be_booked() -> None:
    with pytest.raises(KeyError):
        book(None, a_run(), {})


def test_a_run_that_goes_on_moves_no_money() -> None:
    run = a_run()
    after = replace(run, state=RunState.RUNNING, upstream_task_id="task-1")
    writes = book(run, after, {})
    assert (writes.runs, writes.accounts, writes.usage) == ((after,), (), ())


def test_what_ended_well_shows_once_and_for_everyone_who_saved() -> None:
    run = a_run(n=2, state=RunState.KEEPING)
    after = done(run, joins=(("alpha", 1), ("beta", 3)))
    writes = book(run, after, zeros(run))
    day = run.windows.day
    assert writes.usage == (
        Usage("alpha", run.model, day, images_generated=2, spent_usd_micros=2 * PRICE, done=1),
        Usage("alpha", run.model, day, images_cache=2, saved_joined_usd_micros=2 * PRICE),
        Usage("beta", run.model, day, images_cache=6, saved_joined_usd_micros=6 * PRICE),
    )
    assert book(after, replace(after, shared=False), {}).usage == ()


def test_what_failed_saves_nothing_and_may_have_cost() -> None:
    run = a_run(state=RunState.UNSURE, joins=(("beta", 2),))
    lost = replace(
        run, state=RunState.FAILED, hold=NOTHING, spent=run.hold, finished_at=NOW, kept=()
    )
    day = run.windows.day
    assert book(run, lost, zeros(run)).usage == (
        Usage(
            "alpha", run.model, day,
            failed=1, spent_usd_micros=PRICE, spent_failed_usd_micros=PRICE,
        ),
    )  # fmt: skip


def test_what_failed_and_is_had_after_all_was_not_lost() -> None:
    lost = a_run(state=RunState.FAILED, hold=NOTHING, spent=Amounts(PRICE, 1, 1), finished_at=NOW)
    again = replace(lost, state=RunState.KEEPING, finished_at=None)
    day = lost.windows.day
    assert book(lost, again, {}).usage == (
        Usage("alpha", lost.model, day, failed=-1, spent_failed_usd_micros=-PRICE),
    )
    had = done(again)
    [usage] = book(again, replace(had, spent=lost.spent), {}).usage
    assert (usage.done, usage.failed, usage.spent_failed_usd_micros) == (1, 0, 0)
