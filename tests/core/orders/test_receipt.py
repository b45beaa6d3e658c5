"""What a decision leaves, and what an order comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_samples import NOW, PRICE, STEADY, Books, a_run, an_ask, an_order
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Mode, Team
from gateway.core.model import Job, RunState, Verdict
from gateway.core.money.accounts import NOTHING, Account, Amounts, Cap, Measure, Window
from gateway.core.money.budgets import Left, account_keys, left, standings
from gateway.core.orders.admission import Denied, Doubtful, Hit, Joined, Replayed, Started
from gateway.core.orders.denials import Denial, Reason
from gateway.core.orders.receipt import Receipt, receipt
from gateway.web.receipts import headers_of

CAPS = st.lists(
    st.builds(
        Cap,
        st.sampled_from([Measure.USD, Measure.IMAGES]),
        st.sampled_from([one for one in Window if one is not Window.MINUTE]),
        st.integers(1, 12).map(lambda n: n * PRICE),
    ),
    max_size=3,
    unique_by=lambda cap: (cap.measure, cap.window),
)
RATES = st.lists(st.builds(Cap, st.just(Measure.RUNS), st.just(Window.MINUTE), st.integers(1, 5)))


@STEADY
@given(
    CAPS,
    RATES.map(lambda rates: rates[:1]),
    st.sampled_from(Mode),
    st.lists(st.integers(0, 4), max_size=8),
)
def test_each_decision_tells_what_it_has_left(
    caps: list[Cap], rates: list[Cap], mode: Mode, prompts: list[int]
) -> None:
    """Whatever it was: what the accounts of the ledger say once it is written."""
    books, team = Books(), Team("alpha", caps=(*caps, *rates), mode=mode)
    for number in prompts:
        ask = an_ask(order=an_order(prompt=f"fox {number}", n=1 + number % 2), team=team)
        decision, _ = books.admit(ask)
        assert isinstance(decision, Started | Joined | Denied)
        keys = account_keys("alpha", NOW, ask.zone)
        accounts = {key: books.accounts.get(key) or Account(key) for key in keys}
        told = standings(team.caps, accounts, ask.renews_at)
        money = [one.left for one in told if one.cap.measure is Measure.USD]
        runs = [one for one in told if one.cap.measure is Measure.RUNS]
        assert decision.left == Left(min(money, default=None), next(iter(runs), None))


def test_a_cap_whose_account_is_not_there_is_not_told_of() -> None:
    """The limits may have changed since it was asked for the accounts."""
    assert (
        left((Cap(Measure.USD, Window.DAY, 5), Cap(Measure.RUNS, Window.MINUTE, 5)), {}) == Left()
    )


LEFT = Left(70_000)
LIVE = a_run(hold=Amounts(2 * PRICE, 2, 1))
DONE = a_run(state=RunState.DONE, hold=NOTHING, spent=Amounts(PRICE, 1, 1), finished_at=NOW)
FAILED = replace(LIVE, state=RunState.FAILED, hold=NOTHING)


def job(verdict: Verdict) -> Job:
    return Job("task-unified-1-aaaaaaaa", LIVE.id, "alpha", verdict, NOW)


@pytest.mark.parametrize(
    ("decision", "run", "cost", "saved", "freed"),
    [
        (Started(job(Verdict.STARTED), LIVE, stored=True), LIVE, 2 * PRICE, 0, 0),
        (Started(job(Verdict.STARTED), LIVE, stored=True), DONE, PRICE, 0, PRICE),
        (Started(job(Verdict.STARTED), LIVE, stored=True), FAILED, 0, 0, 2 * PRICE),
        (Joined(job(Verdict.JOINED), LIVE), LIVE, 0, 2 * PRICE, 0),
        (Joined(job(Verdict.JOINED), LIVE), DONE, 0, PRICE, 0),
        (Joined(job(Verdict.JOINED), LIVE), FAILED, 0, 0, 0),
        (Hit(job(Verdict.HIT), DONE, 60.0), DONE, 0, PRICE, 0),
        (Replayed(job(Verdict.STARTED), DONE), None, PRICE, 0, 0),
        (Replayed(job(Verdict.STARTED), LIVE), DONE, PRICE, 0, PRICE),
        (Replayed(job(Verdict.HIT), DONE), None, 0, PRICE, 0),
        (Denied(Denial(Reason.BUDGET, "", "")), None, 0, 0, 0),
        (Doubtful(LIVE), None, 0, 0, 0),
    ],
)
def test_what_an_order_comes_to(
    decision: Started, run: None, cost: int, saved: int, freed: int
) -> None:
    told = receipt(replace(decision, left=LEFT), run)
    assert told == Receipt(cost, saved, Left(70_000 + freed))
    left = headers_of(told, NOW)["X-Gateway-Budget-Left-Usd"]
    assert left == f"{(70_000 + freed) / 1e6:.6f}"


def test_what_a_passed_budget_gets_back_fills_it_up_first() -> None:
    cap = Cap(Measure.USD, Window.DAY, 5 * PRICE)
    key = next(one for one in account_keys("alpha", NOW, an_ask().zone) if one.window is cap.window)
    told = left((cap,), {key: Account(key, Amounts(6 * PRICE, 6, 6), NOTHING)})
    assert told.usd_micros == 0
    assert told.freed(PRICE).usd_micros == 0 and told.freed(3 * PRICE).usd_micros == 2 * PRICE
    assert told.freed(PRICE).freed(2 * PRICE) == told.freed(3 * PRICE)
    assert Left().freed(PRICE) == Left()


@pytest.mark.parametrize(
    ("seconds", "reset", "openai"),
    [(-3.0, "0", "0s"), (0.2, "1", "1s"), (59.5, "60", "1m0s"), (61.0, "61", "1m1s")],
)
def test_the_rate_is_told_in_both_forms(seconds: float, reset: str, openai: str) -> None:
    key = account_keys("alpha", NOW, an_ask().zone)[0]
    account = Account(key._replace(end=int(NOW)), Amounts(0, 1, 1), Amounts(0, 4, 4))
    found = left((Cap(Measure.RUNS, Window.MINUTE, 4),), {account.key: account})
    told = headers_of(Receipt(0, 0, found), int(NOW) - seconds)
    assert (told["RateLimit-Limit"], told["RateLimit-Remaining"]) == ("4", "0"), "never below"
    assert (told["RateLimit-Reset"], told["x-ratelimit-reset-requests"]) == (reset, openai)
