"""What the port `Ledger` promises to client programs: keys, tasks, uploads; on every ledger."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace

import pytest
from ledger_backends import Backend
from ledger_builders import (
    NOW,
    a_claim,
    a_job,
    a_picture,
    a_run,
    an_upload,
    change,
    done,
    failed,
    look,
    older,
    run_of,
    start,
    usage,
    write,
)

from gateway.core.model import FINAL_STATES, LIVE_STATES, Run, RunState, Upload, Verdict
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.ports.ledger import Ledger

ALL = tuple(RunState)

# --- idempotency keys ----------------------------------------------------------------------------


async def test_a_claim_comes_back_to_its_team_alone(ledger: Ledger) -> None:
    claim = a_claim("alpha", "key-ü")
    await write(ledger, claims=(claim, a_claim("beta", "key-ü")))
    assert await look(ledger, claim=("alpha", "key-ü")) == View(claim=claim)
    assert await look(ledger, claim=("gamma", "key-ü")) == View()
    assert await look(ledger, claim=("alpha", "KEY-ü")) == View()


async def test_a_second_claim_is_refused_whole(ledger: Ledger) -> None:
    first, run = a_claim("alpha", "k"), a_run()
    await write(ledger, claims=(first,))
    for second in (replace(first, digest="other"), first):
        with pytest.raises(ConstraintViolation):
            await write(ledger, runs=(run,), jobs=(a_job(run),), claims=(second,))
    assert (await look(ledger, claim=("alpha", "k"))).claim == first
    assert await run_of(ledger, run.id) is None
    with pytest.raises(ConstraintViolation):
        await write(ledger, claims=(a_claim("alpha", "twice"), a_claim("alpha", "twice")))
    assert (await look(ledger, claim=("alpha", "twice"))).claim is None


async def test_one_of_many_at_once_gets_the_key(ledger: Ledger) -> None:
    def decide(number: int, view: View) -> tuple[str, Writes]:
        if view.claim is not None:
            return view.claim.job_id, Writes()
        run = a_run()
        job = a_job(run, id=f"task-{number}")
        claim = replace(a_claim("alpha", "k"), job_id=job.id)
        return job.id, Writes(runs=(run,), jobs=(job,), claims=(claim,))

    answers = await asyncio.gather(
        *(
            ledger.transact(Keys(claim=("alpha", "k")), lambda view, n=n: decide(n, view))
            for n in range(40)
        )
    )
    assert len(set(answers)) == 1
    (_, count) = await ledger.tasks("alpha", states=ALL, page=1, page_size=1)
    assert count == 1


async def test_a_claim_outlives_its_job_and_then_is_pruned(ledger: Ledger) -> None:
    run = a_run()
    job = a_job(run)
    await start(ledger, run, job)
    claims = [replace(a_claim("alpha", f"k{n}"), job_id=job.id, created_at=NOW + n) for n in (2, 1)]
    await write(ledger, claims=tuple(claims))
    await change(ledger, failed(run))
    assert await ledger.prune(older(jobs=NOW + 1, claims=NOW + 1), limit=9) == 1
    assert await ledger.job(job.id) is None
    assert [(await look(ledger, claim=(one.team, one.key))).claim for one in claims] == claims
    assert await ledger.prune(older(claims=NOW + 9), limit=1) == 1
    assert (await look(ledger, claim=("alpha", "k1"))).claim is None
    assert (await look(ledger, claim=("alpha", "k2"))).claim == claims[0]
    await write(ledger, claims=(a_claim("alpha", "k1"),))


# --- jobs ----------------------------------------------------------------------------------------


async def test_a_job_is_written_once(ledger: Ledger) -> None:
    run = a_run()
    job = a_job(run)
    await start(ledger, run, job)
    for again in (job, replace(job, callback_url="https://client.test/hook")):
        with pytest.raises(ConstraintViolation):
            await write(ledger, jobs=(again,), usage=(usage(hits=1),))
    assert await ledger.job(job.id) == (job, run)
    assert await ledger.violations() == []


async def test_jobs_come_in_the_order_asked_and_only_the_teams_own(ledger: Ledger) -> None:
    runs = [await start(ledger, a_run(team=team)) for team in ("alpha", "alpha", "beta")]
    jobs = [a_job(run) for run in runs]
    theirs = a_job(runs[2], Verdict.JOINED, team="alpha")
    await write(ledger, jobs=(*jobs, theirs))
    asked = [theirs.id, "nowhere", jobs[2].id, jobs[1].id, jobs[0].id, theirs.id]
    assert await ledger.jobs("alpha", asked) == [
        (theirs, runs[2]),
        (jobs[1], runs[1]),
        (jobs[0], runs[0]),
    ]
    assert await ledger.jobs("gamma", asked) == []
    assert await ledger.jobs("alpha", []) == []


async def test_hundreds_of_jobs_come_at_once(ledger: Ledger) -> None:
    run = a_run()
    jobs = [a_job(run) for _ in range(250)]
    await start(ledger, run, *jobs)
    found = await ledger.jobs("alpha", [job.id for job in reversed(jobs)])
    assert [job for job, _ in found] == jobs[::-1]


# --- a team's tasks ------------------------------------------------------------------------------


async def in_state(ledger: Ledger, state: RunState, at: float, **fields: str) -> Run:
    """A run that came to this state by way of the earlier ones."""
    run = a_run(created_at=at, **fields)
    await start(ledger, run, a_job(run, id=f"task-{state}-{at:.0f}", team="alpha"))
    if state is RunState.SUBMITTING:
        return run
    running = await change(ledger, replace(run, state=RunState.RUNNING))
    if state is RunState.DONE:
        return await change(ledger, done(running, a_picture()))
    if state is RunState.FAILED:
        return await change(ledger, failed(running))
    return await change(ledger, replace(running, state=state))


async def test_tasks_are_found_by_the_state_of_their_runs(ledger: Ledger) -> None:
    runs = {state: await in_state(ledger, state, NOW + n) for n, state in enumerate(ALL)}
    for state, run in runs.items():
        tasks, count = await ledger.tasks("alpha", states=(state,), page=1, page_size=9)
        assert [(job.run_id, found) for job, found in tasks] == [(run.id, run)]
        assert count == 1
    for states in (LIVE_STATES, FINAL_STATES):
        tasks, count = await ledger.tasks("alpha", states=tuple(states), page=1, page_size=9)
        assert {run.state for _, run in tasks} == states
        assert count == len(states)
    assert await ledger.tasks("alpha", states=(), page=1, page_size=9) == ([], 0)
    assert await ledger.violations() == []


async def test_tasks_come_in_pages_newest_first(ledger: Ledger) -> None:
    ages = (5, 1, 4, 2, 2, 3)
    run = await start(ledger, a_run(team="beta"))
    jobs = [
        a_job(run, team="alpha", created_at=NOW - age, id=f"t{n}") for n, age in enumerate(ages)
    ]
    await write(ledger, jobs=tuple(jobs))
    pages = []
    for page in (1, 2, 3):
        tasks, count = await ledger.tasks("alpha", states=ALL, page=page, page_size=4)
        assert count == 6
        pages.append([job.id for job, _ in tasks])
    assert pages == [["t1", "t4", "t3", "t5"], ["t2", "t0"], []]


async def test_every_job_of_a_run_goes_on_with_it(ledger: Ledger) -> None:
    run = a_run()
    own, joined = a_job(run), a_job(run, Verdict.JOINED, team="beta")
    await start(ledger, run, own, joined)
    keeping = await change(ledger, replace(run, state=RunState.KEEPING))
    finished = await change(ledger, done(keeping, a_picture()))
    hit = a_job(finished, Verdict.HIT, team="beta", created_at=NOW + 40)
    await write(ledger, jobs=(hit,))
    tasks, count = await ledger.tasks("beta", states=(RunState.DONE,), page=1, page_size=9)
    assert (tasks, count) == ([(hit, finished), (joined, finished)], 2)
    assert await ledger.tasks("beta", states=tuple(LIVE_STATES), page=1, page_size=9) == ([], 0)


async def test_a_state_that_was_written_without_loading_its_run_counts(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    await write(ledger, runs=(replace(run, state=RunState.RUNNING),))
    _, count = await ledger.tasks("alpha", states=(RunState.RUNNING,), page=1, page_size=9)
    assert count == 1
    await change(ledger, replace(run, hold=run.hold))
    assert await ledger.violations() == []


# --- uploads -------------------------------------------------------------------------------------


async def test_an_upload_comes_back_whole_to_its_team_alone(ledger: Ledger) -> None:
    upload = an_upload(name="a ? 'ü'.png", urls=("https://f.test/1", "https://f.test/ü"))
    other = replace(upload, team="beta", digest="else")
    await write(ledger, uploads=(upload, other))
    assert await ledger.upload("alpha", upload.id) == upload
    assert await ledger.upload("beta", upload.id) == other
    assert await ledger.upload("gamma", upload.id) is None
    assert all(getattr(upload, one.name) for one in fields(Upload))


async def test_uploads_come_in_pages_while_upstream_has_them(ledger: Ledger) -> None:
    uploads = [an_upload(created_at=NOW + n % 3, expires_at=NOW + 10 * n) for n in range(1, 6)]
    await write(ledger, uploads=(*uploads, an_upload(team="beta")))
    _, two, three, four, five = uploads
    pages = [await ledger.uploads("alpha", now=NOW + 10, page=n, page_size=3) for n in (1, 2)]
    assert pages == [([five, two, four], 4), ([three], 4)]
    assert await ledger.uploads("alpha", now=NOW + 50, page=1, page_size=3) == ([], 0)
    assert await ledger.upload("alpha", uploads[0].id) == uploads[0]


async def test_the_view_shows_what_uploads_come_to_that_are_there(ledger: Ledger) -> None:
    sizes = [an_upload(size_bytes=10**n, expires_at=NOW + n) for n in (1, 2, 3)]
    await write(ledger, uploads=(*sizes, an_upload(team="beta", size_bytes=5)))
    for team, now, come_to in (
        ("alpha", NOW, 1110),
        ("alpha", NOW + 1, 1100),
        ("alpha", NOW + 3, 0),
        ("beta", NOW, 5),
        ("gamma", NOW, 0),
    ):
        assert (await look(ledger, uploads=(team, now))).uploaded_bytes == come_to
    await write(ledger, uploads=(replace(sizes[2], size_bytes=7),))
    assert (await look(ledger, uploads=("alpha", NOW))).uploaded_bytes == 117
    await ledger.forget_upload("alpha", sizes[0].id)
    assert (await look(ledger, uploads=("alpha", NOW))).uploaded_bytes == 107
    assert (await look(ledger)).uploaded_bytes == 0


async def test_of_many_uploads_at_once_no_more_pass_than_there_is_room_for(ledger: Ledger) -> None:
    """Each at a time of its own, and another team's among them."""

    def decide(team: str, view: View) -> tuple[bool, Writes]:
        if view.uploaded_bytes + 10 > 50:
            return False, Writes()
        return True, Writes(uploads=(an_upload(team=team, size_bytes=10, expires_at=NOW + 999),))

    answers = await asyncio.gather(
        *(
            ledger.transact(Keys(uploads=(team, NOW + n)), lambda view, t=team: decide(t, view))
            for n in range(20)
            for team in ("alpha", "beta")
        )
    )
    assert answers.count(True) == 10
    for team in ("alpha", "beta"):
        assert (await look(ledger, uploads=(team, NOW))).uploaded_bytes == 50


async def test_links_name_what_was_uploaded_last_under_them(ledger: Ledger) -> None:
    old = an_upload(digest="old", urls=("a", "b", "a"))
    new = an_upload(digest="new", urls=("b", "c"))
    await write(ledger, uploads=(old,))
    await write(ledger, uploads=(new, an_upload(team="beta", digest="theirs", urls=("d",))))
    asked = ["a", "b", "c", "d", "nowhere", "a"]
    assert await ledger.digests("alpha", asked) == {"a": "old", "b": "new", "c": "new"}
    assert await ledger.digests("beta", asked) == {"d": "theirs"}
    assert await ledger.digests("alpha", []) == {}


async def test_an_upload_is_replaced_with_its_links(ledger: Ledger) -> None:
    upload = an_upload(digest="one", urls=("a", "b"))
    await write(ledger, uploads=(upload,))
    await write(ledger, uploads=(replace(upload, digest="two", urls=("b", "c")),))
    assert await ledger.digests("alpha", ["a", "b", "c"]) == {"b": "two", "c": "two"}
    await write(ledger, uploads=(replace(upload, urls=()),))
    assert await ledger.digests("alpha", ["a", "b", "c"]) == {}


async def test_a_forgotten_upload_takes_its_own_links_along(ledger: Ledger) -> None:
    old, new = an_upload(digest="old", urls=("a", "b")), an_upload(digest="new", urls=("b",))
    await write(ledger, uploads=(old,))
    await write(ledger, uploads=(new, replace(old, team="beta")))
    await ledger.forget_upload("alpha", old.id)
    await ledger.forget_upload("alpha", "nowhere")
    assert await ledger.upload("alpha", old.id) is None
    assert await ledger.digests("alpha", ["a", "b"]) == {"b": "new"}
    assert await ledger.digests("beta", ["a", "b"]) == {"a": "old", "b": "old"}
    assert await ledger.violations() == []


async def test_hundreds_of_links_are_looked_up_at_once(ledger: Ledger) -> None:
    urls = [f"https://f.test/{n}" for n in range(250)]
    await write(ledger, uploads=(an_upload(digest="d", urls=tuple(urls[::2])),))
    assert await ledger.digests("alpha", urls) == dict.fromkeys(urls[::2], "d")


async def test_uploads_that_upstream_forgot_long_ago_are_pruned(ledger: Ledger) -> None:
    uploads = [an_upload(expires_at=NOW + n, urls=(f"u{n}",)) for n in (3, 1, 2)]
    await write(ledger, uploads=tuple(uploads))
    assert await ledger.prune(older(uploads=NOW + 3), limit=1) == 1
    assert await ledger.digests("alpha", ["u1", "u2", "u3"]) == dict.fromkeys(
        ("u2", "u3"), uploads[0].digest
    )
    assert await ledger.prune(older(uploads=NOW + 3), limit=9) == 1
    assert await ledger.upload("alpha", uploads[0].id) == uploads[0]
    assert await ledger.prune(older(uploads=NOW + 3), limit=9) == 0


async def test_a_file_without_bytes_left_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ConstraintViolation):
        await write(ledger, uploads=(an_upload(size_bytes=-1),))


# --- totals --------------------------------------------------------------------------------------


async def test_totals_of_all_days_are_the_sum_of_the_days(ledger: Ledger) -> None:
    days = [usage("a", "m", day, hits=day, spent_usd_micros=2 * day) for day in (1, 2, 9)]
    await write(ledger, usage=(*days, usage("b", "m", 5, joined=3)))
    await write(ledger, usage=(usage("a", "m", 2, failed=0, images_cache=4),))
    assert await ledger.usage() == await ledger.usage(since_day=0)
    assert await ledger.usage() == [
        usage("a", "m", hits=12, spent_usd_micros=24, images_cache=4),
        usage("b", "m", joined=3),
    ]


async def test_nothing_new_is_lost_by_a_reopening(backend: Backend) -> None:
    ledger = await backend.again()
    run, claim, upload = a_run(tried=("x/y",)), a_claim(), an_upload(urls=("u",))
    await start(ledger, run)
    await write(ledger, claims=(claim,), uploads=(upload,))
    ledger = await backend.again()
    assert (await look(ledger, claim=(claim.team, claim.key))).claim == claim
    assert await ledger.upload(upload.team, upload.id) == upload
    assert await ledger.digests(upload.team, ["u"]) == {"u": upload.digest}
    assert await run_of(ledger, run.id) == run
    assert (await ledger.tasks("alpha", states=ALL, page=1, page_size=1))[1] == 1
    assert await ledger.violations() == []
