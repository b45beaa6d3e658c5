"""Several ledgers over one store, as several gateways have them: they act as one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from ledger_backends import Backend
from ledger_builders import (
    NOW,
    PRICE,
    a_delivery,
    a_job,
    a_picture,
    a_refusal,
    a_run,
    an_upload,
    change,
    counted,
    done,
    key_of,
    keys_of,
    older,
    run_of,
    start,
    write,
)

from gateway.core.model import Run, Verdict
from gateway.core.money.accounts import Window
from gateway.core.money.booking import book
from gateway.core.runs.history import begun
from gateway.core.transaction import Keys, View, Writes
from gateway.ports.ledger import DeliveryFilter, PictureFilter, RefusalFilter, RunFilter

pytestmark = pytest.mark.oldest

CAP = 60
ORDERS = 240
Decide = Callable[[View], tuple[Verdict | None, Writes]]


def order(run: Run, cap: int) -> Decide:
    """Joins its twin, starts, or is denied, as orders are admitted."""
    month = key_of(run.team, Window.MONTH, run.windows.month)

    def decide(view: View) -> tuple[Verdict | None, Writes]:
        if view.live is not None:
            return Verdict.JOINED, Writes(jobs=(a_job(view.live, Verdict.JOINED, team=run.team),))
        account = view.accounts[month]
        if account.held.images + account.spent.images >= cap:
            return None, Writes()
        writes = replace(book(None, run, view.accounts), jobs=(a_job(run),), steps=(begun(run),))
        return Verdict.STARTED, writes

    return decide


async def test_a_cap_holds_to_the_last_order_over_all(shared: Backend) -> None:
    """One hot team, every third order a twin: the cap is reached, and never passed."""
    ledgers = [await shared.beside() for _ in range(3)]
    runs = [a_run(fingerprint=f"f{n // 2 if n % 3 == 0 else n + 1000}") for n in range(ORDERS)]
    told = await asyncio.gather(
        *(
            ledgers[n % 3].transact(
                Keys(accounts=keys_of(run), counted=counted(run), fingerprint=run.fingerprint),
                order(run, CAP),
            )
            for n, run in enumerate(runs)
        )
    )
    assert Counter(told)[Verdict.STARTED] == CAP
    month = key_of("alpha", Window.MONTH, runs[0].windows.month)
    for ledger in ledgers:
        found = await ledger.runs(RunFilter(), after=None, limit=999)
        assert len(found) == len({run.fingerprint for run in found}) == CAP
        account = (await ledger.accounts([month]))[month]
        assert (account.held.images, account.held.usd_micros) == (CAP, CAP * PRICE)
    assert await ledgers[0].violations() == []


async def test_two_teams_with_one_fingerprint_have_one_run(shared: Backend) -> None:
    ledgers = [await shared.beside() for _ in range(3)]
    runs = [a_run(team=f"team-{n}", fingerprint=f"same-{n % 5}") for n in range(60)]
    told = await asyncio.gather(
        *(
            ledgers[n % 3].transact(
                Keys(accounts=keys_of(run), counted=counted(run), fingerprint=run.fingerprint),
                order(run, CAP),
            )
            for n, run in enumerate(runs)
        )
    )
    assert Counter(told) == {Verdict.STARTED: 5, Verdict.JOINED: 55}


async def test_uploads_of_one_team_stay_within_its_share_over_all(shared: Backend) -> None:
    ledgers = [await shared.beside() for _ in range(3)]

    def decide(view: View) -> tuple[bool, Writes]:
        if view.uploaded_bytes + 10 > 10 * CAP:
            return False, Writes()
        return True, Writes(uploads=(an_upload(size_bytes=10, expires_at=NOW + 999),))

    told = await asyncio.gather(
        *(ledgers[n % 3].transact(Keys(uploads=("alpha", NOW)), decide) for n in range(ORDERS))
    )
    assert told.count(True) == CAP
    for ledger in ledgers:
        assert (await ledger.uploads("alpha", now=NOW, page=1, page_size=1))[1] == CAP


async def test_what_one_writes_the_others_read_at_once(shared: Backend) -> None:
    one, two = await shared.again(), await shared.beside()
    run = await start(one, a_run())
    job = a_job(run, callback_url="https://example.org/hook")
    refusal, upload = a_refusal(), an_upload()
    await write(
        one,
        jobs=(job,),
        deliveries=(owed := a_delivery(job),),
        refusals=(refusal,),
        uploads=(upload,),
    )
    assert await two.job(job.id) == await one.job(job.id)
    after = await change(two, done(run, a_picture()))
    assert await run_of(one, run.id) == after
    assert [one.run_id for one in await one.gallery("alpha", PictureFilter(), after=None, limit=9)]
    assert await one.deliveries(DeliveryFilter(), after=None, limit=9) == [owed]
    assert await two.refusals(RefusalFilter(), after=None, limit=9) == [refusal]
    assert await two.upload("alpha", upload.id) == upload
    assert await one.usage() == await two.usage()
    assert await one.accounts(keys_of(run)) == await two.accounts(keys_of(run))


async def test_chores_that_several_do_at_once_do_them_once(shared: Backend) -> None:
    ledgers = [await shared.beside() for _ in range(3)]
    runs = [await start(ledgers[0], a_run(created_at=NOW - 9)) for _ in range(30)]
    for run in runs:
        await change(ledgers[0], done(run, a_picture(run.id)))
    pruned = await asyncio.gather(*(one.prune(older(jobs=NOW), limit=999) for one in ledgers))
    assert sum(pruned) == 30
    retired = await asyncio.gather(*(one.retire(team=None, limit=999) for one in ledgers))
    assert {name for part in retired for name in part} == {run.fingerprint for run in runs}
    assert await ledgers[0].violations() == []
