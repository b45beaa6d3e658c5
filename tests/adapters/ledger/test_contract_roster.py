"""What the port `Ledger` promises of teams, keys, changes, steps and refusals; on every ledger."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from functools import partial

import pytest
from ledger_backends import Backend, Clock
from ledger_builders import (
    NOW,
    a_change,
    a_key,
    a_refusal,
    a_run,
    a_step,
    a_team,
    issued,
    look,
    older,
    pages,
    run_of,
    start,
    write,
)

from gateway.core.runs.history import MOST_STEPS, Refusal, Step
from gateway.core.teams.records import Change, ManagedTeam, TeamKey
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.ports.ledger import ChangeFilter, Ledger, RefusalFilter

# --- teams and keys ------------------------------------------------------------------------------


async def test_a_team_comes_back_whole_with_every_key_it_ever_had(ledger: Ledger) -> None:
    team = a_team("alpha", document='{"description":"ü ?"}', changed_at=NOW + 1, deleted_at=NOW + 9)
    keys = [a_key("alpha", created_at=NOW + n) for n in (3, 1, 2)]
    keys[1] = replace(keys[1], revoked_at=NOW + 5, expires_at=NOW + 4, replaces=keys[0].id)
    keys[0], keys[2] = (replace(key, revoked_at=NOW + 9) for key in (keys[0], keys[2]))
    other = a_key("beta")
    await write(ledger, teams=(team, a_team("beta")), team_keys=(*keys, other))
    view = await look(ledger, team="alpha")
    assert view == View(managed=team, team_keys=(keys[1], keys[2], keys[0]))
    assert await look(ledger, team="nowhere") == View()
    assert await look(ledger, team="beta") == View(managed=a_team("beta"), team_keys=(other,))
    assert all(getattr(team, one.name) for one in fields(ManagedTeam))
    assert all(getattr(keys[1], one.name) for one in fields(TeamKey))
    teams, every = await ledger.roster()
    assert teams == [team, a_team("beta")]
    assert sorted(every, key=lambda key: key.id) == sorted([*keys, other], key=lambda key: key.id)
    assert [key.created_at for key in every] == sorted(key.created_at for key in every)


async def test_teams_and_keys_are_replaced_as_wholes(ledger: Ledger) -> None:
    team, key = a_team(), a_key()
    await write(ledger, teams=(team,), team_keys=(key,))
    later = replace(team, document="{}", changed_at=NOW + 5)
    rotated = replace(key, label="old", expires_at=NOW + 60)
    await write(ledger, teams=(later,), team_keys=(rotated,))
    assert await look(ledger, team="alpha") == View(managed=later, team_keys=(rotated,))


async def test_a_digest_opens_for_one_key_alone(ledger: Ledger) -> None:
    key = a_key()
    await write(ledger, teams=(a_team(), a_team("beta")), team_keys=(key,))
    for wrong in (
        replace(key, id="another"),
        replace(key, id="another", team="beta"),
        replace(key, digest="e" * 64),
        replace(key, team="beta"),
        a_key("nowhere"),
    ):
        with pytest.raises(ConstraintViolation):
            await write(ledger, changes=(a_change(id="x"),), team_keys=(a_key(), wrong))
    assert await ledger.roster() == ([a_team(), a_team("beta")], [key])
    assert await ledger.changes(ChangeFilter(), after=None, limit=9) == []


async def test_one_of_many_at_once_makes_the_team(ledger: Ledger) -> None:
    def create(number: int, view: View) -> tuple[bool, Writes]:
        if view.managed is not None:
            return False, Writes()
        return True, Writes(teams=(a_team(document=f'{{"n":{number}}}'),))

    made = await asyncio.gather(
        *(ledger.transact(Keys(team="alpha"), partial(create, n)) for n in range(20))
    )
    assert sum(made) == 1


async def test_an_open_key_of_a_deleted_team_is_found(ledger: Ledger, clock: Clock) -> None:
    deleted = a_team(deleted_at=NOW)
    shut = a_key(revoked_at=NOW)
    still = a_key(expires_at=NOW + 60)
    made = a_change(action="team.create", subject="alpha", after=deleted.document)
    changes = (made, issued(shut), issued(still))
    await write(ledger, teams=(deleted,), team_keys=(shut, still), changes=changes)
    assert [one.sentence for one in await ledger.violations()] == [
        f"The key {still.id} is open, but its team alpha is not there or deleted."
    ]
    clock.now = NOW + 60
    assert await ledger.violations() == []


# --- changes -------------------------------------------------------------------------------------


async def test_changes_are_written_once_and_come_back_whole(ledger: Ledger) -> None:
    change = a_change(before='{"a":"ü"}', after='{"a":1}')
    await write(ledger, changes=(change,))
    assert await ledger.changes(ChangeFilter(), after=None, limit=9) == [change]
    assert all(getattr(change, one.name) for one in fields(Change))
    with pytest.raises(ConstraintViolation):
        await write(ledger, teams=(a_team(),), changes=(replace(change, action="other"),))
    assert await ledger.changes(ChangeFilter(), after=None, limit=9) == [change]
    assert await ledger.roster() == ([], [])


async def test_changes_are_listed_by_subject_action_and_actor(ledger: Ledger) -> None:
    rows = [
        a_change(id=f"c{n}", at=NOW + n // 2, subject="ab"[n % 2], action="xyz"[n % 3])
        for n in range(6)
    ]
    rows[5] = replace(rows[5], actor="somebody")
    await write(ledger, changes=tuple(rows))

    async def ids(**asked: str) -> str:
        fetch = partial(ledger.changes, ChangeFilter(**asked))
        return " ".join([one.id for one in await pages(fetch, lambda one: (one.at, one.id))])

    assert await ids() == "c5 c4 c3 c2 c1 c0"
    assert await ids(subject="a") == "c4 c2 c0"
    assert await ids(subject="b", action="x") == "c3"
    assert await ids(action="z") == "c5 c2"
    assert await ids(actor="somebody") == "c5"
    assert await ids(actor="somebody", subject="a") == ""


async def test_the_changes_of_a_team_are_those_of_its_keys_too(ledger: Ledger) -> None:
    subjects = ("art", "art/k1", "art-2/k1", "artist", "art/k2", "ART/k1", "a%t/k1")
    rows = [a_change(id=f"c{n}", at=NOW + n, subject=one) for n, one in enumerate(subjects)]
    await write(ledger, changes=tuple(rows))

    async def ids(subject: str) -> list[str]:
        found = await ledger.changes(ChangeFilter(subject), after=None, limit=9)
        return [one.id for one in found]

    assert await ids("art") == ["c4", "c1", "c0"]
    assert await ids("art/k1") == ["c1"]
    assert await ids("a%t") == ["c6"]
    assert await ids("ar") == []


# --- steps ---------------------------------------------------------------------------------------


async def test_steps_get_the_next_numbers(ledger: Ledger) -> None:
    run, other = await start(ledger, a_run(), told=False), await start(ledger, a_run(), told=False)
    whole = a_step(run, event="TaskFailed", detail="503 ü")
    await write(ledger, steps=(a_step(run, before="", event="Started"), whole))
    await write(ledger, steps=(a_step(other), a_step(run, number=3)))
    steps = await ledger.steps(run.id)
    assert [step.number for step in steps] == [1, 2, 3]
    assert steps[1] == replace(whole, number=2)
    assert all(getattr(steps[1], one.name) for one in fields(Step))
    assert await ledger.steps(other.id) == [a_step(other, number=1)]
    assert await ledger.steps("nowhere") == []
    assert await ledger.violations() == []


async def test_a_long_story_leaves_room_for_its_end(ledger: Ledger) -> None:
    run = await start(ledger, a_run(), told=False)
    for _ in range(MOST_STEPS):
        await write(ledger, steps=(a_step(run),) * 2)
    told = len(await ledger.steps(run.id))
    assert told < MOST_STEPS
    await write(ledger, steps=(a_step(run, after="failed", event="Refused"),))
    steps = await ledger.steps(run.id)
    assert [step.number for step in steps] == list(range(1, told + 2))
    assert steps[-1].event == "Refused"


async def test_a_wrong_step_is_refused_whole(ledger: Ledger) -> None:
    run, new = await start(ledger, a_run(), told=False), a_run()
    await write(ledger, steps=(a_step(run),))
    for wrong in (a_step(run, number=1), a_step(run, number=-1), a_step(a_run())):
        with pytest.raises(ConstraintViolation):
            await write(ledger, runs=(new,), steps=(a_step(run), wrong))
    assert len(await ledger.steps(run.id)) == 1
    assert await run_of(ledger, new.id) is None


async def test_a_gap_between_steps_is_found(ledger: Ledger) -> None:
    run = await start(ledger, a_run(), told=False)
    await write(ledger, steps=(a_step(run, number=2), a_step(run, number=5)))
    assert [one.sentence for one in await ledger.violations()] == [
        f"Run {run.id} has 2 steps, numbered from 2 to 5."
    ]


# --- refusals ------------------------------------------------------------------------------------


async def test_a_refusal_comes_back_whole_and_the_first_stays(ledger: Ledger) -> None:
    whole = a_refusal(
        param="prompt", job_id="task", message="ü ?", mode="shadow", request_id="theirs"
    )
    await write(ledger, refusals=(whole,))
    await write(ledger, refusals=(replace(whole, reason="other"), a_refusal()))
    assert await ledger.refusals_named(whole.id, limit=9) == [whole]
    assert await ledger.refusals_named("nowhere", limit=9) == []
    assert all(getattr(whole, one.name) for one in fields(Refusal))
    with pytest.raises(ConstraintViolation):
        await write(ledger, refusals=(a_refusal(id="x"), a_refusal(verdict="hit")))
    assert await ledger.refusals_named("x", limit=9) == []


async def test_a_name_finds_all_that_are_called_so_each_team_in_turn(ledger: Ledger) -> None:
    noisy = [
        a_refusal(id=f"n{n}", team="noisy", at=NOW + 10 + n, request_id="trace") for n in range(9)
    ]
    quiet = [a_refusal(id=f"q{n}", team="quiet", at=NOW + n, request_id="trace") for n in range(2)]
    other = a_refusal(id="trace-2", request_id="")
    await write(ledger, refusals=(*noisy, *quiet, other))
    named = await ledger.refusals_named("trace", limit=5)
    assert [one.id for one in named] == ["n8", "q1", "n7", "q0", "n6"]
    assert await ledger.refusals_named("n3", limit=5) == [noisy[3]]


async def test_refusals_are_listed_by_what_they_say(ledger: Ledger) -> None:
    rows = [
        a_refusal(id=f"r{n}", at=NOW + n // 2, team=team, verdict=verdict, reason=reason)
        for n, (team, verdict, reason) in enumerate(
            (
                ("a", "denied", "usd"),
                ("b", "denied", "usd"),
                ("a", "invalid", "invalid_request"),
                ("a", "denied", "runs"),
                ("b", "denied", "runs"),
                ("a", "denied", "usd"),
            )
        )
    ]
    await write(ledger, refusals=tuple(rows))

    async def ids(**asked: object) -> str:
        fetch = partial(ledger.refusals, RefusalFilter(**asked))  # type: ignore[arg-type]
        return " ".join([one.id for one in await pages(fetch, lambda one: (one.at, one.id))])

    assert await ids() == "r5 r4 r3 r2 r1 r0"
    assert await ids(team="a") == "r5 r3 r2 r0"
    assert await ids(verdict="denied") == "r5 r4 r3 r1 r0"
    assert await ids(reason="usd") == "r5 r1 r0"
    assert await ids(team="a", reason="usd") == "r5 r0"
    assert await ids(verdict="denied", reason="runs") == "r4 r3"
    assert await ids(team="b", verdict="invalid") == ""
    assert await ids(since=NOW + 1, until=NOW + 2) == "r3 r2"
    assert await ids(team="a", verdict="denied", reason="usd", since=NOW + 1) == "r5"


async def test_old_refusals_are_pruned(ledger: Ledger) -> None:
    rows = [a_refusal(at=NOW + n) for n in (2, 1, 3)]
    await write(ledger, refusals=tuple(rows))
    assert await ledger.prune(older(refusals=NOW + 3), limit=1) == 1
    assert await ledger.refusals_named(rows[1].id, limit=9) == []
    assert await ledger.prune(older(refusals=NOW + 3), limit=9) == 1
    assert await ledger.refusals(RefusalFilter(), after=None, limit=9) == [rows[2]]
    assert await ledger.prune(older(jobs=NOW + 99), limit=9) == 0


async def test_nothing_of_it_is_lost_by_a_reopening(backend: Backend) -> None:
    ledger = await backend.again()
    team, key, change, refusal = a_team(), a_key(), a_change(), a_refusal()
    run = await start(ledger, a_run(), told=False)
    records = {"teams": (team,), "team_keys": (key,), "changes": (change,), "refusals": (refusal,)}
    await write(ledger, **records, steps=(a_step(run),))
    ledger = await backend.again()
    assert await ledger.roster() == ([team], [key])
    assert await ledger.changes(ChangeFilter(), after=None, limit=9) == [change]
    assert await ledger.refusals_named(refusal.id, limit=9) == [refusal]
    assert await ledger.steps(run.id) == [a_step(run, number=1)]
