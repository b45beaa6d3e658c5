"""Idempotency keys in the decision: replayed, refused for another order, free again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core_samples import CATALOG, NOW, Books, a_run, an_ask, an_order

from gateway.core.catalog import Allow, CacheScope, Team
from gateway.core.model import Claim, Failure, FailureKind, Freshness, Job, Run, RunState, Verdict
from gateway.core.orders.admission import (
    Claimed,
    Conflicting,
    Denied,
    Hit,
    Joined,
    Replayed,
    Started,
    admit,
    answer_hit,
    replay,
)
from gateway.core.orders.ask import Ask
from gateway.core.orders.fingerprint import claim_digest, claim_name, is_same_claim
from gateway.core.orders.validation import read_order
from gateway.core.transaction import Keys, Writes

KEY = "order-17"


def keyed(**fields: Any) -> Ask:
    ask = an_ask(**fields)
    digest = claim_digest(ask.order)
    return replace(ask, claim=Claim(ask.team.name, KEY, digest, ask.job_id, ask.now))


def decided(ask: Ask, books: Books, claim: Claim | None = None) -> tuple[Any, Writes]:
    return admit(ask, replace(books.view(ask.keys()), claim=claim))


def test_the_claim_is_written_with_the_job_that_it_names() -> None:
    books = Books()
    ask = keyed()
    assert ask.keys().claim == ("alpha", KEY)
    started, writes = decided(ask, books)
    assert isinstance(started, Started)
    assert writes.claims == (ask.claim,) and writes.freed == ()
    assert [job.id for job in writes.jobs] == [writes.claims[0].job_id]
    books.apply(writes)
    other = keyed(claim=None)
    joined, writes = decided(other, books)
    assert isinstance(joined, Joined) and writes.claims == (other.claim,)


def test_a_hit_from_the_cache_needs_the_ledger_for_the_claim_alone() -> None:
    done = a_run(state=RunState.DONE, finished_at=NOW, fingerprint=an_ask().fingerprint)
    ask = replace(keyed(), cached=done, vetted={done.id: True})
    assert ask.keys() == Keys(claim=("alpha", KEY))
    hit, writes = decided(ask, Books())
    assert isinstance(hit, Hit) and writes.claims == (ask.claim,)
    assert answer_hit(ask, done) is not None


def test_without_a_key_nothing_is_claimed() -> None:
    _, writes = decided(an_ask(), Books())
    assert writes.claims == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"team": Team("alpha", allow=Allow(models=frozenset({"other"})))},
        {"freshness": Freshness(only_if_cached=True)},
        {"room": False},
    ],
)
def test_what_is_denied_claims_nothing(fields: dict[str, Any]) -> None:
    decision, writes = decided(keyed(**fields), Books())
    assert isinstance(decision, Denied) and writes == Writes()


def test_a_claim_comes_before_everything_else() -> None:
    """Whatever the team may do by now: its task is its task."""
    first = keyed()
    ask = keyed(team=Team("alpha", allow=Allow(max_n=0)))
    decision, writes = decided(ask, Books(), first.claim)
    assert decision == Claimed(first.claim) and writes == Writes()  # type: ignore[arg-type]


def test_a_free_claim_is_replaced_and_only_that_one() -> None:
    former, ask = keyed().claim, keyed()
    freed = replace(ask, free=former)
    decision, writes = decided(freed, Books(), former)
    assert isinstance(decision, Started)
    assert writes.freed == (former,) and writes.claims == (ask.claim,)
    overtaken = keyed().claim
    assert decided(freed, Books(), overtaken) == (Claimed(overtaken), Writes())  # type: ignore[arg-type]
    pruned, writes = decided(freed, Books(), None)
    assert isinstance(pruned, Started) and writes.freed == ()


def a_job(run: Run) -> Job:
    return Job("task-unified-1-aaaaaaaa", run.id, "alpha", Verdict.STARTED, NOW)


def failed(kind: FailureKind, accepted_at: float | None = None) -> Run:
    failure = Failure(kind, "code", "message")
    told = {"accepted_at": accepted_at, "told_at": accepted_at}
    return a_run(state=RunState.FAILED, failure=failure, finished_at=NOW, **told)


LASTING = [
    a_run(),
    a_run(state=RunState.QUEUED),
    a_run(state=RunState.UNSURE),
    a_run(state=RunState.RUNNING, accepted_at=NOW),
    a_run(state=RunState.DONE, accepted_at=NOW, finished_at=NOW),
    failed(FailureKind.TASK_FAILED, NOW),
    failed(FailureKind.TIMED_OUT, NOW),
    failed(FailureKind.RESULT_LOST, NOW),
    failed(FailureKind.OUTCOME_UNKNOWN),  # it may have been paid
    failed(FailureKind.REFUSED, NOW),  # a task was told before another route refused it
]
LASTING.append(replace(failed(FailureKind.UNAVAILABLE), told_at=NOW))  # it was left waiting
FREE = [
    failed(FailureKind.REFUSED),
    failed(FailureKind.CREDENTIALS),
    failed(FailureKind.UNAVAILABLE),
]


@pytest.mark.parametrize("run", LASTING, ids=lambda run: str(run.failure or run.state)[:40])
def test_a_task_that_was_told_is_told_again(run: Run) -> None:
    ask, job = keyed(), a_job(run)
    assert ask.claim is not None
    assert replay(ask, ask.claim, (job, run)) == Replayed(job, run)
    other = replace(ask.claim, digest="0" * 64)
    assert replay(ask, other, (job, run)) == Conflicting()


@pytest.mark.parametrize("run", FREE, ids=lambda run: str(run.failure.kind))
def test_what_was_refused_for_nothing_frees_the_key(run: Run) -> None:
    ask = keyed()
    assert ask.claim is not None
    for claim in (ask.claim, replace(ask.claim, digest="0" * 64)):
        assert replay(ask, claim, (a_job(run), run)) is None
        assert replay(ask, claim, None) is None  # the task is forgotten


def test_the_digest_is_of_all_that_was_sent_and_of_nothing_else() -> None:
    plain = an_order(n=2, quality="low")
    same = [
        an_order(quality="low", n=2),
        read_order(
            {"prompt": plain.prompt, "model": "gpt-image-1.5-lite", "n": 2, "quality": "low"},
            CATALOG,
        ),
        replace(plain, digests={"https://a.test/x.png": "0" * 64}),
    ]
    assert {claim_digest(one) for one in same} == {claim_digest(plain)}
    assert claim_digest(an_order()) == claim_digest(an_order(n=1))
    others = [
        an_order(n=2),
        an_order(n=3, quality="low"),
        an_order(n=2, quality="low", something_new=1),
        an_order(n=2, quality="low", callback_url="https://hooks.example.org/a"),
        an_order(n=2, quality="low", callback_url="https://hooks.example.org/b"),
    ]
    assert len({claim_digest(one) for one in [plain, *others]}) == len(others) + 1


def test_a_default_that_changes_makes_no_other_order_of_what_was_said() -> None:
    def named(*defaults: tuple[str, object], **said: object) -> str:
        body = {"model": "gpt-image-1.5", "prompt": "a fox", **said}
        return claim_name(read_order(body, CATALOG, Team("alpha", defaults=defaults)))

    silent = [named(), named(("quality", "low")), named(("quality", "high"), ("n", 2))]
    assert all(is_same_claim(one, other) for one in silent for other in silent)
    assert is_same_claim(silent[1], named(quality="low")), "as it was made, so it may be said"
    assert is_same_claim(silent[1], claim_digest(an_order(prompt="a fox", quality="low")))
    assert not is_same_claim(silent[1], named(quality="high"))
    assert not is_same_claim(named(quality="low"), named(("quality", "high")))
    assert not is_same_claim(silent[1], named(("quality", "low"), prompt="a bear"))
    assert named() == claim_digest(an_order(prompt="a fox")), "one digest, where nothing is filled"


def test_the_digest_does_not_know_who_shares_what() -> None:
    one = keyed(team=Team("alpha", cache_scope=CacheScope.TEAM)).claim
    two = keyed(team=Team("alpha", cache_scope=CacheScope.ORGANIZATION)).claim
    assert one and two and one.digest == two.digest
