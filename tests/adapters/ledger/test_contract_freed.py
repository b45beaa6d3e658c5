"""What the port `Ledger` promises for keys that are free again, and for tasks of one model."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from ledger_builders import a_claim, a_job, a_run, look, run_of, start, write

from gateway.core.model import RunState
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.ports.ledger import Ledger

ALL = tuple(RunState)


async def test_a_freed_claim_gives_way_to_another(ledger: Ledger) -> None:
    former = a_claim("alpha", "k")
    latter = replace(former, job_id="another", digest="e" * 64)
    foreign = a_claim("beta", "k")
    await write(ledger, claims=(former, foreign))
    await write(ledger, freed=(former,), claims=(latter,))
    assert (await look(ledger, claim=("alpha", "k"))).claim == latter
    assert (await look(ledger, claim=("beta", "k"))).claim == foreign


async def test_a_claim_that_has_changed_hands_is_not_freed(ledger: Ledger) -> None:
    """Whoever decided on an older claim is refused, as if it had freed nothing."""
    former = a_claim("alpha", "k")
    latter, late = replace(former, job_id="latter"), replace(former, job_id="late")
    await write(ledger, claims=(latter,))
    run = a_run()
    with pytest.raises(ConstraintViolation):
        await write(ledger, runs=(run,), jobs=(a_job(run),), freed=(former,), claims=(late,))
    assert (await look(ledger, claim=("alpha", "k"))).claim == latter
    assert await run_of(ledger, run.id) is None
    await write(ledger, freed=(former,))
    assert (await look(ledger, claim=("alpha", "k"))).claim == latter


async def test_a_refused_write_frees_nothing(ledger: Ledger) -> None:
    claim = a_claim("alpha", "k")
    await write(ledger, claims=(claim, a_claim("alpha", "taken")))
    with pytest.raises(ConstraintViolation):
        await write(ledger, freed=(claim,), claims=(a_claim("alpha", "taken"),))
    assert (await look(ledger, claim=("alpha", "k"))).claim == claim


async def test_one_of_many_at_once_takes_a_free_key_over(ledger: Ledger) -> None:
    former = a_claim("alpha", "k")
    await write(ledger, claims=(former,))

    def decide(number: int, view: View) -> tuple[str, Writes]:
        assert view.claim is not None
        if view.claim != former:
            return view.claim.job_id, Writes()
        latter = replace(former, job_id=f"job-{number}")
        return latter.job_id, Writes(freed=(former,), claims=(latter,))

    keys = Keys(claim=("alpha", "k"))
    answers = await asyncio.gather(
        *(ledger.transact(keys, lambda view, n=n: decide(n, view)) for n in range(40))
    )
    assert len(set(answers)) == 1


async def test_tasks_of_one_model(ledger: Ledger) -> None:
    jobs = {}
    for number, model in enumerate(("one", "two", "one")):
        run = a_run(model=model, created_at=1e9 + number)
        job = jobs[number] = a_job(run)
        await start(ledger, run, job)
    found, total = await ledger.tasks("alpha", states=ALL, page=1, page_size=1, model="one")
    assert ([job.id for job, _ in found], total) == ([jobs[2].id], 2)
    found, total = await ledger.tasks("alpha", states=ALL, page=2, page_size=1, model="one")
    assert ([job.id for job, _ in found], total) == ([jobs[0].id], 2)
    for team, states, model in (
        ("alpha", ALL, "three"),
        ("beta", ALL, "one"),
        ("alpha", (RunState.DONE,), "one"),
    ):
        assert await ledger.tasks(team, states=states, page=1, page_size=9, model=model) == ([], 0)
