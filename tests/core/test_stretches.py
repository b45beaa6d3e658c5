"""Words for stretches of time: the days they mean in the zone given, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest

from gateway.core.stretches import Days, read_begin, read_days, read_end

BERLIN = ZoneInfo("Europe/Berlin")
SANTIAGO = ZoneInfo("America/Santiago")
NOON = datetime(2026, 3, 11, 12, tzinfo=UTC).timestamp()  # a Wednesday


def at(text: str, zone: tzinfo = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-01-31", "2026-01-31", "2026-01-31"),
        ("today", "2026-03-11", "2026-03-11"),
        ("Yesterday", "2026-03-10", "2026-03-10"),
        ("0d", "2026-03-11", "2026-03-11"),
        ("7d", "2026-03-04", "2026-03-04"),
        ("2w", "2026-02-25", "2026-02-25"),
        ("this-week", "2026-03-09", "2026-03-15"),
        ("last-week", "2026-03-02", "2026-03-08"),
        ("this-month", "2026-03-01", "2026-03-31"),
        ("last-month", "2026-02-01", "2026-02-28"),
        ("2028-02", "2028-02-01", "2028-02-29"),
        ("2026-12", "2026-12-01", "2026-12-31"),
    ],
)
def test_words_mean_whole_days(text: str, first: str, last: str) -> None:
    found = read_days(text, now=NOON, zone=UTC)
    assert found == Days(date.fromisoformat(first), date.fromisoformat(last))
    assert read_begin(text, now=NOON, zone=UTC) == at(f"{first}T00:00:00")
    assert read_end(text, now=NOON, zone=UTC) == at(f"{last}T00:00:00") + 86_400


def test_yesterday_is_that_of_the_zone() -> None:
    late = at("2026-01-31T23:30:00")
    assert read_days("yesterday", now=late, zone=UTC).first == date(2026, 1, 30)
    assert read_days("yesterday", now=late, zone=BERLIN).first == date(2026, 1, 31)
    assert read_days("last-month", now=late, zone=BERLIN).last == date(2026, 1, 31)


def test_a_day_may_have_23_hours_or_no_midnight() -> None:
    now = at("2026-03-30T09:00:00", BERLIN)
    assert (
        read_end("yesterday", now=now, zone=BERLIN) - read_begin("yesterday", now=now, zone=BERLIN)
        == 23 * 3600
    )
    spring = {"now": at("2026-09-07T09:00:00", SANTIAGO), "zone": SANTIAGO}
    assert read_end("2d", **spring) == read_begin("1d", **spring)


def test_hours_and_minutes_are_instants() -> None:
    for read in (read_begin, read_end):
        assert read("24h", now=NOON, zone=BERLIN) == NOON - 86_400
        assert read("30m", now=NOON, zone=BERLIN) == NOON - 1800
        assert read("999999h", now=NOON, zone=BERLIN) == 0
        assert read("2026-01-31T12:00:00Z", now=NOON, zone=BERLIN) == at("2026-01-31T12:00:00")
        assert read("2026-01-31T12:00", now=NOON, zone=BERLIN) == at("2026-01-31T11:00:00")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "soon", "-7d", "7", "d", "7y", "9999999d", "999999w", "2026-13", "2026-00", "2026",
        "0001-01", "9999-12-31", "2026-02-30", "20260131", "next-week", "7d7d", "\u0667d",
        "2026-01-31T99:00:00Z", "1e3d",
    ],
)  # fmt: skip
def test_what_names_no_time_is_refused(text: str) -> None:
    for read in (read_begin, read_end):
        with pytest.raises(ValueError):
            read(text, now=NOON, zone=BERLIN)


def test_hours_are_no_days() -> None:
    with pytest.raises(ValueError):
        read_days("24h", now=NOON, zone=UTC)
