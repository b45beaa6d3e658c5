"""Texts of all kinds: their order, and what becomes of those that not every store can hold."""

from __future__ import annotations

from functools import partial

import pytest
from ledger_backends import Backend
from ledger_builders import (
    NOW,
    a_delivery,
    a_job,
    a_picture,
    a_run,
    an_upload,
    change,
    done,
    pages,
    run_of,
    start,
    write,
)

from gateway.core.model import RunState
from gateway.ports.ledger import Ledger, PictureFilter, RunFilter

pytestmark = pytest.mark.oldest

NAMES = ["_z", "-y", "a", "A", "b", "B", "Zebra", "task_1", "task-10", "task-2", "é", "z"]
"""In whose order languages, and bytes, differ."""


async def test_pages_go_by_the_bytes_of_ids(ledger: Ledger) -> None:
    for name in NAMES:
        run = a_run(id=name)
        await start(ledger, run, a_job(run, id=name))
    newest = sorted(NAMES, reverse=True)
    of_all = partial(ledger.runs, RunFilter())
    assert [run.id for run in await pages(of_all, lambda run: (run.created_at, run.id))] == newest
    orders = await pages(
        partial(ledger.orders, "alpha"), lambda task: (task.job.created_at, task.job.id)
    )
    assert [task.job.id for task in orders] == newest
    tasks, _ = await ledger.tasks("alpha", states=list(RunState), page=2, page_size=5)
    assert [task.job.id for task in tasks] == newest[5:10]


async def test_digests_are_walked_through_by_their_bytes(ledger: Ledger) -> None:
    for name in NAMES:
        await change(ledger, done(await start(ledger, a_run()), a_picture(name)))
    walked, after = [], ""
    while page := await ledger.pictures(after=after, limit=5):
        walked += [one.digest for one in page]
        after = walked[-1]
    assert walked == sorted(NAMES)


async def test_a_text_that_no_server_holds_breaks_nothing(ledger: Ledger) -> None:
    """An order with it is refused at the door; an upstream, or a former version, may have it."""
    odd = "a\0b"
    run = await start(ledger, a_run(request='{"prompt":"a\\u0000b"}', n=2))
    after = done(run, a_picture("d1"), a_picture("d2"))
    await change(ledger, after)
    assert (await run_of(ledger, run.id)) == after
    found, _ = await ledger.find_pictures(PictureFilter(), after=None, limit=9)
    assert found.prompt in (odd, "a\N{REPLACEMENT CHARACTER}b")
    await write(ledger, uploads=(an_upload(id="u1", name=odd),))
    [upload], _ = await ledger.uploads("alpha", now=NOW, page=1, page_size=9)
    assert upload.name in (odd, "a\N{REPLACEMENT CHARACTER}b")
    assert await ledger.job(odd) is None
    assert await ledger.delivery(odd) is None
    assert await ledger.violations() == []


async def test_half_a_surrogate_pair_is_replaced_where_several_share_a_store(
    shared: Backend,
) -> None:
    ledger = await shared.again()
    job = a_job(await start(ledger, a_run()))
    await write(ledger, jobs=(job,), deliveries=(a_delivery(job, id="d", error="no: \ud800!"),))
    found = await ledger.delivery("d")
    assert found is not None
    assert found.error == "no: \N{REPLACEMENT CHARACTER}!"
    assert await ledger.run("\udfff") is None
