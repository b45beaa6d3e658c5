"""Merged writes come to what they come to one after the other: on the store, for any writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_builders import (
    NOW,
    PRICE,
    a_change,
    a_delivery,
    a_job,
    a_key,
    a_picture,
    a_run,
    a_step,
    a_team,
    an_alert,
    an_upload,
    done,
    failed,
    key_of,
    usage,
    windows,
)

from gateway.adapters.ledger import migrations, store
from gateway.adapters.ledger.merging import Merged
from gateway.core.model import Claim, Run, RunState, Verdict
from gateway.core.money.accounts import Account, Amounts, Window
from gateway.core.replicas import Epoch
from gateway.core.transaction import ConstraintViolation, View, Writes

FEW = st.sampled_from(["1", "2", "3"])
TEAMS = st.sampled_from(["alpha", "beta"])
TASKS = st.sampled_from([None, None, "t1", "t2"])


@pytest.fixture(scope="module")
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as found:
        found.execute("PRAGMA foreign_keys = ON")
        migrations.migrate(found)
        base = Writes(runs=(run_of("1", shared=False),), teams=(a_team("alpha"),))
        store.apply(found, base, View())
        yield found


def run_of(number: str, **fields: Any) -> Run:
    return a_run(id=f"run-{number}", fingerprint=f"f{int(number) % 2}", **fields)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    run = run_of(draw(FEW), team=draw(TEAMS), upstream_task_id=draw(TASKS), tries=draw(st.just(0)))
    kind = draw(st.sampled_from(["live", "live", "live", "done", "failed", "wrong"]))
    if kind == "done":
        return done(run, a_picture(draw(st.sampled_from(["d1", "d2"]))))
    if kind == "failed":
        return failed(run, spent=draw(st.sampled_from([Amounts(0, 0, 0), run.hold])))
    if kind == "wrong":
        return replace(run, tries=-1)
    shared = draw(st.booleans())
    return replace(
        run,
        state=draw(st.sampled_from([RunState.SUBMITTING, RunState.RUNNING])),
        shared=shared,
        superseded=not shared and draw(st.booleans()),
    )


def jobs() -> st.SearchStrategy[Any]:
    return st.builds(
        lambda run, job, team, verdict: a_job(
            run_of(run, team=team), verdict, id=f"job-{job}", callback_url="https://a.test"
        ),
        FEW,
        FEW,
        TEAMS,
        st.sampled_from([Verdict.HIT, Verdict.JOINED, Verdict.STARTED]),
    )


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


def claims() -> st.SearchStrategy[Claim]:
    return st.builds(lambda team, key, job: Claim(team, key, "d" * 64, job, NOW), TEAMS, FEW, FEW)


ACCOUNTS = st.builds(
    lambda team, held: Account(
        key_of(team, Window.DAY, windows().day), held=Amounts(held * PRICE, held, 1)
    ),
    TEAMS,
    st.integers(-1, 5),
)
USAGE = st.builds(
    lambda team, started, lost: usage(team, started=started, failed=lost),
    TEAMS,
    st.integers(0, 3),
    st.sampled_from([0, 0, 0, 1, -1]),
)
DELIVERIES = jobs().map(lambda job: a_delivery(job, due_at=NOW))
ALERTS = st.builds(lambda number, at: an_alert(id=f"alert-{number}", due_at=at), FEW, st.just(NOW))
STEPS = st.builds(
    lambda run, number: a_step(run_of(run), number=number), FEW, st.sampled_from([0, 0, 0, 1, 2])
)
WRITES = st.one_of(
    st.builds(
        Writes,
        runs=some(runs()),
        jobs=some(jobs()),
        accounts=some(ACCOUNTS),
        usage=some(USAGE),
        steps=some(STEPS),
    ),
    st.builds(Writes, claims=some(claims()), freed=some(claims()), usage=some(USAGE)),
    st.builds(Writes, deliveries=some(DELIVERIES), alerts=some(ALERTS), jobs=some(jobs())),
    st.builds(
        Writes,
        teams=some(TEAMS.map(a_team)),
        team_keys=some(
            st.builds(lambda team, key, d: a_key(team, id=key, digest=d), TEAMS, FEW, FEW)
        ),
        changes=some(FEW.map(lambda number: a_change(id=f"change-{number}"))),
        uploads=some(
            st.builds(lambda team, f, url: an_upload(team=team, id=f, urls=(url,)), TEAMS, FEW, FEW)
        ),
        raised=st.frozensets(st.sampled_from(Epoch), max_size=1),
    ),
)


def dump(db: sqlite3.Connection) -> list[Any]:
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [sorted(map(repr, db.execute(f"SELECT * FROM {table}"))) for table in sorted(tables)]


def written(db: sqlite3.Connection, parts: Sequence[Writes]) -> list[Any] | None:
    """What is there then, or None where one of them is refused; nothing of it stays."""
    db.execute("BEGIN")
    try:
        for part in parts:
            store.apply(db, part, View())
        return dump(db)
    except (ConstraintViolation, sqlite3.IntegrityError):
        return None
    finally:
        db.execute("ROLLBACK")


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(parts=st.lists(WRITES, min_size=2, max_size=5))
def test_merged_writes_are_those_one_after_the_other(
    db: sqlite3.Connection, parts: list[Writes]
) -> None:
    merged, taken = Merged(), 0
    for part in parts:
        if not merged.take(part):
            break
        taken += 1
    assert taken
    assert written(db, [merged.writes()]) == written(db, parts[:taken])
