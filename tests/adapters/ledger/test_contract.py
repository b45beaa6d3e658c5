"""What the port `Ledger` promises, held against every ledger there is."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import Any

import pytest
from ledger_backends import Backend, Clock
from ledger_builders import (
    NOW,
    PRICE,
    a_job,
    a_picture,
    a_run,
    change,
    done,
    failed,
    key_of,
    keys_of,
    look,
    now_is,
    older,
    run_of,
    start,
    usage,
    windows,
    write,
    zeros,
)

from gateway.core.model import Failure, FailureKind, Kept, Run, RunState, Trouble, Usage, Verdict
from gateway.core.money.accounts import NOTHING, Account, Amounts, Window
from gateway.core.money.invariants import Invariant, Violation
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.errors import Unavailable
from gateway.ports.ledger import Ledger

# --- records come back as they were written ------------------------------------------------------


def a_full_run() -> Run:
    """A run whose every field differs from its default."""
    picture = a_picture()
    return a_run(
        state=RunState.KEEPING,
        n=3,
        spent=Amounts(1, 2, 3),
        shared=False,
        joins=(("alpha", 2), ("beta", 1)),
        attempts=2,
        tries=4,
        tried=("evolink/a", "other/b"),
        upstream_task_id="task-unified-1",
        accepted_at=NOW + 0.25,
        told_at=NOW + 0.2,
        superseded=True,
        bypassed=True,
        upstream_finished_at=NOW + 20.125,
        finished_at=NOW + 30.5,
        task='{"status":"completed","note":"ü \\u0000 ?"}',
        links=("https://a.test/1.png", "https://a.test/2.png"),
        kept=(Kept("https://a.test/1.png", picture),),
        credits_used=1.3,
        besides_usd_micros=700,
        billed_usd_micros=31_000,
        failure=Failure(FailureKind.REFUSED, "code", "message", status=422, body='{"x":"ü"}'),
        trouble=Trouble(NOW + 25.5, "ab" * 32, 2),
        lease_owner="worker-1",
        lease_until=NOW + 60.0,
    )


def test_the_full_run_leaves_no_field_at_its_default() -> None:
    run = a_full_run()
    assert all(getattr(run, one.name) != one.default for one in fields(Run))


async def test_a_run_comes_back_whole(ledger: Ledger) -> None:
    run = a_full_run()
    await write(ledger, runs=(run,))
    assert await run_of(ledger, run.id) == run


async def test_a_sparse_run_comes_back_whole(ledger: Ledger) -> None:
    run = a_run(failure=Failure(FailureKind.TIMED_OUT, "c", "m"))
    await write(ledger, runs=(run,))
    assert await run_of(ledger, run.id) == run


async def test_a_run_is_replaced_as_a_whole(ledger: Ledger) -> None:
    run = a_full_run()
    other = replace(a_run(team="beta"), id=run.id)
    await write(ledger, runs=(run,))
    await write(ledger, runs=(other,))
    assert await run_of(ledger, run.id) == other


async def test_a_task_id_that_is_taken_is_refused(ledger: Ledger) -> None:
    run, other = a_run(), a_run(team="beta")
    job = a_job(run)
    await start(ledger, run, job)
    before = await ledger.accounts(keys_of(other))
    for again in (job, a_job(other, id=job.id)):
        with pytest.raises(ConstraintViolation):
            await start(ledger, other, again)
    twice = a_job(other)
    with pytest.raises(ConstraintViolation):
        await start(ledger, other, twice, twice)
    assert await ledger.job(job.id) == (job, run)
    assert await ledger.job(twice.id) is None
    assert await run_of(ledger, other.id) is None
    assert await ledger.accounts(keys_of(other)) == before


async def test_a_job_comes_with_its_run(ledger: Ledger) -> None:
    run = a_run()
    job = a_job(run, callback_url="https://client.test/hook?a=b", labels='{"user":"ü"}')
    await start(ledger, run, job)
    assert await ledger.job(job.id) == (job, run)


async def test_an_unknown_job_is_none(ledger: Ledger) -> None:
    assert await ledger.job("task-nowhere") is None


async def test_accounts_that_do_not_exist_are_there_with_zeros(ledger: Ledger) -> None:
    key = key_of("nobody", Window.DAY, 5)
    assert await ledger.accounts([key]) == {key: Account(key)}
    assert (await look(ledger, accounts=(key,))).accounts == {key: Account(key)}
    assert await ledger.accounts([]) == {}


async def test_accounts_come_back_for_many_keys(ledger: Ledger) -> None:
    keys = [key_of(f"team-{i}", Window.HOUR, 3600 * i) for i in range(250)]
    some = {key: Account(key, Amounts(1, 2, 3), Amounts(4, 5, 6)) for key in keys[::2]}
    await write(ledger, accounts=tuple(some.values()))
    found = await ledger.accounts(iter(keys))
    assert found == {key: some.get(key, Account(key)) for key in keys}


# --- transact ------------------------------------------------------------------------------------


async def test_transact_gives_what_decide_gives(ledger: Ledger) -> None:
    answer = object()
    assert await ledger.transact(Keys(), lambda _: (answer, Writes())) is answer


async def test_the_view_has_nothing_that_was_not_asked_for(ledger: Ledger) -> None:
    await start(ledger, a_run())
    assert await look(ledger) == View()


async def test_the_view_shows_the_live_run_of_the_fingerprint(ledger: Ledger) -> None:
    run, other = a_run(), a_run()
    await start(ledger, run)
    await start(ledger, other)
    assert await look(ledger, fingerprint=run.fingerprint) == View(live=run)
    await change(ledger, failed(run))
    assert await look(ledger, fingerprint=run.fingerprint) == View()


async def test_the_view_shows_the_newest_done_run_of_the_fingerprint(ledger: Ledger) -> None:
    runs = [a_run(fingerprint="same") for _ in range(3)]
    for run, at in zip(runs, (NOW + 2, NOW + 9, NOW + 5), strict=True):
        await start(ledger, run)
        await change(ledger, done(run, a_picture(), at=at))
    assert await look(ledger, fingerprint="same") == View(
        finished=done(runs[1], a_picture(), at=NOW + 9)
    )


async def test_runs_that_are_not_shared_are_not_found_by_fingerprint(ledger: Ledger) -> None:
    live = a_run(fingerprint="same", shared=False)
    finished = a_run(fingerprint="same", shared=False)
    await start(ledger, live)
    await start(ledger, finished)
    await change(ledger, done(finished, a_picture()))
    assert await look(ledger, fingerprint="same") == View()


async def test_a_live_run_and_a_done_one_are_shown_together(ledger: Ledger) -> None:
    old, new = a_run(fingerprint="same"), a_run(fingerprint="same")
    await start(ledger, old)
    await change(ledger, done(old, a_picture()))
    await start(ledger, new)
    view = await look(ledger, fingerprint="same", run_id=old.id)
    assert (view.live, view.finished, view.run) == (new, done(old, a_picture()), view.finished)


async def test_an_unknown_run_is_none(ledger: Ledger) -> None:
    assert await run_of(ledger, "run-nowhere") is None


async def test_a_fingerprint_passes_from_one_live_run_to_another(ledger: Ledger) -> None:
    old, new = a_run(fingerprint="same"), a_run(fingerprint="same")
    await start(ledger, old)
    # In the order that would break the constraint, were it looked at after each record.
    await write(ledger, runs=(new, replace(old, shared=False)))
    assert (await look(ledger, fingerprint="same")).live == new


async def test_what_decide_raises_comes_out_and_nothing_is_written(ledger: Ledger) -> None:
    error = StopIteration("as it was")

    def decide(_: View) -> tuple[None, Writes]:
        raise error

    with pytest.raises(BaseException) as raised:
        # A coroutine cannot raise StopIteration by itself: Python wraps it.
        await ledger.transact(Keys(), decide)
    assert error in (raised.value, raised.value.__cause__)


async def test_a_raised_exception_keeps_its_identity(ledger: Ledger) -> None:
    error = KeyError("mine")

    def decide(_: View) -> tuple[None, Writes]:
        raise error

    with pytest.raises(KeyError) as raised:
        await ledger.transact(Keys(), decide)
    assert raised.value is error


async def test_a_decision_that_raises_leaves_its_neighbours_alone(ledger: Ledger) -> None:
    runs = [a_run() for _ in range(60)]

    def decide(run: Run, number: int, view: View) -> tuple[None, Writes]:
        if number % 3 == 0:
            raise LookupError(number)
        if number % 3 == 1:  # the job is refused after the run was written
            orphan = a_job(a_run())
            return None, Writes(runs=(run,), jobs=(orphan,))
        return None, Writes(runs=(run,))

    outcomes = await asyncio.gather(
        *(
            ledger.transact(Keys(), lambda view, n=n, run=run: decide(run, n, view))
            for n, run in enumerate(runs)
        ),
        return_exceptions=True,
    )
    kinds = [type(one) for one in outcomes]
    assert kinds == [LookupError, ConstraintViolation, type(None)] * 20
    stored = [await run_of(ledger, run.id) for run in runs]
    assert stored == [run if n % 3 == 2 else None for n, run in enumerate(runs)]


async def test_an_account_is_never_granted_beyond_its_limit(ledger: Ledger) -> None:
    key = key_of("alpha", Window.DAY, 0)

    def decide(view: View) -> tuple[bool, Writes]:
        account = view.accounts[key]
        if account.spent.images >= 100:
            return False, Writes()
        more = replace(account, spent=account.spent + Amounts(images=1))
        return True, Writes(accounts=(more,))

    grants = await asyncio.gather(
        *(ledger.transact(Keys(accounts=(key,)), decide) for _ in range(500))
    )
    assert sum(grants) == 100
    assert (await ledger.accounts([key]))[key].spent == Amounts(images=100)


async def test_identical_orders_at_once_start_one_run(ledger: Ledger) -> None:
    runs = [a_run(fingerprint="same") for _ in range(50)]

    def decide(run: Run, view: View) -> tuple[str, Writes]:
        if view.live is not None:
            return view.live.id, Writes(jobs=(a_job(view.live, Verdict.JOINED),))
        return run.id, Writes(runs=(run,), jobs=(a_job(run),))

    ids = await asyncio.gather(
        *(
            ledger.transact(Keys(fingerprint="same"), lambda view, run=run: decide(run, view))
            for run in runs
        )
    )
    assert len(set(ids)) == 1


@pytest.mark.parametrize("beside", [0, 3])
async def test_a_run_alone_is_seen_without_what_is_beside_it(ledger: Ledger, beside: int) -> None:
    """Also by decisions that are made together with others."""
    run = a_run(fingerprint="same")
    await start(ledger, run, a_job(run, callback_url="https://hooks.example/x"))
    whole = Keys(run_id=run.id, fingerprint="same")
    asked = [replace(whole, alone=True), *[whole] * beside, replace(whole, alone=True)]
    views = await asyncio.gather(
        *(ledger.transact(keys, lambda view: (view, Writes())) for keys in asked)
    )
    for keys, view in zip(asked, views, strict=True):
        assert view.run == run
        assert (view.live, len(view.owed)) == ((None, 0) if keys.alone else (run, 1))


async def test_cancelling_the_caller_does_not_cancel_the_transaction(ledger: Ledger) -> None:
    runs = [a_run() for _ in range(20)]
    tasks = [asyncio.create_task(start(ledger, run)) for run in runs]
    await asyncio.sleep(0)  # each has handed over its transaction now
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in outcomes)
    assert [await run_of(ledger, run.id) for run in runs] == runs


async def test_a_read_after_a_transaction_sees_it(ledger: Ledger) -> None:
    for _ in range(50):
        run = a_run()
        job = a_job(run)
        await start(ledger, run, job)
        assert await ledger.job(job.id) == (job, run)


# --- what the ledger refuses ----------------------------------------------------------------------


BAD_AMOUNTS = [Amounts(-1, 0, 0), Amounts(0, -1, 0), Amounts(0, 0, -1)]


def refused_writes() -> dict[str, Writes]:
    run = a_run()
    key = key_of("alpha", Window.DAY, 0)
    cases = {
        "second live run": Writes(runs=(run, a_run(fingerprint=run.fingerprint))),
        "job without run": Writes(jobs=(a_job(a_run()),)),
        "denied job": Writes(runs=(run,), jobs=(a_job(run, Verdict.DENIED),)),
        "hold on a final run": Writes(runs=(replace(done(run, a_picture()), hold=run.hold),)),
        "final without a time": Writes(runs=(replace(failed(run), finished_at=None),)),
        "no pictures asked": Writes(runs=(a_run(n=0),)),
        "negative price": Writes(runs=(a_run(price_usd_micros=-1),)),
        "task id twice": Writes(runs=(a_run(upstream_task_id="t"), a_run(upstream_task_id="t"))),
        "negative usage": Writes(usage=(usage(hits=5), usage(hits=-1))),
        "negative picture": Writes(runs=(done(run, a_picture(size_bytes=-1)),)),
    }
    for number, amounts in enumerate(BAD_AMOUNTS):
        cases[f"hold {number}"] = Writes(runs=(a_run(hold=amounts),))
        cases[f"run spent {number}"] = Writes(runs=(a_run(spent=amounts),))
        cases[f"held {number}"] = Writes(accounts=(Account(key, held=amounts),))
        cases[f"account spent {number}"] = Writes(accounts=(Account(key, spent=amounts),))
    return cases


@pytest.mark.parametrize("case", refused_writes())
async def test_a_wrong_write_is_refused_whole(ledger: Ledger, case: str) -> None:
    bystander = a_run()
    wrong = refused_writes()[case]
    writes = replace(wrong, runs=(bystander, *wrong.runs))
    with pytest.raises(ConstraintViolation):
        await ledger.transact(Keys(), lambda _: (None, writes))
    assert await run_of(ledger, bystander.id) is None
    assert await ledger.usage() == []
    assert await ledger.picture_totals() == (0, 0)
    await start(ledger, bystander)
    assert await ledger.violations() == []


async def test_what_looks_alike_but_is_right_is_taken(ledger: Ledger) -> None:
    run = a_run(fingerprint="same", upstream_task_id="t")
    await start(ledger, run)
    await start(ledger, a_run(fingerprint="same", shared=False))
    await start(ledger, a_run(upstream="another", upstream_task_id="t"))
    await change(ledger, done(run, a_picture()))
    await start(ledger, a_run(fingerprint="same"))
    assert await ledger.violations() == []


async def test_a_task_id_that_was_given_up_may_be_used(ledger: Ledger) -> None:
    run = a_run(upstream_task_id="t")
    await start(ledger, run)
    await change(ledger, replace(run, upstream_task_id=None))
    await start(ledger, a_run(upstream_task_id="t"))
    assert await ledger.violations() == []


# --- leases ---------------------------------------------------------------------------------------


async def test_a_lease_takes_the_longest_due_first(ledger: Ledger) -> None:
    runs = [a_run(due_at=NOW - age) for age in (5, 50, 20, 0, -1)]
    for run in runs:
        await start(ledger, run)
    taken = await ledger.lease("w1", now=NOW, until=NOW + 60, limit=3)
    assert [run.id for run in taken] == [runs[1].id, runs[2].id, runs[0].id]
    assert all((run.lease_owner, run.lease_until) == ("w1", NOW + 60) for run in taken)
    assert [await run_of(ledger, run.id) for run in taken] == list(taken)
    rest = await ledger.lease("w2", now=NOW, until=NOW + 60, limit=10)
    assert [run.id for run in rest] == [runs[3].id]


async def test_a_leased_run_is_free_again_at_its_end(ledger: Ledger) -> None:
    await start(ledger, a_run(due_at=NOW))
    assert await ledger.lease("w1", now=NOW, until=NOW + 60, limit=1)
    assert not await ledger.lease("w2", now=NOW + 59.9, until=NOW + 120, limit=1)
    (taken,) = await ledger.lease("w2", now=NOW + 60, until=NOW + 120, limit=1)
    assert taken.lease_owner == "w2"


async def test_final_runs_are_not_leased(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    await change(ledger, failed(run))
    assert await ledger.lease("w", now=NOW + 99, until=NOW + 100, limit=9) == []
    assert await ledger.next_due() is None


async def test_two_owners_never_get_the_same_run(ledger: Ledger) -> None:
    runs = [await start(ledger, a_run()) for _ in range(40)]
    taken = await asyncio.gather(
        *(ledger.lease(f"w{n}", now=NOW, until=NOW + 60, limit=3) for n in range(20))
    )
    ids = [run.id for one in taken for run in one]
    assert sorted(ids) == sorted(run.id for run in runs)


async def test_next_due_is_when_the_next_run_can_be_leased(ledger: Ledger) -> None:
    assert await ledger.next_due() is None
    await start(ledger, a_run(due_at=NOW + 5, lease_until=NOW + 40, lease_owner="w"))
    assert await ledger.next_due() == NOW + 40
    await start(ledger, a_run(due_at=NOW + 30))
    assert await ledger.next_due() == NOW + 30
    await start(ledger, a_run(due_at=NOW - 7))
    assert await ledger.next_due() == NOW - 7


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
async def test_a_clock_that_is_set_leaves_what_is_live_the_time_that_it_has(
    ledger: Ledger, seconds: float
) -> None:
    waiting = await start(
        ledger,
        a_run(
            due_at=NOW + 5,
            deadline_at=NOW + 900,
            accepted_at=NOW - 1.0,
            trouble=Trouble(NOW - 2.0, "", 3),
        ),
    )
    leased = await start(ledger, a_run(due_at=NOW, lease_until=NOW + 15, lease_owner="w"))
    ended = failed(await start(ledger, a_run()))
    await change(ledger, ended)
    steps = list[bool]()
    await ledger.clock_set(seconds, lambda: steps.append(True))
    assert steps == [True]
    assert await ledger.run(waiting.id) == replace(
        waiting,
        due_at=NOW + 5 + seconds,
        deadline_at=NOW + 900 + seconds,
        accepted_at=NOW - 1.0 + seconds,
        trouble=Trouble(NOW - 2.0 + seconds, "", 3),
    )
    assert await ledger.run(leased.id) == replace(
        leased,
        due_at=NOW + seconds,
        deadline_at=leased.deadline_at + seconds,
        lease_until=NOW + 15 + seconds,
    )
    assert await ledger.run(ended.id) == ended
    assert await ledger.next_due() == NOW + 5 + seconds


async def test_those_that_are_asked_after_are_counted(ledger: Ledger) -> None:
    assert await ledger.running() == 0
    await start(ledger, a_run())
    for team in ("blue", "green"):
        run = await start(ledger, a_run(team=team))
        await change(ledger, replace(run, state=RunState.RUNNING, upstream_task_id=f"t-{team}"))
    await change(ledger, failed(await start(ledger, a_run())))
    assert await ledger.running() == 2


# --- reports --------------------------------------------------------------------------------------


async def test_usage_is_summed_by_team_and_model_over_days(ledger: Ledger) -> None:
    counters = [one.name for one in fields(Usage)][3:]
    full = {name: number for number, name in enumerate(counters, start=1)}
    await write(
        ledger,
        usage=(
            usage("b", "m", 100, hits=1),
            usage("a", "m", 100, **full),
            usage("a", "m", 200, **full),
            usage("a", "m", 300, hits=7),
            usage("a", "k", 200, joined=2),
        ),
    )
    twice = {name: 2 * value for name, value in full.items()}
    assert await ledger.usage() == [
        usage("a", "k", joined=2),
        usage("a", "m", **{**twice, "hits": 2 * full["hits"] + 7}),
        usage("b", "m", hits=1),
    ]
    assert await ledger.usage(since_day=200) == [
        usage("a", "k", joined=2),
        usage("a", "m", **{**full, "hits": full["hits"] + 7}),
    ]
    assert await ledger.usage(since_day=300) == [usage("a", "m", hits=7)]
    assert await ledger.usage(since_day=301) == []
    assert await ledger.usage(team="b") == [usage("b", "m", hits=1)]
    assert await ledger.usage(since_day=200, team="b") == []


async def test_usage_increments_of_one_transaction_add_up(ledger: Ledger) -> None:
    await asyncio.gather(*(write(ledger, usage=(usage(hits=1),) * 2) for _ in range(50)))
    assert await ledger.usage() == [usage(hits=100)]


async def test_every_state_is_counted(ledger: Ledger) -> None:
    assert await ledger.run_counts() == dict.fromkeys(RunState, 0)
    expected = {}
    for number, state in enumerate(RunState, start=1):
        expected[state] = number
        for _ in range(number):
            run = await start(ledger, a_run())
            if state is RunState.DONE:
                await change(ledger, done(run, a_picture()))
            elif state is RunState.FAILED:
                await change(ledger, failed(run))
            else:
                await change(ledger, replace(run, state=state))
    assert await ledger.run_counts() == expected


async def test_the_oldest_unkept_run_is_known(ledger: Ledger) -> None:
    assert await ledger.oldest_unkept() is None
    keeping = [
        await start(ledger, a_run(state=RunState.KEEPING, upstream_finished_at=NOW + age))
        for age in (9, 3, 6)
    ]
    await start(ledger, a_run(state=RunState.RUNNING, upstream_finished_at=NOW - 99))
    assert await ledger.oldest_unkept() == NOW + 3
    await change(ledger, done(keeping[1], a_picture()))
    assert await ledger.oldest_unkept() == NOW + 6


async def test_pictures_count_once_and_when_their_run_is_done(ledger: Ledger) -> None:
    one, two = a_picture("d1", 100), a_picture("d2", 23)
    first, second, third = [await start(ledger, a_run()) for _ in range(3)]
    await change(ledger, done(first, one, two))
    await change(ledger, done(second, one))
    await change(ledger, replace(third, kept=(Kept("l", a_picture("d3")),)))
    assert await ledger.picture_totals() == (2, 123)
    await change(ledger, replace(failed(third), kept=(Kept("l", a_picture("d3")),)))
    assert await ledger.picture_totals() == (2, 123)


async def test_pictures_come_in_pages_by_digest(ledger: Ledger) -> None:
    assert await ledger.pictures(after="", limit=3) == []
    kept = [a_picture(f"d{number}", 100 + number) for number in range(7)]
    for some in (kept[4:], kept[:5]):
        await change(ledger, done(await start(ledger, a_run(n=5)), *some))
    unfinished = await start(ledger, a_run(state=RunState.KEEPING))
    await change(ledger, replace(unfinished, kept=(Kept("l", a_picture("d9")),)))
    assert await ledger.pictures(after="", limit=3) == kept[:3]
    assert await ledger.pictures(after="d2", limit=3) == kept[3:6]
    assert await ledger.pictures(after="d3x", limit=9) == kept[4:]
    assert await ledger.pictures(after="d6", limit=3) == []


# --- retention ------------------------------------------------------------------------------------


async def test_old_jobs_of_final_runs_are_pruned(ledger: Ledger) -> None:
    live, final = await start(ledger, a_run()), await start(ledger, a_run())
    old_live, old, new = a_job(live), a_job(final), a_job(final, created_at=NOW + 50)
    await write(ledger, jobs=(old_live, old, new))
    await change(ledger, done(final, a_picture()))
    assert await ledger.prune(older(jobs=NOW + 50, accounts=0), limit=100) == 2
    assert await ledger.job(old.id) is None
    assert await ledger.job(new.id) is not None
    assert await ledger.job(old_live.id) is not None
    assert await run_of(ledger, final.id) is not None
    assert await ledger.violations() == []


async def test_old_short_accounts_that_hold_nothing_are_pruned(ledger: Ledger) -> None:
    final, live = a_run(), a_run(created_at=NOW - 7200, deadline_at=NOW)
    await start(ledger, final)
    await start(ledger, live)
    await change(ledger, done(final, a_picture()))
    before = windows().hour + 1
    assert await ledger.prune(older(jobs=0, accounts=before), limit=100) == 1
    assert await ledger.prune(older(jobs=0, accounts=before), limit=100) == 0
    hour = key_of("alpha", Window.HOUR, windows().hour)
    made = await ledger.accounts([hour])
    assert made == {hour: Account(hour, spent=Amounts(PRICE, 1, 1))}  # again, of the runs
    assert await ledger.violations() == []


async def test_pruning_is_bounded_and_takes_the_oldest(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    jobs = [a_job(run, created_at=NOW - age) for age in range(1, 11)]
    minutes = [Account(key_of("t", Window.MINUTE, n), Amounts(runs=1)) for n in range(7)]
    await write(ledger, jobs=tuple(jobs), accounts=tuple(minutes))
    await change(ledger, failed(run))
    assert await ledger.prune(older(jobs=NOW, accounts=100), limit=4) == 8
    left = [job.id for job in jobs if await ledger.job(job.id)]
    assert left == [job.id for job in jobs[:6]]
    assert await ledger.prune(older(jobs=NOW, accounts=100), limit=4) == 7
    assert await ledger.prune(older(jobs=NOW, accounts=100), limit=4) == 2
    assert await ledger.prune(older(jobs=NOW, accounts=100), limit=4) == 0


async def test_pruning_goes_on_beyond_one_hop(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    await write(ledger, jobs=tuple(a_job(run, created_at=NOW - 9) for _ in range(1200)))
    await change(ledger, failed(run))
    assert await ledger.prune(older(jobs=NOW - 8, accounts=0), limit=1100) == 1100
    assert await ledger.prune(older(jobs=NOW - 8, accounts=0), limit=1100) == 100


# --- opening and closing --------------------------------------------------------------------------


async def test_everything_survives_a_reopening_but_leases_of_one_process(
    backend: Backend,
) -> None:
    ledger = await backend.again()
    kept = a_run(id="run-kept", lease_owner="gone", lease_until=NOW + 99)
    job = a_job(kept)
    await start(ledger, kept, job)
    other = await start(ledger, a_run())
    await change(ledger, done(other, a_picture()))
    before = (await ledger.usage(), await ledger.run_counts(), await ledger.picture_totals())
    accounts = await ledger.accounts(keys_of(kept))
    ledger = await backend.again()
    free = replace(kept, lease_owner=None, lease_until=0.0)
    assert await ledger.job(job.id) == (job, kept if backend.is_shared else free)
    assert before == (
        await ledger.usage(),
        await ledger.run_counts(),
        await ledger.picture_totals(),
    )
    assert await ledger.accounts(keys_of(kept)) == accounts
    early = await ledger.lease("new", now=NOW, until=NOW + 1, limit=9)
    late = await ledger.lease("new", now=NOW + 99, until=NOW + 100, limit=9)
    assert [[run.id for run in runs] for runs in (early, late)] == [
        [] if backend.is_shared else [kept.id],
        [kept.id],
    ]
    assert await ledger.violations() == []


async def test_closing_finishes_what_is_under_way(backend: Backend) -> None:
    ledger = await backend.again()
    runs = [a_run() for _ in range(200)]
    tasks = [asyncio.create_task(start(ledger, run)) for run in runs]
    await asyncio.sleep(0)
    await ledger.close()
    await asyncio.gather(*tasks)
    ledger = await backend.again()
    assert [await run_of(ledger, run.id) for run in runs] == runs


async def test_a_closed_ledger_is_unavailable_and_closes_again(ledger: Ledger) -> None:
    await ledger.close()
    await ledger.close()
    with pytest.raises(Unavailable):
        await start(ledger, a_run())
    with pytest.raises(Unavailable):
        await ledger.job("x")
    with pytest.raises(Unavailable):
        await ledger.lease("w", now=NOW, until=NOW, limit=1)


# --- the audit ----------------------------------------------------------------------------------


async def test_a_ledger_that_was_used_adds_up(ledger: Ledger) -> None:
    for number in range(12):
        run = await start(ledger, a_run(n=2, created_at=NOW + 40 * number))
        if number % 4 == 0:
            await change(ledger, done(run, a_picture(f"d{number}"), a_picture("d")))
        elif number % 4 == 1:
            await change(ledger, failed(run))
        elif number % 4 == 2:
            await change(ledger, failed(run, spent=run.hold))
    assert await ledger.violations() == []


async def test_an_account_that_differs_from_its_runs_is_found(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    key = key_of("alpha", Window.MONTH, run.windows.month)
    await write(ledger, accounts=(Account(key, spent=Amounts(PRICE, 1, 1)),))
    (violation,) = await ledger.violations()
    assert violation == Violation(
        Invariant.ACCOUNTS,
        f"The month account of team alpha from {run.windows.month} has"
        " 0.000000 USD, 0 pictures, 0 runs held and 0.013000 USD, 1 pictures, 1 runs spent,"
        " but its runs have 0.013000 USD, 1 pictures, 1 runs held"
        " and 0.000000 USD, 0 pictures, 0 runs spent.",
    )


@pytest.mark.parametrize("window", Window)
async def test_an_account_without_runs_is_found(ledger: Ledger, window: Window) -> None:
    account = Account(key_of("alpha", window, 0), held=Amounts(1, 0, 0))
    await write(ledger, accounts=(account,))
    (violation,) = await ledger.violations()
    told = f"The {window} account of team alpha from 0 has 0.000001 USD"
    assert violation.sentence.startswith(told)


async def test_runs_without_accounts_are_found_where_pruning_does_not_explain_it(
    ledger: Ledger,
) -> None:
    live, final = a_run(), failed(a_run(team="beta"), spent=Amounts(5, 0, 1))
    await write(
        ledger,
        runs=(live, final),
        usage=(
            usage("alpha", live.model, live.windows.day, started=1),
            usage(
                "beta",
                live.model,
                live.windows.day,
                started=1,
                failed=1,
                spent_usd_micros=5,
                spent_failed_usd_micros=5,
            ),
        ),
        steps=(now_is(live), now_is(final)),
    )
    accounts = sorted(one.sentence.split(" from")[0] for one in await ledger.violations())
    assert accounts == sorted(
        [f"The {window} account of team alpha" for window in Window]
        + [f"The {w} account of team beta" for w in Window if w not in ("minute", "hour")]
    )


async def test_a_forgotten_run_is_found(ledger: Ledger, clock: Clock) -> None:
    waiting = await start(ledger, a_run())
    running = await start(ledger, a_run(state=RunState.RUNNING, accepted_at=NOW + 10))
    keeping = await start(
        ledger,
        a_run(
            state=RunState.KEEPING,
            upstream_task_id="task-1",
            accepted_at=NOW,
            upstream_finished_at=NOW + 99,
        ),
    )
    said = []
    for at in (900, 86_400 + 10, 86_400 + 99):
        clock.now = NOW + at + 3600
        said.append(len(await ledger.violations()))
        clock.now += 1
        said.append(len(await ledger.violations()))
    assert said == [0, 1, 1, 2, 2, 3]
    assert await ledger.violations() == [
        Violation(Invariant.IN_TIME, sentence)
        for sentence in (
            f"Run {waiting.id} is still submitting, though it had to end by {NOW + 900:.0f}.",
            f"Run {running.id} is still running, though it had to end by {NOW + 86_410:.0f}.",
            f"Run {keeping.id} is still keeping, though it had to end by {NOW + 86_499:.0f}.",
        )
    ]


async def test_usage_that_differs_from_the_runs_is_found(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    await change(ledger, done(run, a_picture()))
    day = run.windows.day
    await write(ledger, usage=(usage("alpha", run.model, day, failed=1, spent_usd_micros=2),))
    await write(ledger, usage=(usage("beta", "m", 5, images_generated=4),))
    assert await ledger.violations() == [
        Violation(Invariant.USAGE, sentence)
        for sentence in (
            f"The usage of team alpha and model {run.model} on day {day} says"
            " 1 started, 1 failed, 1 pictures, 0.013002 USD spent, but the runs say"
            " 1 started, 0 failed, 1 pictures, 0.013000 USD spent.",
            "The usage of team beta and model m on day 5 says"
            " 0 started, 0 failed, 4 pictures, 0.000000 USD spent, but the runs say"
            " 0 started, 0 failed, 0 pictures, 0.000000 USD spent.",
        )
    ]


async def test_a_run_without_usage_is_found(ledger: Ledger) -> None:
    run = failed(a_run())
    await write(ledger, runs=(run,), steps=(now_is(run),))
    (violation,) = await ledger.violations()
    assert violation.invariant is Invariant.USAGE
    assert "0 started" in violation.sentence
    assert "the runs say 1 started" in violation.sentence


async def test_a_done_run_with_too_few_pictures_is_found(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    await change(ledger, replace(done(run, a_picture()), links=("a", "b", "c")))
    assert await ledger.violations() == [
        Violation(
            Invariant.ALL_KEPT, f"Run {run.id} is done with 1 kept pictures for 3 result links."
        )
    ]


async def test_zero_accounts_do_not_count_as_missing(ledger: Ledger) -> None:
    run = failed(a_run())
    accounts = tuple(zeros(run).values())
    await write(
        ledger,
        runs=(run,),
        accounts=accounts,
        usage=(usage("alpha", run.model, run.windows.day, started=1, failed=1),),
        steps=(now_is(run),),
    )
    assert await ledger.violations() == []


# --- a failed run is tried again -----------------------------------------------------------------


async def test_a_failed_run_goes_back_to_keeping_and_the_books_follow(ledger: Ledger) -> None:
    run = a_run(state=RunState.KEEPING, upstream_task_id="task-1", accepted_at=NOW)
    job = a_job(run)
    await start(ledger, run, job)
    lost = Failure(FailureKind.RESULT_LOST, "result_lost", "lost")
    gone = replace(
        run, state=RunState.FAILED, failure=lost, hold=NOTHING, spent=run.hold, finished_at=NOW
    )
    await change(ledger, gone)
    again = replace(gone, state=RunState.KEEPING, failure=None, finished_at=None)
    await change(ledger, again)
    assert [usage.failed for usage in await ledger.usage()] == [0]
    assert (await ledger.tasks(run.team, states=[RunState.KEEPING], page=1, page_size=9))[1] == 1
    assert [one.id for one in await ledger.lease("w", now=NOW + 99, until=NOW + 199, limit=9)] == [
        run.id
    ]
    await change(ledger, replace(done(again, a_picture("d1")), spent=gone.spent))
    (usage_,) = await ledger.usage()
    assert (usage_.failed, usage_.spent_usd_micros) == (0, gone.spent.usd_micros)
    found = await ledger.job(job.id)
    assert found is not None and found[1].state is RunState.DONE
    assert list(await ledger.violations()) == []


# --- what others are answered from ---------------------------------------------------------------


async def test_the_newest_ending_that_counts_as_spent_is_seen(ledger: Ledger) -> None:
    ended: dict[str, Any] = {"state": RunState.FAILED, "fingerprint": "f", "hold": NOTHING}
    spent = {"spent": Amounts(0, 1, 1), **ended}  # also where a picture costs nothing
    old, new = (a_run(finished_at=NOW + at, **spent) for at in (1, 2))
    others = (
        a_run(finished_at=NOW + 3, **ended, spent=Amounts(runs=1)),
        a_run(finished_at=NOW + 3, **spent, shared=False),
        a_run(finished_at=NOW + 3, **{**spent, "fingerprint": "another"}),
    )
    await write(ledger, runs=(new, old, *others))
    assert (await look(ledger, fingerprint="f")).lost == new
    assert (await look(ledger, fingerprint="nowhere")).lost is None


async def test_a_run_takes_its_place_back_in_the_same_write(ledger: Ledger) -> None:
    first, second = (
        a_run(fingerprint="f", shared=False, superseded=True, created_at=NOW + at) for at in (0, 1)
    )
    newest = a_run(fingerprint="f", created_at=NOW + 2)
    done = a_run(fingerprint="f", shared=False, superseded=True, created_at=NOW + 3)
    done = replace(done, state=RunState.DONE, hold=NOTHING, finished_at=NOW + 4)
    await write(ledger, runs=(first, second, newest, done))
    view = await look(ledger, fingerprint="f")
    assert (view.live, view.superseded) == (newest, second)
    failed = replace(newest, state=RunState.FAILED, hold=NOTHING, finished_at=NOW + 5)
    back = replace(second, shared=True, superseded=False)
    await write(ledger, runs=(back, failed))
    view = await look(ledger, fingerprint="f")
    assert (view.live, view.superseded) == (back, first)


async def test_ends_that_no_run_tells_of_are_found(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    await change(ledger, done(run, a_picture()))
    assert await ledger.violations() == []
    more = Usage(run.team, run.model, run.windows.day, done=1, spent_failed_usd_micros=5)
    await write(ledger, usage=(more,))
    (found,) = await ledger.violations()
    assert found.invariant is Invariant.USAGE
    assert "2 orders done and 5 micro-dollars" in found.sentence


async def test_bypasses_that_no_run_tells_of_are_found(ledger: Ledger) -> None:
    run = await start(ledger, a_run(bypassed=True))
    await change(ledger, done(run, a_picture()))
    assert await ledger.violations() == []
    more = Usage(run.team, run.model, run.windows.day, bypassed=1, spent_bypassed_usd_micros=5)
    await write(ledger, usage=(more,))
    (found,) = await ledger.violations()
    assert found.invariant is Invariant.USAGE and "2 bypasses for" in found.sentence
