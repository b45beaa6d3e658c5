"""How a route is: what concerns all and what concerns one team, and whose turn a trial is."""

from __future__ import annotations

import pytest
from core_samples import NOW

from gateway.core.runs.breaker import FAILURES, BreakerPace, BreakerState
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    NotNow,
    Refused,
    SubmitEvent,
    Why,
)
from gateway.core.runs.route_health import MOST_TEAMS, RouteHealth
from gateway.core.runs.trials import (
    DECLINES,
    ByChance,
    Declined,
    Rank,
    Waiting,
    comes_soon,
    first_in_line,
)

PACE = BreakerPace(first_seconds=1.0, max_seconds=60.0)
TAKEN, NO = Accepted("t", "{}"), Refused(400, "{}", "invalid_request", "no")
DECLINED, PASSING = NotNow("HTTP 503"), NotNow("HTTP 429", why=Why.PASSING)
AWAY, NO_KEY = NotNow("", why=Why.NEVER_SENT), CredentialsRefused(401, "no")
LOST, HEARD = AnswerLost("cut"), AnswerLost("HTTP 500", heard=True)


def after(
    health: RouteHealth, team: str, event: SubmitEvent, times: int = 1, now: float = NOW
) -> RouteHealth:
    for _ in range(times):
        health = health.taken(team, now)
        health = health.submitted(team, health.epochs(team), event, now, PACE)
    return health


@pytest.mark.parametrize("event", [DECLINED, PASSING, NO_KEY])
def test_what_is_declined_closes_the_route_to_that_team_only(event: SubmitEvent) -> None:
    route = after(RouteHealth(), "art", event, FAILURES)
    assert not route.allows("art", NOW) and route.allows("bob", NOW)
    assert not route.is_up, "nobody has been taken since: as far as anyone knows it is away"
    assert route.state(NOW) is BreakerState.OPEN
    route = after(route, "bob", TAKEN)
    assert route.is_up and route.state(NOW) is BreakerState.CLOSED
    assert not route.allows("art", NOW) and route.allows("art", NOW + 1)
    for number in range(50):  # art goes on, and is held back for longer and longer
        now = NOW + 100.0 * (number + 1)
        route = after(route, "art", event, 1, now)
        assert route.is_up and route.allows("bob", now) and not route.allows("art", now)


def test_what_reaches_nobody_closes_it_to_all() -> None:
    route = after(RouteHealth(), "art", AWAY, FAILURES)
    assert not route.is_up and not route.allows("bob", NOW)
    assert route.state(NOW + 1) is BreakerState.HALF_OPEN
    trial = route.taken("bob", NOW + 1)
    assert route.allows("bob", NOW + 1) and not trial.allows("art", NOW + 1)
    assert after(route, "bob", TAKEN, 1, NOW + 1).is_up


def test_an_answer_says_that_the_way_there_is_open() -> None:
    route = after(RouteHealth(), "art", AWAY, FAILURES)
    for event in (TAKEN, NO, DECLINED, NO_KEY, HEARD):
        assert after(route, "bob", event, 1, NOW + 1).for_all.is_closed
    assert not after(route, "bob", LOST, 1, NOW + 1).for_all.is_closed


def test_when_it_is_away_each_further_team_finds_out_at_once() -> None:
    route = after(RouteHealth(), "art", DECLINED, FAILURES)
    for team in ("bob", "eve", "joe"):
        assert route.allows(team, NOW)
        route = after(route, team, DECLINED)
        assert not route.allows(team, NOW) and not route.is_up
    route = after(route, "joe", TAKEN, 1, NOW + 1)
    route = after(route, "new", DECLINED, FAILURES - 1, NOW + 1)
    assert route.allows("new", NOW + 1), "it takes others: once may be chance"


def test_a_run_that_is_itself_the_reason_does_not_count() -> None:
    own = NotNow("HTTP 503", its_own=True)
    route = after(RouteHealth(), "art", own, 5 * FAILURES)
    assert route.is_up and route.allows("art", NOW)


def test_tasks_that_fail_count_for_their_team() -> None:
    route = RouteHealth()
    for _ in range(FAILURES):
        route = after(route, "art", TAKEN).task_failed("art", NOW, PACE)
    assert not route.is_up and not route.allows("art", NOW)
    route = after(route, "bob", TAKEN).delivered("bob")
    assert route.is_up and route.allows("bob", NOW) and not route.allows("art", NOW)


def test_teams_at_rest_are_forgotten() -> None:
    route = after(RouteHealth(), "art", DECLINED, FAILURES)
    for number in range(MOST_TEAMS + 50):
        route = after(route, f"team-{number}", TAKEN)
    assert len(route.teams) <= MOST_TEAMS and not route.allows("art", NOW)


# --- whose turn it is ----------------------------------------------------------------------------


def waiting(run: str, team: str = "art", due_at: float = NOW) -> Waiting:
    return Waiting(run, team, "m", due_at)


def test_the_trial_is_for_the_team_that_wasted_least_and_its_run_that_was_declined_least() -> None:
    line = [
        (Rank(2, 0), waiting("a")),
        (Rank(1, 3), waiting("b", "bob")),
        (Rank(1, 1), waiting("c", "bob", NOW + 2)),
        (Rank(1, 1), waiting("d", "bob", NOW + 1)),
        (Rank(7, 0), waiting("e")),
    ]
    order = []
    while first := first_in_line(line):
        order.append(first[1].run_id)
        line.remove(first)
    assert order == ["d", "c", "b", "a", "e"] and first_in_line([]) is None


def test_a_trial_is_not_kept_for_one_who_does_not_come() -> None:
    for due, comes in ((-1.1, False), (-1.0, True), (0.0, True), (5.0, True), (5.1, False)):
        one = waiting("a", due_at=NOW + due)
        assert comes_soon(one, NOW, 5.0, 1.0) is comes


def test_the_more_a_route_declines_by_chance_the_more_it_takes_to_blame_a_run() -> None:
    half = ByChance()
    assert not half.explains(1), "nothing is known of it yet"
    for _ in range(200):
        half = half.took(1)
    assert half.explains(19) and not half.explains(20)
    for _ in range(300):
        half = half.took(0)
    assert not half.explains(DECLINES), "what was so once is forgotten"


def test_a_run_is_the_reason_when_it_is_declined_three_times_and_others_are_taken() -> None:
    run = Declined()
    for _ in range(20):
        run = run.again(taken=7, relented=0)
        assert not run.is_its_own(7, ByChance()), "nobody was taken meanwhile: the route is away"
    assert run.is_its_own(8, ByChance())
    run = Declined()
    for times in range(1, DECLINES + 1):
        run = run.again(taken=times, relented=0)
        assert run.is_its_own(times + 1, ByChance()) is (times >= DECLINES)
