"""Leases of runs and callbacks: renewed, lost and given back, by one gateway and by several."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ledger_backends import Backend
from ledger_builders import NOW, a_job, a_run, change, failed, run_of, start, write

from gateway.core.delivery import owes
from gateway.core.model import Delivery, DeliveryState, RunState
from gateway.core.runs.leases import LEFT_SECONDS, stand
from gateway.ports.ledger import Ledger


async def test_whoever_has_a_run_may_have_it_for_longer(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    (taken,) = await ledger.lease("w1", now=NOW, until=NOW + 20, limit=9)
    assert await ledger.renew("w1", [run.id, "run-of-nobody"], until=NOW + 40) == [stand(taken)]
    assert not await ledger.lease("w2", now=NOW + 39, until=NOW + 60, limit=9)
    assert await run_of(ledger, run.id) == replace(taken, lease_until=NOW + 40)


async def test_a_lease_that_ran_out_is_renewed_until_another_takes_the_run(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    await ledger.lease("w1", now=NOW, until=NOW + 20, limit=9)
    assert await ledger.renew("w1", [run.id], until=NOW + 900)
    assert await ledger.renew("w1", [run.id], until=NOW + 20)
    (taken,) = await ledger.lease("w2", now=NOW + 20, until=NOW + 40, limit=9)
    assert await ledger.renew("w1", [run.id], until=NOW + 900) == []
    assert await run_of(ledger, run.id) == taken


async def test_a_renewal_tells_where_the_run_stands_now(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    (taken,) = await ledger.lease("w1", now=NOW, until=NOW + 20, limit=9)
    on = await change(ledger, replace(taken, state=RunState.UNSURE, tries=3))
    assert await ledger.renew("w1", [run.id], until=NOW + 40) == [stand(on)]
    assert stand(on) != stand(taken)


async def test_runs_of_strange_upstreams_are_left_to_others_for_a_while(ledger: Ledger) -> None:
    mine = await start(ledger, a_run(due_at=NOW + 1))
    strange = await start(ledger, a_run(due_at=NOW, upstream="elsewhere"))
    known = (mine.upstream, "more")
    assert await ledger.next_due() == NOW
    assert await ledger.next_due(known) == NOW + 1
    assert await ledger.next_due(("elsewhere",)) == NOW
    taken = await ledger.lease("w1", now=NOW + 1, until=NOW + 5, limit=9, known=known)
    assert [run.id for run in taken] == [mine.id]
    await change(ledger, failed(taken[0]))
    late = NOW + LEFT_SECONDS
    assert await ledger.next_due(known) == late
    assert not await ledger.lease("w1", now=late - 1, until=late, limit=9, known=known)
    taken = await ledger.lease("w1", now=late, until=late + 9, limit=9, known=known)
    assert [run.id for run in taken] == [strange.id]


async def test_runs_are_looked_up_several_at_a_time(ledger: Ledger) -> None:
    runs = [await start(ledger, a_run()) for _ in range(3)]
    found = await ledger.each_run([*(run.id for run in runs[:2]), "run-of-nobody"])
    assert sorted(found, key=lambda run: run.id) == runs[:2]


async def test_what_is_given_back_is_free_at_once(ledger: Ledger) -> None:
    mine, other = await start(ledger, a_run()), await start(ledger, a_run())
    await ledger.lease("w1", now=NOW, until=NOW + 900, limit=1)
    (kept,) = await ledger.lease("w2", now=NOW, until=NOW + 900, limit=1)
    owed = await pending(ledger)
    await ledger.lease_deliveries("w1", now=NOW, until=NOW + 900, limit=9)
    await ledger.give_back("w1")
    (free,) = await ledger.lease("w3", now=NOW, until=NOW + 1, limit=9)
    assert {free.id, kept.id} == {mine.id, other.id}
    (one,) = await ledger.lease_deliveries("w3", now=NOW, until=NOW + 1, limit=9)
    assert one.id == owed.id


async def test_an_attempt_is_recorded_by_whoever_has_the_callback(ledger: Ledger) -> None:
    owed = await pending(ledger)
    (first,) = await ledger.lease_deliveries("w1", now=NOW, until=NOW + 20, limit=9)
    assert await ledger.renew_deliveries("w1", [owed.id, "msg_0"], until=NOW + 40) == {owed.id}
    (second,) = await ledger.lease_deliveries("w2", now=NOW + 40, until=NOW + 60, limit=9)
    assert await ledger.renew_deliveries("w1", [owed.id], until=NOW + 99) == set()
    given_up = replace(first, state=DeliveryState.FAILED, attempts=9, ended_at=NOW)
    assert await ledger.put_deliveries("w1", [given_up]) == set()
    assert await ledger.delivery(owed.id) == second
    told = replace(
        second,
        state=DeliveryState.DELIVERED,
        status=200,
        ended_at=NOW,
        lease_owner=None,
        lease_until=0.0,
    )
    assert await ledger.put_deliveries("w2", [told]) == {owed.id}
    assert await ledger.delivery(owed.id) == told
    assert await ledger.put_deliveries("w2", [told]) == set()


async def test_several_gateways_lease_each_one_once(shared: Backend) -> None:
    """Whoever comes second gets less, or nothing, and asks again."""
    ledgers = [await shared.beside() for _ in range(3)]
    runs = {(await start(ledgers[0], a_run())).id for _ in range(60)}
    owed = {(await pending(ledgers[0])).id for _ in range(20)}

    async def work(one: Ledger, owner: str) -> list[str]:
        taken: list[str] = []
        while await one.next_due() == NOW or await one.next_delivery_due() == NOW:
            found = await one.lease(owner, now=NOW, until=NOW + 60, limit=7)
            called = await one.lease_deliveries(owner, now=NOW, until=NOW + 60, limit=7)
            taken += [each.id for each in (*found, *called)]
        return taken

    async with asyncio.timeout(20):
        taken = await asyncio.gather(*(work(ledgers[n % 3], f"w{n}") for n in range(6)))
    assert sorted(each for part in taken for each in part) == sorted(runs | owed)


async def pending(ledger: Ledger) -> Delivery:
    """A callback that is due, of a task whose run is over."""
    run = await start(ledger, a_run())
    await change(ledger, failed(run))
    job = a_job(run, callback_url="https://example.org/hook")
    (owed,) = owes(job, NOW)
    await write(ledger, jobs=(job,), deliveries=(owed,))
    return owed
