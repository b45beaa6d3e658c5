"""Which alerts an order gives cause for, under which ids, and what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from core_samples import NOW, PRICE, Books, a_run, an_ask, an_order
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Mode, Team
from gateway.core.model import Delivery, Freshness, RunState
from gateway.core.money.accounts import Cap, Measure, Window
from gateway.core.money.alerts import Alerting, alert_id
from gateway.core.orders.admission import Denied, Hit, Started
from gateway.core.orders.ask import Ask
from gateway.core.transaction import Writes

WEBHOOK = "https://hooks.example.org/secret"
ALERTING = Alerting(WEBHOOK, (80, 100))
DAY = 86_400.0
PER_DAY = Cap(Measure.USD, Window.DAY, 10 * PRICE)


def team(*caps: Cap, **fields: Any) -> Team:
    return Team("alpha", caps=caps or (PER_DAY,), **fields)


def ask(who: Team, n: int = 1, **fields: Any) -> Ask:
    return an_ask(
        team=who,
        order=an_order(n=n),
        **{"alerting": ALERTING, "freshness": Freshness(no_store=True), **fields},
    )


def ordered(books: Books, who: Team, n: int = 1, **fields: Any) -> Writes:
    """One order of n pictures, each of 10 % of `PER_DAY`."""
    return books.admit(ask(who, n, **fields))[1]


def thresholds(writes: Writes) -> list[int]:
    return [said(one)["data"]["threshold"] for one in writes.alerts]


def said(alert: Delivery) -> Any:
    return json.loads(alert.body or "")


def test_a_threshold_is_told_by_the_order_that_reaches_it() -> None:
    books, who = Books(), team()
    assert thresholds(ordered(books, who, 4)) == []
    assert thresholds(ordered(books, who, 3)) == []
    assert thresholds(ordered(books, who, 1)) == [80]


def test_thresholds_that_one_order_reaches_are_all_told() -> None:
    books, who = Books(), team()
    ordered(books, who, 4)
    ordered(books, who, 3)
    assert thresholds(ordered(books, who, 3)) == [80, 100]


def test_what_is_told_is_not_written_again() -> None:
    books, who = Books(), team()
    ordered(books, who, 4)
    [first] = ordered(books, who, 4).alerts
    decision, writes = books.admit(ask(who, 1, told=frozenset({first.id})))
    assert writes.alerts == ()
    assert isinstance(decision, Started)
    assert decision.alerted == ()


def test_who_does_not_know_what_is_told_says_it_under_the_same_id() -> None:
    books, who = Books(), team()
    ordered(books, who, 4)
    [first] = ordered(books, who, 4).alerts
    [again] = ordered(books, who, 1, now=NOW + 60).alerts
    assert again.id == first.id


def test_the_decision_tells_what_it_wrote() -> None:
    books, who = Books(), team()
    ordered(books, who, 4)
    ordered(books, who, 4)
    for n in (2, 1):  # the second is refused
        decision, writes = books.admit(ask(who, n))
        assert isinstance(decision, Started | Denied)
        assert decision.alerted == tuple(one.id for one in writes.alerts) != ()


def test_a_refused_order_counts_as_reaching_the_limit() -> None:
    books, who = Books(), team()
    ordered(books, who, 4)
    ordered(books, who, 3)
    decision, writes = books.admit(ask(who, 4))
    assert isinstance(decision, Denied)
    assert thresholds(writes) == [80, 100]
    assert replace(writes, alerts=()) == Writes()
    body = said(writes.alerts[1])
    assert body["data"]["refused"] is True
    assert body["data"]["held"] == pytest.approx(7 * PRICE / 1e6)
    assert "has used 70 % of its limit" in body["text"]
    assert "An order was refused" in body["text"]


def test_only_the_limit_that_refused_counts_as_reached() -> None:
    who = team(PER_DAY, Cap(Measure.IMAGES, Window.MONTH, 2))
    decision, writes = Books().admit(ask(who, 3))
    assert isinstance(decision, Denied)
    assert {said(one)["data"]["rule"] for one in writes.alerts} == {"images_per_month"}


def test_a_limit_on_pace_is_not_told_of() -> None:
    who = team(Cap(Measure.RUNS, Window.MINUTE, 1), Cap(Measure.LIVE, Window.TOTAL, 1))
    books = Books()
    assert ordered(books, who).alerts == ()
    decision, writes = books.admit(ask(who))
    assert isinstance(decision, Denied)
    assert writes == Writes()


def test_a_forbidden_order_tells_nothing() -> None:
    allow = replace(team().allow, max_n=1)
    decision, writes = Books().admit(ask(team(allow=allow), 4))
    assert isinstance(decision, Denied)
    assert writes == Writes()


def test_a_team_in_shadow_mode_is_told_of_too() -> None:
    books, who = Books(), team(mode=Mode.SHADOW)
    for _ in range(3):
        ordered(books, who, 4)
    [_, alert] = ordered(books, who, 1).alerts
    assert said(alert)["data"]["held"] == pytest.approx(13 * PRICE / 1e6)
    assert "has used 130 %" in said(alert)["text"]
    assert said(alert)["data"]["refused"] is False


def test_without_an_address_nothing_is_told() -> None:
    books, who = Books(), team()
    assert [ordered(books, who, 4, alerting=None).alerts for _ in range(4)] == [()] * 4


def test_an_answer_from_the_cache_tells_nothing() -> None:
    order = ask(team(Cap(Measure.USD, Window.DAY, 1)), freshness=Freshness())
    run = a_run(state=RunState.DONE, fingerprint=order.fingerprint, finished_at=NOW)
    books = Books(runs={run.id: run})
    decision, writes = books.admit(replace(order, vetted={run.id: True}))
    assert isinstance(decision, Hit)
    assert writes.alerts == ()


def test_the_next_window_is_told_of_again() -> None:
    books, who = Books(), team()
    for _ in range(3):
        ordered(books, who, 4)
    first = ordered(books, who, 4).alerts
    second = [alert for _ in range(3) for alert in ordered(books, who, 4, now=NOW + DAY).alerts]
    assert {one.id for one in first}.isdisjoint(one.id for one in second)
    assert {said(one)["data"]["threshold"] for one in second} == {80, 100}


def test_a_changed_limit_counts_from_the_next_order_on() -> None:
    books = Books()
    assert ordered(books, team(), 4).alerts == ()
    smaller = team(Cap(Measure.USD, Window.DAY, 5 * PRICE))
    assert thresholds(ordered(books, smaller, 1)) == [80, 100]
    larger = team(Cap(Measure.USD, Window.DAY, 7 * PRICE))
    assert thresholds(ordered(books, larger, 1)) == [80]


def test_every_limit_has_alerts_of_its_own() -> None:
    caps = [Cap(m, w, 1) for m in (Measure.USD, Measure.IMAGES) for w in Window]
    windows = ask(team()).windows
    ids = [alert_id(t, cap, windows, p) for t in ("a", "b") for cap in caps for p in (80, 100)]
    assert len({*ids}) == len(ids)


def test_what_is_said_of_money() -> None:
    books, who = Books(), team(Cap(Measure.USD, Window.DAY, 50_000_000))
    decision, _ = books.admit(ask(team(), 4))
    assert isinstance(decision, Started)
    spent = replace(decision.run.hold, usd_micros=40_000_000)
    for key, account in books.accounts.items():
        books.accounts[key] = replace(account, spent=spent)
    [alert] = ordered(books, who).alerts
    assert (alert.job_id, alert.team, alert.url, alert.due_at) == (None, "alpha", WEBHOOK, NOW)
    sentence = (
        "Team alpha has used 80 % of its limit of $50.00 per day ($40.065, $0.065 of it "
        "held for running orders). It renews at 2026-01-03T00:00:00Z."
    )
    assert said(alert) == {
        "type": "budget.threshold_reached",
        "timestamp": "2026-01-02T00:00:37Z",
        "data": {
            "team": "alpha",
            "rule": "usd_per_day",
            "measure": "usd",
            "window": "day",
            "threshold": 80,
            "limit": 50.0,
            "spent": 40.0,
            "held": 0.065,
            "resets_at": "2026-01-03T00:00:00Z",
            "refused": False,
        },
        "text": sentence,
        "content": sentence,
    }


def test_what_is_said_of_pictures_for_ever() -> None:
    [alert] = ordered(Books(), team(Cap(Measure.IMAGES, Window.TOTAL, 5)), 4).alerts
    assert said(alert)["data"] == {
        "team": "alpha",
        "rule": "images_total",
        "measure": "images",
        "window": "total",
        "threshold": 80,
        "limit": 5,
        "spent": 0,
        "held": 4,
        "resets_at": None,
        "refused": False,
    }
    assert said(alert)["text"] == (
        "Team alpha has used 80 % of its limit of 5 pictures in total (4, 4 of it held for running "
        "orders). It does not renew."
    )


@given(
    limit=st.integers(1, 40),
    orders=st.lists(st.integers(1, 4), max_size=20),
    levels=st.sets(st.integers(1, 100), min_size=1, max_size=4),
)
def test_told_is_exactly_what_is_reached_or_refused(
    limit: int, orders: list[int], levels: set[int]
) -> None:
    who, books = team(Cap(Measure.IMAGES, Window.DAY, limit)), Books()
    alerting = Alerting(WEBHOOK, tuple(sorted(levels)))
    used, full, ids = 0, False, list[str]()
    for n in orders:
        decision, writes = books.admit(ask(who, n, alerting=alerting, told=frozenset(ids)))
        used += n if isinstance(decision, Started) else 0
        full |= isinstance(decision, Denied)
        ids += [one.id for one in writes.alerts]
    assert len(ids) == len({*ids})
    reached = {level for level in levels if full or used * 100 >= level * limit}
    windows = ask(who).windows
    assert {*ids} == {alert_id("alpha", who.caps[0], windows, level) for level in reached}
