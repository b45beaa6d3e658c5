"""What the port `Ledger` promises of callbacks, and of turns between teams; on every ledger."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace

import pytest
from ledger_backends import Backend, Clock
from ledger_builders import (
    NOW,
    a_delivery,
    a_job,
    a_picture,
    a_run,
    change,
    done,
    ended,
    failed,
    look,
    older,
    run_of,
    start,
    write,
)

from gateway.core.model import Delivery, DeliveryState, Job, RunState, Verdict
from gateway.core.transaction import ConstraintViolation
from gateway.errors import Unavailable
from gateway.ports.ledger import DeliveryFilter, Ledger

HOOK = "https://client.test/hook"


async def a_job_there(ledger: Ledger, team: str = "alpha") -> Job:
    run = a_run(team=team)
    job = a_job(run)
    await start(ledger, run, job)
    return job


async def pending(ledger: Ledger, *due: float, team: str = "alpha") -> list[Delivery]:
    jobs = [await a_job_there(ledger, team) for _ in due]
    rows = [a_delivery(job, due_at=at) for job, at in zip(jobs, due, strict=True)]
    await write(ledger, deliveries=tuple(rows))
    return rows


# --- who is owed a callback ----------------------------------------------------------------------


async def test_the_view_shows_the_jobs_of_a_run_that_want_a_callback(ledger: Ledger) -> None:
    run, other = a_run(), a_run()
    wanting = [a_job(run, callback_url=HOOK, created_at=NOW + n) for n in (5, 1)]
    joined = a_job(run, Verdict.JOINED, team="beta", callback_url=HOOK, created_at=NOW + 3)
    await start(ledger, run, *wanting, joined, a_job(run))
    await start(ledger, other, a_job(other, callback_url=HOOK))
    view = await look(ledger, run_id=run.id)
    assert view.owed == (wanting[1], joined, wanting[0])
    assert (await look(ledger, fingerprint=run.fingerprint)).owed == ()
    assert (await look(ledger, run_id="nowhere")).owed == ()


async def test_a_pruned_job_is_owed_nothing(ledger: Ledger) -> None:
    run = a_run()
    old, new = (a_job(run, callback_url=HOOK, created_at=NOW + n) for n in (0, 50))
    await start(ledger, run, old, new)
    await change(ledger, failed(run))
    assert await ledger.prune(older(jobs=NOW + 9), limit=9) == 1
    assert (await look(ledger, run_id=run.id)).owed == (new,)


# --- the outbox ----------------------------------------------------------------------------------


async def test_a_delivery_comes_back_whole(ledger: Ledger) -> None:
    job = await a_job_there(ledger)
    sparse = a_delivery(job)
    full = replace(
        ended(sparse, DeliveryState.FAILED),
        id="whole",
        team="beta",
        due_at=NOW + 0.25,
        status=503,
        error="ü ?",
        lease_owner="worker",
        lease_until=NOW + 60,
        body='{"said":"ü ?"}',
    )
    await write(ledger, deliveries=(sparse, full))
    assert await ledger.delivery(sparse.id) == sparse
    assert await ledger.delivery("whole") == full
    assert await ledger.delivery("nowhere") is None
    assert all(getattr(full, one.name) != one.default for one in fields(Delivery))


async def test_a_delivery_is_replaced_as_a_whole(ledger: Ledger) -> None:
    (one,) = await pending(ledger, NOW)
    after = ended(replace(one, status=200, attempts=2))
    await write(ledger, deliveries=(after,))
    assert await ledger.delivery(one.id) == after
    assert await ledger.next_delivery_due() is None
    assert await ledger.lease_deliveries("w", now=NOW + 9, until=NOW + 99, limit=9) == []
    again = replace(after, state=DeliveryState.PENDING, ended_at=None, due_at=NOW + 7)
    await write(ledger, deliveries=(again,))
    assert await ledger.next_delivery_due() == NOW + 7


async def test_a_wrong_delivery_is_refused_whole(ledger: Ledger) -> None:
    job, run = await a_job_there(ledger), a_run()
    good = a_delivery(job)
    for wrong in (
        a_delivery(a_job(run)),
        replace(good, id="x", attempts=-1),
        replace(good, id="x", state=DeliveryState.FAILED),
    ):
        with pytest.raises(ConstraintViolation):
            await write(ledger, runs=(run,), deliveries=(good, wrong))
    assert await ledger.delivery(good.id) is None
    assert await run_of(ledger, run.id) is None
    assert await ledger.next_delivery_due() is None


async def test_the_history_is_newest_first_and_filtered(ledger: Ledger) -> None:
    jobs = [await a_job_there(ledger, team) for team in ("alpha", "beta", "alpha")]
    rows = [
        a_delivery(job, id=f"d{n}", created_at=NOW + n // 2) for n, job in enumerate((*jobs, *jobs))
    ]
    await write(ledger, deliveries=tuple(rows))

    async def ids(team: str | None, job_id: str | None, limit: int = 9) -> str:
        found = await ledger.deliveries(DeliveryFilter(team, job_id), after=None, limit=limit)
        return " ".join(one.id for one in found)

    assert await ids(None, None) == "d5 d4 d3 d2 d1 d0"
    assert await ids(None, None, 2) == "d5 d4"
    assert await ids("alpha", None) == "d5 d3 d2 d0"
    assert await ids(None, jobs[0].id) == "d3 d0"
    assert await ids("alpha", jobs[0].id, 1) == "d3"
    assert await ids("beta", jobs[0].id) == ""
    assert await ledger.deliveries(DeliveryFilter(team="beta"), after=None, limit=1) == [rows[4]]


# --- leases of callbacks -------------------------------------------------------------------------


async def test_a_lease_takes_the_longest_due_callbacks_first(ledger: Ledger) -> None:
    rows = await pending(ledger, NOW - 5, NOW - 50, NOW - 20, NOW, NOW + 1)
    taken = await ledger.lease_deliveries("w1", now=NOW, until=NOW + 60, limit=3)
    expected = [replace(rows[n], lease_owner="w1", lease_until=NOW + 60) for n in (1, 2, 0)]
    assert taken == expected
    assert [await ledger.delivery(one.id) for one in taken] == expected
    rest = await ledger.lease_deliveries("w2", now=NOW, until=NOW + 60, limit=9)
    assert [one.id for one in rest] == [rows[3].id]
    assert await ledger.lease_deliveries("w2", now=NOW + 59, until=NOW + 60, limit=9) == [
        replace(rows[4], lease_owner="w2", lease_until=NOW + 60)
    ]
    late = await ledger.lease_deliveries("w3", now=NOW + 60, until=NOW + 90, limit=9)
    assert len(late) == 5


async def test_two_owners_never_get_the_same_callback(ledger: Ledger) -> None:
    rows = await pending(ledger, *([NOW] * 40))
    taken = await asyncio.gather(
        *(ledger.lease_deliveries(f"w{n}", now=NOW, until=NOW + 60, limit=3) for n in range(20))
    )
    assert sorted(one.id for part in taken for one in part) == sorted(one.id for one in rows)


async def test_the_next_callback_is_due_when_it_can_be_leased(ledger: Ledger) -> None:
    assert await ledger.next_delivery_due() is None
    (one,) = await pending(ledger, NOW - 5)
    assert await ledger.next_delivery_due() == NOW - 5
    await ledger.lease_deliveries("w", now=NOW, until=NOW + 60, limit=1)
    assert await ledger.next_delivery_due() == NOW + 60
    await pending(ledger, NOW + 30)
    assert await ledger.next_delivery_due() == NOW + 30
    assert one.lease_owner is None


async def test_leases_of_callbacks_of_one_process_are_void_after_a_reopening(
    backend: Backend,
) -> None:
    ledger = await backend.again()
    (one,) = await pending(ledger, NOW)
    [leased] = await ledger.lease_deliveries("gone", now=NOW, until=NOW + 99, limit=1)
    ledger = await backend.again()
    assert await ledger.delivery(one.id) == (leased if backend.is_shared else one)
    early = await ledger.lease_deliveries("new", now=NOW, until=NOW + 1, limit=9)
    late = await ledger.lease_deliveries("new", now=NOW + 99, until=NOW + 100, limit=9)
    assert (len(early), len(late)) == (0 if backend.is_shared else 1, 1)
    await ledger.close()
    with pytest.raises(Unavailable):
        await ledger.lease_deliveries("w", now=NOW, until=NOW, limit=1)
    with pytest.raises(Unavailable):
        await ledger.deliveries(DeliveryFilter(), after=None, limit=1)


# --- turns ---------------------------------------------------------------------------------------


async def test_teams_take_turns_when_more_runs_are_due_than_fit(ledger: Ledger) -> None:
    for n in range(20):
        await start(ledger, a_run(team="many", due_at=NOW - 100 + n))
    for team, due in (("few", NOW - 9), ("few", NOW - 8), ("one", NOW - 1)):
        await start(ledger, a_run(team=team, due_at=due))
    taken = await ledger.lease("w", now=NOW, until=NOW + 60, limit=6)
    assert [(run.team, run.due_at - NOW) for run in taken] == [
        ("many", -100),
        ("many", -99),
        ("many", -98),
        ("few", -9),
        ("few", -8),
        ("one", -1),
    ]


async def test_what_a_team_has_in_hand_counts_in_its_turn(ledger: Ledger) -> None:
    """So that turns are fair also to a worker that has room for one run at a time."""
    for n in range(4):
        await start(ledger, a_run(team="many", due_at=NOW - 100 + n))
    for n in range(2):
        await start(ledger, a_run(team="few", due_at=NOW - 5 + n))
    taken = [await ledger.lease("w", now=NOW, until=NOW + 60, limit=1) for _ in range(6)]
    teams = [run.team for (run,) in taken]
    assert teams == ["many", "few", "many", "few", "many", "many"]


async def test_leases_that_ran_out_are_not_in_hand(ledger: Ledger) -> None:
    for n in range(3):
        await start(ledger, a_run(team="many", due_at=NOW - 100 + n))
    await ledger.lease("gone", now=NOW, until=NOW + 10, limit=3)
    await start(ledger, a_run(team="few", due_at=NOW - 1))
    (first,) = await ledger.lease("w", now=NOW + 10, until=NOW + 60, limit=1)
    assert first.team == "many"


async def test_callbacks_take_turns_too(ledger: Ledger) -> None:
    await pending(ledger, *(NOW - 50 + n for n in range(8)), team="many")
    await pending(ledger, NOW - 2, NOW - 1, team="few")
    teams = []
    for limit in (1, 3, 6):
        taken = await ledger.lease_deliveries("w", now=NOW, until=NOW + 60, limit=limit)
        teams.append(sorted(one.team for one in taken))
    assert teams == [["many"], ["few", "few", "many"], ["many"] * 6]


async def test_no_team_has_more_than_its_share_in_hand(ledger: Ledger) -> None:
    rows = await pending(ledger, *(NOW - 50 + n for n in range(8)), team="many")
    await pending(ledger, NOW - 2, NOW - 1, team="few")

    async def leased(now: float) -> list[str]:
        taken = await ledger.lease_deliveries("w", now=now, until=now + 60, limit=9, share=3)
        return [one.team for one in taken]

    assert await leased(NOW) == ["many"] * 3 + ["few"] * 2
    assert await leased(NOW) == []
    assert await ledger.next_delivery_due() == rows[3].due_at
    await write(ledger, deliveries=(ended(rows[1]),))
    assert await leased(NOW) == ["many"]
    assert await leased(NOW + 60) == ["many"] * 3 + ["few"] * 2


async def test_alerts_have_a_share_of_their_own(ledger: Ledger) -> None:
    await pending(ledger, *([NOW - 50] * 4), team="many")
    alerts = [
        Delivery(f"alert_{n}", None, "many", HOOK, created_at=NOW, due_at=NOW - n, body="{}")
        for n in range(3)
    ]
    await write(ledger, deliveries=tuple(alerts))
    for expected in (["alert_1", "alert_2"], []):
        taken = await ledger.lease_deliveries("w", now=NOW, until=NOW + 60, limit=9, share=2)
        assert sorted(one.id for one in taken if one.job_id is None) == expected
        assert len(taken) == 2 * len(expected)


# --- retention -----------------------------------------------------------------------------------


async def test_ended_callbacks_go_with_their_jobs_and_pending_ones_stay(ledger: Ledger) -> None:
    runs = [a_run(state=RunState.RUNNING, accepted_at=NOW) for _ in range(3)]
    jobs = [a_job(run, callback_url=HOOK) for run in runs]
    for run, job in zip(runs, jobs, strict=True):
        await start(ledger, run, job)
        await change(ledger, done(run, a_picture()))
    rows = [a_delivery(job) for job in jobs]
    states = (ended(rows[0]), ended(rows[1], DeliveryState.FAILED), rows[2])
    await write(ledger, deliveries=states)
    assert await ledger.prune(older(jobs=NOW + 1), limit=9) == 2
    assert [await ledger.job(job.id) is None for job in jobs] == [True, True, False]
    assert await ledger.deliveries(DeliveryFilter(), after=None, limit=9) == [rows[2]]
    assert await ledger.violations() == []
    await write(ledger, deliveries=(ended(rows[2]),))
    assert await ledger.prune(older(jobs=NOW + 1), limit=9) == 1
    assert await ledger.deliveries(DeliveryFilter(), after=None, limit=9) == []


# --- the audit -----------------------------------------------------------------------------------


async def test_a_job_that_was_never_called_back_is_found(ledger: Ledger) -> None:
    finished = await start(ledger, run := a_run(), kept := a_job(run, callback_url=HOOK))
    charged = a_run(state=RunState.RUNNING, accepted_at=NOW, told_at=NOW)
    refused = await start(ledger, run := a_run(), a_job(run, callback_url=HOOK))
    await start(ledger, charged, broken := a_job(charged, callback_url=HOOK))
    assert await ledger.violations() == []
    await change(ledger, done(finished, a_picture()))
    await change(ledger, failed(charged))
    await change(ledger, failed(refused))  # its caller got the error itself, and no task id
    expected = [
        f"Job {job.id} wants a callback for run {run_id}, which is {state}, and none is owed."
        for job, run_id, state in ((kept, finished.id, "done"), (broken, charged.id, "failed"))
    ]
    assert [one.sentence for one in await ledger.violations()] == sorted(expected)
    await write(ledger, deliveries=(ended(a_delivery(kept)), a_delivery(broken)))
    assert await ledger.violations() == []


async def test_a_callback_that_nobody_makes_is_found(ledger: Ledger, clock: Clock) -> None:
    (one, other) = await pending(ledger, NOW, NOW + 9)
    await write(ledger, deliveries=(ended(other),))
    clock.now = NOW + 86_400
    late = "is still submitting"
    assert [one.sentence for one in await ledger.violations() if late not in one.sentence] == []
    clock.now += 1
    assert [one.sentence for one in await ledger.violations() if late not in one.sentence] == [
        f"The callback {one.id} of job {one.job_id} is still pending; it was due {NOW:.0f}."
    ]
