"""Usage as JSON and CSV: it equals the ledger to the micro-dollar, and a team sees its own."""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stores
from house import FAST, OTHER_KEY, TEAM_KEY, House, house, opened

from gateway.core.model import Usage
from gateway.core.money.budgets import windows_at
from gateway.core.transaction import Keys, Writes
from gateway.sandbox import running_sandbox

PARTS = ("day", "team", "model")


async def report(one: House, query: str = "") -> Any:
    answer = await one.admin("GET", f"usage{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def micros(usd: float) -> int:
    return round(usd * 1_000_000)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
async def used(tmp_path: Path) -> AsyncIterator[House]:
    """A house with usage of every kind: started, joined, hit, failed; of two teams."""
    budget = {"budgets": [{"usd": 5, "per": "day"}, {"usd": 50, "per": "month"}]}
    async with house(tmp_path, teams={"blue": budget}) as one:
        slow = "together [sandbox:delay=0.3]"
        await asyncio.gather(*(one.post(slow, n=3) for _ in range(3)))
        for key in (TEAM_KEY, OTHER_KEY):
            await one.made("a cat", key=key)
            await one.made("a cat", key=key)
        bad = (await one.post("no [sandbox:fail=content_policy_violation]")).json()["id"]
        await one.ended(bad)
        await one.settled()
        yield one


@stores.both
async def test_totals_are_the_sums_over_the_runs(used: House) -> None:
    found = await report(used)
    query = "SELECT SUM(spent_usd_micros), COUNT(*) FROM runs"
    [(spent, runs)] = stores.rows(used.folder, query)
    jobs = dict(stores.rows(used.folder, "SELECT verdict, COUNT(*) FROM jobs GROUP BY verdict"))
    totals = found["totals"]
    assert micros(totals["spent_usd"]) == spent == 250_000
    assert totals["started"] == runs == 4
    assert {name: totals[key] for name, key in [("hit", "hits"), ("joined", "joined")]} == {
        name: jobs[name] for name in ("hit", "joined")
    }
    assert totals["failed"] == 1
    assert totals["done"] == runs - totals["failed"]
    assert totals["failed_usd"] == 0
    assert totals["images_generated"] == 5
    assert totals["images_cache"] == 2 * 3 + 2
    assert micros(totals["saved_joined_usd"]) == 2 * 150_000
    assert micros(totals["saved_hit_usd"]) == 2 * 50_000
    assert totals["saved_usd"] == 0.4


async def test_what_is_under_way_or_failed_is_not_counted_as_paid(a_house: House) -> None:
    """A lost answer counts as spent once its deadline is over; till then it is under way."""
    await a_house.made("a cat")
    bad = (await a_house.post("no [sandbox:fail=content_policy_violation]")).json()["id"]
    await a_house.ended(bad)
    slow = (await a_house.post("slow [sandbox:delay=1]")).json()["id"]
    dead = (await a_house.post("dead [sandbox:dead-link]")).json()["id"]
    totals = (await report(a_house))["totals"]
    assert totals["started"] == 4
    assert totals["started"] - totals["done"] - totals["failed"] in (1, 2)
    await a_house.ended(slow)
    assert (await a_house.ended(dead))["status"] == "failed"
    totals = (await report(a_house))["totals"]
    assert (totals["started"], totals["done"], totals["failed"]) == (4, 2, 2)
    assert (totals["spent_usd"], totals["failed_usd"]) == (0.15, 0.05)
    assert await a_house.violations() == []


async def test_rows_add_up_to_the_totals_however_they_are_grouped(used: House) -> None:
    whole = await report(used)
    assert whole["by"] == list(PARTS)
    for by in ("day", "team", "model", "team,day", "model,day", "team,model", "model,team,day"):
        found = await report(used, f"?by={by}")
        assert found["by"] == by.split(",")
        assert found["totals"] == whole["totals"]
        sums: Counter[str] = Counter()
        for row in found["data"]:
            assert set(row) & set(PARTS) == set(by.split(","))
            for name, value in row.items():
                if name not in PARTS:
                    sums[name] += micros(value)
        assert sums == {name: micros(value) for name, value in whole["totals"].items()}
    rows = (await report(used, "?by=team"))["data"]
    assert [(row["team"], row["spent_usd"]) for row in rows] == [("blue", 0.2), ("green", 0.05)]


async def test_csv_says_the_same_as_json(used: House) -> None:
    for by in ("day,team,model", "model,team"):
        shown = await report(used, f"?by={by}")
        answer = await used.admin("GET", f"usage?by={by}&format=csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        name = f"usage-{shown['from']}-to-{shown['to']}.csv"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        rows = rows_of(answer.text)
        assert len(rows) == len(shown["data"])
        for row, line in zip(rows, shown["data"], strict=True):
            assert set(row) == set(line)
            for name, value in line.items():
                same = row[name] == value if name in PARTS else float(row[name]) == value
                assert same, (name, row, line)
                assert not name.endswith("_usd") or len(row[name].partition(".")[2]) == 6


async def test_the_form_follows_accept_where_none_is_asked(used: House) -> None:
    async def form(accept: str, query: str = "") -> str:
        answer = await used.admin("GET", f"usage{query}", headers={"Accept": accept})
        return answer.headers["content-type"].partition(";")[0]

    assert await form("text/csv") == "text/csv"
    assert await form("text/csv;q=0.9, */*") == "text/csv"
    assert await form("application/json, text/csv") == "application/json"
    assert await form("*/*") == "application/json"
    assert await form("text/csv", "?format=json") == "application/json"


async def test_a_year_is_filtered_by_days_team_and_model(a_house: House) -> None:
    noon = datetime(2025, 1, 1, 12, tzinfo=UTC)
    days = [windows_at((noon + timedelta(days=n)).timestamp(), UTC).day for n in range(365)]
    usage = tuple(
        Usage(team, model, day, started=1, spent_usd_micros=100_001)
        for day in days
        for team in ("blue", "green")
        for model in ("gpt-image-1.5", "older")
    )
    await a_house.gateway.ledger.transact(Keys(), lambda _: (None, Writes(usage=usage)))
    year = "?from=2025-01-01&to=2025-12-31"
    assert (await report(a_house, year))["totals"]["spent_usd"] == 146.00146
    assert len((await report(a_house, year))["data"]) == 4 * 365
    assert (await report(a_house, f"{year}&team=blue"))["totals"]["started"] == 2 * 365
    assert (await report(a_house, f"{year}&model=older"))["totals"]["started"] == 2 * 365
    one = await report(a_house, "?from=2025-03-30&to=2025-03-30&team=blue&model=older")
    assert [row["day"] for row in one["data"]] == ["2025-03-30"]
    march = await report(a_house, "?to=2025-03-31&by=day")
    assert (march["from"], len(march["data"])) == ("2025-03-01", 31)
    assert (await report(a_house, f"{year}&team=nobody"))["data"] == []


async def test_days_are_those_of_the_operators_zone(tmp_path: Path) -> None:
    """In this zone it is tomorrow, or still today, for half of the day."""
    zone: dict[str, Any] = {"server": {"timezone": "Pacific/Kiritimati"}}  # UTC+14
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, clock=lambda: 1_772_366_400.0, **zone)
        try:  # 2026-03-01 12:00 UTC is 2 March there
            assert (await one.post("now")).status_code == 200
            found = await report(one)
            assert (found["from"], found["to"]) == ("2026-03-01", "2026-03-02")
            assert found["timezone"] == "Pacific/Kiritimati"
            assert [row["day"] for row in found["data"]] == ["2026-03-02"]
        finally:
            await one.stop()


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?from=2026-02-01&to=2026-01-01", "from"),
        ("?from=2026-13-01", "from"),
        ("?to=2026-01-01T00:00:00Z", "to"),
        ("?by=hour", "by"),
        ("?format=xml", "format"),
        ("?colour=red", "colour"),
        ("?team=a&team=b", "team"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_wrong_question_is_named(shared_house: House, query: str, param: str) -> None:
    answer = await shared_house.admin("GET", f"usage{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


# --- a team's own --------------------------------------------------------------------------------


async def own(one: House, path: str, key: str = TEAM_KEY) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    answer = await one.client.get(f"/team/v1/{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.headers["content-type"] == "application/json" else answer.text


async def test_a_team_sees_its_own_usage_and_no_other(used: House) -> None:
    for team, key in (("blue", TEAM_KEY), ("green", OTHER_KEY)):
        theirs = await report(used, f"?team={team}&by=day,model")
        assert await own(used, "usage", key) == theirs
        text = await own(used, "usage?format=csv", key)
        assert "team" not in rows_of(text)[0]
        assert sum(micros(float(row["spent_usd"])) for row in rows_of(text)) == micros(
            theirs["totals"]["spent_usd"]
        )
    assert (await report(used, "?team=green"))["totals"]["spent_usd"] == 0.05


@pytest.mark.parametrize("query", ["?team=green", "?by=team", "?by=day,team"])
async def test_a_team_cannot_ask_for_another(a_house: House, query: str) -> None:
    headers = {"Authorization": f"Bearer {TEAM_KEY}"}
    answer = await a_house.client.get(f"/team/v1/usage{query}", headers=headers)
    assert answer.status_code == 400


async def test_the_teams_pages_need_a_teams_key(a_house: House) -> None:
    for path in ("summary", "usage"):
        for headers in ({}, {"Authorization": "Bearer admin-key"}):
            answer = await a_house.client.get(f"/team/v1/{path}", headers=headers)
            assert answer.status_code == 401


async def test_a_summary_tells_how_the_team_stands(used: House) -> None:
    found = await own(used, "summary")
    today = datetime.now(UTC).date()
    assert (found["team"], found["mode"], found["timezone"]) == ("blue", "enforce", "UTC")
    assert [(one["rule"], one["limit"], one["spent"]) for one in found["standing"]] == [
        ("usd_per_day", 5, 0.2),
        ("usd_per_month", 50, 0.2),
    ]
    assert found["standing"][0]["left"] == 4.8
    assert found["standing"][0]["resets_at"] > today.isoformat()
    assert (found["spent_usd"], found["spent_month_usd"], found["saved_usd"]) == (0.2, 0.2, 0.35)
    assert found["public_url"] == used.http.base_url
    assert found["models"] == [
        {
            "id": "gpt-image-1.5",
            "sizes": ["1:1", "2:3", "3:2", "1024x1024"],
            "qualities": ["low", "medium", "high"],
            "resolutions": None,
            "automatic": ["size", "quality", "resolution"],
            "beginning": {},
            "defaults": {},
            "required": [],
            "usd_by_quality": {"high": 0.05, "low": 0.05, "medium": 0.05},
            "max_n": 10,
            "max_image_urls": 16,
            "prompt_tokens": 2000,
            "prices": [{"usd": 0.05}],
        }
    ]


async def test_a_summary_offers_what_the_team_may_use(tmp_path: Path) -> None:
    allow = {"allow": {"sizes": ["1:1"], "qualities": ["low"], "max_n": 2}}
    async with house(tmp_path, teams={"blue": allow}) as one:
        (model,) = (await own(one, "summary"))["models"]
        assert (model["sizes"], model["qualities"], model["max_n"]) == (["1:1"], ["low"], 2)
