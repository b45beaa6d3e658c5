"""A data folder as years of use leave it: 200 teams, 100,000 runs and pictures, a million tasks.

The records are made by the core's own types and written by the ledger's own statements, so that
the audit finds nothing wrong with them. The pictures' files are not there.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import random
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from benchmarks import copies
from gateway.adapters.ledger import migrations, store
from gateway.adapters.pictures import marker
from gateway.core.model import (
    Failure,
    FailureKind,
    Job,
    Kept,
    Picture,
    Run,
    RunState,
    Usage,
    Verdict,
)
from gateway.core.money.accounts import Account, AccountKey, Amounts
from gateway.core.money.budgets import account_keys, windows_at
from gateway.core.runs.history import Refusal, Step
from gateway.core.transaction import View, Writes
from gateway.wiring.adapters import PICTURES_NAME

TEAMS: Final = 200
MODELS: Final = 5
TASKS_OF_RUN: Final = 10
DAYS: Final = 365
TIMES: Final = 10
PRAGMAS: Final = ("journal_mode = WAL", "synchronous = OFF", "foreign_keys = ON")
ASKED: Final = ("jobs_of_run", "pictures_once")
"""Indexes that the writing itself reads."""
PRICE_USD_MICROS: Final = 50_000
BATCH: Final = 1_000
TEAM_KEY: Final = "bench-team-key"
ADMIN_KEY: Final = "bench-admin-key"
ZONE: Final = ZoneInfo("UTC")
FAILURE: Final = Failure(FailureKind.TASK_FAILED, "service_error", "Service error.")
WORDS: Final = (
    "a red blue green bicycle lighthouse harbour at dawn dusk noon in watercolour ink pastel style "
    "with birds clouds rain snow an old young smiling sailor cat dog robot on the beach mountain"
).split()


@dataclass(frozen=True, slots=True)
class Size:
    """How much is in a ledger."""

    runs: int = 100_000
    refusals: int = 100_000
    teams: int = TEAMS

    @property
    def made(self) -> int:
        """Runs that are written record by record; the rest are copies of them."""
        return self.runs // TIMES if self.runs % TIMES == 0 else self.runs


YEARS: Final = Size()


def folder() -> Path:
    """For what a case writes; gone when the bench ends.

    Not before: an ext4 without a journal looks at each file that went within the last minutes
    whenever it makes one, which added up to a tenth of an order behind a case with many pictures.
    """
    name = tempfile.mkdtemp(prefix="bench-")
    atexit.register(shutil.rmtree, name)
    return Path(name)


def team(number: int, teams: int = TEAMS) -> str:
    return f"team-{number % teams:03}"


def model(number: int) -> str:
    return f"model-{number // TEAMS % MODELS}"


def settings(upstream: str, folder: Path, *, teams: int = TEAMS) -> str:
    """The settings of the installation; JSON is YAML."""
    digest = f"sha256:{hashlib.sha256(TEAM_KEY.encode()).hexdigest()}"
    admin = f"sha256:{hashlib.sha256(ADMIN_KEY.encode()).hexdigest()}"
    budgets = [{"usd": 50, "per": "day"}, {"usd": 500, "per": "month"}]
    ample = [{"usd": 1_000_000, "per": budget["per"]} for budget in budgets]
    route = {"upstream": "evolink", "model": "gpt-image-1.5", "price": 0.05}
    entries: dict[str, object] = {team(n, teams): {"budgets": budgets} for n in range(teams)}
    entries[team(0)] = {"keys": [digest], "budgets": ample}
    vendor = {"base_url": upstream, "api_key": "sk-bench", "allow_private_addresses": True}
    polls = {"first": "100ms", "every": "100ms", "max": "100ms"}
    value = {
        "server": {"admin_keys": [admin], "port": 0},
        "storage": {"data_dir": str(folder), "free_space_floor": 0},
        "upstreams": {
            "evolink": vendor,
            "quick": {**vendor, "poll": polls},
        },
        "models": {
            **{model(n * TEAMS): {"routes": [route]} for n in range(MODELS)},
            "quick": {"routes": [{**route, "upstream": "quick"}]},
        },
        "teams": entries,
    }
    return json.dumps(value)


def fill(ledger: Path, *, now: float, size: Size = YEARS) -> None:
    """Makes the ledger: a tenth record by record, the rest as copies of it."""
    pictures = ledger.parent / PICTURES_NAME
    pictures.mkdir(parents=True, exist_ok=True)
    (pictures / marker.NAME).write_text("adopt\n")  # an operator's word that it is the right one
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        for pragma in PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        migrations.migrate(db)
        later = _without_indexes(db)
        accounts: dict[AccountKey, Amounts] = defaultdict(Amounts)
        usage: dict[tuple[str, str, int], Usage] = {}
        for start in range(0, size.made, BATCH):
            end = min(start + BATCH, size.made)
            made = [_history(number, now, size) for number in range(start, end)]
            _write(db, _all_of(made))
            for run, *_ in made:
                for key in account_keys(run.team, run.created_at, ZONE):
                    accounts[key] += run.spent
                _add(usage, run)
        kept = tuple(Account(key, spent=amounts) for key, amounts in accounts.items())
        for start in range(0, len(kept), BATCH):
            _write(db, Writes(accounts=kept[start : start + BATCH]))
        refusals = tuple(_refusals(now, size))
        _write(db, Writes(usage=tuple(usage.values()), refusals=refusals))
        copies.add(db, size.made, size.runs // size.made)
        for statement in (*later, "ANALYZE"):
            db.execute(statement)


def _without_indexes(db: sqlite3.Connection) -> list[str]:
    """Takes those away that are quicker made at the end; the statements that make them."""
    found = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL")
    later = [(name, sql) for name, sql in found if name not in ASKED and "UNIQUE" not in sql]
    for name, _ in later:
        db.execute(f"DROP INDEX {name}")
    return [sql for _, sql in later]


def _all_of(made: list[tuple[Run, tuple[Job, ...], tuple[Step, ...]]]) -> Writes:
    return Writes(
        runs=tuple(run for run, _, _ in made),
        jobs=tuple(job for _, jobs, _ in made for job in jobs),
        steps=tuple(step for _, _, steps in made for step in steps),
    )


def _write(db: sqlite3.Connection, writes: Writes) -> None:
    db.execute("BEGIN")
    store.apply(db, writes, View())
    db.execute("COMMIT")


def _history(number: int, now: float, size: Size) -> tuple[Run, tuple[Job, ...], tuple[Step, ...]]:
    """One run that ended well, or in one of fifty cases did not, with its tasks and steps."""
    chance = random.Random(number)
    at = now - DAYS * 86_400.0 * (1 - number / size.made) - 60.0
    failed = number % 51 == 0
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    picture = Picture(digest, "png", 1_500_000 + number, 1024, 1024)
    prompt = " ".join(chance.choices(WORDS, k=12)) + f" number {number}"
    spent = Amounts(0 if failed else PRICE_USD_MICROS, 0 if failed else 1, 1)
    run = Run(
        id=f"run_{number:024}",
        fingerprint=hashlib.sha256(f"f{number}".encode()).hexdigest(),
        team=team(number, size.teams),
        model=model(number),
        quality="low",
        n=1,
        request=json.dumps({"n": 1, "prompt": prompt, "quality": "low", "size": "1:1"}),
        upstream="evolink",
        upstream_model="gpt-image-1.5",
        price_usd_micros=PRICE_USD_MICROS,
        windows=windows_at(at, ZONE),
        hold=Amounts(),
        created_at=at,
        deadline_at=at + 900,
        due_at=at,
        state=RunState.FAILED if failed else RunState.DONE,
        spent=spent,
        upstream_task_id=f"task-unified-{number:020}",
        accepted_at=at + 1,
        upstream_finished_at=at + 20,
        finished_at=at + 22,
        failure=FAILURE if failed else None,
        links=() if failed else (f"https://files.example/{digest}.png",),
        kept=() if failed else (Kept(f"https://files.example/{digest}.png", picture),),
    )
    tasks = 1 if failed else TASKS_OF_RUN
    jobs = tuple(
        Job(
            f"task-unified-{number:012}-{turn}",
            run.id,
            run.team,
            Verdict.HIT if turn else Verdict.STARTED,
            at + turn * 30,
        )
        for turn in range(tasks)
    )
    steps = tuple(
        Step(run.id, place, at + place, event, "", after, run.route)
        for place, (event, after) in enumerate(
            (("Started", "submitting"), ("Accepted", "running"), ("Finished", str(run.state))), 1
        )
    )
    return run, jobs, steps


def _add(usage: dict[tuple[str, str, int], Usage], run: Run) -> None:
    done = run.state is RunState.DONE
    hits = TASKS_OF_RUN - 1 if done else 0
    key = (run.team, run.model, run.windows.day)
    old = usage.get(key, Usage(*key))
    usage[key] = replace(
        old,
        hits=old.hits + hits,
        started=old.started + 1,
        failed=old.failed + (not done),
        done=old.done + done,
        images_generated=old.images_generated + done,
        images_cache=old.images_cache + hits,
        spent_usd_micros=old.spent_usd_micros + run.spent.usd_micros,
        saved_hit_usd_micros=old.saved_hit_usd_micros + hits * run.spent.usd_micros,
    )


def _refusals(now: float, size: Size) -> Iterator[Refusal]:
    for number in range(size.refusals):
        yield Refusal(
            id=f"req_{number:024}",
            at=now - number * 20.0,
            team=team(number, size.teams),
            model=model(number),
            verdict="denied" if number % 3 else "invalid",
            mode="enforce",
            reason="budget" if number % 3 else "prompt",
            rule="usd_per_day" if number % 3 else "prompt",
            message="The team's limit of $50.00 per day would be exceeded.",
        )
