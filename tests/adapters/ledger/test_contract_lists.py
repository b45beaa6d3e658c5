"""What the port `Ledger` promises of operators' lists, alerts and purges; on every ledger."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from ledger_backends import Backend
from ledger_builders import (
    NOW,
    a_delivery,
    a_job,
    a_picture,
    a_run,
    an_alert,
    change,
    done,
    ended,
    failed,
    hit_usage,
    look,
    older,
    pages,
    run_of,
    start,
    usage,
    write,
)

from gateway.core.model import DeliveryState, RunState, Verdict
from gateway.core.transaction import ConstraintViolation
from gateway.ports.ledger import DeliveryFilter, Ledger, RunFilter, UsagePart

DAY, TEAM, MODEL = UsagePart.DAY, UsagePart.TEAM, UsagePart.MODEL

pytestmark = pytest.mark.oldest

# --- runs ----------------------------------------------------------------------------------------


async def ids(ledger: Ledger, **asked: Any) -> str:
    fetch = partial(ledger.runs, RunFilter(**asked))
    return " ".join([run.id for run in await pages(fetch, lambda run: (run.created_at, run.id))])


async def test_a_run_is_read_by_its_id(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    assert await ledger.run(run.id) == run
    assert await ledger.run("nowhere") is None


async def test_runs_are_listed_by_what_they_are(ledger: Ledger) -> None:
    for n in range(6):
        route = {"upstream": "evolink", "upstream_model": "xy"[n % 2]}
        kind = {"team": "ab"[n // 3], "model": "mn"[n % 2]}
        await start(ledger, a_run(id=f"r{n}", created_at=NOW + n // 2, **route, **kind))
    await change(ledger, failed(await run_by(ledger, "r4")))
    await change(ledger, done(await run_by(ledger, "r1"), a_picture()))
    assert await ids(ledger) == "r5 r4 r3 r2 r1 r0"
    assert await ids(ledger, team="a") == "r2 r1 r0"
    assert await ids(ledger, model="m") == "r4 r2 r0"
    assert await ids(ledger, states=(RunState.FAILED, RunState.DONE)) == "r4 r1"
    assert await ids(ledger, states=(RunState.UNSURE,)) == ""
    assert await ids(ledger, route=("evolink", "y")) == "r5 r3 r1"
    assert await ids(ledger, route=("other", "y")) == ""
    assert await ids(ledger, since=NOW + 1, until=NOW + 2) == "r3 r2"
    assert await ids(ledger, team="b", model="n", states=(RunState.SUBMITTING,)) == "r5 r3"
    assert await ids(ledger, team="a", since=NOW + 1, route=("evolink", "x")) == "r2"
    newest = await ledger.runs(RunFilter(team="a"), after=None, limit=1)
    assert newest == [await ledger.run("r2")]


async def run_by(ledger: Ledger, run_id: str) -> Any:
    return await run_of(ledger, run_id)


async def test_runs_are_listed_by_the_verdicts_of_their_tasks(ledger: Ledger) -> None:
    one, two, three = [
        await start(ledger, a_run(id=f"r{n}", team=team)) for n, team in enumerate("aab")
    ]
    finished = await change(ledger, done(two, a_picture()))
    await write(ledger, jobs=(a_job(one, Verdict.JOINED), a_job(one, Verdict.JOINED)))
    for team in "aab":
        hit = a_job(finished, Verdict.HIT, team=team)
        await write(ledger, jobs=(hit,), usage=(hit_usage(hit, finished),))
    assert await ids(ledger, verdict=Verdict.STARTED) == "r2 r1 r0"
    assert await ids(ledger, verdict=Verdict.JOINED) == "r0"
    assert await ids(ledger, verdict=Verdict.HIT) == "r1"
    assert await ids(ledger, verdict=Verdict.HIT, team="b") == ""
    assert await ids(ledger, verdict=Verdict.DENIED) == ""
    assert await ids(ledger, verdict=Verdict.STARTED, team=three.team) == "r2"
    assert await ledger.violations() == []
    await ledger.prune(older(jobs=NOW + 1), limit=99)
    assert await ids(ledger, verdict=Verdict.HIT) == "r1"


async def test_a_run_tells_its_first_jobs_and_how_many_there_are(ledger: Ledger) -> None:
    run = a_run()
    jobs = [a_job(run, Verdict.JOINED, created_at=NOW + n) for n in (3, 1, 2)]
    await start(ledger, run, *jobs)
    await start(ledger, a_run())
    assert await ledger.jobs_of_run(run.id, limit=2) == ([jobs[1], jobs[2]], 3)
    assert await ledger.jobs_of_run("nowhere", limit=2) == ([], 0)


async def test_credits_are_summed_for_each_upstream(ledger: Ledger) -> None:
    for n, upstream in enumerate(("x", "x", "y")):
        run = await start(ledger, a_run(upstream=upstream))
        await change(ledger, replace(done(run, a_picture(f"d{n}")), credits_used=1.5 + n))
    await start(ledger, a_run(upstream="x"))
    await change(ledger, failed(await start(ledger, a_run(upstream="y"))))
    assert await ledger.credits("x") == (4.0, 1)
    assert await ledger.credits("y") == (3.5, 0)
    assert await ledger.credits("nowhere") == (0.0, 0)


# --- taking answers out of the cache -------------------------------------------------------------


async def test_retired_runs_answer_nobody_and_keep_their_numbers(ledger: Ledger) -> None:
    runs = [await start(ledger, a_run(id=f"r{n}", team=team)) for n, team in enumerate("baab")]
    finished = [await change(ledger, done(run, a_picture(f"d{run.id}"))) for run in runs[:3]]
    before = await ledger.usage()
    assert await ledger.retire(team="a", limit=1) == [runs[1].fingerprint]
    assert await ledger.retire(team="a", limit=9) == [runs[2].fingerprint]
    assert await ledger.retire(team="a", limit=9) == []
    assert (await look(ledger, fingerprint=runs[1].fingerprint)).finished is None
    assert await ledger.run("r1") == replace(finished[1], shared=False)
    assert (await look(ledger, fingerprint=runs[0].fingerprint)).finished == finished[0]
    assert await ledger.retire(team=None, limit=9) == [runs[0].fingerprint]
    assert (await look(ledger, fingerprint=runs[3].fingerprint)).live == runs[3]
    assert await ledger.usage() == before
    assert (await ledger.picture_totals())[0] == 3
    assert await ledger.violations() == []


async def test_many_runs_are_retired_at_once(ledger: Ledger) -> None:
    runs = tuple(done(a_run(team="a"), a_picture(f"d{n}")) for n in range(1100))
    await write(ledger, runs=runs)
    assert len(await ledger.retire(team=None, limit=1050)) == 1050
    assert len(await ledger.retire(team="a", limit=1050)) == 50


# --- alerts --------------------------------------------------------------------------------------


async def test_an_alert_is_written_once_and_goes_the_way_of_callbacks(ledger: Ledger) -> None:
    alert = an_alert(due_at=NOW - 1)
    await write(ledger, alerts=(alert,))
    assert await ledger.delivery(alert.id) == alert
    assert await ledger.next_delivery_due() == NOW - 1
    (leased,) = await ledger.lease_deliveries("w", now=NOW, until=NOW + 60, limit=9)
    assert leased == replace(alert, lease_owner="w", lease_until=NOW + 60)
    over = ended(leased)
    await write(ledger, deliveries=(over,))
    await write(ledger, alerts=(replace(alert, body="{}"),))
    assert await ledger.delivery(alert.id) == over
    assert await ledger.next_delivery_due() is None
    assert await ledger.violations() == []


async def test_an_alert_that_says_nothing_is_refused(ledger: Ledger) -> None:
    good = an_alert()
    for wrong in ({"alerts": (good, an_alert(body=None))}, {"deliveries": (an_alert(body=None),)}):
        with pytest.raises(ConstraintViolation):
            await write(ledger, **wrong)
    assert await ledger.delivery(good.id) is None


async def test_ended_alerts_are_pruned_with_the_jobs(ledger: Ledger) -> None:
    old, new, open_one = an_alert(created_at=NOW), an_alert(created_at=NOW + 5), an_alert()
    other = an_alert(created_at=NOW + 1)
    await write(ledger, alerts=(ended(old), ended(new), open_one, ended(other)))
    assert await ledger.prune(older(jobs=NOW + 5, refusals=NOW + 99), limit=1) == 1
    assert await ledger.delivery(old.id) is None
    assert await ledger.prune(older(jobs=NOW + 5), limit=9) == 1
    rest = await ledger.deliveries(DeliveryFilter(), after=None, limit=9)
    assert [one.id for one in rest] == [new.id, open_one.id]
    assert [one.id for one in await ledger.lease_deliveries("w", now=NOW, until=NOW, limit=9)] == [
        open_one.id
    ]


async def test_an_alert_that_nobody_delivers_is_found(ledger: Ledger) -> None:
    late = an_alert(due_at=NOW - 86_401)
    await write(ledger, alerts=(late, an_alert()))
    assert [one.sentence for one in await ledger.violations()] == [
        f"The alert {late.id} is still pending; it was due {late.due_at:.0f}."
    ]


async def test_callbacks_and_alerts_are_listed_by_state_and_team(ledger: Ledger) -> None:
    owner = a_run(team="a")
    await start(ledger, owner, job := a_job(owner))
    rows = [
        a_delivery(job, id="d0", created_at=NOW),
        ended(a_delivery(job, id="d1", created_at=NOW)),
        ended(a_delivery(job, id="d2", created_at=NOW + 1), DeliveryState.FAILED),
        ended(an_alert(id="d3", team="b", created_at=NOW + 1)),
        an_alert(id="d4", team="b", created_at=NOW + 2),
    ]
    await write(ledger, deliveries=tuple(rows))

    async def listed(**asked: Any) -> str:
        fetch = partial(ledger.deliveries, DeliveryFilter(**asked))
        return " ".join(
            [one.id for one in await pages(fetch, lambda one: (one.created_at, one.id))]
        )

    assert await listed() == "d4 d3 d2 d1 d0"
    assert await listed(state=DeliveryState.PENDING) == "d4 d0"
    assert await listed(state=DeliveryState.DELIVERED) == "d3 d1"
    assert await listed(state=DeliveryState.FAILED) == "d2"
    assert await listed(team="b", state=DeliveryState.DELIVERED) == "d3"
    assert await listed(job_id=job.id) == "d2 d1 d0"
    assert await listed(job_id=job.id, state=DeliveryState.PENDING, team="a") == "d0"
    assert await listed(job_id=job.id, team="b") == ""


# --- usage ---------------------------------------------------------------------------------------


async def test_usage_is_told_apart_or_summed(ledger: Ledger) -> None:
    rows = [
        usage("a", "m", 1, hits=1),
        usage("a", "n", 1, hits=2, spent_usd_micros=5),
        usage("b", "m", 1, started=3),
        usage("a", "m", 2, hits=4, joined=1),
        usage("a", "m", 3, hits=8),
    ]
    await write(ledger, usage=tuple(reversed(rows)))
    ask = partial(ledger.usage_by_day, since_day=1, until_day=3)
    assert await ask() == rows[:4]
    assert await ask(team="a", model="m") == [rows[0], rows[3]]
    assert await ask(by=(TEAM, MODEL)) == [
        usage("a", "m", hits=5, joined=1),
        usage("a", "n", hits=2, spent_usd_micros=5),
        usage("b", "m", started=3),
    ]
    assert await ask(by=(MODEL, DAY)) == [
        usage("", "m", 1, hits=1, started=3),
        usage("", "n", 1, hits=2, spent_usd_micros=5),
        usage("", "m", 2, hits=4, joined=1),
    ]
    assert await ask(by=(DAY,), team="a") == [
        usage("", "", 1, hits=3, spent_usd_micros=5),
        usage("", "", 2, hits=4, joined=1),
    ]
    assert await ask(by=()) == [usage("", "", hits=7, joined=1, started=3, spent_usd_micros=5)]
    assert await ask(by=(), team="nobody") == []
    assert await ledger.usage_by_day(since_day=4, until_day=9) == []


async def test_the_verdicts_are_there_after_a_reopening(backend: Backend) -> None:
    ledger = await backend.again()
    run = await start(ledger, a_run())
    await write(ledger, jobs=(a_job(run, Verdict.JOINED, team="beta"),))
    ledger = await backend.again()
    assert await ids(ledger, verdict=Verdict.JOINED) == run.id
    assert await ledger.violations() == []
