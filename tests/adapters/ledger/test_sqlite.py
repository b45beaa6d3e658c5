"""What only the ledger on disk has to stand: crashes, locks, full disks, versions, damage."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_backends import Clock
from ledger_builders import (
    NOW,
    a_delivery,
    a_job,
    a_picture,
    a_run,
    change,
    counted,
    done,
    failed,
    keys_of,
    look,
    run_of,
    start,
    write,
)

from gateway.adapters.ledger import audit, migrations
from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.core.money.invariants import Invariant, Violation
from gateway.core.transaction import Keys, View, Writes
from gateway.errors import Unavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data folder" / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(path, clock=Clock(), busy_seconds=0.05)
    await ledger.open()
    yield ledger
    await ledger.close()


def by_hand(path: Path, *sql: str) -> None:
    """Writes past every constraint, as no gateway would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("PRAGMA foreign_keys = OFF")
        for statement in sql:
            db.execute(statement)


# --- crashes -------------------------------------------------------------------------------------

WRITER = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from ledger_builders import a_job, a_picture, a_run, change, done, start
from gateway.adapters.ledger.sqlite import SqliteLedger

async def write_on(ledger, worker):
    for number in range(100_000):
        run = a_run(id=f"run-{worker}-{number}", team=f"team-{worker % 3}")
        job = a_job(run, id=f"task-{worker}-{number}")
        await start(ledger, run, job)
        os.write(1, f"{job.id} started\\n".encode())
        await change(ledger, done(run, a_picture(run.id)))
        os.write(1, f"{job.id} done\\n".encode())

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]))
    await ledger.open()
    await asyncio.gather(*(write_on(ledger, worker) for worker in range(24)))

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_it_was_told_is_written(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3000)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    reported = dict(line.decode().split() for line in lines if line.endswith(b"\n"))
    assert len(reported) > 1000

    ledger = SqliteLedger(path, clock=Clock())
    await ledger.open()
    assert await ledger.violations() == []
    for job_id, state in reported.items():
        found = await ledger.job(job_id)
        assert found is not None
        assert found[1].state == "done" or state == "started"
    await ledger.close()


# --- one gateway per file ------------------------------------------------------------------------


async def test_a_second_gateway_is_refused(ledger: SqliteLedger, path: Path) -> None:
    second = SqliteLedger(path)
    with pytest.raises(Unavailable) as raised:
        await second.open()
    assert "Another gateway" in raised.value.message
    assert str(path) in raised.value.message
    await second.close()
    await start(ledger, a_run())
    await ledger.close()
    third = SqliteLedger(path)
    await third.open()
    await third.close()


async def test_a_reader_sees_what_the_gateway_writes(ledger: SqliteLedger, path: Path) -> None:
    reader = SqliteLedger(path, clock=Clock(), read_only=True)
    await reader.open()
    job = a_job(run := a_run())
    await start(ledger, run, job)
    assert await reader.job(job.id) == (job, run)
    assert await reader.violations() == []
    with pytest.raises(Unavailable):
        await start(reader, a_run())
    await reader.close()


async def test_a_reader_needs_no_gateway(ledger: SqliteLedger, path: Path) -> None:
    run = await start(ledger, a_run())
    await ledger.close()
    reader = SqliteLedger(path, clock=Clock(), read_only=True)
    await reader.open()
    assert (await reader.run_counts())[run.state] == 1
    await reader.close()


async def test_a_reader_makes_no_file(path: Path) -> None:
    reader = SqliteLedger(path, read_only=True)
    with pytest.raises(Unavailable, match="cannot be opened"):
        await reader.open()
    assert not path.exists()


async def test_the_files_are_the_operators_alone(ledger: SqliteLedger, path: Path) -> None:
    await start(ledger, a_run())
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes) == {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"}
    assert set(modes.values()) == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


# --- versions ------------------------------------------------------------------------------------


async def test_a_store_of_a_newer_version_is_refused(ledger: SqliteLedger, path: Path) -> None:
    await ledger.close()
    by_hand(path, "INSERT INTO schema_version (version, name) VALUES (999, 'later')")
    for read_only in (False, True):
        with pytest.raises(Unavailable) as raised:
            await SqliteLedger(path, read_only=read_only).open()
        assert "newer version of the gateway (schema 999; this one knows up to" in str(raised.value)
    by_hand(path, "DELETE FROM schema_version WHERE version = 999")
    again = SqliteLedger(path)
    await again.open()
    await again.close()


async def test_a_reader_leaves_an_older_store_to_the_gateway(
    ledger: SqliteLedger, path: Path
) -> None:
    await ledger.close()
    by_hand(path, "DELETE FROM schema_version")
    with pytest.raises(Unavailable, match="start the gateway once"):
        await SqliteLedger(path, read_only=True).open()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [one.version for one in migrations.migrations()] == list(
        range(1, len(migrations.migrations()) + 1)
    )


def test_migrating_twice_changes_nothing() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.migrate(db)
        before = db.execute("SELECT * FROM sqlite_master").fetchall()
        migrations.migrate(db)
        assert db.execute("SELECT * FROM sqlite_master").fetchall() == before
        assert migrations.version(db) == len(migrations.migrations())


def test_a_migration_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    good = migrations.Migration(1, "good", ("CREATE TABLE good (a TEXT)",))
    bad = migrations.Migration(2, "bad", ("CREATE TABLE half (a TEXT)", "CREATE nonsense"))
    monkeypatch.setattr(migrations, "migrations", lambda _kind=migrations.SQLITE: [good, bad])
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError):
            migrations.migrate(db)
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        assert {name for (name,) in tables} == {"schema_version", "good"}
        assert migrations.version(db) == 1


# --- a store that fails --------------------------------------------------------------------------


@contextmanager
def no_room_beyond(size_bytes: int) -> Iterator[None]:
    """No file of this process can grow beyond the size: a disk that is full, for the ledger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_refuses_whole_and_heals_by_itself(
    ledger: SqliteLedger, path: Path
) -> None:
    before = a_run()
    await start(ledger, before)
    request = f'{{"prompt":"{"x" * 20_000}"}}'
    runs = [a_run(request=request) for _ in range(40)]
    with no_room_beyond(Path(f"{path}-wal").stat().st_size + 100_000):
        outcomes = await asyncio.gather(
            *(start(ledger, run) for run in runs), return_exceptions=True
        )
        refused = [one for one in outcomes if isinstance(one, Unavailable)]
        assert refused
        assert all("disk" in one.message for one in refused)
        assert all(str(path) not in one.message for one in refused)
        assert await run_of_reader(ledger, before.id)
    for run, outcome in zip(runs, outcomes, strict=True):
        stored = await run_of(ledger, run.id)
        assert stored == (None if isinstance(outcome, Unavailable) else run)
    for run, outcome in zip(runs, outcomes, strict=True):
        if isinstance(outcome, Unavailable):
            await start(ledger, run)
    assert [await run_of(ledger, run.id) for run in runs] == runs
    assert await ledger.violations() == []


async def run_of_reader(ledger: SqliteLedger, run_id: str) -> bool:
    """Whether the reading side still works."""
    assert await ledger.job("task-nowhere") is None
    return sum((await ledger.run_counts()).values()) >= 1 and bool(run_id)


async def test_decisions_that_raise_say_so_even_when_the_commit_fails(
    ledger: SqliteLedger, path: Path
) -> None:
    await start(ledger, a_run())

    def decide(_: View) -> tuple[None, Writes]:
        raise LookupError

    big = a_run(request="x" * 200_000)
    with blocked(ledger) as gate:
        writing = asyncio.create_task(start(ledger, big))
        raising = asyncio.create_task(ledger.transact(Keys(), decide))
        await asyncio.sleep(0)
        with no_room_beyond(Path(f"{path}-wal").stat().st_size + 50_000):
            gate.set()
            outcomes = await asyncio.gather(writing, raising, return_exceptions=True)
    assert [type(one) for one in outcomes] == [Unavailable, LookupError]
    assert await run_of(ledger, big.id) is None


async def test_a_lock_of_another_program_is_named(ledger: SqliteLedger, path: Path) -> None:
    run = a_run()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another program has locked it"):
            await start(ledger, run)
        assert await ledger.job("task-nowhere") is None
    await start(ledger, run)
    assert await run_of(ledger, run.id) == run


async def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)
    ledger = SqliteLedger(path)
    with pytest.raises(Unavailable) as raised:
        await ledger.open()
    assert "restore it from a backup" in raised.value.message
    assert str(path) in raised.value.message
    path.unlink()
    await ledger.open()
    await ledger.close()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "ledger.db"
    with pytest.raises(Unavailable) as raised:
        await SqliteLedger(path).open()
    assert str(path) in raised.value.message


# --- threads -------------------------------------------------------------------------------------


@contextmanager
def blocked(ledger: SqliteLedger) -> Iterator[threading.Event]:
    """Keeps the writer inside a decision until the event is set."""
    gate = threading.Event()

    def decide(_: View) -> tuple[bool, Writes]:
        return gate.wait(20), Writes()

    task = asyncio.ensure_future(ledger.transact(Keys(), decide))
    try:
        yield gate
    finally:
        gate.set()
        task.add_done_callback(lambda done: done.exception())


async def test_reads_do_not_wait_for_the_writer(ledger: SqliteLedger) -> None:
    job = a_job(run := a_run())
    await start(ledger, run, job)
    with blocked(ledger):
        await asyncio.sleep(0)
        assert await ledger.job(job.id) == (job, run)
        assert await ledger.next_due() == NOW
        assert await ledger.usage()
        assert await ledger.violations() == []


async def test_too_much_waiting_is_refused_at_once(path: Path) -> None:
    ledger = SqliteLedger(path, max_waiting=3)
    await ledger.open()
    with blocked(ledger) as gate:
        await asyncio.sleep(0)
        runs = [a_run() for _ in range(4)]
        tasks = [asyncio.create_task(start(ledger, run)) for run in runs]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, Unavailable) for one in outcomes] == [False, False, True, True]
    stored = [await run_of(ledger, run.id) for run in runs]
    assert stored == [*runs[:2], None, None]
    await ledger.close()


async def test_more_may_wait_to_read_than_to_write(path: Path) -> None:
    ledger = SqliteLedger(path, max_waiting=3)
    await ledger.open()
    run = await start(ledger, a_run())
    reads = await asyncio.gather(*(ledger.run(run.id) for _ in range(13)), return_exceptions=True)
    assert reads[:12] == [run] * 12 and isinstance(reads[12], Unavailable)
    await ledger.close()


async def test_waiting_transactions_share_a_commit(ledger: SqliteLedger, path: Path) -> None:
    with blocked(ledger) as gate:
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(write(ledger, runs=(a_run(),))) for _ in range(50)]
        await asyncio.sleep(0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            seen = other.execute("PRAGMA data_version").fetchone()
            gate.set()
            counts = set()
            while not all(task.done() for task in tasks):
                counts.add(other.execute("SELECT COUNT(*) FROM runs").fetchone()[0])
                await asyncio.sleep(0)
            assert other.execute("PRAGMA data_version").fetchone() != seen
    assert counts <= {0, 50}


async def test_decisions_that_wait_are_written_together(ledger: SqliteLedger) -> None:
    """So many statements for many of them as for one; and each sees what those before it write."""
    run = a_run()
    await write(ledger, runs=(run,))
    told: list[str] = []
    await ledger._writer.call(lambda db: db.set_trace_callback(told.append))
    counts = []
    for count in (2, 40):
        told.clear()
        with blocked(ledger) as gate:
            while "BEGIN IMMEDIATE" not in told:  # by then the lane has taken what holds it up
                await asyncio.sleep(0.001)
            jobs = [a_job(run) for _ in range(count)]
            tasks = [asyncio.create_task(write(ledger, jobs=(job,))) for job in jobs]
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*tasks)
        counts.append(len([one for one in told if not one.startswith(("INSERT", "UPDATE", "--"))]))
    assert counts[0] == counts[1]


# --- the audit finds what the constraints would have refused -------------------------------------


async def damaged(ledger: SqliteLedger, path: Path, *sql: str) -> list[Violation]:
    assert await ledger.violations() == []
    return await damaged_more(ledger, path, *sql)


async def damaged_more(ledger: SqliteLedger, path: Path, *sql: str) -> list[Violation]:
    by_hand(path, *sql)
    return list(await ledger.violations())


def test_every_invariant_is_checked() -> None:
    checks = (*audit.checks(NOW), *audit.SQLITE_CHECKS)
    assert {check.invariant for check in checks} == set(Invariant) - {Invariant.SCHEMA}


async def test_a_hold_on_a_final_run_is_found(ledger: SqliteLedger, path: Path) -> None:
    run = await start(ledger, a_run())
    await change(ledger, failed(run))
    found = await damaged(ledger, path, "UPDATE runs SET hold_usd_micros = 7, hold_runs = 1")
    sentence = f"Run {run.id} is failed and still holds 0.000007 USD, 0 pictures, 1 runs."
    assert Violation(Invariant.FINAL_HOLDS, sentence) in found
    assert sum(one.invariant is Invariant.ACCOUNTS for one in found) == 6


async def test_a_missing_picture_is_found(ledger: SqliteLedger, path: Path) -> None:
    run = await start(ledger, a_run())
    await change(ledger, done(run, a_picture("d1"), a_picture("d2")))
    found = await damaged(ledger, path, "DELETE FROM pictures WHERE digest = 'd2'")
    sentence = f"Run {run.id} is done with picture d2, which is not among the pictures."
    assert found == [Violation(Invariant.ON_RECORD, sentence)]


async def test_a_wrong_count_of_pictures_is_found(ledger: SqliteLedger, path: Path) -> None:
    run = await start(ledger, a_run())
    await change(ledger, done(run, a_picture("d1")))
    found = await damaged(ledger, path, "UPDATE runs SET kept = '[]'")
    sentence = f"Run {run.id} does not count its own lists right: 1 kept, 1 links."
    bare = f"Picture d1 is on record as made by run {run.id}, which does not have it."
    assert found == [
        Violation(Invariant.COUNTS, sentence),
        Violation(Invariant.ON_RECORD, bare),
    ]


async def test_a_list_that_is_no_json_is_found(ledger: SqliteLedger, path: Path) -> None:
    run = await start(ledger, a_run())
    found = await damaged(ledger, path, "UPDATE runs SET kept = 'broken'")
    sentence = f"Run {run.id} does not count its own lists right: 0 kept, 0 links."
    assert found == [
        Violation(Invariant.COUNTS, sentence),
        Violation(Invariant.READABLE, f"kept of {run.id} in runs cannot be read."),
    ]


async def test_a_shared_upstream_task_is_found(ledger: SqliteLedger, path: Path) -> None:
    for _ in range(2):
        await start(ledger, a_run())
    found = await damaged(
        ledger,
        path,
        "DROP INDEX runs_upstream_task",
        "UPDATE runs SET upstream_task_id = 'task-x'",
    )
    sentence = "2 runs of upstream evolink share the task task-x."
    assert found == [
        Violation(Invariant.PAID_ONCE, sentence),
        Violation(Invariant.SCHEMA, "The index runs_upstream_task is not there."),
    ]


async def test_two_live_runs_of_one_fingerprint_are_found(ledger: SqliteLedger, path: Path) -> None:
    for _ in range(2):
        await start(ledger, a_run())
    found = await damaged(
        ledger, path, "DROP INDEX runs_one_live", "UPDATE runs SET fingerprint = 'f'"
    )
    sentence = "2 live shared runs have the fingerprint f."
    assert found == [
        Violation(Invariant.ONE_LIVE, sentence),
        Violation(Invariant.SCHEMA, "The index runs_one_live is not there."),
    ]


async def test_an_orphan_job_is_found(ledger: SqliteLedger, path: Path) -> None:
    await start(ledger, run := a_run(), a_job(run, id="task-1"))
    found = await damaged(ledger, path, "UPDATE jobs SET run_id = 'gone'")
    assert found == [
        Violation(Invariant.JOBS, "Job task-1 points to run gone, which is not there."),
        Violation(Invariant.REFERENCES, "Row 1 of jobs points to a row of runs that is not there."),
    ]


async def test_a_picture_without_run_is_found(ledger: SqliteLedger, path: Path) -> None:
    run = await start(ledger, a_run())
    await change(ledger, done(run, a_picture()))
    found = await damaged(ledger, path, "UPDATE pictures SET run_id = 'gone'")
    sentence = "Row 1 of pictures points to a row of runs that is not there."
    assert Violation(Invariant.REFERENCES, sentence) in found


async def test_totals_that_differ_from_the_days_are_found(ledger: SqliteLedger, path: Path) -> None:
    run = await start(ledger, a_run())
    await change(ledger, done(run, a_picture()))
    found = await damaged(
        ledger,
        path,
        "UPDATE usage_totals SET hits = 3, started = 0",
        "INSERT INTO usage_totals"
        " SELECT 'beta', model, 0, 0, 0, failed, 0, 0, 7, 0, 0, 0, 0, 0, 0 FROM usage",
    )
    said = "are not those of its days"
    assert [one.sentence for one in found] == [
        f"The usage totals of team alpha and model {run.model} {said}:"
        " hits 3 for 0, started 0 for 1.",
        f"The usage totals of team beta and model {run.model} {said}: spent_usd_micros 7 for 0.",
    ]
    lost = await damaged_more(ledger, path, "DELETE FROM usage_totals")
    assert [one.sentence for one in lost] == [
        f"The usage totals of team alpha and model {run.model} {said}:"
        " started 0 for 1, images_generated 0 for 1, spent_usd_micros 0 for 13000, done 0 for 1."
    ]


async def test_a_job_listed_in_another_state_is_found(ledger: SqliteLedger, path: Path) -> None:
    await start(ledger, run := a_run(), a_job(run, id="task-1"))
    found = await damaged(ledger, path, "UPDATE jobs SET run_state = 'done'")
    assert [one.sentence for one in found] == [
        f"Job task-1 is listed as done of {run.model},"
        f" but its run {run.id} is submitting of {run.model}."
    ]


async def test_a_callback_without_job_is_found(ledger: SqliteLedger, path: Path) -> None:
    await start(ledger, run := a_run(), job := a_job(run))
    await write(ledger, deliveries=(a_delivery(job),))
    found = await damaged(ledger, path, "UPDATE deliveries SET job_id = 'gone'")
    (broken,) = found
    assert broken.sentence == "Row 1 of deliveries points to a row of jobs that is not there."


async def test_a_damaged_file_is_found(ledger: SqliteLedger, path: Path) -> None:
    await start(ledger, a_run())
    found = await damaged(
        ledger,
        path,
        "PRAGMA writable_schema = ON",
        "DELETE FROM sqlite_master WHERE name = 'jobs_of_team'",
        "PRAGMA schema_version = 1000",
    )
    told = [one.sentence for one in found if one.invariant is Invariant.FILE]
    assert any(sentence.startswith("The ledger's file is damaged: ") for sentence in told)


async def test_the_audit_stops_after_the_first_hundred(ledger: SqliteLedger, path: Path) -> None:
    run = await start(ledger, a_run())
    await write(ledger, jobs=tuple(a_job(run) for _ in range(150)))
    found = await damaged(ledger, path, "UPDATE jobs SET run_id = 'gone'")
    assert sum(one.invariant is Invariant.JOBS for one in found) == 100


async def test_a_run_that_did_not_change_is_not_written_again(
    ledger: SqliteLedger, path: Path
) -> None:
    run = await start(ledger, a_run())
    size = Path(f"{path}-wal").stat().st_size
    view = await look(ledger, accounts=keys_of(run), counted=counted(run), run_id=run.id)
    same: Callable[[View], tuple[None, Writes]] = lambda view: (  # noqa: E731
        None,
        Writes(runs=(replace(run),), accounts=tuple(view.accounts.values())),
    )
    assert view.run == run
    await ledger.transact(Keys(accounts=keys_of(run), counted=counted(run), run_id=run.id), same)
    assert Path(f"{path}-wal").stat().st_size == size


# --- what was erased -----------------------------------------------------------------------------


async def test_nothing_of_erased_words_is_left_in_the_files(
    ledger: SqliteLedger, path: Path
) -> None:
    """Many rows of all sizes: pages were split, filled over and freed before the words went."""
    runs = []
    for number in range(150):
        words = f"SECRETWORDS-{number} " * (1 + number % 40 * 10)
        picture = a_picture(f"d{number:03}")
        run = a_run(request=f'{{"prompt":"{words}"}}', task=f'{{"prompt":"{words}"}}')
        await start(ledger, run)
        runs.append(await change(ledger, done(run, picture)))
    for run in runs:
        (kept,) = (await look(ledger, picture=run.pictures[0].digest)).pictures
        await write(ledger, pictures=(replace(kept, prompt="", erased_at=NOW),))
    await ledger.scrub()
    files = [*path.parent.glob(f"{path.name}*")]
    assert [one.name for one in files if b"SECRETWORDS" in one.read_bytes()] == []
    assert [one.name for one in files if b"secretwords" in one.read_bytes()] == []


async def test_what_is_read_meanwhile_is_not_scrubbed_and_said_so(
    ledger: SqliteLedger, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM runs").fetchall()
        await start(ledger, a_run())
        with pytest.raises(Unavailable, match="being read"):
            await ledger.scrub()
        reader.execute("COMMIT")
        await ledger.scrub()


async def test_a_closed_ledger_is_one_file(ledger: SqliteLedger, path: Path) -> None:
    await start(ledger, a_run())
    await ledger.violations()
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT COUNT(*) FROM runs").fetchall()
        await ledger.close()
        copied = path.with_name("copied.db")
        copied.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copied)) as db:
        assert db.execute("SELECT COUNT(*) FROM runs").fetchall() == [(1,)]
