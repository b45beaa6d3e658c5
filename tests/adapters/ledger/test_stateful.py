"""The same random life on disk and in the oracle: what the one answers, the other must answer."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from ledger_backends import BACKENDS, Clock
from ledger_builders import (
    NOW,
    a_change,
    a_claim,
    a_delivery,
    a_job,
    a_key,
    a_picture,
    a_refusal,
    a_run,
    a_step,
    a_team,
    an_alert,
    an_upload,
    counted,
    done,
    ended,
    failed,
    hit_usage,
    keys_of,
    usage,
    write,
)
from ledger_oracle import Oracle

from gateway.core.model import LIVE_STATES, DeliveryState, Run, RunState, Verdict
from gateway.core.money.accounts import NOTHING, AccountKey
from gateway.core.money.booking import book
from gateway.core.money.invariants import Invariant
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.ports.ledger import (
    ChangeFilter,
    DeliveryFilter,
    Ledger,
    Old,
    RefusalFilter,
    RunFilter,
)

T = TypeVar("T")

TEAMS = st.sampled_from(["alpha", "beta"])
FINGERPRINTS = st.sampled_from(["f1", "f2", "f3"])
DIGESTS = st.lists(st.sampled_from(["d1", "d2", "d3", "d4"]), max_size=3)
AGES = st.integers(min_value=-100_000, max_value=5_000)
NEWER = ("alert", "key", "step", "refusal")
WRONG = st.sampled_from(["twin", "task", "job", "amount", "claim", "delivery", "upload", *NEWER])
NAMES = st.sampled_from(["k1", "k2", "k3"])
LINKS = st.lists(st.sampled_from(["u1", "u2", "u3"]), max_size=3)
HOOKS = st.sampled_from([None, "https://client.test/hook"])
TASKS = st.sampled_from([None, "t1", "t2", "t3"])


ON_PURPOSE = {
    Invariant.IN_TIME,
    Invariant.CALLED,
    Invariant.STEPS,
    Invariant.KEYS,
    Invariant.TOLD,
    Invariant.CLAIMED,
    Invariant.ISSUED,
}


class TwoLedgers(RuleBasedStateMachine):
    kind = "sqlite"
    runs: Bundle[str] = Bundle("runs")
    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.stack = ExitStack()
        self.store = self.stack.enter_context(BACKENDS[self.kind](self.folder, self.clock))
        self.oracle = Oracle(is_shared=self.store.is_shared)
        self.numbers = count(1)
        self.job_ids: list[str] = []
        self.keys: set[AccountKey] = set()
        self.reopen()

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.stack.close()
        shutil.rmtree(self.folder)

    def both(self, do: Callable[[Ledger], Awaitable[Any]]) -> Any:
        """Does it on both; their answers, or the class of what they raised, must be equal."""
        expected, found = (self.runner.run(_outcome(do, one)) for one in (self.oracle, self.disk))
        assert found == expected
        return expected

    # --- what happens ------------------------------------------------------------------------

    @rule(target=runs, team=TEAMS, fingerprint=FINGERPRINTS, shared=st.booleans(), hook=HOOKS)
    def order(self, team: str, fingerprint: str, shared: bool, hook: str | None) -> str:
        number = next(self.numbers)
        run = a_run(
            id=f"run-{number}",
            team=team,
            fingerprint=fingerprint,
            created_at=self.clock.now,
            shared=shared,
            n=1 + number % 3,
            request=f'{{"prompt":"A Cat {number % 4}"}}',
            credits_used=number / 2 if number % 2 else None,
        )
        job = a_job(run, id=f"task-{number}", callback_url=hook)
        self.job_ids.append(job.id)
        self.keys.update(keys_of(run))

        def admit(view: View) -> tuple[str, Writes]:
            if view.live is not None and shared:
                joined = replace(view.live, joins=((team, 1), *view.live.joins))
                return "joined", Writes(
                    runs=(joined,),
                    jobs=(a_job(joined, Verdict.JOINED, id=job.id, callback_url=hook),),
                    usage=(usage(team, run.model, run.windows.day, joined=1),),
                )
            return "started", replace(book(None, run, view.accounts), jobs=(job,))

        keys = Keys(keys_of(run), counted=counted(run), fingerprint=fingerprint)
        self.both(lambda ledger: ledger.transact(keys, admit))
        return run.id

    @rule(
        run_id=runs,
        state=st.sampled_from(sorted(LIVE_STATES)),
        due=AGES,
        task=TASKS,
        shared=st.booleans(),
        begun=st.booleans(),
        finished=AGES,
    )
    def go_on(
        self,
        run_id: str,
        state: RunState,
        due: int,
        task: str | None,
        *,
        shared: bool,
        begun: bool,
        finished: int,
    ) -> None:
        def step(run: Run) -> Run:
            return replace(
                run,
                state=state,
                accepted_at=NOW if begun else None,
                due_at=NOW + due,
                upstream_task_id=task,
                shared=shared and run.shared,
                upstream_finished_at=NOW + finished,
                lease_owner=None,
                lease_until=0.0,
            )

        self.change(run_id, step)

    @rule(run_id=runs, digests=DIGESTS, at=AGES)
    def finish(self, run_id: str, digests: list[str], at: int) -> None:
        pictures = [a_picture(digest, 10 * len(digests)) for digest in digests]
        self.change(run_id, lambda run: done(run, *pictures, at=NOW + at))

    @rule(run_id=runs, charged=st.booleans())
    def fail(self, run_id: str, charged: bool) -> None:
        self.change(run_id, lambda run: failed(run, spent=run.hold if charged else NOTHING))

    def change(self, run_id: str, step: Callable[[Run], Run]) -> None:
        run = self.both(lambda ledger: _view(ledger, Keys(run_id=run_id))).run
        if run is None or run.is_final:
            return
        keys = Keys(keys_of(run), counted=counted(run), run_id=run_id)

        def decide(view: View) -> tuple[None, Writes]:
            assert view.run is not None
            after = step(view.run)
            owed = [a_delivery(job, due_at=NOW) for job in view.owed if after.is_final]
            writes = book(view.run, after, view.accounts)
            return None, replace(writes, deliveries=tuple(owed))

        self.both(lambda ledger: ledger.transact(keys, decide))

    @rule(target=jobs, fingerprint=FINGERPRINTS, age=AGES)
    def hit(self, fingerprint: str, age: int) -> str:
        job_id = f"task-{next(self.numbers)}"
        self.job_ids.append(job_id)

        def decide(view: View) -> tuple[bool, Writes]:
            if view.finished is None:
                return False, Writes()
            job = a_job(view.finished, Verdict.HIT, id=job_id, created_at=NOW - age)
            return True, Writes(jobs=(job,), usage=(hit_usage(job, view.finished),))

        self.both(lambda ledger: ledger.transact(Keys(fingerprint=fingerprint), decide))
        return job_id

    @rule(limit=st.integers(0, 3), age=AGES, seconds=st.integers(0, 9_000))
    def lease(self, limit: int, age: int, seconds: int) -> None:
        now = NOW + age
        self.both(lambda one: one.lease("w", now=now, until=now + seconds, limit=limit))

    @rule(limit=st.integers(0, 3), age=AGES, seconds=st.integers(0, 9_000), share=st.integers(0, 4))
    def lease_deliveries(self, limit: int, age: int, seconds: int, share: int) -> None:
        now, until = NOW + age, NOW + age + seconds
        self.both(
            lambda one: one.lease_deliveries("w", now=now, until=until, limit=limit, share=share)
        )

    @rule(number=st.integers(0, 30), state=st.sampled_from(DeliveryState), due=AGES)
    def attempt(self, number: int, state: DeliveryState, due: int) -> None:
        """The callback goes on, ends, or is made again."""
        found = self.both(lambda one: one.delivery(f"callback-task-{number}"))
        if found is None:
            return
        after = replace(found, state=state, due_at=NOW + due, ended_at=None, lease_until=0.0)
        if state is not DeliveryState.PENDING:
            after = ended(after, state)
        self.both(lambda ledger: write(ledger, deliveries=(after,)))

    @rule(team=TEAMS, key=NAMES, age=AGES)
    def claim(self, team: str, key: str, age: int) -> None:
        claim = replace(a_claim(team, key), created_at=NOW + age)
        self.both(lambda ledger: write(ledger, claims=(claim,)))

    @rule(team=TEAMS, name=NAMES, links=LINKS, digest=NAMES, ages=st.tuples(AGES, AGES))
    def upload(
        self, team: str, name: str, links: list[str], digest: str, ages: tuple[int, int]
    ) -> None:
        upload = an_upload(
            id=name,
            team=team,
            urls=tuple(links),
            digest=digest,
            created_at=NOW + ages[0],
            expires_at=NOW + ages[1],
        )
        self.both(lambda ledger: write(ledger, uploads=(upload,)))

    @rule(number=st.integers(0, 9), over=st.booleans(), age=AGES)
    def alert(self, number: int, over: bool, age: int) -> None:
        """One that was written before stays as it is, and goes on as a callback does."""
        alert = an_alert(id=f"alert-{number}", created_at=NOW + age)
        after = ended(alert) if over else alert
        self.both(lambda ledger: write(ledger, alerts=(after,)))

    @rule(team=TEAMS, gone=st.booleans(), age=AGES)
    def make_team(self, team: str, gone: bool, age: int) -> None:
        made = a_team(team, changed_at=NOW + age, deleted_at=NOW + age if gone else None)
        self.both(lambda ledger: write(ledger, teams=(made,)))

    @rule(team=TEAMS, name=NAMES, digest=NAMES, ends=st.sampled_from([None, -5.0, 5.0]), age=AGES)
    def make_key(self, team: str, name: str, digest: str, ends: float | None, age: int) -> None:
        expires = None if ends is None else NOW + ends
        key = a_key(team, id=name, digest=digest, created_at=NOW + age, expires_at=expires)
        self.both(lambda ledger: write(ledger, team_keys=(key,)))

    @rule(number=st.integers(0, 9), subject=NAMES, age=AGES, team=TEAMS)
    def note_down(self, number: int, subject: str, age: int, team: str) -> None:
        change = a_change(id=f"change-{number}", subject=subject, at=NOW + age)
        refusal = a_refusal(id=f"refusal-{number}", team=team, reason=subject, at=NOW + age)
        self.both(lambda ledger: write(ledger, refusals=(refusal,)))
        self.both(lambda ledger: write(ledger, changes=(change,)))

    @rule(run_id=runs, number=st.sampled_from([0, 0, 0, 1, 2]), final=st.booleans())
    def tell(self, run_id: str, number: int, final: bool) -> None:
        run = a_run(id=run_id)
        step = a_step(run, number=number, after="failed" if final else "running")
        self.both(lambda ledger: write(ledger, steps=(step,)))

    @rule(digest=st.sampled_from(["d1", "d2", "d3", "d4"]), age=AGES, removed=st.booleans())
    def erase(self, digest: str, age: int, removed: bool) -> None:
        keys = Keys(picture=digest)

        def decide(view: View) -> tuple[bool, Writes]:
            at = NOW + age if removed else None
            gone = tuple(
                replace(one, prompt="", erased_at=NOW + age, removed_at=at) for one in view.pictures
            )
            return bool(gone), Writes(pictures=gone)

        self.both(lambda ledger: ledger.transact(keys, decide))

    @rule(team=st.sampled_from([None, "alpha", "beta"]), limit=st.integers(0, 3))
    def retire(self, team: str | None, limit: int) -> None:
        self.both(lambda ledger: ledger.retire(team=team, limit=limit))

    @rule(team=TEAMS, name=NAMES)
    def forget(self, team: str, name: str) -> None:
        self.both(lambda ledger: ledger.forget_upload(team, name))

    @rule(ages=st.tuples(AGES, AGES, st.integers(0, 20_000), AGES), limit=st.integers(0, 4))
    def prune(self, ages: tuple[int, int, int, int], limit: int) -> None:
        """Only windows that are over: an open one still takes new runs."""
        jobs, claims, accounts, uploads = ages
        now = self.clock.now
        old = Old(now - jobs, now - claims, now - 3600 - accounts, now - uploads, now - claims)
        self.both(lambda ledger: ledger.prune(old, limit=limit))

    @rule(run_id=consumes(runs), what=WRONG)
    def write_wrongly(self, run_id: str, what: str) -> None:
        run = self.both(lambda ledger: _view(ledger, Keys(run_id=run_id))).run
        if run is None:
            return
        wrong = {
            "twin": {"runs": (a_run(id="x", fingerprint=run.fingerprint),) * 2},
            "task": {"runs": (a_run(id="x", upstream_task_id=run.upstream_task_id),)},
            "job": {"jobs": (a_job(a_run(id="nowhere"), id="x"),)},
            "amount": {"runs": (replace(run, tries=-1),)},
            "claim": {"claims": (a_claim(), a_claim())},
            "delivery": {"deliveries": (a_delivery(a_job(run, id="nowhere")),)},
            "upload": {"uploads": (an_upload(id="k1", urls=("u1",)), an_upload(size_bytes=-1))},
            "alert": {"alerts": (an_alert(id="x"), an_alert(body=None))},
            "key": {"teams": (a_team("x"),), "team_keys": (a_key("x"), a_key("nowhere"))},
            "step": {"steps": (a_step(run), a_step(run, number=-1))},
            "refusal": {"refusals": (a_refusal(id="x"), a_refusal(verdict="hit"))},
        }[what]
        refuse = {"jobs": (a_job(a_run(id="nowhere"), id="y"),)}
        outcome = self.both(lambda ledger: write(ledger, **{**wrong, **refuse}))
        assert outcome is ConstraintViolation

    @rule(run_id=runs, number=st.integers(0, 40))
    def use_a_task_id_again(self, run_id: str, number: int) -> None:
        """Refused, unless the id was pruned or never written."""
        run = self.both(lambda ledger: _view(ledger, Keys(run_id=run_id))).run
        if run is not None:
            job = a_job(run, id=self.job_ids[number % len(self.job_ids)])
            self.both(lambda ledger: write(ledger, jobs=(job,)))

    @rule()
    def reopen(self) -> None:
        self.disk = self.runner.run(self.store.again())
        self.runner.run(self.oracle.open())

    @rule(seconds=st.integers(0, 50_000))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    # --- what must be equal -------------------------------------------------------------------

    @invariant()
    def the_reads_are_equal(self) -> None:
        self.both(lambda ledger: ledger.accounts(sorted(self.keys, key=str)))
        self.both(lambda ledger: ledger.usage())
        self.both(lambda ledger: ledger.run_counts())
        self.both(lambda ledger: ledger.next_due())
        self.both(lambda ledger: ledger.next_delivery_due())
        self.both(lambda ledger: ledger.roster())
        self.both(lambda ledger: ledger.epochs())
        for job_id in self.job_ids:
            self.both(lambda ledger, job_id=job_id: ledger.job(job_id))
        for number in range(1, 4):
            self.both(lambda ledger, number=number: ledger.steps(f"run-{number}"))
        for team in ("alpha", "beta"):
            self.both(lambda ledger, team=team: ledger.digests(team, ("u1", "u2", "u3")))

    @invariant()
    def what_a_decision_is_shown_is_equal(self) -> None:
        teams = ("alpha", "beta")
        for keys in (
            *(Keys(fingerprint=fingerprint) for fingerprint in ("f1", "f2", "f3")),
            *(Keys(claim=(team, name)) for team in teams for name in ("k1", "k2", "k3")),
            *(Keys(team=team) for team in teams),
            *(Keys(picture=digest) for digest in ("d1", "d2", "d3", "d4")),
        ):
            self.both(lambda ledger, keys=keys: _view(ledger, keys))

    @invariant()
    def the_records_are_those_of_the_oracle(self) -> None:
        """All of them, as whole lists, newest first."""
        tables, every = self.oracle.tables, {"after": None, "limit": 999}
        kinds = (
            (self.disk.runs(RunFilter(), **every), tables.runs, _made),
            (self.disk.deliveries(DeliveryFilter(), **every), tables.deliveries, _made),
            (self.disk.refusals(RefusalFilter(), **every), tables.refusals, _noted),
            (self.disk.changes(ChangeFilter(), **every), tables.changes, _noted),
        )
        for read, records, mark in kinds:
            found = self.runner.run(_whole(read))
            assert found == sorted(records.values(), key=mark, reverse=True)
        for team in ("alpha", "beta"):
            read = self.disk.uploads(team, now=NOW - 999_999, page=1, page_size=999)
            found, _ = self.runner.run(_whole(read))
            mine = (one for one in tables.uploads.values() if one.team == team)
            assert found == sorted(mine, key=_made, reverse=True)

    @invariant()
    def the_books_add_up(self) -> None:
        """Late runs, forgotten alerts, steps and keys are written here on purpose, and claims
        that no task led to."""
        found = self.runner.run(self.disk.violations())
        assert {one.invariant for one in found} <= ON_PURPOSE


def _made(one: Any) -> tuple[float, str]:
    return one.created_at, one.id


def _noted(one: Any) -> tuple[float, str]:
    return one.at, one.id


async def _whole(read: Awaitable[T]) -> T:
    return await read


async def _outcome(do: Callable[[Ledger], Awaitable[Any]], ledger: Ledger) -> Any:
    try:
        return await do(ledger)
    except ConstraintViolation:
        return ConstraintViolation


async def _view(ledger: Ledger, keys: Keys) -> View:
    return await ledger.transact(keys, lambda view: (view, Writes()))


TestTwoLedgers = TwoLedgers.TestCase
TestTwoLedgers.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class TwoLedgersOfSeveral(TwoLedgers):
    """The same in PostgreSQL."""

    kind = "postgres"


TestTwoLedgersOfSeveral = TwoLedgersOfSeveral.TestCase
TestTwoLedgersOfSeveral.settings = settings(TestTwoLedgers.settings, max_examples=4)
TestTwoLedgersOfSeveral.pytestmark = [pytest.mark.slow]
