"""Every sentence of `Invariant` is found broken where somebody has changed the ledger.

A gateway lives a little and stops; each case plants one change in a copy of what it left. A wrong
amount is booked everywhere, so that nothing but the amount itself can tell.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from house import FAST, OTHER_KEY, TEAM_KEY, House, opened
from test_admin_teams import new_team

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.core.money.invariants import Invariant, Violation
from gateway.sandbox import running_sandbox

pytestmark = pytest.mark.files

MODEL: Final = {"gpt-image-1.5": {"deadline": "2s"}}
ORGANISATION: Final = {team: {"cache": {"scope": "organization"}} for team in ("blue", "green")}


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("plants")
    asyncio.run(_lived(folder))
    yield folder / "ledger.sqlite3"


async def _lived(folder: Path) -> None:
    """Every verdict and every kind of end that a day may have; the audit finds nothing."""
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, folder, models=MODEL, teams=ORGANISATION)
        try:
            await _orders(one)
            await one.settled()
            assert await one.violations() == []
        finally:
            await one.stop()
    change(folder / "ledger.sqlite3", "PRAGMA wal_checkpoint(TRUNCATE)")  # one file has it all


async def _orders(one: House) -> None:
    await one.made("the first of all")
    first = await one.made("two of them", n=2, headers={"Idempotency-Key": "once"})
    assert first["status"] == "completed"
    assert (await one.post("two of them", n=2, key=OTHER_KEY)).status_code == 200  # a hit
    slow = [await one.post("[sandbox:delay=0.5] slow", key=key) for key in (TEAM_KEY, OTHER_KEY)]
    assert [answer.status_code for answer in slow] == [200, 200]  # the second one joins
    assert (await one.post("[sandbox:drop] lost")).status_code == 504
    failed = await one.made("[sandbox:fail=content_policy_violation] no")
    assert failed["status"] == "failed"
    await one.post("called", callback_url="https://client.example/hook")
    await one.made("of a team made at run time", key=await new_team(one))


@pytest.fixture
def ledger(left_behind: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copy(left_behind, tmp_path / "ledger.sqlite3"))


# --- what is planted -----------------------------------------------------------------------------


def run_of(prompt: str) -> str:
    return f"(SELECT id FROM runs WHERE request LIKE '%{prompt}%')"


TWO, SLOW, LOST, FAILED = (run_of(word) for word in ("two of", "slow", "lost", "] no"))


def respent(run: str, usd_micros: str, images: str = "spent_images") -> tuple[str, ...]:
    """The run has spent so much instead, and it is booked in every account and report."""
    of_run = f"(SELECT {{}} FROM runs WHERE id = {run})"
    more, more_images, team, at, day = (
        of_run.format(what)
        for what in (
            f"{usd_micros} - spent_usd_micros",
            f"{images} - spent_images",
            "team",
            "created_at",
            "day_start",
        )
    )
    return (
        f"UPDATE accounts SET spent_usd_micros = spent_usd_micros + {more},"
        f" spent_images = spent_images + {more_images} WHERE team = {team}"
        f" AND window_start <= {at} AND window_end > {at}",
        f"UPDATE usage SET spent_usd_micros = spent_usd_micros + {more}"
        f" WHERE team = {team} AND day = {day}",
        f"UPDATE usage_totals SET spent_usd_micros = spent_usd_micros + {more} WHERE team = {team}",
        f"UPDATE runs SET spent_usd_micros = {usd_micros}, spent_images = {images}"
        f" WHERE id = {run}",
    )


def in_reports(change: str) -> tuple[str, ...]:
    """In the days and in the totals alike."""
    return tuple(f"UPDATE {table} SET {change}" for table in ("usage", "usage_totals"))


@dataclass(frozen=True, slots=True)
class Plant:
    invariant: Invariant
    statements: tuple[str, ...]


def plant(invariant: Invariant, *statements: str) -> Plant:
    return Plant(invariant, statements)


FREELY: Final = "PRAGMA foreign_keys = OFF"

PLANTS: Final = {
    # money
    "account": plant(Invariant.ACCOUNTS, "UPDATE accounts SET spent_usd_micros = 1"),
    "account held": plant(Invariant.ACCOUNTS, "UPDATE accounts SET held_runs = 1"),
    **{
        f"no {window} account": plant(
            Invariant.ACCOUNTS, f"DELETE FROM accounts WHERE window_name = '{window}'"
        )
        for window in ("day", "week", "month", "total")
    },
    "spent too much": plant(Invariant.SPENT, *respent(TWO, "100001")),
    "spent far too much": plant(Invariant.SPENT, *respent(TWO, "1000000000")),
    "spent another sum than billed": plant(
        Invariant.SPENT, f"UPDATE runs SET billed_usd_micros = 99999 WHERE id = {TWO}"
    ),
    "held something besides": plant(
        Invariant.SPENT, f"UPDATE runs SET besides_usd_micros = 1 WHERE id = {LOST}"
    ),
    "spent nothing": plant(Invariant.SPENT, *respent(TWO, "0")),
    "too many pictures": plant(Invariant.SPENT, *respent(TWO, "spent_usd_micros", "9")),
    "charged less than held": plant(Invariant.SPENT, *respent(LOST, "49999")),
    "charged nothing": plant(Invariant.SPENT, *respent(LOST, "0", "0")),
    "failed task above its hold": plant(Invariant.SPENT, *respent(FAILED, "50001")),
    "hold of a final run": plant(
        Invariant.FINAL_HOLDS,
        "PRAGMA ignore_check_constraints = ON",
        f"UPDATE runs SET hold_usd_micros = 5 WHERE id = {TWO}",
    ),
    "forgotten run": plant(
        Invariant.IN_TIME,
        f"UPDATE runs SET state = 'queued', deadline_at = 5 WHERE id = {LOST}",
    ),
    **{
        f"never looked after, by {column}": plant(
            Invariant.IN_TIME,
            f"UPDATE runs SET state = 'unsure', {column} = 99999999999 WHERE id = {LOST}",
        )
        for column in ("due_at", "lease_until")
    },
    "live run that holds nothing": plant(
        Invariant.SPENT,
        f"UPDATE runs SET state = 'running', spent_usd_micros = 0, spent_images = 0,"
        f" spent_runs = 0 WHERE id = {LOST}",
    ),
    # windows and reports
    "later day": plant(Invariant.WINDOWS, "UPDATE runs SET day_start = day_start + 86400"),
    "former week": plant(Invariant.WINDOWS, "UPDATE runs SET week_start = week_start - 864000"),
    "former month": plant(Invariant.WINDOWS, "UPDATE runs SET month_start = month_start - 3456000"),
    "former hour": plant(Invariant.WINDOWS, "UPDATE runs SET hour_start = hour_start - 3600"),
    "former minute": plant(Invariant.WINDOWS, "UPDATE runs SET minute_start = minute_start - 60"),
    "later order": plant(Invariant.WINDOWS, "UPDATE runs SET created_at = created_at + 90000"),
    "started": plant(Invariant.USAGE, *in_reports("started = started + 1")),
    "hits": plant(Invariant.USAGE, *in_reports("hits = hits + 1 WHERE team = 'green'")),
    "fewer hits": plant(Invariant.USAGE, *in_reports("hits = 0 WHERE team = 'green'")),
    "saved by hits": plant(
        Invariant.USAGE, *in_reports("saved_hit_usd_micros = saved_hit_usd_micros + 7")
    ),
    "joined": plant(Invariant.USAGE, *in_reports("joined = joined + 1")),
    "saved by joining": plant(
        Invariant.USAGE, *in_reports("saved_joined_usd_micros = saved_joined_usd_micros + 7")
    ),
    "cached pictures": plant(Invariant.USAGE, *in_reports("images_cache = images_cache + 1")),
    "done": plant(Invariant.USAGE, *in_reports("done = done + 1")),
    "lost money": plant(
        Invariant.USAGE, *in_reports("spent_failed_usd_micros = spent_failed_usd_micros + 7")
    ),
    "deleted hit": plant(Invariant.USAGE, "DELETE FROM jobs WHERE verdict = 'hit'"),
    "joins of a run": plant(
        Invariant.USAGE, f"UPDATE runs SET joins = '[[\"green\",5]]' WHERE id = {SLOW}"
    ),
    "totals": plant(Invariant.TOTALS, "UPDATE usage_totals SET started = started + 1"),
    # pictures
    "missing picture": plant(
        Invariant.ALL_KEPT, f"UPDATE runs SET link_count = kept_count + 1 WHERE id = {TWO}"
    ),
    "unrecorded picture": plant(Invariant.ON_RECORD, "DELETE FROM pictures"),
    "another's picture": plant(
        Invariant.ON_RECORD,
        f"UPDATE runs SET kept = (SELECT kept FROM runs WHERE id = {run_of('of a team')})"
        f" WHERE id = {SLOW}",
    ),
    "picture of another": plant(
        Invariant.ON_RECORD, f"UPDATE pictures SET run_id = {TWO} WHERE run_id = {SLOW}"
    ),
    "another team's picture": plant(Invariant.ON_RECORD, "UPDATE pictures SET team = 'other'"),
    "another model's picture": plant(Invariant.ON_RECORD, "UPDATE pictures SET model = 'other'"),
    "counts": plant(Invariant.COUNTS, f"UPDATE runs SET kept_count = 7 WHERE id = {TWO}"),
    # runs and tasks
    "task paid twice": plant(
        Invariant.PAID_ONCE,
        "DROP INDEX runs_upstream_task",
        "UPDATE runs SET upstream_task_id = 'task-x'",
    ),
    "two alike": plant(
        Invariant.ONE_LIVE,
        "DROP INDEX runs_one_live",
        f"UPDATE runs SET state = 'queued', fingerprint = 'f' WHERE id IN ({LOST}, {FAILED})",
    ),
    "orphan": plant(Invariant.JOBS, FREELY, "UPDATE jobs SET run_id = 'gone'"),
    "another team's task": plant(
        Invariant.STARTED, "UPDATE jobs SET team = 'green' WHERE verdict = 'started'"
    ),
    "listed otherwise": plant(Invariant.LISTED, "UPDATE jobs SET run_state = 'running'"),
    "not shown": plant(Invariant.SHOWN, "DELETE FROM gallery WHERE team = 'green'"),
    "gap between steps": plant(
        Invariant.STEPS, f"DELETE FROM steps WHERE number = 2 AND run_id = {TWO}"
    ),
    "shown to another team": plant(
        Invariant.SHOWN,
        "INSERT INTO gallery SELECT 'others', run_id, job_id, at, noted FROM gallery LIMIT 1",
    ),
    "no steps": plant(Invariant.TOLD, f"DELETE FROM steps WHERE run_id = {TWO}"),
    "no last step": plant(
        Invariant.TOLD,
        f"DELETE FROM steps WHERE run_id = {TWO} AND after = 'done'",
    ),
    "other last step": plant(
        Invariant.TOLD, f"UPDATE steps SET after = 'failed' WHERE run_id = {TWO}"
    ),
    # keys and callbacks
    "open key of nobody": plant(Invariant.KEYS, "UPDATE teams SET deleted_at = 5"),
    "planted key": plant(
        Invariant.ISSUED,
        "INSERT INTO team_keys SELECT 'k', team, 'd', label, created_at, NULL, NULL, NULL"
        " FROM team_keys",
    ),
    "planted successor": plant(
        Invariant.ISSUED,
        "INSERT INTO team_keys SELECT 'k', team, 'd', label, created_at, NULL, NULL, id"
        " FROM team_keys",
    ),
    "changed team": plant(
        Invariant.ISSUED, "UPDATE teams SET document = json_set(document, '$.mode', 'shadow')"
    ),
    "planted team": plant(
        Invariant.ISSUED,
        "INSERT INTO teams SELECT 'planted', document, created_at, changed_at, NULL FROM teams",
    ),
    "reopened key": plant(
        Invariant.ISSUED,
        "INSERT INTO changes SELECT 'chg_x', at, actor, 'key.revoke', subject, NULL, NULL"
        " FROM changes WHERE action = 'key.issue' LIMIT 1",
    ),
    "another team's claim": plant(Invariant.CLAIMED, "UPDATE claims SET team = 'others'"),
    "callback to others": plant(Invariant.OWED, "UPDATE deliveries SET url = 'https://o.example'"),
    "callback of others": plant(Invariant.OWED, "UPDATE deliveries SET team = 'others'"),
    "claim to nowhere": plant(Invariant.CLAIMED, "UPDATE claims SET job_id = 'gone'"),
    "claimed task": plant(
        Invariant.CLAIMED,
        FREELY,
        "DELETE FROM jobs WHERE id = (SELECT job_id FROM claims)",
    ),
    "callback not owed": plant(Invariant.OWED, "DELETE FROM deliveries"),
    "callback forgotten": plant(
        Invariant.CALLED, "UPDATE deliveries SET state = 'pending', ended_at = NULL, due_at = 5"
    ),
    "reference": plant(
        Invariant.REFERENCES, FREELY, "UPDATE gallery SET run_id = 'gone' WHERE team = 'art'"
    ),
    # documents and the store
    **{
        f"{text} as {column}": plant(Invariant.READABLE, f"UPDATE {table} SET {column} = '{text}'")
        for table, column in (
            ("runs", "request"),
            ("runs", "task"),
            ("runs", "failure"),
            ("runs", "joins"),
            ("runs", "tried"),
            ("runs", "links"),
            ("runs", "kept"),
            ("teams", "document"),
            ("changes", "after"),
        )
        for text in ("broken", "7")
    },
    "labels": plant(Invariant.READABLE, "UPDATE jobs SET labels = 'broken'"),
    "no failure": plant(Invariant.READABLE, f"UPDATE runs SET failure = NULL WHERE id = {FAILED}"),
    "unknown failure": plant(
        Invariant.READABLE, f"UPDATE runs SET failure = '{{}}' WHERE id = {FAILED}"
    ),
    "failure of what is done": plant(
        Invariant.READABLE,
        f"UPDATE runs SET failure = (SELECT failure FROM runs WHERE id = {FAILED})"
        f" WHERE id = {TWO}",
    ),
    "index dropped": plant(Invariant.SCHEMA, "DROP INDEX runs_one_live"),
    "index changed": plant(
        Invariant.SCHEMA,
        "DROP INDEX runs_one_live",
        "CREATE INDEX runs_one_live ON runs (fingerprint)",
    ),
    "column added": plant(Invariant.SCHEMA, "ALTER TABLE runs ADD COLUMN more TEXT"),
    "constraint dropped": plant(
        Invariant.SCHEMA,
        "CREATE TABLE others AS SELECT * FROM accounts",
        "DROP TABLE accounts",
        "ALTER TABLE others RENAME TO accounts",
    ),
    "trigger": plant(
        Invariant.SCHEMA,
        "CREATE TRIGGER quiet AFTER UPDATE ON runs BEGIN DELETE FROM claims; END",
    ),
    "damaged file": plant(
        Invariant.FILE,
        "PRAGMA writable_schema = ON",
        "DELETE FROM sqlite_master WHERE name = 'jobs_of_team'",
        "PRAGMA schema_version = 1000",
    ),
}


async def audited(path: Path) -> list[Violation]:
    ledger = SqliteLedger(path, read_only=True)
    await ledger.open()
    try:
        return list(await ledger.violations())
    finally:
        await ledger.close()


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


async def test_what_was_left_adds_up(ledger: Path) -> None:
    assert await audited(ledger) == []


@pytest.mark.parametrize("name", PLANTS)
async def test_a_planted_change_is_found(ledger: Path, name: str) -> None:
    change(ledger, *PLANTS[name].statements)
    found = await audited(ledger)
    assert PLANTS[name].invariant in {one.invariant for one in found}
    assert all(one.sentence for one in found)


def test_every_sentence_has_its_plant() -> None:
    assert {one.invariant for one in PLANTS.values()} == set(Invariant)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts SET spent_runs = spent_runs + 1 WHERE window_name = 'minute'",
        "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)",
        "CREATE INDEX of_an_operator ON runs (quality)",
        "ANALYZE",
        "VACUUM",
    ],
)
async def test_only_the_first_of_these_is_a_violation(ledger: Path, statement: str) -> None:
    """What tools and operators do to a ledger beside ours is none."""
    change(ledger, statement)
    assert bool(await audited(ledger)) == ("accounts" in statement)
