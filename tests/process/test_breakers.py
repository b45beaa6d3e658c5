"""The breakers of the routes: permits, what is told of them, and where a run may go on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from core_samples import a_policy, some_rules

from gateway.core.catalog import Catalog, ImageModel, PriceRule, Route
from gateway.core.kinds import ANY, Kind
from gateway.core.model import Run, RunState
from gateway.core.money.accounts import Amounts, Windows
from gateway.core.policy import Current
from gateway.core.runs.breaker import FAILURES, FULL_ROOM
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    Delivered,
    Event,
    Finished,
    NotNow,
    Refused,
    Retry,
    SubmitEvent,
    TaskFailed,
    Why,
)
from gateway.core.runs.routing import NOWHERE
from gateway.process.breakers import Breakers, Permit

NOW = 1_800_000_000.0
ROUTES = tuple(
    Route(name, "pictures", (PriceRule(usd_micros),))
    for name, usd_micros in (("dear", 30_000), ("cheap", 10_000), ("middle", 20_000))
)
BUSY, NO_KEY = NotNow("HTTP 503"), CredentialsRefused(401, "unauthorized")
BROKEN = TaskFailed("{}", "service_error", "sorry", is_providers=True)
DELIVERED = Delivered("{}", ("spool:run-1/0",), 5_000)
WHOLE = Kind("whole", is_whole=True)


@dataclass
class World:
    """Gates over three routes, with a clock to turn and a record of what turned."""

    now: float = NOW
    up: dict[str, bool] = field(default_factory=dict)
    kind: Kind = ANY

    def __post_init__(self) -> None:
        rules = {
            route.upstream: some_rules(retry_max_seconds=60.0, kind=self.kind) for route in ROUTES
        }
        catalog = Catalog({"m": ImageModel("m", ROUTES, deadline_seconds=900.0)})
        current = Current(a_policy(catalog=catalog, rules=rules), lambda: 0.0)
        self.breakers = Breakers(current, lambda: self.now, self)  # type: ignore[arg-type]

    def route_turned(self, upstream: str, model: str, *, up: bool) -> None:
        self.up[upstream] = up

    def submits(
        self, upstream: str, event: SubmitEvent, times: int = 1, **run: object
    ) -> SubmitEvent:
        """What the last of so many submits means for the run."""
        for _ in range(times):
            permit = self.breakers.enter(on(upstream, **run))
            assert isinstance(permit, Permit)
            told = self.breakers.submitted(permit, event)
        return told

    def goes(self, run: Run, event: Event) -> str | None:
        """Where the run goes on; the permit is given back."""
        outlook, permit = self.breakers.outlook(run, event)
        assert (permit is None) == (outlook.go is None)
        self.breakers.leave(permit)
        return outlook.go.upstream if outlook.go else None

    def waits(self, run: Run, event: Event) -> dict[str, float]:
        outlook, permit = self.breakers.outlook(run, event)
        self.breakers.leave(permit)
        return {route.upstream: at - self.now for route, at in outlook.waits}


def on(upstream: str, **fields: object) -> Run:
    base = Run(
        id="run_" + "a" * 32,
        fingerprint="f" * 64,
        team="blue",
        model="m",
        quality="",
        n=1,
        request="{}",
        upstream=upstream,
        upstream_model="pictures",
        price_usd_micros=10_000,
        windows=Windows(0, 0, 0, 0, 0),
        hold=Amounts(10_000, 1, 1),
        created_at=NOW,
        deadline_at=NOW + 900,
        due_at=NOW,
    )
    return replace(base, **fields)


QUEUED = on("cheap", state=RunState.QUEUED)


def test_a_run_that_is_not_taken_goes_to_the_next_cheapest() -> None:
    world = World()
    assert world.goes(on("cheap"), BUSY) == "middle"
    assert world.goes(on("middle"), BUSY) == "dear"
    assert world.goes(on("dear"), BUSY) is None
    assert world.goes(on("middle"), BROKEN) == "cheap"
    assert world.goes(on("middle", tried=("cheap/pictures",)), BROKEN) == "dear"
    assert world.goes(QUEUED, Retry()) == "cheap"
    for event in (Accepted("t", "{}"), AnswerLost(""), Refused(400, "{}", "", "")):
        assert world.breakers.outlook(on("cheap"), event) == (NOWHERE, None)


def test_a_route_that_fails_is_passed_over_until_its_time() -> None:
    world = World()
    world.submits("middle", BUSY, FAILURES)
    assert world.up == {"middle": False}
    assert world.goes(on("cheap"), BUSY) == "dear"
    assert world.breakers.enter(on("middle")) == BUSY, "without a call, it says what it said before"
    assert world.waits(on("cheap"), NotNow("", 5.0)) == {"cheap": 5, "middle": 1, "dear": 0}
    world.now += 1
    assert world.goes(on("cheap"), BUSY) == "middle"
    world.submits("middle", Accepted("t", "{}"))
    assert world.up == {"middle": True}


def test_a_half_open_route_has_one_trial_however_many_ask() -> None:
    world = World()
    world.submits("cheap", BUSY, FAILURES)
    world.now += 1
    runs = [world.breakers.outlook(QUEUED, Retry()) for _ in range(100)]
    went = [outlook.go.upstream for outlook, _ in runs if outlook.go]
    assert went.count("cheap") == 1 and set(went) == {"cheap", "middle"}


def test_when_all_are_out_runs_wait_and_come_back_one_by_one() -> None:
    world = World()
    for route in ROUTES:
        world.submits(route.upstream, BUSY, FAILURES)
    assert world.goes(QUEUED, Retry()) is None
    assert set(world.waits(QUEUED, Retry()).values()) == {1.0}
    world.now += 1
    for _ in ROUTES:
        assert world.breakers.outlook(QUEUED, Retry())[1] is not None
    turns = []
    for _ in range(50):
        outlook, permit = world.breakers.outlook(QUEUED, Retry())
        assert permit is None and outlook.comes_up_at is not None
        turns.append(outlook.comes_up_at)
    assert turns == sorted(set(turns)) and turns[0] > world.now


def test_runs_that_wait_do_not_all_go_to_a_route_that_is_up_nor_to_a_dearer_one() -> None:
    world = World()
    went = [world.breakers.outlook(QUEUED, Retry())[0].go for _ in range(3 * FULL_ROOM)]
    assert sum(1 for route in went if route and route.upstream == "cheap") == FULL_ROOM
    assert sum(1 for route in went if route is None) == 2 * FULL_ROOM
    assert isinstance(world.breakers.enter(on("cheap")), Permit), "a new order passes"


@pytest.mark.parametrize("event", [NO_KEY, BROKEN])
def test_a_refused_key_is_not_waited_for(event: Event) -> None:
    world = World()
    assert set(world.waits(on("dear"), event)) == {"cheap", "middle"}
    world.submits("middle", NO_KEY)
    assert set(world.waits(on("dear"), event)) == {"cheap"}
    assert set(world.waits(on("dear"), BUSY)) == {"cheap", "middle", "dear"}
    world.submits("middle", Accepted("t", "{}"))
    assert set(world.waits(on("dear"), event)) == {"cheap", "middle"}
    world.submits("cheap", NO_KEY, FAILURES)
    assert world.breakers.enter(on("cheap")) == NO_KEY


def test_a_route_whose_tasks_fail_is_out_too_and_refusals_never_count() -> None:
    world = World()
    world.submits("cheap", Refused(400, "{}", "invalid_request", "no"), 20)
    for _ in range(20):
        world.breakers.polled(on("cheap"), TaskFailed("{}", "content_policy_violation", "no"))
    assert world.up == {}
    delivered = Finished("{}", ("https://files.example.org/1.png",))
    for event in (BROKEN, BROKEN, delivered, BROKEN, BROKEN, BROKEN):
        world.submits("cheap", Accepted("t", "{}"))
        world.breakers.polled(on("cheap"), event)
    assert world.up == {"cheap": False}


def test_new_connections_are_a_new_chance() -> None:
    world = World()
    world.submits("cheap", NO_KEY, FAILURES)
    world.breakers.forget()
    assert world.up == {"cheap": True}
    world.submits("cheap", Accepted("t", "{}"))


def test_a_run_that_may_have_been_taken_is_never_sent_elsewhere() -> None:
    unsure = on("cheap", state=RunState.UNSURE)
    assert World().breakers.outlook(unsure, BUSY) == (NOWHERE, None)


def test_a_model_that_is_no_longer_offered_has_no_routes() -> None:
    outlook, permit = World().breakers.outlook(replace(QUEUED, model="gone"), Retry())
    assert (outlook.go, outlook.waits, permit) == (None, (), None)


# --- one's own and others' -----------------------------------------------------------------------


def waiting(name: str, team: str = "blue", due_at: float = NOW) -> Run:
    return on("cheap", id=name, team=team, state=RunState.QUEUED, due_at=due_at)


def test_what_is_declined_for_one_team_is_not_closed_to_another() -> None:
    world = World()
    world.submits("cheap", BUSY, FAILURES)
    assert world.up == {"cheap": False}
    assert world.breakers.enter(on("cheap")) == BUSY
    world.submits("cheap", Accepted("t", "{}"), team="green")
    assert world.up == {"cheap": True}
    assert not isinstance(world.breakers.enter(on("cheap")), Permit), "blue still waits"
    for _ in range(20):
        world.now += 100
        world.submits("cheap", BUSY)
        world.submits("cheap", Accepted("t", "{}"), team="green")


def test_what_was_said_of_ones_order_is_not_told_to_another() -> None:
    world = World()
    for event in (NotNow("HTTP 503", words="about a cat"), CredentialsRefused(401, "", "a cat")):
        world.breakers.forget()
        world.submits("cheap", event, FAILURES)
        told = world.breakers.enter(on("cheap"))
        assert told == event and isinstance(told, NotNow | CredentialsRefused)
        assert told.words == ""


def test_a_run_that_is_declined_while_others_are_taken_is_given_up() -> None:
    world = World()
    for times in range(1, 4):
        told = world.submits("cheap", BUSY, id="poison")
        assert isinstance(told, NotNow) and told.its_own is (times == 3)
        world.submits("cheap", Accepted("t", "{}"), id=f"other {times}")
    outlook, _ = world.breakers.outlook(on("cheap"), told)
    assert outlook.go and outlook.go.upstream == "middle"
    assert "cheap" not in {route.upstream for route, _ in outlook.waits}
    for event in (NotNow("", why=Why.PASSING), NotNow("", why=Why.NEVER_SENT)):
        for _ in range(9):
            told = world.submits("middle", event, id="patient")
            assert isinstance(told, NotNow) and not told.its_own, "it may be so for every request"
            world.submits("middle", Accepted("t", "{}"))


@pytest.mark.parametrize("has_begun", [False, True])
def test_what_a_route_cannot_make_is_the_runs_own_at_once_and_closes_nothing(
    has_begun: bool,
) -> None:
    world, misfit = World(), NotNow("HTTP 400", why=Why.MISFIT, its_own=True)
    for times in range(3 * FAILURES):
        permit = world.breakers.enter(on("cheap", id=f"odd {times}"))
        assert isinstance(permit, Permit), "nobody else has to wait for that"
        if has_begun:
            world.breakers.begun(permit)
        told = world.breakers.submitted(permit, misfit, has_begun=has_begun)
        assert told == misfit
    outlook, _ = world.breakers.outlook(on("cheap", id="odd"), told)
    assert outlook.go and outlook.go.upstream == "middle"
    assert "cheap" not in {route.upstream for route, _ in outlook.waits}


def test_a_route_that_declines_by_chance_is_not_the_runs_own_fault() -> None:
    """It takes at the second time whom it declined at the first: so it may take this one yet."""
    world = World()
    for times in range(20):
        told = world.submits("cheap", BUSY, id="unlucky")
        assert isinstance(told, NotNow) and not told.its_own
        world.submits("cheap", BUSY, id=f"other {times}")
        world.submits("cheap", Accepted("t", "{}"), id=f"other {times}")
    for times in range(1, 4):
        world.submits("cheap", Accepted("t", "{}"), id=f"new {times}")
        told = world.submits("cheap", BUSY, id="unlucky")
        assert isinstance(told, NotNow) and told.its_own is (times == 3), "and by now it is"


def test_runs_that_another_route_takes_are_not_why_this_one_declined_them() -> None:
    """Each goes on elsewhere at once, until there is no money for that: then one waits here."""
    world = World()
    for times in range(4):
        world.submits("cheap", BUSY, id=f"moved {times}")
        world.submits("middle", Accepted("t", "{}"), id=f"moved {times}")
        world.submits("cheap", Accepted("t", "{}"), id=f"lucky {times}")
    for times in range(6):
        told = world.submits("cheap", BUSY, id="unlucky")
        assert isinstance(told, NotNow) and not told.its_own
        world.submits("cheap", Accepted("t", "{}"), id=f"other {times}")


def test_without_others_that_are_taken_no_run_is_given_up() -> None:
    world = World()
    for _ in range(20):
        world.now += 100
        told = world.submits("cheap", BUSY)
        assert isinstance(told, NotNow) and not told.its_own


def test_the_trial_goes_to_the_run_that_was_declined_least() -> None:
    world = World()
    runs = [waiting(name, due_at=NOW + 1) for name in ("often", "once", "never")]
    world.submits("cheap", BUSY, 2, id="often")
    world.submits("cheap", BUSY, 1, id="once")
    for run in runs:
        world.breakers.follow(run)
    world.now += 1
    had = []
    for _ in range(3):
        for run in [one for one in runs if one.id not in had]:
            permit = world.breakers.enter(run)
            if isinstance(permit, Permit):
                had.append(run.id)
                world.breakers.follow(replace(run, state=RunState.SUBMITTING))
                world.breakers.leave(permit)  # nothing came of it
                break
    assert had == ["never", "once", "often"]


def test_the_trial_of_all_goes_round_the_teams() -> None:
    world = World()
    away = NotNow("", why=Why.NEVER_SENT)
    world.submits("cheap", away, FAILURES)
    runs = {f"{team} {n}": (team, n) for team in ("art", "bob", "eve") for n in range(40)}
    had = []
    for _ in range(6):
        world.now += 100
        for name, (team, _) in runs.items():
            world.breakers.follow(waiting(name, team, world.now))
        for name, (team, _) in runs.items():
            permit = world.breakers.enter(waiting(name, team))
            if isinstance(permit, Permit):
                had.append(team)
                world.breakers.submitted(permit, away)
    assert sorted(had[:3]) == sorted(had[3:]) == ["art", "bob", "eve"]


def test_a_trial_is_not_kept_for_a_run_that_does_not_come() -> None:
    world = World()
    world.submits("cheap", BUSY, FAILURES, id="poison")
    world.breakers.follow(waiting("late", due_at=NOW + 500))
    world.breakers.follow(waiting("gone", due_at=NOW + 1))
    world.now += 1
    assert not isinstance(world.breakers.enter(waiting("poison")), Permit)
    world.breakers.follow(replace(waiting("gone"), state=RunState.FAILED))
    assert isinstance(world.breakers.enter(waiting("poison")), Permit)
    world = World()
    world.submits("cheap", BUSY, FAILURES, id="poison")
    world.breakers.follow(waiting("gone", due_at=NOW + 1))
    world.now += 3
    assert isinstance(world.breakers.enter(waiting("poison")), Permit)


def test_a_long_line_is_not_searched_by_each_who_asks() -> None:
    world = World()
    world.submits("cheap", BUSY, FAILURES, id="0")
    runs = [waiting(str(number), due_at=NOW + 1) for number in range(5_000)]
    for run in runs:
        world.breakers.follow(run)
    world.now += 1
    searches = 0
    line = world.breakers._line

    def counted(*args: object, **more: object) -> object:
        nonlocal searches
        searches += 1
        return line(*args, **more)  # type: ignore[arg-type]

    world.breakers._line = counted  # type: ignore[method-assign, assignment]
    for run in runs:
        if isinstance(world.breakers.enter(run), Permit):
            break
        world.breakers.follow(replace(run, due_at=NOW + 2))
    assert searches < 5


# --- where a submit is the whole work ------------------------------------------------------------


def lasting(world: World, upstream: str, **run: object) -> Permit:
    """A submit that has begun and is not answered yet."""
    permit = world.breakers.enter(on(upstream, **run))
    assert isinstance(permit, Permit)
    world.breakers.begun(permit)
    return permit


def test_a_trial_that_lasts_keeps_nobody_waiting() -> None:
    world = World(kind=WHOLE)
    world.submits("cheap", NotNow("", why=Why.NEVER_SENT), FAILURES)
    world.now += 1
    trial = world.breakers.enter(on("cheap"))
    assert isinstance(trial, Permit)
    assert not isinstance(world.breakers.enter(on("cheap")), Permit)
    world.breakers.begun(trial)
    assert world.up == {"cheap": True}
    for _ in range(20):
        lasting(world, "cheap")
    world.now += 600
    assert world.breakers.submitted(trial, DELIVERED, has_begun=True) == DELIVERED
    assert isinstance(world.breakers.enter(on("cheap")), Permit)


@pytest.mark.parametrize("event", [BROKEN, AnswerLost("silence"), BUSY])
@pytest.mark.parametrize("has_begun", [True, False])
def test_work_that_comes_to_nothing_closes_a_route(event: SubmitEvent, *, has_begun: bool) -> None:
    world = World(kind=WHOLE)
    for times in range(FAILURES):
        assert world.up == {}
        if has_begun:
            permit = lasting(world, "cheap", id=f"run {times}")
            world.breakers.submitted(permit, event, has_begun=True)
        else:
            world.submits("cheap", event, id=f"run {times}")
    assert world.up == {"cheap": False}
    world.now += 60
    world.submits("cheap", DELIVERED)
    assert world.up == {"cheap": True}


def test_work_that_fails_by_what_was_asked_for_closes_nothing() -> None:
    world = World(kind=WHOLE)
    blocked = TaskFailed("{}", "moderation_blocked", "no")
    for _ in range(20):
        world.breakers.submitted(lasting(world, "cheap"), blocked, has_begun=True)
    for _ in range(2):
        world.submits("cheap", BROKEN)
    world.submits("cheap", DELIVERED)
    for _ in range(2):
        world.submits("cheap", BROKEN)
    assert world.up == {}


def test_one_that_is_too_busy_is_asked_again_when_it_said() -> None:
    world = World(kind=WHOLE)
    busy = NotNow("HTTP 429", 20.0)
    world.submits("cheap", busy)
    assert world.goes(on("cheap"), busy) == "middle"
    told = world.breakers.enter(on("cheap", id="another"))
    assert told == NotNow("HTTP 429"), "it has waited a part of that already"
    assert isinstance(told, NotNow)
    world.now += 15
    assert world.waits(on("cheap", id="another"), told)["cheap"] == 5
    world.now += 5
    lasting(world, "cheap")
    world = World()
    world.submits("cheap", busy)
    assert isinstance(world.breakers.enter(on("cheap")), Permit), "of the other kind once is chance"


def test_a_full_house_is_no_reason_to_go_elsewhere() -> None:
    world = World(kind=WHOLE)
    full = NotNow("full", why=Why.FULL)
    assert world.goes(on("cheap"), full) is None
    assert set(world.waits(on("cheap"), full)) == {"cheap"}
