"""Speed comes from indexes: how SQLite means to answer each statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ledger_builders import NOW

from gateway.adapters.ledger import (
    history_store,
    listing,
    migrations,
    outbox_store,
    picture_store,
    pruning,
    statements,
    team_store,
)
from gateway.core.model import DeliveryState, RunState, Verdict
from gateway.ports.ledger import (
    ChangeFilter,
    DeliveryFilter,
    Mark,
    PictureFilter,
    RefusalFilter,
    RunFilter,
    UsagePart,
)

HOT = {
    "run by id": statements.RUN_BY_ID,
    "live run": statements.RUN_LIVE,
    "finished run": statements.RUN_FINISHED,
    "owed jobs": statements.OWED_JOBS,
    "tell jobs": statements.TELL_JOBS,
    "job": statements.JOB_WITH_RUN,
    "jobs": statements.jobs_with_runs(3),
    "count of tasks": statements.count_tasks(2, of_model=True),
    "count of all tasks": statements.count_tasks(0, of_model=False),
    "page of tasks": statements.tasks_page(2, of_model=True),
    "page of all tasks": statements.tasks_page(0, of_model=False),
    "first orders": statements.orders_page(behind=False),
    "orders behind others": statements.orders_page(behind=True),
    "claim": statements.CLAIM,
    "accounts": statements.get_accounts(6),
    "accounts that count a time": statements.ACCOUNTS_COUNTED,
    "account of runs": statements.ACCOUNT_OF_RUNS,
    "due runs": statements.due_runs(0),
    "due runs of known upstreams": statements.due_runs(2),
    "next due": statements.next_due(0),
    "next due of known upstreams": statements.next_due(2),
    "running": statements.RUNNING,
    "teams of deliveries": outbox_store.TEAMS,
    "deliveries in hand": outbox_store.IN_HAND,
    "due deliveries of a team": outbox_store.DUE_OF_TEAM,
    "due alerts": outbox_store.DUE_ALERTS,
    "next free delivery due": outbox_store.NEXT_FREE,
    "next leased delivery due": outbox_store.NEXT_LEASED,
    "delivery": statements.DELIVERY,
    "upload": statements.UPLOAD,
    "digests": statements.digests(3),
    "count of uploads": statements.COUNT_UPLOADS,
    "page of uploads": statements.UPLOADS_PAGE,
    "drop urls": statements.DROP_URLS,
    "oldest unkept": statements.OLDEST_UNKEPT,
    "live counts": statements.LIVE_COUNTS,
    "bills above holds": statements.OVER_HOLD,
    "usage ever": statements.USAGE_EVER,
    "usage of one team ever": statements.USAGE_EVER_OF_TEAM,
    "void leases of runs": statements.VOID_LEASES[0],
    "void leases of deliveries": statements.VOID_LEASES[1],
    "picture totals": picture_store.PICTURE_TOTALS,
    "pictures": picture_store.PICTURES,
    "prune jobs": pruning.PRUNE_JOBS,
    "prune claims": pruning.PRUNE_CLAIMS,
    "prune accounts": pruning.PRUNE_ACCOUNTS,
    "prune uploads": pruning.PRUNE_UPLOADS,
    "prune refusals": pruning.PRUNE_REFUSALS,
    "prune alerts": pruning.PRUNE_ALERTS,
    "add job": statements.ADD_JOB,
    "credits": statements.CREDITS,
    "live at upstream": statements.LIVE_AT_UPSTREAM,
    "to retire": statements.to_retire(team=False),
    "to retire of a team": statements.to_retire(team=True),
    "usage by day": statements.usage_by_day(frozenset(UsagePart), team=False, model=False),
    "usage of a team": statements.usage_by_day(frozenset(), team=True, model=True),
    "makers of a picture": picture_store.MADE_BY,
    "keep a picture": picture_store.PUT_PICTURE,
    "erase a picture": picture_store.ERASE_PICTURE,
    **{f"words {n}": sql for n, sql in enumerate(picture_store.WORDS_BESIDE)},
    "show": picture_store.SHOW,
    "left of run": picture_store.LEFT_OF_RUN,
    "unremoved": picture_store.UNREMOVED,
    "jobs of run": listing.JOBS_OF_RUN,
    "count of jobs of run": listing.COUNT_JOBS_OF_RUN,
    "steps": history_store.STEPS,
    "next step": history_store.ADD_NEXT_STEP,
    "refusals named": history_store.REFUSALS_NAMED,
    "lost run": statements.RUN_LOST,
    "superseded run": statements.RUN_SUPERSEDED,
    "keys of team": team_store.KEYS_OF_TEAM,
}


@pytest.fixture(scope="module")
def empty() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.migrate(db)
        yield db


def plan(db: sqlite3.Connection, sql: str) -> list[str]:
    values = [1] * sql.count("?")
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


def reads_a_table_whole(db: sqlite3.Connection, sql: str) -> bool:
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    scans = [one.split() for one in plan(db, sql) if one.startswith("SCAN") and "INDEX" not in one]
    return any(one[1] in tables for one in scans)


@pytest.mark.parametrize("name", HOT)
def test_no_hot_statement_reads_a_whole_table(name: str, empty: sqlite3.Connection) -> None:
    assert not reads_a_table_whole(empty, HOT[name])


MARK = (NOW, "id")
DELIVERED, PENDING = DeliveryState.DELIVERED, DeliveryState.PENDING
TIMES = {"since": 1.0, "until": 2.0}
RUN_FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"model": "m"},
    {"states": tuple(RunState)},
    {"verdict": Verdict.HIT, "route": ("u", "m")},
    TIMES,
)
REFUSAL_FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"verdict": "v"},
    {"reason": "r"},
    {"verdict": "v", "reason": "r"},
    TIMES,
)
LISTS = {
    "runs": lambda asked, after: listing.runs_statement(RunFilter(**asked), after, 9),
    "refusals": lambda asked, after: listing.refusals_statement(RefusalFilter(**asked), after, 9),
    "deliveries": lambda asked, after: listing.deliveries_statement(
        DeliveryFilter(**asked), after, 9
    ),
    "changes": lambda asked, after: listing.changes_statement(ChangeFilter(**asked), after, 9),
}
IN_LISTS: dict[str, tuple[dict[str, Any], ...]] = {
    "runs": (*RUN_FILTERS, *({**one, "team": "t"} for one in RUN_FILTERS)),
    "refusals": (*REFUSAL_FILTERS, *({**one, "team": "t"} for one in REFUSAL_FILTERS)),
    "deliveries": ({}, {"team": "t"}, {"state": DELIVERED}, {"team": "t", "state": DELIVERED}),
    "changes": ({}, {"subject": "s"}, {"actor": "a", "action": "b"}),
}


@pytest.mark.parametrize("after", [None, MARK], ids=["first", "later"])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_searched_in_one_index_in_its_order(
    name: str, after: Mark | None, empty: sqlite3.Connection
) -> None:
    for asked in IN_LISTS[name]:
        sql, _ = LISTS[name](asked, after)
        found, *_ = [one for one in plan(empty, sql) if "COVERING INDEX" in one]
        narrow = [value for value in ("team=?",) if value[:-2] in asked]
        assert all(value in found for value in narrow), (asked, found)
        assert len([one for one in plan(empty, sql) if "USE TEMP B-TREE" in one]) == 1, asked


def test_pending_callbacks_are_listed_without_the_ended_ones(empty: sqlite3.Connection) -> None:
    for after in (None, MARK):
        sql, _ = listing.deliveries_statement(DeliveryFilter(state=PENDING), after, 9)
        assert any("COVERING INDEX deliveries_due" in one for one in plan(empty, sql))


def test_callbacks_are_leased_without_reading_all_that_is_due(empty: sqlite3.Connection) -> None:
    """What waits of one team may be a hundred thousand rows; each part of it has an index."""
    for sql, index in (
        (outbox_store.TEAMS, "COVERING INDEX deliveries_turn"),
        (outbox_store.DUE_OF_TEAM, "INDEX deliveries_turn (team=? AND due_at<?)"),
        (outbox_store.IN_HAND, "COVERING INDEX deliveries_in_hand (lease_until>?)"),
        (outbox_store.NEXT_FREE, "COVERING INDEX deliveries_in_hand (lease_until=?)"),
        (outbox_store.NEXT_LEASED, "COVERING INDEX deliveries_in_hand (lease_until>?)"),
    ):
        assert any(index in one for one in plan(empty, sql)), sql
    assert not any("TEMP B-TREE" in one for one in plan(empty, outbox_store.DUE_OF_TEAM))


@pytest.mark.parametrize(
    "asked", [{}, {"text": "t"}, {"run_id": "r"}, {"task_id": "t"}, {"digest": "d"}, TIMES]
)
def test_a_gallery_reads_its_teams_part_alone(
    asked: dict[str, Any], empty: sqlite3.Connection
) -> None:
    for after in (None, MARK):
        sql, _ = picture_store.gallery_statement("t", PictureFilter(**asked), after=after, limit=9)
        first, *_ = plan(empty, sql)
        assert first.startswith("SEARCH gallery USING"), first
        assert "team=?" in first
        assert any("SEARCH pictures USING INDEX pictures_of_run" in one for one in plan(empty, sql))
        sql, _ = picture_store.find_statement(PictureFilter(**asked, team="t"), after, 9)
        index = "pictures_of_run" if asked.keys() & {"run_id", "task_id"} else "pictures_of_team"
        index = "pictures_of_digest" if "digest" in asked else index
        assert any(index in one for one in plan(empty, sql))
