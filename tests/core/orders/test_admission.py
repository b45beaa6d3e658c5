"""Admission: what is answered from the cache, joined, started and denied, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from core_samples import (
    MODEL,
    NOW,
    PRICE,
    TTL,
    Books,
    a_run,
    an_ask,
    an_order,
    kept,
    keys_of,
    some_rules,
)

from gateway.core.catalog import (
    Allow,
    CacheScope,
    ClientControl,
    ImageModel,
    Limits,
    Mode,
    PriceRule,
    Route,
    Team,
)
from gateway.core.model import Freshness, Run, RunState, Usage, Verdict
from gateway.core.money.accounts import NOTHING, Amounts, Cap, Measure, Window
from gateway.core.orders.admission import (
    Decision,
    Denied,
    Doubtful,
    Hit,
    Joined,
    Started,
    Unvetted,
    admit,
    answer_hit,
)
from gateway.core.orders.ask import Ask, honoured
from gateway.core.orders.denials import Reason
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    DeadlinePassed,
    Event,
    Finished,
    KeepFailed,
    Loss,
    PicturesKept,
    Refused,
)
from gateway.core.transaction import Keys, View, Writes
from gateway.errors import (
    BudgetExhausted,
    GatewayError,
    GenerationTimeout,
    InvalidRequest,
    ModelAccessDenied,
    NotCached,
    OutcomeUnknown,
    RateLimited,
    ResultLost,
    Unavailable,
)

RULES = some_rules()
LINK = "https://files.test/a.png"
ALPHA = Team("alpha")
NO_CACHE, NO_STORE = Freshness(no_cache=True), Freshness(no_store=True)


def start(books: Books, **fields: Any) -> Run:
    decision, _ = books.admit(an_ask(**fields))
    assert isinstance(decision, Started)
    return decision.run


def finish(books: Books, run: Run, at: float) -> Run:
    """The run's pictures are kept at that time."""
    books.happen(run.id, Accepted(f"task-of-{run.id}", "{}"), at, RULES)
    books.happen(run.id, Finished("{}", (LINK,)), at, RULES)
    return books.happen(run.id, PicturesKept((kept(LINK),)), at, RULES)


def cached(at: float = NOW, **fields: Any) -> tuple[Books, Run]:
    """Books with one finished run."""
    books = Books()
    return books, finish(books, start(books, now=at, **fields), at)


def decide(books: Books, **fields: Any) -> Decision:
    """The decision on an order whose finished runs are all readable."""
    readable = dict.fromkeys(books.runs, True)
    return books.admit(an_ask(**{"vetted": readable, **fields}))[0]


def capped(*caps: Cap, **fields: Any) -> Team:
    return Team("alpha", caps=caps, **fields)


# --- starting ------------------------------------------------------------------------------------


def test_a_first_order_starts_a_run_and_holds_its_price() -> None:
    books, ask = Books(), an_ask(order=an_order(n=3, quality="high", seed=7))
    decision, writes = books.admit(ask)
    assert isinstance(decision, Started) and decision.stored and decision.shadow is None
    run, job = decision.run, decision.job
    assert run.hold == Amounts(3 * PRICE, 3, 1) and run.spent == NOTHING
    assert (run.state, run.upstream_model) == (RunState.SUBMITTING, "gpt-image-1.5-beta")
    assert (run.price_usd_micros, run.n, run.quality) == (PRICE, 3, "high")
    assert run.request == '{"n":3,"prompt":"a red bicycle","quality":"high","seed":7}'
    assert (run.created_at, run.due_at, run.deadline_at) == (NOW, NOW, NOW + 900)
    assert (run.lease_owner, run.lease_until) == ("here", NOW + 180)
    assert (job.id, job.run_id, job.verdict) == (ask.job_id, run.id, Verdict.STARTED)
    assert writes.runs == (run,) and writes.jobs == (job,)
    assert books.accounts == books.sums() and len(books.accounts) == len(Window)


def test_the_cheapest_route_is_taken() -> None:
    run = start(Books(), order=an_order(quality="low"))
    assert (run.upstream_model, run.price_usd_micros) == ("gpt-image-1.5", 12_000)


def test_what_has_no_price_is_denied() -> None:
    model = replace(MODEL, routes=())
    for mode in Mode:
        decision, writes = Books().admit(an_ask(model=model, team=Team("alpha", mode=mode)))
        assert isinstance(decision, Denied) and decision.denial.reason is Reason.UNPRICED
        assert isinstance(decision.denial.error(NOW), InvalidRequest)
        assert writes == Writes()


def test_without_room_on_the_disk_only_known_pictures_are_given() -> None:
    books, run = cached()
    assert isinstance(decide(books, room=False), Hit)
    decision, writes = books.admit(an_ask(order=an_order(seed=2), room=False))
    assert isinstance(decision, Denied) and writes == Writes()
    error = decision.denial.error(NOW)
    assert isinstance(error, Unavailable) and error.retry_after_seconds == 60
    assert run.id in books.runs and len(books.runs) == 1


# --- hits ----------------------------------------------------------------------------------------


def test_a_finished_run_answers_for_nothing() -> None:
    books, run = cached()
    before = dict(books.accounts)
    ask = an_ask(now=NOW + 100, vetted={run.id: True})
    decision, writes = books.admit(ask)
    assert isinstance(decision, Hit)
    assert decision.run == run and decision.ttl_seconds == TTL - 100
    assert (decision.job.verdict, decision.job.run_id) == (Verdict.HIT, run.id)
    assert (writes.runs, writes.accounts) == ((), ())
    assert writes.usage == (
        Usage(
            "alpha",
            MODEL.name,
            ask.windows.day,
            hits=1,
            images_cache=1,
            saved_hit_usd_micros=PRICE,
        ),
    )
    assert books.accounts == before == books.sums()


@pytest.mark.parametrize(("age", "hit"), [(0, True), (TTL - 1, True), (TTL, False), (1e6, False)])
def test_answers_go_stale(age: float, hit: bool) -> None:
    books, _ = cached()
    assert isinstance(decide(books, now=NOW + age), Hit if hit else Started)


def test_a_cache_without_time_to_live_gives_nothing() -> None:
    books, _ = cached()
    assert isinstance(decide(books, ttl_seconds=0.0), Started)


@pytest.mark.parametrize(
    ("freshness", "age", "hit"),
    [
        (Freshness(max_age_seconds=0), 0, False),
        (Freshness(max_age_seconds=0), 5, False),
        (Freshness(max_age_seconds=60), 59, True),
        (Freshness(max_age_seconds=60), 61, False),
        (Freshness(max_age_seconds=1e9), TTL - 1, True),
        (Freshness(max_age_seconds=1e9), TTL + 1, False),
        (Freshness(no_cache=True), 5, False),
        (Freshness(no_store=True), 5, False),
        (Freshness(no_cache=True, max_age_seconds=1e9), 5, False),
        (Freshness(only_if_cached=True), 5, True),
        (Freshness(only_if_cached=True, max_age_seconds=60), 59, True),
    ],
)
def test_callers_say_how_fresh(freshness: Freshness, age: float, hit: bool) -> None:
    books, _ = cached()
    decision = decide(books, now=NOW + age, freshness=freshness)
    assert isinstance(decision, Hit if hit else Started)


@pytest.mark.parametrize(
    "freshness",
    [
        Freshness(only_if_cached=True, max_age_seconds=60),
        Freshness(only_if_cached=True, max_age_seconds=0),
        Freshness(only_if_cached=True, no_cache=True),
        Freshness(only_if_cached=True, no_store=True),
    ],
)
def test_only_if_cached_never_makes_a_new_one(freshness: Freshness) -> None:
    books, _ = cached()
    decision, writes = books.admit(an_ask(now=NOW + 61, freshness=freshness))
    assert isinstance(decision, Denied) and decision.denial.reason is Reason.NOT_CACHED
    assert isinstance(decision.denial.error(NOW), NotCached)
    assert writes == Writes() and len(books.jobs) == 1


def test_only_if_cached_does_not_wait_for_a_running_one() -> None:
    books = Books()
    start(books)
    decision = decide(books, freshness=Freshness(only_if_cached=True))
    assert isinstance(decision, Denied)


def test_pictures_are_looked_at_before_they_are_given() -> None:
    books, run = cached()
    decision, writes = books.admit(an_ask(now=NOW + 1))
    assert decision == Unvetted(run) and writes == Writes()
    assert isinstance(decide(books, vetted={run.id: False}), Started)
    assert isinstance(
        Books(runs={run.id: run}).admit(
            an_ask(vetted={run.id: False}, freshness=Freshness(only_if_cached=True))
        )[0],
        Denied,
    )


def test_a_vetted_copy_of_the_cache_answers_without_the_ledger() -> None:
    _, run = cached()
    ask = an_ask(cached=run, vetted={run.id: True})
    assert ask.keys() == Keys()
    assert isinstance(admit(ask, View())[0], Hit)


@pytest.mark.parametrize(
    "change",
    [
        {"vetted": {}},
        {"vetted": {"another": True}},
        {"now": NOW + TTL},
        {"freshness": Freshness(no_store=True)},
        {"freshness": Freshness(no_cache=True)},
        {"freshness": Freshness(max_age_seconds=0)},
    ],
)
def test_any_other_copy_is_not_enough(change: dict[str, Any]) -> None:
    _, run = cached()
    ask = an_ask(**{"cached": run, "vetted": {run.id: True}, **change})
    assert len(ask.keys().accounts) == len(Window)
    decision, _ = Books().admit(ask)
    assert isinstance(decision, Unvetted if change == {"vetted": {}} else (Started, Unvetted))


def test_the_newest_answer_is_given() -> None:
    books, _ = cached()
    newer = finish(books, start(books, freshness=Freshness(no_cache=True)), NOW + 50)
    decision = decide(books, now=NOW + 60)
    assert isinstance(decision, Hit) and decision.run.id == newer.id
    stale = replace(books.runs[newer.id], id="old", finished_at=NOW - TTL)
    again = decide(books, now=NOW + 60, cached=stale)
    assert isinstance(again, Hit) and again.run.id == newer.id


def test_a_failed_run_is_no_answer() -> None:
    books = Books()
    run = start(books)
    books.happen(run.id, Refused(400, "{}", "invalid_request", "no"), NOW, RULES)
    assert isinstance(decide(books), Started)


def test_answer_hit_alone() -> None:
    _, run = cached()
    assert answer_hit(an_ask(now=NOW + TTL), run) is None
    found = answer_hit(an_ask(now=NOW + 1), run)
    assert found is not None and found[0].run == run


# --- joining -------------------------------------------------------------------------------------


def test_a_running_run_is_joined_for_nothing() -> None:
    books = Books()
    run = start(books)
    before = dict(books.accounts)
    for round_ in (1, 2):
        decision, writes = books.admit(an_ask(now=NOW + round_))
        assert isinstance(decision, Joined)
        assert decision.run.joins == (("alpha", round_),)
        assert (decision.job.run_id, decision.job.verdict) == (run.id, Verdict.JOINED)
        assert writes.accounts == () and [one.joined for one in writes.usage] == [1]
        assert replace(decision.run, joins=()) == run
    assert books.accounts == before == books.sums()
    assert len(books.runs) == 1 and len(books.jobs) == 3


def test_teams_of_one_scope_share_and_others_do_not() -> None:
    one, two = (Team(name, cache_scope=CacheScope.ORGANIZATION) for name in ("one", "two"))
    books = Books()
    start(books, team=one)
    joined = decide(books, team=two)
    assert isinstance(joined, Joined)
    assert (joined.job.team, joined.run.team, joined.run.joins) == ("two", "one", (("two", 1),))
    assert isinstance(decide(books, team=Team("two")), Started)
    assert isinstance(decide(books, team=Team("three")), Started)


@pytest.mark.parametrize("freshness", [Freshness(), Freshness(max_age_seconds=0)])
def test_who_wants_it_fresh_may_join_what_is_being_made(freshness: Freshness) -> None:
    books, _ = cached()
    live = start(books, now=NOW + TTL)
    decision = decide(books, now=NOW + TTL + 1, freshness=freshness)
    assert isinstance(decision, Joined) and decision.run.id == live.id


@pytest.mark.parametrize("freshness", [Freshness(), Freshness(max_age_seconds=5)])
def test_a_doubtful_run_is_neither_joined_nor_made_again(freshness: Freshness) -> None:
    books = Books()
    run = start(books)
    unsure = books.happen(run.id, AnswerLost("cut"), NOW, RULES)
    decision, writes = books.admit(an_ask(now=NOW + 1, freshness=freshness))
    assert decision == Doubtful(unsure) and writes == Writes()


@pytest.mark.parametrize("doubtful", [False, True])
def test_no_cache_supersedes_a_live_run(doubtful: bool) -> None:
    books = Books()
    old = start(books)
    joined = decide(books)
    assert isinstance(joined, Joined)
    if doubtful:
        books.happen(old.id, AnswerLost("cut"), NOW, RULES)
    new = decide(books, freshness=Freshness(no_cache=True))
    assert isinstance(new, Started) and new.stored
    assert not books.runs[old.id].shared
    assert books.jobs[joined.job.id].run_id == old.id
    assert books.runs[old.id].joins == (("alpha", 1),)
    later = decide(books)
    assert isinstance(later, Joined) and later.run.id == new.run.id
    assert books.accounts == books.sums()


def test_a_superseded_run_answers_until_the_newer_one_does() -> None:
    books = Books()
    old = start(books)
    new = start(books, freshness=Freshness(no_cache=True))
    waiting = decide(books, now=NOW + 1)
    assert isinstance(waiting, Joined) and waiting.run.id == new.id
    finish(books, old, NOW + 5)
    paid = decide(books, now=NOW + 6)
    assert isinstance(paid, Hit) and paid.run.id == old.id
    finish(books, new, NOW + 7)
    hit = decide(books, now=NOW + 8)
    assert isinstance(hit, Hit) and hit.run.id == new.id


def test_a_superseded_run_that_is_done_after_the_newer_one_stays_behind() -> None:
    books = Books()
    old = start(books)
    new = start(books, now=NOW + 1, freshness=Freshness(no_cache=True))
    finish(books, new, NOW + 5)
    finish(books, old, NOW + 7)
    hit = decide(books, now=NOW + 8)
    assert isinstance(hit, Hit) and hit.run.id == new.id
    assert not books.runs[old.id].shared


@pytest.mark.parametrize("ending", [Refused(400, "{}", "no", "no"), AnswerLost("cut")])
def test_a_superseded_run_takes_its_place_back_where_the_newer_one_fails(ending: Event) -> None:
    books = Books()
    first = start(books)
    second = start(books, now=NOW + 1, freshness=Freshness(no_cache=True))
    third = start(books, now=NOW + 2, freshness=Freshness(no_cache=True))
    failed = books.happen(third.id, ending, NOW + 3, RULES)
    while not failed.is_final:
        failed = books.happen(third.id, DeadlinePassed(), failed.deadline_at, RULES)
    joined = decide(books, now=NOW + 905)
    assert isinstance(joined, Joined) and joined.run.id == second.id
    assert not books.runs[first.id].shared
    finish(books, second, NOW + 906)
    hit = decide(books, now=NOW + 907)
    assert isinstance(hit, Hit) and hit.run.id == second.id
    finish(books, first, NOW + 908)
    assert not books.runs[first.id].shared
    assert decide(books, now=NOW + 909).run.id == second.id  # type: ignore[union-attr]


def test_what_was_done_before_the_newer_run_failed_answers() -> None:
    books = Books()
    old = start(books)
    new = start(books, now=NOW + 1, freshness=Freshness(no_cache=True))
    finish(books, old, NOW + 5)
    books.happen(new.id, Refused(400, "{}", "no", "no"), NOW + 6, RULES)
    hit = decide(books, now=NOW + 7)
    assert isinstance(hit, Hit) and hit.run.id == old.id


def test_a_private_run_takes_nobodys_place() -> None:
    books = Books()
    private = start(books, freshness=Freshness(no_store=True))
    finish(books, private, NOW + 5)
    assert not books.runs[private.id].shared
    assert isinstance(decide(books, now=NOW + 6), Started)


# --- endings that count as spent -----------------------------------------------------------------

MINUTES = 60.0


def lost(books: Books, at: float = NOW, **fields: Any) -> Run:
    """A run that was accepted and not finished by its deadline, which is now."""
    run = start(books, now=at - 900, **fields)
    books.happen(run.id, Accepted(f"task-of-{run.id}", "{}"), at - 900, RULES)
    return books.happen(run.id, DeadlinePassed(), at, RULES)


def repeated(books: Books, **fields: Any) -> Decision:
    return decide(books, remember_lost_seconds=15 * MINUTES, **fields)


def result_lost(books: Books) -> Run:
    run = start(books, now=NOW - 5)
    books.happen(run.id, Accepted(f"task-of-{run.id}", "{}"), NOW - 4, RULES)
    books.happen(run.id, Finished("{}", (LINK,)), NOW - 3, RULES)
    cut = KeepFailed("it is cut", dead=True, loss=Loss.UNDECODABLE, body="the same")
    return [books.happen(run.id, cut, NOW, RULES) for _ in range(3)][-1]


def never_known(books: Books) -> Run:
    run = start(books, now=NOW - 900)
    books.happen(run.id, AnswerLost("cut"), NOW - 899, RULES)
    return books.happen(run.id, DeadlinePassed(), NOW, RULES)


@pytest.mark.parametrize(
    ("end", "reason", "error", "status"),
    [
        (lost, Reason.TIMED_OUT, GenerationTimeout, 424),
        (result_lost, Reason.RESULT_LOST, ResultLost, 424),
        (never_known, Reason.OUTCOME_UNKNOWN, OutcomeUnknown, 504),
    ],
)
def test_an_ending_that_counts_as_spent_is_repeated_for_a_while(
    end: Callable[[Books], Run], reason: Reason, error: type[GatewayError], status: int
) -> None:
    books = Books()
    run = end(books)
    assert run.spent.usd_micros == PRICE
    for after in (0.0, 15 * MINUTES - 1):
        same = repeated(books, now=NOW + after)
        assert isinstance(same, Denied)
        assert (same.denial.reason, same.denial.frees_at) == (reason, NOW + 15 * MINUTES)
        told = same.denial.error(NOW + after)
        assert type(told) is error and (told.status, told.type) == (status, "api_error")
        assert told.retry_after_seconds is None
        assert run.failure and run.failure.message in told.message and "no-cache" in told.message
    assert isinstance(repeated(books, now=NOW + 15 * MINUTES), Started)


@pytest.mark.parametrize(
    "freshness", [Freshness(no_cache=True), Freshness(no_store=True), Freshness(True, True)]
)
def test_it_is_paid_again_knowingly(freshness: Freshness) -> None:
    books = Books()
    lost(books)
    assert isinstance(repeated(books, freshness=freshness), Started)


def test_an_age_is_no_wish_to_pay_again() -> None:
    books = Books()
    lost(books)
    assert isinstance(repeated(books, freshness=Freshness(max_age_seconds=0)), Denied)
    only = repeated(books, freshness=Freshness(only_if_cached=True))
    assert isinstance(only, Denied) and only.denial.reason is Reason.NOT_CACHED


def test_only_identical_orders_of_the_same_scope_get_it() -> None:
    books = Books()
    lost(books)
    assert isinstance(repeated(books, order=an_order(seed=1)), Started)
    assert isinstance(repeated(books, team=Team("beta")), Started)
    shared = [Team(name, cache_scope=CacheScope.ORGANIZATION) for name in ("one", "two")]
    lost(books, team=shared[0])
    assert isinstance(repeated(books, team=shared[1]), Denied)


def test_what_was_not_charged_or_is_nobodys_business_is_not_repeated() -> None:
    books = Books()
    refused = start(books)
    books.happen(refused.id, Refused(400, "{}", "no", "no"), NOW, RULES)
    assert isinstance(repeated(books), Started)
    books = Books()
    lost(books, freshness=Freshness(no_store=True))
    assert isinstance(repeated(books), Started)


def test_a_picture_that_came_since_then_shows_that_there_is_one() -> None:
    books = Books()
    lost(books)
    new = finish(books, start(books, now=NOW + 1, freshness=Freshness(no_cache=True)), NOW + 2)
    hit = repeated(books, now=NOW + 3)
    assert isinstance(hit, Hit) and hit.run.id == new.id
    gone = repeated(books, now=NOW + 3, vetted={new.id: False})
    assert isinstance(gone, Started)


def test_a_run_under_way_is_joined_before_an_older_ending_is_repeated() -> None:
    books = Books()
    lost(books)
    new = start(books, now=NOW + 1, freshness=Freshness(no_cache=True))
    joined = repeated(books, now=NOW + 2)
    assert isinstance(joined, Joined) and joined.run.id == new.id


def test_where_no_client_may_pay_again_none_is_told_how() -> None:
    books, team = Books(), Team("alpha", client_control=ClientControl.IGNORE)
    lost(books, team=team)
    same = repeated(books, team=team)
    assert isinstance(same, Denied) and "no-cache" not in same.denial.message


# --- what passes by the cache --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freshness", "bypassed"),
    [
        (Freshness(), False),
        (Freshness(no_cache=True), True),
        (Freshness(no_store=True), True),
        (Freshness(max_age_seconds=0), False),  # there was nothing to pass by
    ],
)
def test_a_run_knows_whether_its_client_passed_the_cache_by(
    freshness: Freshness, bypassed: bool
) -> None:
    books = Books()
    assert start(books, freshness=freshness).bypassed is bypassed


def test_an_age_that_refuses_an_answer_passes_it_by() -> None:
    books, run = cached()
    later = {"now": NOW + 60, "vetted": {run.id: True}}
    assert start(books, freshness=Freshness(max_age_seconds=60), **later).bypassed
    books, run = cached()
    stale = {"now": NOW + TTL, "vetted": {run.id: True}}
    assert not start(books, freshness=Freshness(max_age_seconds=60), **stale).bypassed
    books, run = cached()
    gone = {"now": NOW + 60, "vetted": {run.id: False}}
    assert not start(books, freshness=Freshness(max_age_seconds=60), **gone).bypassed


def test_a_bypass_is_counted_with_what_it_cost() -> None:
    books, _ = cached()
    finish(books, start(books, freshness=Freshness(no_cache=True)), NOW + 1)
    assert sum(one.bypassed for one in books.usage) == 1
    assert sum(one.spent_bypassed_usd_micros for one in books.usage) == PRICE
    assert sum(one.spent_usd_micros for one in books.usage) == 2 * PRICE


@pytest.mark.parametrize("asked", [NO_CACHE, NO_STORE, Freshness(max_age_seconds=0)])
def test_a_client_may_be_kept_from_passing_by(asked: Freshness) -> None:
    assert honoured(asked, ClientControl.HONOUR) == asked
    assert honoured(asked, ClientControl.IGNORE) == Freshness()
    both = replace(asked, only_if_cached=True)
    assert honoured(both, ClientControl.IGNORE) == Freshness(only_if_cached=True)


def test_a_denied_no_cache_leaves_the_live_run_shared() -> None:
    team = capped(Cap(Measure.USD, Window.DAY, PRICE))
    books = Books()
    old = start(books, team=team)
    assert isinstance(decide(books, team=team, freshness=Freshness(no_cache=True)), Denied)
    assert books.runs[old.id].shared


def test_no_store_stays_out_of_it_altogether() -> None:
    books, _ = cached()
    live = start(books, now=NOW + TTL)
    private = decide(books, now=NOW + TTL, freshness=Freshness(no_store=True, no_cache=True))
    assert isinstance(private, Started) and not private.stored and not private.run.shared
    assert books.runs[live.id].shared
    finish(books, private.run, NOW + TTL + 1)
    later = decide(books, now=NOW + TTL + 2)
    assert isinstance(later, Joined) and later.run.id == live.id


# --- denials -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "order", "reason", "param", "error"),
    [
        (Allow(models=frozenset({"x"})), {}, Reason.MODEL, "model", ModelAccessDenied),
        (Allow(sizes=frozenset({"1:1"})), {"size": "2:3"}, Reason.SIZE, "size", InvalidRequest),
        (Allow(sizes=frozenset({"1:1"})), {}, Reason.SIZE, "size", InvalidRequest),
        (
            Allow(qualities=frozenset({"low"})),
            {"quality": "high"},
            Reason.QUALITY,
            "quality",
            InvalidRequest,
        ),
        (Allow(qualities=frozenset({"low"})), {}, Reason.QUALITY, "quality", InvalidRequest),
        (Allow(max_n=1), {"n": 2}, Reason.COUNT, "n", InvalidRequest),
    ],
)
def test_what_a_team_may_not_ask_for(
    allow: Allow, order: dict[str, Any], reason: Reason, param: str, error: type
) -> None:
    team = Team("alpha", allow=allow)
    decision, writes = Books().admit(an_ask(order=an_order(**order), team=team))
    assert isinstance(decision, Denied) and writes == Writes()
    assert (decision.denial.reason, decision.denial.param) == (reason, param)
    told = decision.denial.error(NOW)
    assert type(told) is error and told.param == param


def test_what_a_team_may_ask_for() -> None:
    one = frozenset({"1:1"})
    allow = Allow(frozenset({MODEL.name}), one, frozenset({"low"}), max_n=2)
    order = an_order(size="1:1", quality="low", n=2)
    assert isinstance(decide(Books(), order=order, team=Team("alpha", allow=allow)), Started)


def test_even_a_hit_is_denied_to_those_who_may_not_ask_for_it() -> None:
    books, _ = cached()
    allow = Allow(models=frozenset({"another"}))
    assert isinstance(decide(books, team=Team("alpha", allow=allow)), Denied)


@pytest.mark.parametrize(
    ("cap", "reason", "error", "scope", "retry_after"),
    [
        (Cap(Measure.USD, Window.DAY, PRICE), Reason.BUDGET, BudgetExhausted, "usd_per_day", 86363),
        (Cap(Measure.USD, Window.TOTAL, PRICE), Reason.BUDGET, BudgetExhausted, "usd_total", None),
        (Cap(Measure.IMAGES, Window.HOUR, 1), Reason.IMAGES, RateLimited, "images_per_hour", 3563),
        (
            Cap(Measure.RUNS, Window.MINUTE, 1),
            Reason.RUNS_PER_MINUTE,
            RateLimited,
            "runs_per_minute",
            23,
        ),
        (
            Cap(Measure.LIVE, Window.TOTAL, 1),
            Reason.CONCURRENT_RUNS,
            RateLimited,
            "concurrent_runs",
            5,
        ),
    ],
)
def test_a_cap_denies_and_says_when_it_frees(
    cap: Cap, reason: Reason, error: type, scope: str, retry_after: int | None
) -> None:
    books, team = Books(), capped(cap)
    start(books, team=team)
    decision, writes = books.admit(an_ask(order=an_order(seed=2), team=team))
    assert isinstance(decision, Denied) and decision.denial.reason is reason
    assert writes == Writes() and len(books.jobs) == 1
    told = decision.denial.error(NOW)
    assert type(told) is error
    assert told.extra["limit_scope"] == scope
    if retry_after is None:
        assert told.retry_after_seconds is None and told.extra["resets_at"] is None
    else:
        assert math.ceil(told.retry_after_seconds or 0) == retry_after
        assert str(told.extra["resets_at"]).startswith("2026-01-0")
    assert isinstance(decide(books, team=team), Joined)  # joining costs nothing


def test_what_can_never_fit_has_no_time_to_come_back() -> None:
    team = capped(Cap(Measure.IMAGES, Window.DAY, 2))
    decision = decide(Books(), order=an_order(n=3), team=team)
    assert isinstance(decision, Denied)
    assert "can never fit" in decision.denial.message
    assert decision.denial.error(NOW).retry_after_seconds is None


def test_a_released_run_gives_its_budget_back() -> None:
    team = capped(Cap(Measure.USD, Window.DAY, PRICE), Cap(Measure.LIVE, Window.TOTAL, 1))
    books = Books()
    run = start(books, team=team)
    books.happen(run.id, Refused(400, "{}", "invalid_request", "no"), NOW, RULES)
    assert isinstance(decide(books, order=an_order(seed=2), team=team), Started)


def test_the_same_window_of_the_next_day_is_empty() -> None:
    team = capped(Cap(Measure.USD, Window.DAY, PRICE))
    books = Books()
    start(books, team=team)
    later = NOW + 86_400
    assert isinstance(decide(books, order=an_order(seed=2), team=team, now=later), Started)


# --- shadow --------------------------------------------------------------------------------------

SHADOW = capped(
    Cap(Measure.USD, Window.DAY, PRICE),
    allow=Allow(max_n=1),
    mode=Mode.SHADOW,
)


def shadow_of(decision: Decision) -> Reason | None:
    assert isinstance(decision, Hit | Joined | Started)
    return decision.shadow.reason if decision.shadow else None


def test_shadow_refuses_nothing_and_tells_what_it_would_have() -> None:
    books = Books()
    assert shadow_of(decide(books, team=SHADOW)) is None
    assert shadow_of(decide(books, order=an_order(seed=2), team=SHADOW)) is Reason.BUDGET
    many = an_order(n=2)
    first = decide(books, order=many, team=SHADOW)
    assert isinstance(first, Started) and shadow_of(first) is Reason.COUNT
    joined = decide(books, order=many, team=SHADOW)
    assert isinstance(joined, Joined) and shadow_of(joined) is Reason.COUNT
    finish(books, first.run, NOW + 1)
    hit = decide(books, order=many, team=SHADOW, now=NOW + 2)
    assert isinstance(hit, Hit) and shadow_of(hit) is Reason.COUNT
    assert books.accounts == books.sums()


def test_shadow_counts_in_the_accounts() -> None:
    books = Books()
    for seed in range(3):
        decide(books, order=an_order(seed=seed), team=SHADOW)
    held = {account.held for account in books.accounts.values()}
    assert held == {Amounts(3 * PRICE, 3, 3)}


def test_only_if_cached_holds_in_shadow_too() -> None:
    decision = decide(Books(), team=SHADOW, freshness=Freshness(only_if_cached=True))
    assert isinstance(decision, Denied)


def test_what_upstream_takes_is_not_the_teams_to_allow() -> None:
    """Limits are the model's and were judged before; admission knows the team's alone."""
    model = replace(MODEL, limits=Limits(max_n=1))
    assert isinstance(decide(Books(), order=an_order(n=4), model=model), Started)


def test_an_ask_alone_tells_what_it_must_see() -> None:
    ask: Ask = an_ask()
    assert ask.keys().fingerprint == ask.fingerprint
    assert set(ask.keys().accounts) == set(keys_of(a_run()))
    assert an_ask(freshness=Freshness(no_store=True)).keys().fingerprint is None


# --- routes that lead elsewhere ------------------------------------------------------------------


def leading_to(*upstream_models: str) -> ImageModel:
    prices = (PriceRule(PRICE),)
    return replace(MODEL, routes=tuple(Route("evolink", one, prices) for one in upstream_models))


def test_another_upstream_model_does_not_answer_from_the_old_ones_pictures() -> None:
    first = an_ask(model=leading_to("old"))
    done = a_run(
        fingerprint=first.fingerprint,
        upstream_model="old",
        state=RunState.DONE,
        finished_at=NOW,
    )
    for model, verdict in (
        (leading_to("old"), Hit),
        (leading_to("other", "old"), Hit),  # a further route, another order of routes
        (replace(leading_to("old"), routes=(Route("elsewhere", "old", (PriceRule(9),)),)), Hit),
        (leading_to("other"), Started),
    ):
        books = Books(runs={done.id: done})
        ask = an_ask(model=model, vetted={done.id: True})
        assert isinstance(books.admit(ask)[0], verdict)
        cached = replace(ask, cached=done)
        assert isinstance(Books().admit(cached)[0], verdict)


def test_a_run_on_a_former_upstream_model_is_not_joined_and_keeps_its_own_jobs() -> None:
    books = Books()
    first, _ = books.admit(an_ask(model=leading_to("old")))
    assert isinstance(first, Started)
    second, _ = books.admit(an_ask(model=leading_to("new")))
    assert isinstance(second, Started) and second.run.upstream_model == "new"
    assert not books.runs[first.run.id].shared and books.runs[second.run.id].shared
    third, _ = books.admit(an_ask(model=leading_to("new")))
    assert isinstance(third, Joined) and third.run.id == second.run.id


@pytest.mark.parametrize(
    ("state", "verdict"), [(RunState.QUEUED, Joined), (RunState.UNSURE, Doubtful)]
)
def test_what_waits_goes_by_todays_routes_and_a_doubt_stays_one(
    state: RunState, verdict: type
) -> None:
    books = Books()
    first, _ = books.admit(an_ask(model=leading_to("old")))
    assert isinstance(first, Started)
    books.runs[first.run.id] = replace(first.run, state=state)
    assert isinstance(books.admit(an_ask(model=leading_to("new")))[0], verdict)


def test_an_order_that_leaves_the_size_to_upstream_needs_leave_for_auto() -> None:
    for sizes, verdict in (({"1:1"}, Denied), ({"1:1", "auto"}, Started)):
        team = Team("alpha", allow=Allow(sizes=frozenset(sizes)))
        assert isinstance(Books().admit(an_ask(team=team))[0], verdict)


def test_labels_stay_with_their_own_job() -> None:
    books = Books()
    first, _ = books.admit(an_ask(order=an_order(user="one")))
    second, _ = books.admit(an_ask(order=an_order(user="two", metadata={"a": 1})))
    assert isinstance(first, Started) and isinstance(second, Joined)
    assert first.job.labels == '{"user":"one"}'
    assert second.job.labels == '{"metadata":{"a":1},"user":"two"}'
    assert "user" not in first.run.request


def test_an_unpriced_order_is_told_which_values_have_a_price() -> None:
    only = Route("evolink", "m", (PriceRule(1, (("quality", "low"),)),))
    decision, _ = Books().admit(an_ask(model=replace(MODEL, routes=(only,))))
    assert isinstance(decision, Denied) and decision.denial.param == "quality"
    assert "quality low" in decision.denial.message
