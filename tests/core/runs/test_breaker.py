"""The breaker of a route: opens after failures, lets one trial through, never stays shut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from core_samples import NOW, STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.runs.breaker import FAILURES, FULL_ROOM, PERMIT_SECONDS, Breaker, BreakerPace

PACE = BreakerPace(first_seconds=1.0, max_seconds=60.0)
FRESH = Breaker()


def failing(breaker: Breaker, now: float, times: int = 1, **more: float) -> Breaker:
    for _ in range(times):
        breaker = breaker.taken(now)
        breaker = breaker.failed(breaker.epoch, now, PACE, **more)
    return breaker


def serving(breaker: Breaker, now: float, times: int = 1) -> Breaker:
    for _ in range(times):
        breaker = breaker.taken(now)
        breaker = breaker.served(breaker.epoch, now)
    return breaker


def opened(now: float = NOW, **more: float) -> Breaker:
    return failing(FRESH, now, FAILURES, **more)


def test_a_new_route_is_up_and_as_many_as_like_may_ask_it() -> None:
    breaker = FRESH
    for _ in range(10 * FULL_ROOM):
        assert breaker.allows(NOW) and breaker.is_closed
        breaker = breaker.taken(NOW)


def test_failures_in_a_row_open_it() -> None:
    almost = failing(FRESH, NOW, FAILURES - 1)
    assert almost.is_closed and almost.allows(NOW)
    assert not failing(almost, NOW).is_closed
    assert failing(serving(almost, NOW), NOW, FAILURES - 1).is_closed


def test_it_opens_longer_and_longer_up_to_a_limit() -> None:
    breaker, now, waits = opened(), NOW, []
    for _ in range(9):
        at = breaker.up_at(now)
        assert not breaker.allows(at - 0.01) and breaker.allows(at)
        waits.append(at - now)
        now = at
        breaker = failing(breaker, now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("asked", "wait"), [(0.2, 1.0), (7.0, 7.0), (1e9, 60.0)])
def test_what_the_route_asks_for_is_respected(asked: float, wait: float) -> None:
    assert opened(retry_after_seconds=asked).up_at(NOW) == NOW + wait


def test_half_open_lets_exactly_one_through() -> None:
    breaker, now = opened(), NOW + 1
    trial = breaker.taken(now)
    assert breaker.allows(now) and not trial.allows(now) and not trial.is_closed
    assert trial.unused(trial.epoch, now).allows(now)
    back = trial.served(trial.epoch, now)
    assert back.is_closed and back.allows(now)
    again = trial.failed(trial.epoch, now, PACE)
    assert not again.allows(now + 1.9) and again.allows(now + 2)


def test_a_trial_whose_outcome_is_unknown_proves_nothing() -> None:
    trial = opened().taken(NOW + 1)
    after = trial.silent(trial.epoch, NOW + 1, PACE)
    assert not after.is_closed and after.up_at(NOW + 1) == NOW + 2
    closed = FRESH.taken(NOW)
    assert closed.silent(closed.epoch, NOW, PACE) == FRESH.taken(NOW).unused(0, NOW)


def test_a_route_that_is_back_is_not_flooded() -> None:
    now = NOW + 1
    breaker, waves = serving(opened(), now), []
    while not breaker.is_sound:
        size = 0
        while breaker.allows(now):
            breaker, size = breaker.taken(now), size + 1
        waves.append(size)
        for _ in range(size):
            breaker = breaker.served(breaker.epoch, now)
    assert waves == [2, 4, 8, 16, 32]


def test_those_who_wait_are_held_back_even_when_new_orders_are_not() -> None:
    breaker = FRESH
    for _ in range(FULL_ROOM):
        assert breaker.allows(NOW, patient=True)
        breaker = breaker.taken(NOW)
    assert not breaker.allows(NOW, patient=True) and breaker.allows(NOW)
    assert breaker.unused(breaker.epoch, NOW).allows(NOW, patient=True)


def test_those_who_were_turned_away_come_back_one_after_the_other() -> None:
    breaker, now, turns = opened().taken(NOW + 1), NOW + 1, []
    for _ in range(3 * FULL_ROOM + 1):
        breaker = breaker.turned_away(now, PACE)
        turns.append(breaker.up_at(now) - now)
    assert turns[0] == 1.0 and turns[-1] == pytest.approx(4.0)
    assert len({round(turn, 6) for turn in turns}) == len(turns)
    still = opened()
    assert still.turned_away(NOW, PACE) == still, "they all wait for the same trial"


def test_news_of_an_earlier_epoch_are_no_news() -> None:
    early = FRESH.taken(NOW).taken(NOW)
    breaker = failing(early, NOW, FAILURES)
    old = early.epoch
    for late in (
        breaker.served(old, NOW),
        breaker.failed(old, NOW, PACE),
        breaker.silent(old, NOW, PACE),
        breaker.unused(old, NOW),
    ):
        assert late == breaker


def test_a_route_that_takes_everything_and_delivers_nothing_is_opened() -> None:
    breaker, now = FRESH, NOW
    for _ in range(FAILURES):
        assert breaker.is_closed
        breaker = serving(breaker, now).task_failed(now, PACE)
    assert not breaker.is_closed
    assert breaker.task_failed(now, PACE) == breaker, "while open, more of it is no news"
    now += 1
    breaker = serving(breaker, now).task_failed(now, PACE)
    assert not breaker.is_closed and breaker.up_at(now) == now + 2, "not proved: longer"
    now += 2
    breaker = serving(breaker, now).delivered().task_failed(now, PACE)
    assert breaker.is_closed
    assert failing(breaker, now, FAILURES).up_at(now) == now + 1, "proved: from the beginning"


# --- whatever happens ----------------------------------------------------------------------------

Move = Callable[[Breaker, float, int], Breaker]
OUTCOMES: dict[str, Move] = {
    "served": lambda b, now, epoch: b.served(epoch, now),
    "failed": lambda b, now, epoch: b.failed(epoch, now, PACE, retry_after_seconds=now % 90),
    "silent": lambda b, now, epoch: b.silent(epoch, now, PACE),
    "unused": lambda b, now, epoch: b.unused(epoch, now),
    "lost": lambda b, _, __: b,
}
TASKS: dict[str, Move] = {
    "delivered": lambda b, _, __: b.delivered(),
    "task failed": lambda b, now, _: b.task_failed(now, PACE),
}
steps = st.tuples(
    st.sampled_from(["ask", "ask patiently", *OUTCOMES, *TASKS]),
    st.sampled_from([0.0, 0.0, 0.1, 1.0, 30.0, PERMIT_SECONDS]),
    st.integers(0, 10**6),
)


@STEADY
@given(st.lists(steps, max_size=120))
def test_one_trial_at_a_time_and_never_shut_for_good(life: list[tuple[str, float, int]]) -> None:
    breaker, now = FRESH, NOW
    permits: list[tuple[int, float]] = []
    for name, pause, chance in life:
        now += pause
        half_open = not breaker.is_closed and now >= (breaker.open_until or 0)
        if name in TASKS:
            breaker = TASKS[name](breaker, now, 0)
        elif name in OUTCOMES and permits:
            epoch, _ = permits.pop(chance % len(permits))
            breaker = OUTCOMES[name](breaker, now, epoch)
        elif breaker.allows(now, patient=name == "ask patiently"):
            trials = [at for epoch, at in permits if epoch == breaker.epoch]
            if half_open:
                assert all(at + PERMIT_SECONDS <= now for at in trials), "a second trial"
            assert breaker.is_closed or half_open
            breaker = breaker.taken(now)
            permits.append((breaker.epoch, now))
        else:
            breaker = breaker.turned_away(now, PACE)
            assert breaker.up_at(now) > now, "one who is turned away comes back later"
        assert breaker.out >= 0 and 1 <= breaker.room <= FULL_ROOM
    later = now + PERMIT_SECONDS + 61
    assert breaker.allows(later) and breaker.allows(later, patient=True)
    assert serving(breaker, later).is_closed
