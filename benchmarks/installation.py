"""A data folder as years of use leave it: 200 teams, 100,000 runs and pictures, a million tasks.

The records are made by the core's own types and written by the ledger's own statements, so that
the audit finds nothing wrong with them. The pictures' files are not there.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from gateway.adapters.ledger import migrations, store
from gateway.core.model import Job, Kept, Picture, Run, RunState, Usage, Verdict
from gateway.core.money.accounts import Account, AccountKey, Amounts
from gateway.core.money.budgets import account_keys, windows_at
from gateway.core.runs.history import Refusal, Step
from gateway.core.transaction import View, Writes

TEAMS: Final = 200
MODELS: Final = 5
RUNS: Final = 100_000
TASKS_OF_RUN: Final = 10
REFUSALS: Final = 100_000
DAYS: Final = 365
PRICE_USD_MICROS: Final = 50_000
BATCH: Final = 1_000
TEAM_KEY: Final = "bench-team-key"
ADMIN_KEY: Final = "bench-admin-key"
ZONE: Final = ZoneInfo("UTC")
WORDS: Final = (
    "a red blue green bicycle lighthouse harbour at dawn dusk noon in watercolour ink pastel style "
    "with birds clouds rain snow an old young smiling sailor cat dog robot on the beach mountain"
).split()


@contextmanager
def folder() -> Iterator[Path]:
    """For all that a bench writes; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield Path(name)


def team(number: int) -> str:
    return f"team-{number % TEAMS:03}"


def model(number: int) -> str:
    return f"model-{number // TEAMS % MODELS}"


def settings(upstream: str, folder: Path) -> str:
    """The settings of the installation; JSON is YAML."""
    digest = f"sha256:{hashlib.sha256(TEAM_KEY.encode()).hexdigest()}"
    admin = f"sha256:{hashlib.sha256(ADMIN_KEY.encode()).hexdigest()}"
    budgets = [{"usd": 50, "per": "day"}, {"usd": 500, "per": "month"}]
    ample = [{"usd": 1_000_000, "per": budget["per"]} for budget in budgets]
    route = {"upstream": "evolink", "model": "gpt-image-1.5", "price": 0.05}
    teams: dict[str, object] = {team(n): {"budgets": budgets} for n in range(TEAMS)}
    teams[team(0)] = {"keys": [digest], "budgets": ample}
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
        "teams": teams,
    }
    return json.dumps(value)


def fill(ledger: Path, *, now: float) -> None:
    """Makes the ledger. Takes about a minute."""
    ledger.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(ledger, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA foreign_keys = ON")
    migrations.migrate(db)
    accounts: dict[AccountKey, Amounts] = defaultdict(Amounts)
    usage: dict[tuple[str, str, int], Usage] = {}
    numbers = iter(range(RUNS))
    for batch in iter(lambda: [n for _, n in zip(range(BATCH), numbers, strict=False)], []):
        db.execute("BEGIN")
        for number in batch:
            run, jobs, steps = _history(number, now)
            store.apply(db, Writes(runs=(run,), jobs=jobs, steps=steps), View())
            for key in account_keys(run.team, run.created_at, ZONE):
                accounts[key] += run.spent
            _add(usage, run)
        db.execute("COMMIT")
    db.execute("BEGIN")
    kept = tuple(Account(key, spent=amounts) for key, amounts in accounts.items())
    for start in range(0, len(kept), BATCH):
        store.apply(db, Writes(accounts=kept[start : start + BATCH]), View())
    store.apply(db, Writes(usage=tuple(usage.values()), refusals=tuple(_refusals(now))), View())
    db.execute("COMMIT")
    db.execute("ANALYZE")
    db.close()


def _history(number: int, now: float) -> tuple[Run, tuple[Job, ...], tuple[Step, ...]]:
    """One run that ended well, or in one of fifty cases did not, with its tasks and steps."""
    chance = random.Random(number)
    at = now - DAYS * 86_400.0 * (1 - number / RUNS) - 60.0
    failed = number % 51 == 0
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    picture = Picture(digest, "png", 1_500_000 + number, 1024, 1024)
    prompt = " ".join(chance.choices(WORDS, k=12)) + f" number {number}"
    spent = Amounts(0 if failed else PRICE_USD_MICROS, 0 if failed else 1, 1)
    run = Run(
        id=f"run_{number:024}",
        fingerprint=hashlib.sha256(f"f{number}".encode()).hexdigest(),
        team=team(number),
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
        images_generated=old.images_generated + done,
        images_cache=old.images_cache + hits,
        spent_usd_micros=old.spent_usd_micros + run.spent.usd_micros,
        saved_hit_usd_micros=old.saved_hit_usd_micros + hits * run.spent.usd_micros,
    )


def _refusals(now: float) -> Iterator[Refusal]:
    for number in range(REFUSALS):
        yield Refusal(
            id=f"req_{number:024}",
            at=now - number * 20.0,
            team=team(number),
            model=model(number),
            verdict="denied" if number % 3 else "invalid",
            mode="enforce",
            reason="budget" if number % 3 else "prompt",
            rule="usd_per_day" if number % 3 else "prompt",
            message="The team's limit of $50.00 per day would be exceeded.",
        )
