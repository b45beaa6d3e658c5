"""What gateways tell each other by the ledger, held against every ledger there is."""

from __future__ import annotations

import asyncio

import pytest
from ledger_backends import Backend
from ledger_builders import NOW, a_job, a_run, done, look, older, write

from gateway.core.replicas import Epoch, Epochs, Replica
from gateway.core.transaction import ConstraintViolation
from gateway.ports.ledger import Ledger
from gateway.ports.replicas import CreditCheck

SOON = NOW + 10


def a_replica(replica_id: str = "r1", *, seen_at: float = NOW, policy: int = 0) -> Replica:
    return Replica(replica_id, f"host-{replica_id}", NOW - 5, seen_at, Epochs(policy, 2), "ab" * 8)


async def test_a_new_ledger_begins_with_the_first_epochs(ledger: Ledger) -> None:
    assert await ledger.epochs() == Epochs(0, 0)


async def test_an_epoch_is_raised_with_what_is_written(ledger: Ledger) -> None:
    seen = await look(ledger, epochs=True)
    assert seen.epochs == Epochs(0, 0)
    await write(ledger, raised=frozenset({Epoch.POLICY}))
    await write(ledger, raised=frozenset(Epoch))
    assert await ledger.epochs() == Epochs(2, 1)
    assert (await look(ledger, epochs=True)).epochs == Epochs(2, 1)
    assert (await look(ledger)).epochs is None


async def test_a_decision_that_fails_raises_no_epoch(ledger: Ledger) -> None:
    with pytest.raises(ConstraintViolation):
        await write(ledger, jobs=(a_job(a_run()),), raised=frozenset(Epoch))
    assert await ledger.epochs() == Epochs(0, 0)


async def test_retiring_raises_the_epoch_of_the_cache_where_there_is_anything(
    ledger: Ledger,
) -> None:
    assert await ledger.retire(team=None, limit=5) == []
    assert await ledger.epochs() == Epochs(0, 0)
    await write(ledger, runs=(done(a_run()),))
    assert len(await ledger.retire(team=None, limit=5)) == 1
    assert await ledger.epochs() == Epochs(0, 1)


# --- replicas -----------------------------------------------------------------------------------


async def test_a_replica_comes_back_whole_and_as_it_last_was(ledger: Ledger) -> None:
    await ledger.note_replica(a_replica())
    assert await ledger.replicas(since=NOW) == [a_replica()]
    later = a_replica(seen_at=NOW + 1, policy=7)
    await ledger.note_replica(later)
    assert await ledger.replicas(since=NOW) == [later]


async def test_those_that_were_seen_lately_are_listed_in_order(ledger: Ledger) -> None:
    for replica_id, seen in (("r3", NOW), ("r1", NOW), ("r2", NOW - 20)):
        await ledger.note_replica(a_replica(replica_id, seen_at=seen))
    assert [one.id for one in await ledger.replicas(since=NOW)] == ["r1", "r3"]
    assert [one.id for one in await ledger.replicas(since=NOW - 20)] == ["r1", "r2", "r3"]


async def test_replicas_are_forgotten_by_name_or_by_age(ledger: Ledger) -> None:
    for replica_id, seen in (("r1", NOW), ("r2", NOW - 20), ("r3", NOW)):
        await ledger.note_replica(a_replica(replica_id, seen_at=seen))
    await ledger.forget_replica("r3")
    await ledger.forget_replica("nobody")
    await ledger.forget_replicas(before=NOW)
    assert [one.id for one in await ledger.replicas(since=0)] == ["r1"]


# --- turns --------------------------------------------------------------------------------------


async def test_a_turn_is_whose_it_is_until_its_end(ledger: Ledger) -> None:
    assert await ledger.take_turns(["a"], "one", now=NOW, until=SOON)
    assert not await ledger.take_turns(["a"], "two", now=SOON - 1, until=SOON + 9)
    assert await ledger.take_turns(["a"], "two", now=SOON, until=SOON + 9)
    assert not await ledger.renew_turns(["a"], "one", until=SOON + 99)


async def test_turns_are_taken_all_or_none(ledger: Ledger) -> None:
    assert await ledger.take_turns(["b"], "one", now=NOW, until=SOON)
    assert not await ledger.take_turns(["a", "b", "c"], "two", now=NOW, until=SOON)
    assert await ledger.take_turns(["a", "c", "a"], "three", now=NOW, until=SOON)
    assert await ledger.take_turns([], "two", now=NOW, until=SOON)


async def test_an_owner_takes_its_own_again_and_renews_it(ledger: Ledger) -> None:
    assert await ledger.take_turns(["a", "b"], "one", now=NOW, until=SOON)
    assert await ledger.take_turns(["a"], "one", now=NOW, until=SOON + 1)
    assert await ledger.renew_turns(["a", "b"], "one", until=SOON + 5)
    assert not await ledger.take_turns(["b"], "two", now=SOON + 4, until=SOON + 9)


async def test_one_that_ran_out_is_renewed_while_nobody_took_it(ledger: Ledger) -> None:
    assert await ledger.take_turns(["a", "b"], "one", now=NOW, until=SOON)
    assert await ledger.renew_turns(["a"], "one", until=SOON + 5)
    assert await ledger.take_turns(["b"], "two", now=SOON, until=SOON + 5)
    assert not await ledger.renew_turns(["a", "b"], "one", until=SOON + 50)
    assert await ledger.take_turns(["a"], "two", now=SOON + 5, until=SOON + 9)


async def test_what_is_given_back_is_free_and_others_keep_theirs(ledger: Ledger) -> None:
    assert await ledger.take_turns(["a"], "one", now=NOW, until=SOON)
    assert await ledger.take_turns(["b"], "two", now=NOW, until=SOON)
    await ledger.give_back_turns(["a", "b", "c"], "one")
    assert await ledger.take_turns(["a"], "three", now=NOW, until=SOON)
    assert not await ledger.take_turns(["b"], "three", now=NOW, until=SOON)


async def test_turns_that_ran_out_are_pruned(ledger: Ledger) -> None:
    assert await ledger.take_turns(["a", "b"], "one", now=NOW, until=SOON)
    assert await ledger.take_turns(["c"], "one", now=NOW, until=SOON + 9)
    assert await ledger.prune(older(turns=SOON + 1), limit=10) == 2
    assert not await ledger.renew_turns(["a"], "one", until=SOON)
    assert await ledger.renew_turns(["c"], "one", until=SOON)


# --- secrets and credits ------------------------------------------------------------------------


async def test_the_first_secret_of_a_name_stays(backend: Backend) -> None:
    ledger = await backend.again()
    assert await ledger.secret("callback") is None
    assert await ledger.settle_secret("callback", "first") == "first"
    assert await ledger.settle_secret("callback", "second") == "first"
    assert await ledger.settle_secret("other", "third") == "third"
    ledger = await backend.again()
    assert await ledger.secret("callback") == "first"


async def test_the_last_check_of_each_upstream_is_kept(ledger: Ledger) -> None:
    assert await ledger.credit_checks() == []
    for upstream, at in (("two", NOW), ("one", NOW), ("two", NOW + 1)):
        await ledger.note_credit_check(CreditCheck(upstream, at, '{"drift":0.5}'))
    assert await ledger.credit_checks() == [
        CreditCheck("one", NOW, '{"drift":0.5}'),
        CreditCheck("two", NOW + 1, '{"drift":0.5}'),
    ]


async def test_of_turns_that_are_asked_for_together_each_has_one_owner(ledger: Ledger) -> None:
    """Whoever gets none of his names leaves nothing behind, and is in nobody's way."""
    assert await ledger.take_turns(["theirs"], "they", now=NOW, until=SOON)
    taken = await asyncio.gather(
        ledger.take_turns(["a"], "one", now=NOW, until=SOON),
        ledger.take_turns(["free", "theirs"], "two", now=NOW, until=SOON),
        ledger.take_turns(["a", "b"], "three", now=NOW, until=SOON),
        ledger.take_turns(["c"], "four", now=NOW, until=SOON),
        ledger.renew_turns(["theirs"], "four", until=SOON),
        ledger.give_back_turns(["theirs"], "five"),
        ledger.take_turns(["d"], "six", now=NOW, until=SOON),
        ledger.give_back_turns(["d"], "six"),
        ledger.take_turns(["d"], "seven", now=NOW, until=SOON),
    )
    assert taken == [True, False, False, True, False, None, True, None, True]
    assert await ledger.take_turns(["free", "b"], "eight", now=NOW, until=SOON)
    assert not await ledger.take_turns(["theirs"], "eight", now=NOW, until=SOON)


# --- two at once --------------------------------------------------------------------------------


async def test_two_ledgers_never_have_the_same_turn_and_agree_on_a_secret(shared: Backend) -> None:
    one, two = await shared.again(), await shared.beside()
    for round_ in range(20):
        names = [f"{round_}-{part}" for part in "abc"]
        taken = await asyncio.gather(
            one.take_turns(names, "one", now=NOW, until=SOON),
            two.take_turns(names[::-1], "two", now=NOW, until=SOON),
        )
        assert sorted(taken) == [False, True]
        settled = await asyncio.gather(
            one.settle_secret(names[0], "one"), two.settle_secret(names[0], "two")
        )
        assert settled[0] == settled[1]
