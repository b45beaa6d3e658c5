"""The report of usage: its days, its sums, and that a spreadsheet computes nothing of it."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.adapters.ledger.sqlite import SqliteLedger
from gateway.core.model import Usage
from gateway.core.money.budgets import windows_at
from gateway.core.transaction import Keys, Writes
from gateway.errors import InvalidRequest
from gateway.ports.ledger import UsagePart
from gateway.services import usage
from gateway.services.usage import Period, grouped, period, report
from gateway.web.usage_reports import as_csv, harmless, read_by, shape

PARTS = DAY, TEAM, MODEL = tuple(UsagePart)
BERLIN = ZoneInfo("Europe/Berlin")
SANTIAGO = ZoneInfo("America/Santiago")
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC).timestamp()


def a_row(day: str, team: str = "blue", model: str = "m", **counters: int) -> Usage:
    at = datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()
    return Usage(team, model, windows_at(at, UTC).day, **counters)


def january() -> Period:
    return Period(date(2026, 1, 1), date(2026, 1, 31), UTC)


ROWS = (
    a_row("2026-01-02", "green", spent_usd_micros=1, started=1),
    a_row("2026-01-01", "green", "other", spent_usd_micros=2, hits=3, saved_hit_usd_micros=5),
    a_row("2026-01-01", "blue", spent_usd_micros=333_333, images_generated=2),
    a_row("2026-01-02", "blue", spent_usd_micros=666_667, joined=1, saved_joined_usd_micros=7),
)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    one = SqliteLedger(tmp_path / "ledger.db")
    await one.open()
    yield one
    await one.close()


# --- days ----------------------------------------------------------------------------------------


def test_without_days_it_is_this_month_up_to_today() -> None:
    assert period(None, None, now=NOON, zone=UTC) == Period(
        date(2026, 1, 1), date(2026, 1, 15), UTC
    )


def test_today_is_that_of_the_operators_zone() -> None:
    late = datetime(2026, 1, 31, 23, 30, tzinfo=UTC).timestamp()
    assert period(None, None, now=late, zone=BERLIN).last == date(2026, 2, 1)


def test_a_last_day_alone_begins_with_its_month() -> None:
    assert period(None, "2025-11-30", now=NOON, zone=UTC).first == date(2025, 11, 1)


@pytest.mark.parametrize("zone", [UTC, BERLIN, SANTIAGO])
def test_days_lie_side_by_side_also_when_clocks_change(zone: Any) -> None:
    """Berlin's 29 March 2026 has 23 hours; in Santiago midnight itself is skipped, or is twice."""
    for first, then in [
        ("2026-03-29", "2026-03-30"),
        ("2026-10-25", "2026-10-26"),
        ("2026-04-04", "2026-04-05"),
        ("2026-09-05", "2026-09-06"),
        ("2026-09-06", "2026-09-07"),
    ]:
        days = period(first, first, now=NOON, zone=zone)
        assert days.until == period(then, then, now=NOON, zone=zone).since
        for at in (days.since, days.until - 1):
            assert windows_at(at, zone).day == days.since
            row = Usage("blue", "m", windows_at(at, zone).day, hits=1)
            assert grouped([row], days, (DAY,)).lines[0].day == date.fromisoformat(first)


@pytest.mark.parametrize(
    ("first", "last", "param"),
    [
        ("2026-02-01", "2026-01-31", "from"),
        ("some-day", None, "from"),
        (None, "2026-1-31", "to"),
        (None, "20260131", "to"),
        ("2026-02-30", None, "from"),
        ("0001-01-01", None, "from"),
        (None, "9999-12-31", "to"),
        ("2000-01-01", "2026-01-01", "from"),
    ],
)
def test_days_that_are_none_are_refused(first: str | None, last: str | None, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        period(first, last, now=NOON, zone=UTC)
    assert refused.value.param == param


# --- sums ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ((TEAM,), [("blue",), ("green",)]),
        ((MODEL,), [("m",), ("other",)]),
        ((DAY,), [("2026-01-01",), ("2026-01-02",)]),
        (
            (TEAM, DAY),
            [
                ("blue", "2026-01-01"),
                ("blue", "2026-01-02"),
                ("green", "2026-01-01"),
                ("green", "2026-01-02"),
            ],
        ),
        (
            (MODEL, TEAM, DAY),
            [
                ("m", "blue", "2026-01-01"),
                ("m", "blue", "2026-01-02"),
                ("m", "green", "2026-01-02"),
                ("other", "green", "2026-01-01"),
            ],
        ),
    ],
)
def test_rows_are_summed_and_sorted_by_what_is_asked(
    by: tuple[UsagePart, ...], keys: Sequence[tuple[str, ...]]
) -> None:
    found = grouped(ROWS, january(), by)
    shown = shape(found)
    assert [tuple(str(row.get(part)) for part in by) for row in shown["data"]] == keys
    assert all(set(row) & set(PARTS) == set(by) for row in shown["data"])
    assert shown["totals"]["spent_usd"] == 1.000003
    assert found.totals.spent_usd_micros == sum(line.usage.spent_usd_micros for line in found.lines)


def test_a_million_small_amounts_are_summed_before_they_are_converted() -> None:
    rows = [a_row("2026-01-01", spent_usd_micros=100_001)] * 100_000
    assert shape(grouped(rows, january(), (TEAM,)))["totals"]["spent_usd"] == 10_000.1


def test_nothing_is_a_report_too() -> None:
    shown = shape(grouped([], january(), PARTS))
    assert shown["data"] == []
    assert set(shown["totals"].values()) == {0}
    assert (shown["from"], shown["to"], shown["timezone"]) == ("2026-01-01", "2026-01-31", "UTC")


async def test_too_many_rows_are_refused_with_advice(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_ROWS", 3)
    await ledger.transact(Keys(), lambda _: (None, Writes(usage=ROWS)))
    assert len((await report(ledger, january(), (TEAM, MODEL))).lines) == 3
    with pytest.raises(InvalidRequest, match="Narrow it"):
        await report(ledger, january(), PARTS)


async def test_a_long_time_is_read_in_parts_that_leave_no_day_out(ledger: SqliteLedger) -> None:
    first = date(2024, 12, 15)
    days = [first + timedelta(days=number) for number in range(500)]
    rows = tuple(a_row(day.isoformat(), hits=1) for day in days)
    await ledger.transact(Keys(), lambda _: (None, Writes(usage=rows)))
    found = await report(ledger, Period(days[1], days[-2], UTC), (DAY,))
    assert [line.day for line in found.lines] == days[1:-1]
    assert found.totals.hits == 498
    assert (await report(ledger, Period(days[1], days[-2], UTC), (TEAM,))).totals.hits == 498


# --- what it is told apart by --------------------------------------------------------------------


def test_by_names_some_parts_in_any_order() -> None:
    assert read_by("model, day", PARTS) == (MODEL, DAY)


@pytest.mark.parametrize("by", ["month", "day,day", "day,", ",", "day,team,model,day"])
def test_by_that_names_anything_else_is_refused(by: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_by(by, PARTS)
    assert refused.value.param == "by"


# --- CSV -----------------------------------------------------------------------------------------


def test_csv_has_the_rows_and_columns_of_the_json() -> None:
    found = grouped(ROWS, january(), (TEAM, DAY))
    read = list(csv.DictReader(io.StringIO(as_csv(found), newline="")))
    shown = shape(found)["data"]
    assert list(read[0]) == [*found.by, *(name for name in shown[0] if name not in PARTS)]
    for row, line in zip(read, shown, strict=True):
        for name, value in line.items():
            if isinstance(value, float):
                assert float(row[name]) == value
                assert len(row[name].partition(".")[2]) == 6
            else:
                assert row[name] == str(value)


def test_csv_quotes_what_would_break_a_row() -> None:
    rows = [a_row("2026-01-01", 'a "b", c\nd', hits=1)]
    read = list(csv.reader(io.StringIO(as_csv(grouped(rows, january(), (TEAM,))), newline="")))
    assert len(read) == 2
    assert read[1][:2] == ['a "b", c\nd', "1"]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "\n=1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"
    text = as_csv(grouped([a_row("2026-01-01", cell)], january(), (TEAM,)))
    assert next(csv.DictReader(io.StringIO(text, newline="")))["team"] == f"'{cell}"


def test_a_plain_cell_stays_as_it_is() -> None:
    assert harmless("gpt-image-1.5") == "gpt-image-1.5"
