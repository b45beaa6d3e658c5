"""The same random life on both ledgers: every read of the one must equal that of the other."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from ledger_backends import Clock
from ledger_builders import NOW, a_job, a_picture, a_run, done, failed, usage, write

from gateway.core.booking import book
from gateway.core.invariants import Invariant
from gateway.core.model import LIVE_STATES, NOTHING, AccountKey, Run, RunState, Verdict
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.ledger.memory import MemoryLedger
from gateway.ledger.sqlite import SqliteLedger
from gateway.ports import Ledger

TEAMS = st.sampled_from(["alpha", "beta"])
FINGERPRINTS = st.sampled_from(["f1", "f2", "f3"])
DIGESTS = st.lists(st.sampled_from(["d1", "d2", "d3", "d4"]), max_size=3)
AGES = st.integers(min_value=-100_000, max_value=5_000)
TASKS = st.sampled_from([None, "t1", "t2", "t3"])


class TwoLedgers(RuleBasedStateMachine):
    runs: Bundle[str] = Bundle("runs")
    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.memory = MemoryLedger(clock=self.clock)
        self.disk = SqliteLedger(self.folder / "ledger.db", clock=self.clock)
        self.numbers = count(1)
        self.job_ids: list[str] = []
        self.keys: set[AccountKey] = set()
        self.both(lambda ledger: ledger.open())

    def teardown(self) -> None:
        self.both(lambda ledger: ledger.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def both(self, do: Callable[[Ledger], Awaitable[Any]]) -> Any:
        """Does it on both; their answers, or the class of what they raised, must be equal."""
        memory, disk = (self.runner.run(_outcome(do, one)) for one in (self.memory, self.disk))
        assert memory == disk
        return memory

    # --- what happens ------------------------------------------------------------------------

    @rule(target=runs, team=TEAMS, fingerprint=FINGERPRINTS, shared=st.booleans())
    def order(self, team: str, fingerprint: str, shared: bool) -> str:
        number = next(self.numbers)
        run = a_run(
            id=f"run-{number}",
            team=team,
            fingerprint=fingerprint,
            created_at=self.clock.now,
            shared=shared,
            n=1 + number % 3,
        )
        job = a_job(run, id=f"task-{number}")
        self.job_ids.append(job.id)
        self.keys.update(run.account_keys())

        def admit(view: View) -> tuple[str, Writes]:
            if view.live is not None and shared:
                joined = replace(view.live, joins=((team, 1), *view.live.joins))
                return "joined", Writes(
                    runs=(joined,),
                    jobs=(a_job(joined, Verdict.JOINED, id=job.id),),
                    usage=(usage(team, run.model, run.windows.day, joined=1),),
                )
            return "started", replace(book(None, run, view.accounts), jobs=(job,))

        keys = Keys(accounts=run.account_keys(), fingerprint=fingerprint)
        self.both(lambda ledger: ledger.transact(keys, admit))
        return run.id

    @rule(
        run_id=runs,
        state=st.sampled_from(sorted(LIVE_STATES)),
        due=AGES,
        task=TASKS,
        shared=st.booleans(),
        finished=AGES,
    )
    def go_on(
        self, run_id: str, state: RunState, due: int, task: str | None, shared: bool, finished: int
    ) -> None:
        def step(run: Run) -> Run:
            return replace(
                run,
                state=state,
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
        keys = Keys(accounts=run.account_keys(), run_id=run_id)

        def decide(view: View) -> tuple[None, Writes]:
            assert view.run is not None
            return None, book(view.run, step(view.run), view.accounts)

        self.both(lambda ledger: ledger.transact(keys, decide))

    @rule(target=jobs, fingerprint=FINGERPRINTS, age=AGES)
    def hit(self, fingerprint: str, age: int) -> str:
        job_id = f"task-{next(self.numbers)}"
        self.job_ids.append(job_id)

        def decide(view: View) -> tuple[bool, Writes]:
            if view.finished is None:
                return False, Writes()
            job = a_job(view.finished, Verdict.HIT, id=job_id, created_at=NOW - age)
            return True, Writes(jobs=(job,), usage=(usage("beta", "m", 0, hits=1),))

        self.both(lambda ledger: ledger.transact(Keys(fingerprint=fingerprint), decide))
        return job_id

    @rule(limit=st.integers(0, 3), age=AGES, seconds=st.integers(0, 9_000))
    def lease(self, limit: int, age: int, seconds: int) -> None:
        now = NOW + age
        self.both(lambda one: one.lease("w", now=now, until=now + seconds, limit=limit))

    @rule(jobs_age=AGES, accounts_age=st.integers(0, 20_000), limit=st.integers(0, 4))
    def prune(self, jobs_age: int, accounts_age: int, limit: int) -> None:
        """Only windows that are over: an open one still takes new runs."""
        jobs_before = self.clock.now - jobs_age
        accounts_before = self.clock.now - 3600 - accounts_age
        self.both(
            lambda ledger: ledger.prune(
                jobs_before=jobs_before, accounts_before=accounts_before, limit=limit
            )
        )

    @rule(run_id=consumes(runs), what=st.sampled_from(["twin", "task", "job", "amount"]))
    def write_wrongly(self, run_id: str, what: str) -> None:
        run = self.both(lambda ledger: _view(ledger, Keys(run_id=run_id))).run
        if run is None:
            return
        wrong = {
            "twin": {"runs": (a_run(id="x", fingerprint=run.fingerprint),) * 2},
            "task": {"runs": (a_run(id="x", upstream_task_id=run.upstream_task_id),)},
            "job": {"jobs": (a_job(a_run(id="nowhere"), id="x"),)},
            "amount": {"runs": (replace(run, tries=-1),)},
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
        self.both(lambda ledger: ledger.close())
        self.disk = SqliteLedger(self.folder / "ledger.db", clock=self.clock)
        self.both(lambda ledger: ledger.open())

    @rule(seconds=st.integers(0, 50_000))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    # --- what must be equal -------------------------------------------------------------------

    @invariant()
    def the_reads_are_equal(self) -> None:
        day = int(NOW) - int(NOW) % 86_400
        self.both(lambda ledger: ledger.accounts(sorted(self.keys, key=str)))
        self.both(lambda ledger: ledger.usage())
        self.both(lambda ledger: ledger.usage(since_day=day, until_day=day + 1))
        self.both(lambda ledger: ledger.run_counts())
        self.both(lambda ledger: ledger.next_due(NOW))
        self.both(lambda ledger: ledger.oldest_unkept())
        self.both(lambda ledger: ledger.picture_totals())
        self.both(lambda ledger: ledger.pictures(after="", limit=3))
        self.both(lambda ledger: ledger.pictures(after="d2", limit=3))
        for fingerprint in ("f1", "f2", "f3"):
            keys = Keys(fingerprint=fingerprint)
            self.both(lambda ledger, keys=keys: _view(ledger, keys))
        for job_id in self.job_ids:
            self.both(lambda ledger, job_id=job_id: ledger.job(job_id))

    @invariant()
    def the_books_add_up(self) -> None:
        found = self.both(lambda ledger: ledger.violations())
        assert {one.invariant for one in found} <= {Invariant.IN_TIME}


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
