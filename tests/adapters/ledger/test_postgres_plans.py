"""Speed comes from indexes: what PostgreSQL reads for each statement, in a ledger of some size.

Every statement that the ledger really sends is written down, and explained as it is carried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
import pytest
from large_ledger import LIVE, NOW, RUNS, START, fill
from ledger_backends import Clock
from ledger_builders import a_picture, a_run, change, done, older, start
from shared_databases import new_database

from gateway.adapters.ledger.postgres import opening
from gateway.adapters.ledger.postgres.connections import Address
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.core.model import DeliveryState, RunState, Verdict
from gateway.core.money.accounts import AccountKey, Window
from gateway.core.transaction import Keys, Writes
from gateway.ports.ledger import (
    ChangeFilter,
    DeliveryFilter,
    Ledger,
    PictureFilter,
    RefusalFilter,
    RunFilter,
)

pytestmark = pytest.mark.slow

LARGE = frozenset(
    [
        "runs",
        "jobs",
        "claims",
        "uploads",
        "upload_urls",
        "steps",
        "gallery",
        "refusals",
        "deliveries",
        "pictures",
        "accounts",
    ]
)
PAGES = 500
"""Of 8 kB: what a page of 20 rows may take. The tables have some ten thousand."""

TEAM = "team-3"
OLD = f"run-{RUNS // 2 + 3}"
MIDDLE = (NOW - RUNS * 7.5, "zz")


class Sent(NamedTuple):
    sql: str
    values: Any


@pytest.fixture(scope="module")
def large() -> Iterator[str]:
    with new_database() as url:
        opening.prepare(Address(url))
        fill(url)
        yield url


@pytest.fixture
async def ledger(large: str) -> Any:
    clock = Clock()
    clock.now = NOW
    ledger = PostgresLedger(large, clock=clock)
    await ledger.open()
    yield ledger
    await ledger.close()


@pytest.fixture
def sent(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """What goes to the server, but for rows that are written many at a time."""
    found: list[Sent] = []
    execute = psycopg.Connection.execute

    def noted(self: Any, query: Any, params: Any = None, **how: Any) -> Any:
        found.append(Sent(query, params))
        return execute(self, query, params, **how)

    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    return found


def read_of(url: str, sent: Sequence[Sent]) -> list[tuple[int, list[str], str]]:
    """Of each statement the pages that it reads, the tables that it reads whole, and its text."""
    found = []
    with psycopg.connect(url, autocommit=True) as connection:
        for sql, values in dict.fromkeys((one.sql, repr(one.values)) for one in sent):
            params = next(
                one.values for one in sent if (one.sql, repr(one.values)) == (sql, values)
            )
            if sql.split()[0] not in ("SELECT", "UPDATE", "DELETE", "WITH") or "pg_" in sql:
                continue
            connection.execute("BEGIN")
            [[[told]]] = connection.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params
            ).fetchall()
            connection.execute("ROLLBACK")
            top = told["Plan"]
            found.append((top["Shared Hit Blocks"] + top["Shared Read Blocks"], _whole(top), sql))
    return found


def _whole(node: dict[str, Any]) -> list[str]:
    mine = [node["Relation Name"]] if node["Node Type"] == "Seq Scan" else []
    below = [name for one in node.get("Plans", ()) for name in _whole(one)]
    return [name for name in (*mine, *below) if name in LARGE]


def prove(url: str, sent: Sequence[Sent], *, pages: int = PAGES) -> None:
    read = read_of(url, sent)
    assert len(read) > 1
    too_much = [(count, whole, sql[:300]) for count, whole, sql in read if whole or count > pages]
    assert too_much == []


def accounts() -> tuple[AccountKey, ...]:
    lengths = {Window.MINUTE: 60, Window.HOUR: 3600, Window.DAY: 86_400}
    timed = (
        AccountKey(TEAM, window, NOW - NOW % long, NOW - NOW % long + long)
        for window, long in lengths.items()
    )
    return (*timed, AccountKey(TEAM, Window.TOTAL, 0, 253_402_300_800))


async def test_what_an_order_and_its_run_read(large: str, ledger: Ledger, sent: list[Sent]) -> None:
    keys = Keys(
        accounts=accounts(), counted=(TEAM, float(NOW)), fingerprint="f123", claim=(TEAM, "key-x")
    )
    await ledger.transact(keys, lambda _: (None, Writes()))
    several = Keys(team=TEAM), Keys(picture="d777"), Keys(uploads=(TEAM, float(NOW)))
    for one in (Keys(run_id=f"run-{RUNS - LIVE + 30}"), *several):
        await ledger.transact(one, lambda _: (None, Writes()))
    run = await start(ledger, a_run(id="run-new", team=TEAM, created_at=float(NOW)))
    await change(ledger, done(run, a_picture("dnew"), at=NOW + 1))
    await ledger.lease("w", now=NOW, until=NOW + 60, limit=32)
    await ledger.lease_deliveries("w", now=NOW, until=NOW + 60, limit=32, share=8)
    await ledger.next_due()
    await ledger.next_delivery_due()
    prove(large, sent, pages=1200)  # a lease also writes 32 rows, in each of their indexes


async def test_what_clients_read(large: str, ledger: Ledger, sent: list[Sent]) -> None:
    await ledger.job("job-500-0")
    await ledger.jobs(TEAM, [f"job-{n}-0" for n in range(3, 2000, 40)])
    for page in (1, 20):
        await ledger.tasks(TEAM, states=list(RunState), page=page, page_size=20)
    states = [RunState.FAILED]
    await ledger.tasks(TEAM, states=states, page=1, page_size=20, model="model-1")
    await ledger.tasks("nobody", states=states, page=1, page_size=20)
    for after in (None, MIDDLE):
        await ledger.orders(TEAM, after=after, limit=20)
        for wanted in (
            PictureFilter(),
            PictureFilter(text="bicycle"),
            PictureFilter(run_id=OLD),
            PictureFilter(task_id="job-1003-0"),
            PictureFilter(digest="d1003"),
            PictureFilter(since=NOW - 90_000, until=NOW - 40_000),
        ):
            await ledger.gallery(TEAM, wanted, after=after, limit=20)
    await ledger.digests(TEAM, [f"https://up-run-{n}" for n in range(3, 300, 40)])
    await ledger.upload(TEAM, "up-run-3")
    await ledger.uploads(TEAM, now=NOW - 99_999, page=1, page_size=20)
    await ledger.accounts(accounts())
    prove(large, sent)


async def test_what_operators_read(large: str, ledger: Ledger, sent: list[Sent]) -> None:
    runs: tuple[dict[str, Any], ...] = (
        {}, {"team": TEAM}, {"model": "model-1"}, {"states": (RunState.FAILED,)},
        {"team": TEAM, "verdict": Verdict.HIT, "route": ("evolink", "up-1")},
        {"since": NOW - 9000, "until": NOW - 4000},
    )  # fmt: skip
    refusals: tuple[dict[str, Any], ...] = (
        {}, {"team": TEAM}, {"reason": "reason-3"}, {"verdict": "invalid"}, {"team": "nobody"},
        {"team": TEAM, "reason": "reason-3"},
    )  # fmt: skip
    deliveries: tuple[dict[str, Any], ...] = (
        {}, {"team": TEAM}, {"job_id": "job-500-0"}, {"state": DeliveryState.PENDING},
        {"state": DeliveryState.DELIVERED}, {"state": DeliveryState.FAILED},
    )  # fmt: skip
    for after in (None, MIDDLE):
        for asked in runs:
            await ledger.runs(RunFilter(**asked), after=after, limit=20)
        for asked in refusals:
            await ledger.refusals(RefusalFilter(**asked), after=after, limit=20)
        for asked in deliveries:
            await ledger.deliveries(DeliveryFilter(**asked), after=after, limit=20)
        for asked in ({}, {"subject": TEAM}):
            await ledger.changes(ChangeFilter(**asked), after=after, limit=20)
        for asked in ({}, {"text": "bicycle"}, {"digest": "d1003"}, {"task_id": "job-1003-0"}):
            await ledger.find_pictures(PictureFilter(**asked), after=after, limit=20)
    await ledger.steps(OLD)
    await ledger.refusals_named("req-job-7-1", limit=5)
    await ledger.jobs_of_run(OLD, limit=10)
    prove(large, sent)


async def test_what_a_scrape_and_the_chores_read(
    large: str, ledger: Ledger, sent: list[Sent]
) -> None:
    await ledger.usage()
    await ledger.usage_by_day(since_day=NOW - 86_400, until_day=NOW, team=TEAM)
    await ledger.run_counts()
    await ledger.oldest_unkept()
    await ledger.over_hold()
    await ledger.unremoved(limit=20)
    await ledger.pictures(after="d3", limit=20)
    await ledger.retire(team=TEAM, limit=5)
    for kind in ("jobs", "claims", "accounts", "uploads", "refusals"):
        await ledger.prune(older(**{kind: START + 20_000.5}), limit=20)
    prove(large, sent, pages=800)  # each row that goes is looked for in those that name it


async def test_a_search_for_what_nobody_has_reads_its_teams_part_alone(
    large: str, ledger: Ledger, sent: list[Sent]
) -> None:
    wanted = PictureFilter(text="nothing such")
    await ledger.gallery(TEAM, wanted, after=None, limit=20)
    await ledger.find_pictures(PictureFilter(text="nothing such", team=TEAM), after=None, limit=20)
    prove(large, sent, pages=RUNS // 40 * 5)
