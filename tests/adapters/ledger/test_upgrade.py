"""A ledger made by an earlier schema goes on with this version, and loses nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from ledger_backends import Clock
from ledger_builders import NOW, a_picture, a_run, change, done, look, start, windows

from gateway.adapters.ledger import migrations
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.core.model import Delivery, DeliveryState, RunState, Usage, Verdict
from gateway.core.money.accounts import NOTHING, Amounts, Window
from gateway.core.money.budgets import account_keys
from gateway.core.money.invariants import Invariant
from gateway.core.runs import docket
from gateway.ports.ledger import DeliveryFilter, PictureFilter, RunFilter

HOOK = "https://client.test/hook"
DAY = windows().day

COUNTED = (
    "hits", "joined", "started", "failed", "images_generated", "images_cache",
    "spent_usd_micros", "saved_hit_usd_micros", "saved_joined_usd_micros",
)  # fmt: skip
"""What the first schemas counted."""

FAILURE = '{"kind":"unavailable","code":"c","message":"m","status":null,"body":null}'

RELEASED = {
    "0001_runs_jobs_accounts.sql": (
        "7c57744ed920daedf10e16c27c513c218c01e6af461c0f5334d7df2fad724859"
    ),
}


class OldStore:
    """Writes rows as an earlier version did, into a file that has had its migrations alone."""

    def __init__(self, path: Path, *, schema: int) -> None:
        self.path = path
        with closing(self._connect()) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(
                "CREATE TABLE schema_version (version BIGINT PRIMARY KEY, name TEXT NOT NULL)"
            )
            for one in migrations.migrations()[:schema]:
                for statement in one.statements:
                    db.execute(statement)
                db.execute("INSERT INTO schema_version VALUES (?, ?)", (one.version, one.name))

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

    def add_job(
        self, job_id: str, run_id: str, callback_url: str | None = None, **values: object
    ) -> None:
        told = {"team": "alpha", "verdict": "started", "created_at": NOW, **values}
        self.add("jobs", id=job_id, run_id=run_id, callback_url=callback_url, **told)

    def add_picture(self, digest: str, run_id: str, at: float) -> None:
        facts = {"extension": "png", "size_bytes": 10, "width": 4, "height": 2}
        self.add("pictures", digest=digest, run_id=run_id, created_at=at, **facts)

    def add_account(self, window: str, start: int, **held: int) -> None:
        spent = {f"spent_{name}": 0 for name in held}
        names = {"team": "alpha", "window_name": window, "window_start": start}
        self.add("accounts", **names, **spent, **{f"held_{name}": n for name, n in held.items()})

    def add_usage(self, team: str, day: int, **counters: int) -> None:
        zeros = dict.fromkeys(COUNTED, 0)
        self.add("usage", team=team, model="m", day=day, **{**zeros, **counters})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OldStore]:
    held = {"hold_usd_micros": 5, "hold_images": 1, "hold_runs": 1}
    store = OldStore(tmp_path / "ledger.db", schema=1)
    store.add_run("run-live", "running", accepted_at=NOW, **held)
    store.add_run("run-done", "done", accepted_at=NOW)
    store.add_run("run-failed", "failed", accepted_at=NOW, failure=FAILURE)
    store.add_run("run-refused", "failed", failure=FAILURE)
    at = windows()
    for name, begins in (
        ("minute", at.minute),
        ("hour", at.hour),
        ("day", at.day),
        ("week", at.week),
        ("month", at.month),
        ("total", 0),
    ):
        store.add_account(name, begins, usd_micros=5, images=1, runs=1)
    for name in ("live", "done", "failed", "refused"):
        store.add_job(f"task-{name}", f"run-{name}", HOOK)
        store.add_job(f"quiet-{name}", f"run-{name}")
    store.add_usage("alpha", DAY, started=4, failed=2)
    store.add_usage("alpha", DAY - 86_400, hits=3, saved_hit_usd_micros=21)
    store.add_usage("beta", DAY, hits=1)
    yield store


async def opened(store: OldStore) -> SqliteLedger:
    ledger = SqliteLedger(store.path, clock=Clock())
    await ledger.open()
    return ledger


async def test_an_upgraded_ledger_adds_up_and_goes_on(store: OldStore) -> None:
    ledger = await opened(store)
    assert await ledger.violations() == []
    run = await start(ledger, a_run())
    await change(ledger, done(run, a_picture()))
    assert await ledger.violations() == []
    await ledger.close()


async def test_a_teams_tasks_are_listed_with_their_states(store: OldStore) -> None:
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


async def test_totals_of_all_days_are_there(store: OldStore) -> None:
    ledger = await opened(store)
    assert await ledger.usage() == await ledger.usage(since_day=0)
    assert await ledger.usage() == [
        Usage("alpha", "m", 0, hits=3, started=4, failed=2, saved_hit_usd_micros=21, done=1),
        Usage("beta", "m", 0, hits=1),
    ]
    assert (await ledger.run_counts())[RunState.DONE] == 1
    await ledger.close()


async def test_a_live_run_goes_on_and_owes_its_callback(store: OldStore) -> None:
    ledger = await opened(store)
    view = await look(ledger, run_id="run-live")
    assert [job.id for job in view.owed] == ["task-live"]
    assert view.run is not None
    assert view.run.tried == ()
    (leased,) = await ledger.lease("w", now=NOW, until=NOW + 60, limit=9)
    assert leased.id == "run-live"
    await ledger.close()


async def test_who_was_told_a_task_is_known_of_old_runs(store: OldStore) -> None:
    store.add_run("run-queued", "queued", tries=2)
    store.add_run("run-tried", "submitting", tries=1)
    store.add_run("run-new", "submitting")
    ledger = await opened(store)
    told = {}
    for name in ("live", "done", "failed", "refused", "queued", "tried", "new"):
        run = await ledger.run(f"run-{name}")
        assert run is not None and not run.bypassed and not run.superseded
        told[name] = run.told_at
    assert told == dict.fromkeys(("live", "done", "failed", "queued", "tried"), NOW) | {
        "refused": None,
        "new": None,
    }
    await ledger.close()


async def test_callbacks_that_were_never_made_are_in_the_history(store: OldStore) -> None:
    ledger = await opened(store)
    history = await ledger.deliveries(DeliveryFilter(team="alpha"), after=None, limit=9)
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


# --- from the second schema ----------------------------------------------------------------------


@pytest.fixture
def second(tmp_path: Path) -> OldStore:
    """Two runs with pictures, seen by two teams; a callback that is under way, one that ended."""
    store = OldStore(tmp_path / "ledger.db", schema=2)
    prompts = {"run-1": '{"prompt":"Ein Käfig","n":2}', "run-2": '{"image_urls":[]}'}
    for run_id, request in prompts.items():
        store.add_run(run_id, "done", request=request)
    for n, run_id in enumerate(("run-1", "run-1", "run-2")):
        store.add_picture(f"d{n}", run_id, NOW + n)
    done = {"run_state": "done", "run_model": "m"}
    store.add_job("task-1", "run-1", HOOK, **done)
    store.add_job("task-2", "run-2", HOOK, **done)
    for n, (job, verdict) in enumerate((("late", "hit"), ("early", "joined"))):
        seen = {"team": "beta", "verdict": verdict, "created_at": NOW + 9 - n}
        store.add_job(f"task-{job}", "run-1", None, **seen, **done)
    outgoing = {"team": "alpha", "url": HOOK, "created_at": NOW, "due_at": NOW, "attempts": 2}
    ended = {"state": "delivered", "status": 200, "ended_at": NOW + 1, "lease_until": 0.0}
    leased = {"state": "pending", "lease_owner": "w", "lease_until": NOW + 9, "error": "503"}
    store.add("deliveries", id="msg-1", job_id="task-1", **outgoing, **ended)
    store.add("deliveries", id="msg-2", job_id="task-2", **outgoing, **leased)
    store.add_usage("alpha", DAY, started=2)
    store.add("usage_totals", **usage_zeros(started=2))
    return store


def usage_zeros(**counters: int) -> dict[str, object]:
    return {"team": "alpha", "model": "m", **dict.fromkeys(COUNTED, 0), **counters}


async def test_pictures_of_the_second_schema_get_their_teams_and_prompts(second: OldStore) -> None:
    ledger = await opened(second)
    found = await ledger.find_pictures(PictureFilter(), after=None, limit=9)
    assert [
        (one.picture.digest, one.team, one.model, one.prompt, one.task_id) for one in found
    ] == [
        ("d2", "alpha", "m", "", "task-2"),
        ("d1", "alpha", "m", "Ein Käfig", "task-1"),
        ("d0", "alpha", "m", "Ein Käfig", "task-1"),
    ]
    assert all(one.erased_at is None and one.removed_at is None for one in found)
    searched = await ledger.find_pictures(PictureFilter(text="KÄFIG"), after=None, limit=9)
    assert searched == found[1:]
    assert await ledger.picture_totals() == (3, 30)
    await ledger.close()


async def test_galleries_and_verdicts_follow_from_the_jobs(second: OldStore) -> None:
    ledger = await opened(second)
    seen = await ledger.gallery("beta", PictureFilter(), after=None, limit=9)
    assert [(one.picture.digest, one.task_id, one.created_at) for one in seen] == [
        ("d1", "task-early", NOW + 8),
        ("d0", "task-early", NOW + 8),
    ]
    for verdict, expected in (
        (Verdict.STARTED, ["run-2", "run-1"]),
        (Verdict.JOINED, ["run-1"]),
        (Verdict.HIT, ["run-1"]),
    ):
        found = await ledger.runs(RunFilter(verdict=verdict), after=None, limit=9)
        assert [run.id for run in found] == expected
    assert await ledger.steps("run-1") == []
    said = {one.invariant for one in await ledger.violations()}
    assert said <= {Invariant.USAGE, Invariant.ON_RECORD}  # these runs were written by hand
    await ledger.close()


async def test_the_outbox_goes_on(second: OldStore) -> None:
    ledger = await opened(second)
    ended = await ledger.delivery("msg-1")
    assert ended == Delivery(
        "msg-1", "task-1", "alpha", HOOK, NOW, NOW,
        state=DeliveryState.DELIVERED, attempts=2, status=200, ended_at=NOW + 1,
    )  # fmt: skip
    (leased,) = await ledger.lease_deliveries("new", now=NOW, until=NOW + 60, limit=9)
    assert (leased.id, leased.attempts, leased.error, leased.body) == ("msg-2", 2, "503", None)
    await ledger.close()


# --- from the third schema -----------------------------------------------------------------------


def kept_json(*digests: str) -> str:
    facts = {"extension": "png", "size_bytes": 10, "width": 4, "height": 2}
    return json.dumps([{"link": f"https://u/{one}", "digest": one, **facts} for one in digests])


@pytest.fixture
def third(tmp_path: Path) -> OldStore:
    """Two teams have d1; d2 was erased from under beta's run; d3 was erased and came again."""
    store = OldStore(tmp_path / "ledger.db", schema=3)
    made = {"run-1": "d1 d2 d3", "run-2": "d1 d2", "run-3": "d3"}
    teams = {"run-1": "alpha", "run-2": "beta", "run-3": "beta"}
    for n, (run_id, digests) in enumerate(made.items()):
        words, kept = digests.split(), kept_json(*digests.split())
        counts = {"kept_count": len(words), "link_count": len(words), "links": json.dumps(words)}
        request = json.dumps({"prompt": f"Words of {run_id}"})
        told = {"team": teams[run_id], "finished_at": NOW + n, "request": request, "kept": kept}
        store.add_run(run_id, "done", **told, **counts)
        store.add_job(f"job-{n}", run_id, None, team=teams[run_id])
        store.add("gallery", team=teams[run_id], run_id=run_id, job_id=f"job-{n}", at=NOW + n)
    facts = {"extension": "png", "size_bytes": 10, "width": 4, "height": 2, "model": "m"}
    of_one = {**facts, "run_id": "run-1", "team": "alpha", "created_at": NOW}
    words = {"prompt": "Words of run-1", "searched": "words of run-1"}
    store.add("pictures", digest="d1", **of_one, **words)
    store.add("pictures", digest="d2", **of_one, erased_at=NOW + 50, removed_at=NOW + 51)
    anew = {**facts, "run_id": "run-3", "team": "beta", "created_at": NOW + 2}
    store.add("pictures", digest="d3", **anew, prompt="Words of run-3", searched="words of run-3")
    for digest, at in (("d2", NOW + 50), ("d3", NOW + 1.5)):
        before = json.dumps({"team": "alpha", "run": "run-1", "bytes": 10})
        told = {"actor": "key 1", "action": "picture.erase", "subject": digest, "before": before}
        store.add("changes", id=f"change-{digest}", at=at, **told)
    return store


async def test_every_run_that_made_a_picture_gets_its_record(third: OldStore) -> None:
    ledger = await opened(third)
    records = {}
    for digest in ("d1", "d2", "d3"):
        for one in (await look(ledger, picture=digest)).pictures:
            records[one.key] = (one.team, one.prompt, one.erased_at, one.removed_at)
    assert records == {
        "d1/run-1": ("alpha", "Words of run-1", None, None),
        "d1/run-2": ("beta", "Words of run-2", None, None),
        "d2/run-1": ("alpha", "", NOW + 50, NOW + 51),
        "d2/run-2": ("beta", "", NOW + 50, None),  # the chore goes on with it
        "d3/run-1": ("alpha", "", NOW + 1.5, NOW + 1.5),
        "d3/run-3": ("beta", "Words of run-3", None, None),
    }
    assert await ledger.picture_totals() == (2, 20)
    assert [one.digest for one in await ledger.pictures(after="", limit=9)] == ["d1", "d3"]
    for team, seen in (("alpha", {"d1"}), ("beta", {"d1", "d3"})):
        found = await ledger.gallery(team, PictureFilter(), after=None, limit=9)
        assert {one.picture.digest for one in found} == seen
    assert [one.key for one in await ledger.unremoved(limit=9)] == ["d2/run-2"]
    assert await ledger.store_id() is None
    said = {one.invariant for one in await ledger.violations()}
    assert Invariant.ON_RECORD not in said
    await ledger.close()


# --- whatever the schema -------------------------------------------------------------------------


def test_an_upgrade_that_fails_half_way_changes_nothing(
    second: OldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the process dies here")

    monkeypatch.setitem(migrations.BACKFILLS, 3, fail)  # type: ignore[misc]
    with closing(sqlite3.connect(second.path, isolation_level=None)) as db:
        before = db.execute("SELECT name, sql FROM sqlite_master").fetchall()
        with pytest.raises(RuntimeError):
            migrations.migrate(db)
        assert db.execute("SELECT name, sql FROM sqlite_master").fetchall() == before
        assert migrations.version(db) == 2


def test_released_migrations_are_as_they_were() -> None:
    folder = resources.files(migrations)
    for name, digest in RELEASED.items():
        assert hashlib.sha256(folder.joinpath(name).read_bytes()).hexdigest() == digest


# --- from the third schema -----------------------------------------------------------------------


async def test_accounts_of_the_third_schema_are_made_anew_of_their_times(tmp_path: Path) -> None:
    """The zone was changed within a day: each zone had its own account, and neither had it all."""
    store = OldStore(tmp_path / "ledger.db", schema=3)
    spent = {"spent_usd_micros": 5, "spent_images": 1, "spent_runs": 1, "kept_count": 1}
    midnight = windows(NOW).day
    for n, day in enumerate((midnight, midnight - 7200)):
        at = {"created_at": NOW - n, "day_start": day}
        store.add_run(f"run-{n}", "done", link_count=1, kept=kept_json("d"), **at, **spent)
        store.add_usage("alpha", day, started=1, images_generated=1, spent_usd_micros=5)
        starts = windows(NOW)
        amounts = {name: spent[name] for name in tuple(spent)[:3]}
        held = {"held_usd_micros": 0, "held_images": 0, "held_runs": 0}
        account = {"team": "alpha", "window_name": "day", "window_start": day, **amounts, **held}
        store.add("accounts", **account)
    for window in ("week", "month", "total"):
        twice = {name: 2 * value for name, value in amounts.items()}
        start = 0 if window == "total" else getattr(starts, window)
        account = {"team": "alpha", "window_name": window, "window_start": start}
        store.add("accounts", **account, **twice, **held)
    ledger = await opened(store)
    for zone in (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu")):
        days = [k for k in account_keys("alpha", NOW, zone) if k.window is Window.DAY]
        (day,) = (await look(ledger, accounts=tuple(days))).accounts.values()
        assert (day.spent, day.held) == (Amounts(10, 2, 2), NOTHING)
    accounts = [one for one in await ledger.violations() if one.invariant is Invariant.ACCOUNTS]
    assert accounts == []
    await ledger.close()


async def test_refusals_of_the_third_schema_are_found_by_their_requests(tmp_path: Path) -> None:
    store = OldStore(tmp_path / "ledger.db", schema=3)
    said = {"model": "m", "verdict": "denied", "mode": "enforce", "reason": "budget"}
    for name, team in (("req_1", "alpha"), ("trace", "beta")):
        store.add("refusals", id=name, at=NOW, team=team, rule="r", message="No.", **said)
    ledger = await opened(store)
    (found,) = await ledger.refusals_named("trace", limit=9)
    assert (found.id, found.request_id, found.team) == ("trace", "trace", "beta")
    await ledger.close()


# --- from the ninth schema -----------------------------------------------------------------------


async def test_ends_and_searches_of_the_ninth_schema_are_made_anew(tmp_path: Path) -> None:
    store = OldStore(tmp_path / "ledger.db", schema=9)
    spent = {"spent_usd_micros": 5, "spent_images": 1, "spent_runs": 1}
    yesterday = DAY - 86_400
    prompt = "Ein Käfig,\nein Vogel"
    store.add_run("run-1", "done", day_start=DAY, kept_count=1, link_count=1, **spent)
    store.add_run("run-2", "failed", day_start=DAY, **spent)
    store.add_run("run-3", "failed", day_start=yesterday)
    store.add_run("run-4", "running", day_start=yesterday)
    store.add_usage("alpha", DAY, started=2, failed=1, images_generated=1, spent_usd_micros=10)
    store.add_usage("alpha", yesterday, started=2, failed=1)
    totals = {"started": 4, "failed": 2, "images_generated": 1, "spent_usd_micros": 10}
    store.add("usage_totals", team="alpha", model="m", **{**dict.fromkeys(COUNTED, 0), **totals})
    was = {"prompt": prompt, "searched": prompt.casefold(), "id": "d1/run-1", "team": "alpha"}
    facts = {"extension": "png", "size_bytes": 10, "width": 4, "height": 2, "again": 0}
    store.add("pictures", digest="d1", run_id="run-1", created_at=NOW, model="m", **was, **facts)
    ledger = await opened(store)
    today = [one for one in await ledger.usage(since_day=DAY) if one.team == "alpha"]
    assert [(one.done, one.failed, one.spent_failed_usd_micros) for one in today] == [(1, 1, 5)]
    [ever] = await ledger.usage(team="alpha")
    assert (ever.started, ever.done, ever.failed, ever.spent_failed_usd_micros) == (4, 1, 2, 5)
    kinds = {one.invariant for one in await ledger.violations()}
    assert not kinds & {Invariant.USAGE, Invariant.TOTALS}
    for text in ("vogel kafig", '"kafig, ein vogel"'):
        found = await ledger.find_pictures(PictureFilter(text=text), after=None, limit=9)
        assert [one.prompt for one in found] == [prompt], text
    await ledger.close()


async def test_runs_of_the_eleventh_schema_hold_nothing_besides_and_have_no_bill(
    tmp_path: Path,
) -> None:
    """And the vendor's own task in them is read as what upstream has told."""
    old = OldStore(tmp_path / "ledger.sqlite3", schema=11)
    at = {"accepted_at": NOW + 1, "told_at": NOW + 1}
    hold = {"hold_usd_micros": 5, "hold_images": 1, "hold_runs": 1}
    task = {"id": "task-1", "status": "processing", "progress": 40}
    written = {"task": json.dumps(task), "upstream_task_id": "task-1", **at, **hold}
    old.add_run("live", "running", deadline_at=NOW + 1e9, **written)
    old.add("jobs", id="job", run_id="live", team="alpha", verdict="started", created_at=NOW,
            run_state="running", run_model="m")  # fmt: skip
    ledger = await opened(old)
    run = await ledger.run("live")
    assert run is not None
    assert (run.besides_usd_micros, run.billed_usd_micros) == (0, None)
    told = docket.read(run.task)
    assert (told.kind, told.at_work, told.progress, told.said) == ("evolink", True, 40, task)
    assert await ledger.over_hold() == {}
    tasks, total = await ledger.tasks("alpha", states=(RunState.RUNNING,), page=1, page_size=9)
    assert (total, [one.job.id for one in tasks]) == (1, ["job"])
    await change(ledger, replace(done(run, a_picture()), billed_usd_micros=9))
    after = await ledger.run("live")
    assert after is not None and after.billed_usd_micros == 9
    await ledger.close()
