"""A ledger made by the first released schema goes on with this version, and loses nothing."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest
from ledger_backends import Clock
from ledger_builders import NOW, a_picture, a_run, change, done, look, start, windows

from gateway.core.model import DeliveryState, RunState, Usage
from gateway.ledger import migrations
from gateway.ledger.sqlite import SqliteLedger

HOOK = "https://client.test/hook"
DAY = windows().day

RELEASED = {
    "0001_runs_jobs_accounts.sql": (
        "7c57744ed920daedf10e16c27c513c218c01e6af461c0f5334d7df2fad724859"
    ),
}


class FirstStore:
    """Writes rows as the first version did, into a file that has had its migration alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(self._connect()) as db:
            db.execute("PRAGMA journal_mode = WAL")
            first, *_ = migrations.migrations()
            for statement in first.statements:
                db.execute(statement)
            db.execute(
                "CREATE TABLE schema_version (version BIGINT PRIMARY KEY, name TEXT NOT NULL)"
            )
            db.execute("INSERT INTO schema_version VALUES (?, ?)", (first.version, first.name))

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None)

    def add(self, table: str, **values: object) -> None:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        with closing(self._connect()) as db:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))

    def add_run(self, run_id: str, state: str, **values: object) -> None:
        amounts = {
            f"{kind}_{name}": 0
            for kind in ("hold", "spent")
            for name in ("usd_micros", "images", "runs")
        }
        at = windows()
        final = state in ("done", "failed")
        self.add(
            "runs",
            **{
                **amounts,
                "id": run_id,
                "fingerprint": run_id,
                "team": "alpha",
                "model": "m",
                "quality": "low",
                "n": 1,
                "request": "{}",
                "upstream": "evolink",
                "upstream_model": "m-beta",
                "price_usd_micros": 5,
                "minute_start": at.minute,
                "hour_start": at.hour,
                "day_start": at.day,
                "week_start": at.week,
                "month_start": at.month,
                "created_at": NOW,
                "deadline_at": NOW + 900,
                "due_at": NOW,
                "state": state,
                "shared": 1,
                "joins": "[]",
                "attempts": 1,
                "tries": 0,
                "finished_at": NOW + 9 if final else None,
                "task": "{}",
                "links": "[]",
                "kept": "[]",
                "lease_until": 0.0,
                "link_count": 0,
                "kept_count": 0,
                **values,
            },
        )

    def add_job(self, job_id: str, run_id: str, callback_url: str | None = None) -> None:
        self.add(
            "jobs",
            id=job_id,
            run_id=run_id,
            team="alpha",
            verdict="started",
            created_at=NOW,
            callback_url=callback_url,
        )

    def add_usage(self, team: str, day: int, **counters: int) -> None:
        zeros = dict.fromkeys(
            (
                "hits", "joined", "started", "failed", "images_generated", "images_cache",
                "spent_usd_micros", "saved_hit_usd_micros", "saved_joined_usd_micros",
            ),
            0,
        )  # fmt: skip
        self.add("usage", team=team, model="m", day=day, **{**zeros, **counters})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FirstStore]:
    store = FirstStore(tmp_path / "ledger.db")
    store.add_run("run-live", "running", accepted_at=NOW)
    store.add_run("run-done", "done", accepted_at=NOW)
    store.add_run("run-failed", "failed", accepted_at=NOW)
    store.add_run("run-refused", "failed")
    for name in ("live", "done", "failed", "refused"):
        store.add_job(f"task-{name}", f"run-{name}", HOOK)
        store.add_job(f"quiet-{name}", f"run-{name}")
    store.add_usage("alpha", DAY, started=4, failed=2)
    store.add_usage("alpha", DAY - 86_400, hits=3, saved_hit_usd_micros=21)
    store.add_usage("beta", DAY, hits=1)
    yield store


async def opened(store: FirstStore) -> SqliteLedger:
    ledger = SqliteLedger(store.path, clock=Clock())
    await ledger.open()
    return ledger


async def test_an_upgraded_ledger_adds_up_and_goes_on(store: FirstStore) -> None:
    ledger = await opened(store)
    assert await ledger.violations() == []
    run = await start(ledger, a_run())
    await change(ledger, done(run, a_picture()))
    assert await ledger.violations() == []
    await ledger.close()


async def test_a_teams_tasks_are_listed_with_their_states(store: FirstStore) -> None:
    ledger = await opened(store)
    listed = {}
    for state in RunState:
        tasks, count = await ledger.tasks("alpha", states=(state,), page=1, page_size=9, model="m")
        assert len(tasks) == count
        if count:
            listed[state.value] = {job.id for job, _ in tasks}
    assert listed == {
        "running": {"task-live", "quiet-live"},
        "done": {"task-done", "quiet-done"},
        "failed": {"task-failed", "quiet-failed", "task-refused", "quiet-refused"},
    }
    await ledger.close()


async def test_totals_of_all_days_are_there(store: FirstStore) -> None:
    ledger = await opened(store)
    assert await ledger.usage() == await ledger.usage(since_day=0)
    assert await ledger.usage() == [
        Usage("alpha", "m", 0, hits=3, started=4, failed=2, saved_hit_usd_micros=21),
        Usage("beta", "m", 0, hits=1),
    ]
    assert (await ledger.run_counts())[RunState.DONE] == 1
    await ledger.close()


async def test_a_live_run_goes_on_and_owes_its_callback(store: FirstStore) -> None:
    ledger = await opened(store)
    view = await look(ledger, run_id="run-live")
    assert [job.id for job in view.owed] == ["task-live"]
    assert view.run is not None
    assert view.run.tried == ()
    (leased,) = await ledger.lease("w", now=NOW, until=NOW + 60, limit=9)
    assert leased.id == "run-live"
    await ledger.close()


async def test_callbacks_that_were_never_made_are_in_the_history(store: FirstStore) -> None:
    ledger = await opened(store)
    history = await ledger.deliveries(team="alpha", job_id=None, limit=9)
    assert [(one.id, one.job_id, one.url) for one in history] == [
        ("callback-task-failed", "task-failed", HOOK),
        ("callback-task-done", "task-done", HOOK),
    ]
    for one in history:
        assert (one.state, one.attempts, one.ended_at) == (DeliveryState.FAILED, 0, NOW + 9)
        assert one.error is not None
        assert one.error.startswith("not sent: ")
    assert await ledger.next_delivery_due() is None
    await ledger.close()


def test_released_migrations_are_as_they_were() -> None:
    folder = resources.files(migrations)
    for name, digest in RELEASED.items():
        assert hashlib.sha256(folder.joinpath(name).read_bytes()).hexdigest() == digest
