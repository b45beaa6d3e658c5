"""Admission, lifecycle and books together, driven at random: what must hold at every moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from core_samples import MODEL, PRICE, TTL, Books, an_ask, an_order, keys_of, some_rules
from core_samples import NOW as START
from core_samples import kept as kept_picture
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.catalog import Allow, CacheScope, Catalog, Mode, PriceRule, Route, Team
from gateway.core.model import Freshness, Run, RunState, Verdict
from gateway.core.money.accounts import NOTHING, Amounts, Cap, Measure, Window
from gateway.core.orders.admission import Denied, Doubtful, Hit, Joined, Started, Unvetted
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    CredentialsRefused,
    DeadlinePassed,
    Event,
    Finished,
    KeepFailed,
    Loss,
    NotNow,
    PicturesKept,
    Progressed,
    Refused,
    Retry,
    TaskFailed,
    Unreachable,
)
from gateway.core.runs.routing import Outlook, alternatives, moves, next_after
from gateway.core.transaction import Keys, Writes

S = RunState
RULES = some_rules(usd_micros_per_credit=14_705.9)
CAPS = (
    Cap(Measure.USD, Window.HOUR, 4 * PRICE),
    Cap(Measure.USD, Window.DAY, 6 * PRICE),
    Cap(Measure.USD, Window.TOTAL, 12 * PRICE),
    Cap(Measure.IMAGES, Window.DAY, 7),
    Cap(Measure.RUNS, Window.MINUTE, 3),
    Cap(Measure.LIVE, Window.TOTAL, 3),
)
SPARE = Route("spare", "gpt-image-1.5", (PriceRule(20_000),))
CATALOG = Catalog({MODEL.name: replace(MODEL, routes=(*MODEL.routes, SPARE))})
UPSTREAMS = ("evolink", "spare")
ORGANIZATION = CacheScope.ORGANIZATION
TEAMS = (
    Team("alone", CAPS),
    Team("one", CAPS, cache_scope=ORGANIZATION),
    Team("two", CAPS[:1], Allow(max_n=1), cache_scope=ORGANIZATION),
    Team("shadow", CAPS, Allow(max_n=1), cache_scope=ORGANIZATION, mode=Mode.SHADOW),
)
REMEMBERING: dict[str, Any] = {"remember_lost_seconds": 900.0}
FRESHNESS = st.one_of(
    st.just(Freshness()),
    st.builds(
        Freshness,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from([None, 0.0, 60.0, 1e9]),
    ),
)


def events(run: Run) -> list[Event]:
    """What can happen to a run in its state."""
    links = tuple(f"https://files.test/{run.id}/{index}" for index in range(run.n))
    pictures = tuple(kept_picture(link) for link in run.links)
    possible: dict[RunState, list[Event]] = {
        S.SUBMITTING: [
            Accepted(f"task-of-{run.id}", "{}"),
            Refused(400, "{}", "invalid_request", "no"),
            NotNow("HTTP 503"),
            CredentialsRefused(401, "unauthorized"),
            AnswerLost("cut"),
        ],
        S.QUEUED: [Retry(), DeadlinePassed()],
        S.UNSURE: [Accepted(f"task-of-{run.id}", "{}"), DeadlinePassed()],
        S.RUNNING: [
            Progressed("{}", 50),
            Finished("{}", links, 0.5),
            Finished("{}", links[:1], None),
            Finished("{}", links + links[:1]),
            TaskFailed("{}", "service_error", "sorry"),
            Unreachable("down"),
            DeadlinePassed(),
        ],
        S.KEEPING: [
            PicturesKept(pictures),
            PicturesKept(pictures[:1]),
            KeepFailed("cut", dead=False, kept=pictures[1:]),
            KeepFailed("404", dead=True),
            KeepFailed("no picture", dead=True, loss=Loss.UNDECODABLE, body="same"),
        ],
    }
    return possible[run.state]


HAPPY = (Retry, Accepted, Finished, PicturesKept)


class House(RuleBasedStateMachine):
    """A ledger of dictionaries, orders that come, events that happen, time that passes."""

    @initialize()
    def begin(self) -> None:
        self.books = Books()
        self.now = START
        self.readable: dict[str, bool] = {}

    @rule(
        team=st.sampled_from(TEAMS),
        seed=st.integers(0, 2),
        n=st.integers(1, 2),
        freshness=FRESHNESS,
        remembered=st.booleans(),
    )
    def order(self, team: Team, seed: int, n: int, freshness: Freshness, remembered: bool) -> None:
        wish = an_order(seed=seed, n=n)
        ask = an_ask(order=wish, team=team, freshness=freshness, now=self.now, **REMEMBERING)
        if remembered:  # the response cache has the newest finished run, or an older one
            done = [r for r in self.shared(ask.fingerprint) if r.state is S.DONE]
            ask = an_ask(
                order=wish,
                team=team,
                **REMEMBERING,
                freshness=freshness,
                now=self.now,
                cached=done[-1] if done else None,
                vetted={r.id: self.readable.get(r.id, True) for r in done[-1:]},
            )
        before = Books(dict(self.books.runs), accounts=dict(self.books.accounts))
        decision, writes = self.books.admit(ask)
        while isinstance(decision, Unvetted):
            assert writes == Writes()
            vetted = {**ask.vetted, decision.run.id: self.readable.get(decision.run.id, True)}
            assert len(vetted) > len(ask.vetted)
            told = {**REMEMBERING, "vetted": vetted}
            ask = an_ask(order=wish, team=team, freshness=freshness, now=self.now, **told)
            decision, writes = self.books.admit(ask)
        self.judge(decision, writes, before, ask)

    def judge(self, decision: Any, writes: Writes, before: Books, ask: Any) -> None:
        live = [r for r in before.runs.values() if self.is_live(r, ask.fingerprint)]
        match decision:
            case Denied() | Doubtful():
                assert writes == Writes()
                if isinstance(decision, Doubtful):
                    assert decision.run.state is S.UNSURE
                elif ask.team.mode is Mode.SHADOW:
                    assert decision.denial.rule in ("only_if_cached", "never_paid_twice")
                if isinstance(decision, Denied) and decision.denial.rule == "never_paid_twice":
                    self.judge_repeated(decision, before, ask)
            case Hit(job, run):
                assert (job.verdict, job.run_id) == (Verdict.HIT, run.id)
                assert run.state is S.DONE and run.shared and self.readable.get(run.id, True)
                assert run.fingerprint == ask.fingerprint
                assert 0 < decision.ttl_seconds <= TTL
                assert not writes.runs and not writes.accounts
            case Joined(job, run):
                assert [one.id for one in live] == [run.id] and run.state is not S.UNSURE
                assert job.verdict is Verdict.JOINED
                assert not writes.accounts
            case Started(job, run, stored):
                fresh = ask.freshness
                assert stored == run.shared == (not fresh.no_store)
                assert not live or fresh.no_cache or fresh.no_store
                assert not fresh.only_if_cached
                assert self.books.jobs[job.id].run_id == run.id
                if not (fresh.no_cache or fresh.no_store):
                    assert not self.good_answers(before, ask)
        if ask.team.mode is Mode.ENFORCE and not isinstance(decision, Denied | Doubtful):
            assert decision.shadow is None

    def judge_repeated(self, decision: Denied, before: Books, ask: Any) -> None:
        """It was paid not long ago, and nothing came of it since."""
        assert not (ask.freshness.no_cache or ask.freshness.no_store)
        same = [run for run in before.runs.values() if run.fingerprint == ask.fingerprint]
        ended = [run for run in same if run.shared and run.is_paid_in_vain]
        assert max(run.finished_at or 0 for run in ended) > self.now - ask.remember_lost_seconds
        assert not any(self.is_live(run, ask.fingerprint) for run in same)
        assert not self.good_answers(before, ask)

    def good_answers(self, books: Books, ask: Any) -> list[Run]:
        wanted = ask.freshness.max_age_seconds
        limit = TTL if wanted is None else min(TTL, wanted)
        done = [
            run
            for run in books.runs.values()
            if run.shared and run.state is S.DONE and run.fingerprint == ask.fingerprint
        ]
        newest = max(done, key=lambda run: (run.finished_at, run.id), default=None)
        if newest is None or self.now - (newest.finished_at or 0) >= limit:
            return []
        return [newest] if self.readable.get(newest.id, True) else []

    def shared(self, fingerprint: str) -> list[Run]:
        return [
            run for run in self.books.runs.values() if run.shared and run.fingerprint == fingerprint
        ]

    def is_live(self, run: Run, fingerprint: str) -> bool:
        return run.shared and not run.is_final and run.fingerprint == fingerprint

    @precondition(lambda self: self.books.live())
    @rule(data=st.data())
    def event(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.books.live()))
        event = data.draw(st.sampled_from(events(run)))
        self.happen(run, event, up=data.draw(st.sets(st.sampled_from(UPSTREAMS))))

    def happen(self, run: Run, event: Event, *, up: set[str]) -> Run:
        """The event happens while these upstreams are up; a dearer route must fit the budget."""
        outlook = Outlook()
        if moves(event):
            at_once, later = next_after(run, event, alternatives(run, CATALOG))
            open_ones = [route for route in at_once if route.upstream in up]
            waits = tuple((route, self.now + 5) for route in later if route.upstream not in up)
            everywhere = Outlook(open_ones[0] if open_ones else None, waits)
            accounts = self.books.view(Keys(accounts=keys_of(run))).accounts
            team = next(team for team in TEAMS if team.name == run.team)
            outlook = everywhere.within_budget(run, accounts, team)
        return self.books.happen(run.id, event, self.now, replace(RULES, outlook=outlook))

    @precondition(lambda self: self.books.live())
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        """A run goes all the way, so that there are answers in the cache."""
        run = data.draw(st.sampled_from(self.books.live()))
        while not run.is_final:
            event = next(one for one in events(run) if isinstance(one, HAPPY))
            run = self.happen(run, event, up=set(UPSTREAMS))
            if run.state is S.QUEUED:
                assert run.tried, "without a failed task, its own route would do"
                return
        assert run.state is S.DONE

    @rule(seconds=st.sampled_from([0.5, 20.0, 61.0, 1800.0, TTL, 86_400.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.books.runs)
    @rule(data=st.data())
    def lose_pictures(self, data: st.DataObject) -> None:
        self.readable[data.draw(st.sampled_from(sorted(self.books.runs)))] = False

    @invariant()
    def accounts_are_the_sums_of_their_runs(self) -> None:
        assert self.books.accounts == self.books.sums()

    @invariant()
    def no_cap_is_ever_exceeded(self) -> None:
        caps = {team.name: team.caps for team in TEAMS if team.mode is Mode.ENFORCE}
        for account in self.books.accounts.values():
            both = account.spent + account.held
            for cap in caps.get(account.key.team, ()):
                if cap.window is account.key.window:
                    used = {
                        Measure.USD: both.usd_micros,
                        Measure.IMAGES: both.images,
                        Measure.RUNS: both.runs,
                        Measure.LIVE: account.held.runs,
                    }[cap.measure]
                    assert 0 <= used <= cap.limit

    @invariant()
    def one_fingerprint_has_one_live_shared_run(self) -> None:
        live = Counter(run.fingerprint for run in self.books.live() if run.shared)
        assert not live or max(live.values()) == 1

    @invariant()
    def only_live_runs_hold(self) -> None:
        for run in self.books.runs.values():
            held = Amounts(run.price_usd_micros * run.n, run.n, 1)
            assert run.hold == (NOTHING if run.is_final else held)

    @invariant()
    def reports_agree_with_the_runs(self) -> None:
        runs, usage = self.books.runs.values(), self.books.usage
        assert sum(one.spent_usd_micros for one in usage) == sum(r.spent.usd_micros for r in runs)
        assert sum(one.started for one in usage) == len(runs)
        assert sum(one.failed for one in usage) == sum(r.state is S.FAILED for r in runs)
        verdicts = Counter(job.verdict for job in self.books.jobs.values())
        assert sum(one.hits for one in usage) == verdicts[Verdict.HIT]
        assert sum(one.joined for one in usage) == verdicts[Verdict.JOINED]


House.TestCase.settings = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestHouse = House.TestCase
