"""What the port `Ledger` promises of the register of pictures and galleries; on every ledger."""

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
    a_refusal,
    a_run,
    a_step,
    change,
    done,
    failed,
    hit_usage,
    look,
    older,
    pages,
    run_of,
    start,
    write,
)

from gateway.core.model import Failure, FailureKind, Job, KeptPicture, Picture, Run, Verdict
from gateway.core.runs import docket
from gateway.core.runs.redaction import wordless
from gateway.core.transaction import ConstraintViolation
from gateway.ports.ledger import Ledger, PictureFilter


async def finish(ledger: Ledger, *pictures: Picture, prompt: str = "a cat", **fields: Any) -> Run:
    at = fields.pop("at", NOW + 30)
    run = a_run(request=f'{{"n":1,"prompt":"{prompt}"}}', n=max(1, len(pictures)), **fields)
    await start(ledger, run, first_job(run))
    return await change(ledger, done(run, *pictures, at=at))


def first_job(run: Run) -> Job:
    return a_job(run, id=f"task-of-{run.id}")


def kept(run: Run, picture: Picture, prompt: str = "a cat") -> KeptPicture:
    assert run.finished_at is not None
    task = first_job(run).id
    return KeptPicture(picture, run.id, run.team, run.model, prompt, run.finished_at, task)


async def erase(ledger: Ledger, one: KeptPicture, at: float = NOW + 60) -> KeptPicture:
    after = replace(one, prompt="", erased_at=at)
    await write(ledger, pictures=(after,))
    return after


def digests(found: Any) -> str:
    return " ".join(one.picture.digest for one in found)


async def find(ledger: Ledger, **asked: Any) -> str:
    fetch = partial(ledger.find_pictures, PictureFilter(**asked))
    return digests(await pages(fetch, lambda one: (one.created_at, one.key)))


async def gallery(ledger: Ledger, of_team: str, **asked: Any) -> str:
    fetch = partial(ledger.gallery, of_team, PictureFilter(**asked))
    return digests(await pages(fetch, lambda one: (one.created_at, one.key)))


# --- on record -----------------------------------------------------------------------------------


async def test_a_kept_picture_tells_its_run_and_prompt(ledger: Ledger) -> None:
    picture = a_picture("d1", 77)
    run = await finish(ledger, picture, prompt="Ein gelbes Haus: 100 % ?", team="beta")
    one = kept(run, picture, "Ein gelbes Haus: 100 % ?")
    assert (await look(ledger, picture="d1")).pictures == (one,)
    assert (await look(ledger, picture="d2")).pictures == ()
    assert await ledger.find_pictures(PictureFilter(), after=None, limit=9) == [one]
    assert await ledger.unremoved(limit=9) == []


async def test_a_run_without_prompt_or_job_keeps_its_pictures(ledger: Ledger) -> None:
    run = a_run(request='{"image":["x"],"prompt":7}')
    await write(ledger, runs=(done(run, a_picture()),))
    (found,) = (await look(ledger, picture="d1")).pictures
    assert (found.prompt, found.task_id) == ("", "")


async def test_only_finished_runs_own_pictures(ledger: Ledger) -> None:
    run = await start(ledger, a_run())
    partly = replace(done(run, a_picture()), state=run.state, hold=run.hold, spent=run.spent)
    await change(ledger, partly)
    assert await find(ledger) == ""
    await change(ledger, failed(partly))
    assert await find(ledger) == ""


async def test_pictures_are_found_by_whose_they_are_and_when(ledger: Ledger) -> None:
    one = await finish(ledger, a_picture("d1"), a_picture("d2"), at=NOW)
    two = await finish(ledger, a_picture("d3"), team="beta", at=NOW + 5)
    three = await finish(ledger, a_picture("d4"), at=NOW + 5)
    assert await find(ledger) == "d4 d3 d2 d1"
    assert await find(ledger, team="alpha") == "d4 d2 d1"
    assert await find(ledger, run_id=one.id) == "d2 d1"
    assert await find(ledger, run_id=one.id, team="beta") == ""
    assert await find(ledger, task_id=first_job(two).id) == "d3"
    assert await find(ledger, task_id=first_job(two).id, team="alpha") == ""
    assert await find(ledger, task_id="nowhere") == ""
    assert await find(ledger, since=NOW + 5) == "d4 d3"
    assert await find(ledger, until=NOW + 5) == "d2 d1"
    assert await find(ledger, since=NOW, until=NOW + 1, team="alpha") == "d2 d1"
    assert await find(ledger, run_id=three.id, since=NOW + 6) == ""


async def test_text_is_found_whatever_its_case_and_taken_as_it_is(ledger: Ledger) -> None:
    prompts = {"d1": "Über den DÄCHERN", "d2": "100% wool_cap", "d3": r"back\\slash straße"}
    for digest, prompt in prompts.items():
        await finish(ledger, a_picture(digest), prompt=prompt)
    assert await find(ledger, text="dächer") == "d1"
    assert await find(ledger, text="ÜBER DEN") == "d1"
    assert await find(ledger, text="100%") == "d2"
    assert await find(ledger, text="0%w") == ""
    assert await find(ledger, text="L_C") == "d2"
    assert await find(ledger, text="o_l") == ""
    assert await find(ledger, text="\\") == "d3"
    assert await find(ledger, text="STRASSE") == "d3"
    assert await find(ledger, text="") == "d3 d2 d1"
    assert await find(ledger, text="dachern uber") == "d1"
    assert await find(ledger, text='"uber den" dach') == "d1"
    assert await find(ledger, text='"den uber"') == ""
    assert await find(ledger, text='cap "100') == "d2"
    assert await find(ledger, text='"') == "d3 d2 d1"
    assert await find(ledger, text="% %_ _") == ""
    assert await find(ledger, text=" ".join(f"word{n}" for n in range(50))) == ""
    assert await find(ledger, text="wool", team="beta") == ""


async def test_a_later_task_leads_to_the_picture_too(ledger: Ledger) -> None:
    run = await finish(ledger, a_picture("d1"))
    hit = a_job(run, Verdict.HIT, team="beta", created_at=NOW + 50)
    await write(ledger, jobs=(hit,))
    (found,) = await ledger.find_pictures(PictureFilter(task_id=hit.id), after=None, limit=9)
    assert found == replace(kept(run, a_picture("d1")), task_id=hit.id)


async def test_the_first_task_leads_there_even_when_it_is_pruned(ledger: Ledger) -> None:
    run = await finish(ledger, a_picture("d1"))
    await ledger.prune(older(jobs=NOW + 1), limit=9)
    task = first_job(run).id
    assert await ledger.job(task) is None
    assert await find(ledger, task_id=task) == "d1"
    assert await gallery(ledger, "alpha", task_id=task) == "d1"
    assert await gallery(ledger, "alpha") == "d1"


# --- erased --------------------------------------------------------------------------------------


async def test_an_erased_picture_keeps_its_numbers_and_loses_its_words(ledger: Ledger) -> None:
    pictures = (a_picture("d1", 10), a_picture("d2", 20))
    run = await finish(ledger, *pictures, prompt="my secret", task='{"id":"t"}')
    first = await erase(ledger, kept(run, pictures[0], "my secret"))
    assert (await look(ledger, picture="d1")).pictures == (first,)
    assert await ledger.picture_totals() == (1, 20)
    assert await ledger.pictures(after="", limit=9) == [pictures[1]]
    assert await find(ledger) == "d2 d1"
    assert await find(ledger, text="secret") == "d2"
    assert await gallery(ledger, "alpha") == "d2"
    assert await ledger.unremoved(limit=9) == [first]
    assert await run_of(ledger, run.id) == replace(run, shared=False)
    assert await ledger.violations() == []


async def test_with_its_last_picture_a_run_forgets_its_prompt(ledger: Ledger) -> None:
    pictures = (a_picture("d1"), a_picture("d2"))
    run = await finish(
        ledger, *pictures, prompt="my secret", task='{"id":"ü","prompt":"my secret"}'
    )
    for picture in pictures:
        await erase(ledger, kept(run, picture, "my secret"))
    assert await run_of(ledger, run.id) == wordless(run)
    assert wordless(run).request == '{"n":1,"prompt":""}'
    assert docket.read(wordless(run).task).said == {"id": "ü", "prompt": ""}
    assert await ledger.violations() == []


async def test_bytes_that_are_gone_are_not_to_be_removed_any_more(ledger: Ledger) -> None:
    runs = [await finish(ledger, a_picture(f"d{n}")) for n in range(3)]
    erased = [
        await erase(ledger, kept(run, a_picture(f"d{n}")), at=NOW + 9 - n)
        for n, run in enumerate(runs)
    ]
    assert await ledger.unremoved(limit=2) == [erased[2], erased[1]]
    gone = replace(erased[2], removed_at=NOW + 99)
    await write(ledger, pictures=(gone,))
    assert (await look(ledger, picture="d2")).pictures == (gone,)
    assert await ledger.unremoved(limit=9) == [erased[1], erased[0]]


async def test_a_picture_that_comes_again_is_kept_anew(ledger: Ledger) -> None:
    first = await finish(ledger, a_picture("d1"), prompt="old words")
    erased = await erase(ledger, kept(first, a_picture("d1"), "old words"))
    gone = replace(erased, removed_at=NOW + 70)
    await write(ledger, pictures=(gone,))
    second = await finish(ledger, a_picture("d1"), prompt="new words", team="beta", at=NOW + 90)
    anew = kept(second, a_picture("d1"), "new words")
    assert (await look(ledger, picture="d1")).pictures == (gone, anew)
    assert await ledger.picture_totals() == (1, 1000)
    assert await find(ledger, text="new") == "d1"
    assert await gallery(ledger, "alpha") == ""
    assert await gallery(ledger, "beta") == "d1"
    assert await ledger.violations() == []


async def test_the_same_bytes_are_on_record_for_each_run_and_counted_once(ledger: Ledger) -> None:
    mine = await finish(ledger, a_picture("d1"), a_picture("d1"), prompt="mine")
    theirs = await finish(ledger, a_picture("d1"), prompt="theirs", team="beta", at=NOW + 90)
    both = (kept(mine, a_picture("d1"), "mine"), kept(theirs, a_picture("d1"), "theirs"))
    assert (await look(ledger, picture="d1")).pictures == both
    assert await ledger.picture_totals() == (1, 1000)
    assert await ledger.pictures(after="", limit=9) == [a_picture("d1")]
    assert await gallery(ledger, "beta", text="mine") == ""
    assert await gallery(ledger, "beta") == await gallery(ledger, "alpha") == "d1"
    assert await find(ledger) == "d1 d1"
    assert await find(ledger, team="beta") == await find(ledger, text="theirs") == "d1"
    assert await ledger.violations() == []


async def test_runs_that_finish_together_are_both_listed(ledger: Ledger) -> None:
    """Page by page, also where time and bytes are the same."""
    for of_team in ("alpha", "beta"):
        await finish(ledger, a_picture("d1"), team=of_team)
    assert await find(ledger) == "d1 d1"


async def test_an_erasure_of_the_same_bytes_takes_the_words_of_each_run(ledger: Ledger) -> None:
    mine = await finish(ledger, a_picture("d1"), a_picture("d2"), prompt="mine")
    theirs = await finish(ledger, a_picture("d1"), prompt="theirs", team="beta", at=NOW + 90)
    for run, prompt in ((mine, "mine"), (theirs, "theirs")):
        await erase(ledger, kept(run, a_picture("d1"), prompt))
    assert await run_of(ledger, mine.id) == replace(mine, shared=False)
    assert await run_of(ledger, theirs.id) == wordless(theirs)
    assert await ledger.picture_totals() == (1, 1000)
    assert await gallery(ledger, "beta") == await find(ledger, text="theirs") == ""
    assert await gallery(ledger, "alpha") == "d2"
    assert await find(ledger, team="beta") == "d1"
    assert await ledger.violations() == []


async def test_what_lies_beside_a_run_loses_its_words_with_it(ledger: Ledger) -> None:
    run = await finish(ledger, a_picture("d1"), prompt="a secret")
    job = first_job(run)
    other = await finish(ledger, a_picture("d2"))
    told = [
        a_step(run, number=n, event=event, detail=f"{event}: a secret")
        for n, event in enumerate(("Started", "TaskFailed", "NotNow", "PicturesKept"), 10)
    ]
    refused = [
        a_refusal(id="r1", job_id=job.id, message="a secret", param="a secret"),
        a_refusal(id="r2", job_id=first_job(other).id, message="another", param="p"),
        a_refusal(id="r3", job_id=None, message="of no order that was taken"),
    ]
    owed = a_delivery(job, body='{"prompt":"a secret"}')
    await write(ledger, steps=told, refusals=refused, deliveries=(owed,))
    await erase(ledger, kept(run, a_picture("d1"), "a secret"))
    details = [one.detail for one in await ledger.steps(run.id) if one.number >= 10]
    assert details == ["Started: a secret", "", "", "PicturesKept: a secret"]
    found = [await ledger.refusals_named(one.id, limit=9) for one in refused]
    assert found == [[replace(refused[0], message="", param=None)], *([one] for one in refused[1:])]
    assert await ledger.delivery(owed.id) == replace(owed, body=None)


async def test_a_run_without_pictures_loses_its_words_when_asked(ledger: Ledger) -> None:
    run = await start(ledger, a_run(request='{"prompt":"a secret"}'))
    said = Failure(FailureKind.REFUSED, "bad", "no: a secret", 400, '{"error":"a secret"}')
    ended = await change(ledger, replace(failed(run), failure=said))
    await write(ledger, wordless=(run.id,))
    after = await run_of(ledger, run.id)
    assert after == wordless(ended) != ended
    assert "secret" not in repr(after)
    with pytest.raises(ConstraintViolation):
        await write(ledger, wordless=("nowhere",))
    assert await ledger.violations() == []


# --- the store -----------------------------------------------------------------------------------


async def test_the_ledger_knows_its_picture_store(backend: Backend) -> None:
    ledger = await backend.again()
    assert await ledger.store_id() is None
    for store_id in ("one", "two"):
        await ledger.note_store(store_id)
        assert await ledger.store_id() == store_id
    ledger = await backend.again()
    assert await ledger.store_id() == "two"
    await ledger.scrub()


async def test_a_finished_run_that_changes_keeps_nothing_anew(ledger: Ledger) -> None:
    run = await finish(ledger, a_picture("d1"), a_picture("d2"))
    erased = await erase(ledger, kept(run, a_picture("d1")))
    await change(ledger, replace(run, shared=False))
    await write(ledger, runs=(replace(run, shared=False, tries=1),))
    assert (await look(ledger, picture="d1")).pictures == (erased,)


async def test_a_wrong_erasure_is_refused_whole(ledger: Ledger) -> None:
    run = await finish(ledger, a_picture("d1"))
    one, new = kept(run, a_picture("d1")), a_run()
    for wrong in (
        replace(one, erased_at=NOW),
        replace(one, removed_at=NOW),
        replace(one, prompt="", erased_at=NOW, run_id=new.id),
        replace(one, prompt="", erased_at=NOW, picture=a_picture("nowhere")),
    ):
        with pytest.raises(ConstraintViolation):
            await write(ledger, runs=(new,), pictures=(wrong,))
    assert (await look(ledger, picture="d1")).pictures == (one,)
    assert await run_of(ledger, new.id) is None


# --- galleries -----------------------------------------------------------------------------------


async def test_a_gallery_has_what_the_team_was_answered_with(ledger: Ledger) -> None:
    run = await finish(ledger, a_picture("d1"), a_picture("d2"))
    hits = [a_job(run, Verdict.HIT, team="beta", created_at=NOW + n) for n in (60, 80)]
    for hit in hits:
        await write(ledger, jobs=(hit,), usage=(hit_usage(hit, run),))
    own = await finish(ledger, a_picture("d3"), team="beta", created_at=NOW + 70, at=NOW + 75)
    found = await ledger.gallery("beta", PictureFilter(), after=None, limit=9)
    seen = partial(replace, created_at=NOW + 60, task_id=hits[0].id)
    assert found == [
        replace(kept(own, a_picture("d3")), created_at=NOW + 70),
        seen(kept(run, a_picture("d2"))),
        seen(kept(run, a_picture("d1"))),
    ]
    assert await gallery(ledger, "alpha") == "d2 d1"
    assert await gallery(ledger, "gamma") == ""
    assert await ledger.violations() == []


async def test_a_gallery_is_searched_within_the_team(ledger: Ledger) -> None:
    cat = await finish(ledger, a_picture("d1"), a_picture("d2"), prompt="A Cat", team="beta")
    dog = await finish(ledger, a_picture("d3"), prompt="A dog", created_at=NOW + 5)
    seen = a_job(cat, Verdict.HIT, team="alpha", created_at=NOW + 9)
    later = a_job(cat, Verdict.HIT, team="alpha", created_at=NOW + 20)
    theirs = a_job(dog, Verdict.HIT, team="beta", created_at=NOW + 20)
    await write(ledger, jobs=(seen, later, theirs))
    assert await gallery(ledger, "alpha") == "d2 d1 d3"
    assert await gallery(ledger, "alpha", team="ignored") == "d2 d1 d3"
    assert await gallery(ledger, "alpha", text="CAT") == "d2 d1"
    assert await gallery(ledger, "alpha", run_id=dog.id) == "d3"
    assert await gallery(ledger, "alpha", digest="d2") == await find(ledger, digest="d2") == "d2"
    assert await gallery(ledger, "gamma", digest="d2") == ""
    assert await gallery(ledger, "alpha", task_id=later.id) == "d2 d1"
    assert await gallery(ledger, "alpha", task_id=theirs.id) == ""
    assert await gallery(ledger, "alpha", since=NOW + 5, until=NOW + 9) == "d3"
    assert await gallery(ledger, "alpha", since=NOW + 9, text="dog") == ""
    (first, _) = await ledger.gallery("alpha", PictureFilter(task_id=later.id), after=None, limit=9)
    assert (first.task_id, first.created_at) == (later.id, NOW + 9)


async def test_the_register_is_there_after_a_reopening(backend: Backend) -> None:
    ledger = await backend.again()
    run = await finish(ledger, a_picture("d1"))
    erased = await erase(ledger, kept(run, a_picture("d1")))
    ledger = await backend.again()
    assert (await look(ledger, picture="d1")).pictures == (erased,)
    assert await ledger.unremoved(limit=9) == [erased]
