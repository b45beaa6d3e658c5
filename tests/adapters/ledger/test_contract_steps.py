"""Contract: a run's steps are numbered from 1 without a gap, and never very many."""

from __future__ import annotations

from dataclasses import replace

from ledger_backends import Backend
from ledger_builders import NOW, a_run, start, write

from gateway.core.runs.history import MOST_STEPS, STEPS_AT_ITS_END, Step, begun
from gateway.ports.ledger import Ledger


async def tell(ledger: Ledger, *steps: Step) -> None:
    await write(ledger, steps=steps)


async def test_the_ledger_gives_the_next_number(ledger: Ledger, backend: Backend) -> None:
    one, other = a_run(), a_run()
    for run in (one, other):
        await start(ledger, run, told=False)
        await tell(ledger, begun(run))
    again = replace(begun(one), at=NOW + 1, event="Accepted", before="submitting", after="running")
    await tell(ledger, again, replace(again, event="Finished", after="keeping", detail="ü"))
    expected = [replace(begun(one), number=1), replace(again, number=2)]
    expected.append(replace(again, number=3, event="Finished", after="keeping", detail="ü"))
    assert list(await ledger.steps(one.id)) == expected
    assert [step.number for step in await ledger.steps(other.id)] == [1]
    assert list(await ledger.steps("run-none")) == []
    reopened = await backend.again()
    assert list(await reopened.steps(one.id)) == expected


async def test_a_run_that_has_told_enough_still_tells_its_end(ledger: Ledger) -> None:
    run = a_run()
    await start(ledger, run, told=False)
    away = replace(begun(run), event="Unreachable", before="running", after="running")
    for _ in range(MOST_STEPS + 10):
        await tell(ledger, away)
    await tell(ledger, replace(away, event="DeadlinePassed", after="failed"))
    steps = await ledger.steps(run.id)
    assert [step.number for step in steps] == list(range(1, MOST_STEPS - STEPS_AT_ITS_END + 2))
    assert steps[-1].event == "DeadlinePassed"
