"""Calendar windows in every kind of zone, and which caps an order would break."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from core_samples import STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.instants import NEVER, rfc3339
from gateway.core.money.accounts import Account, AccountKey, Amounts, Cap, Measure, Window
from gateway.core.money.budgets import Excess, first_excess, resets_at, windows_at

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",  # half an hour off
    "Pacific/Chatham",  # 45 minutes off, with summer time
    "Australia/Lord_Howe",  # its summer time is half an hour
    "America/Sao_Paulo",  # midnight was skipped until 2018
    "America/Havana",  # midnight comes twice
    "America/Scoresbysund",  # changes at midnight
    "America/Santiago",  # midnight is skipped
    "Asia/Beirut",
    "Africa/Cairo",
    "Africa/Casablanca",  # changes twice around Ramadan
    "Pacific/Apia",  # left out a whole day in 2011
    "Pacific/Kiritimati",
    "America/New_York",
)
CALENDAR = tuple(window for window in Window if window is not Window.TOTAL)
FIRST, LAST = (int(datetime(year, 6, 1, tzinfo=UTC).timestamp()) for year in (2011, 2037))
DAY = 86_400


@cache
def changes(zone_name: str) -> tuple[int, ...]:
    """The instants at which the zone's clocks change."""
    zone = ZoneInfo(zone_name)

    def offset(at: int) -> timedelta | None:
        return datetime.fromtimestamp(at, zone).utcoffset()

    found = []
    for start in range(FIRST, LAST, 20 * DAY):
        low, high = start, start + 20 * DAY
        if offset(low) != offset(high):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
            found.append(high)
    return tuple(found) or (FIRST,)


@st.composite
def instants(draw: st.DrawFn) -> tuple[ZoneInfo, float]:
    """A zone and a time in it, mostly near a change of its clocks."""
    name = draw(st.sampled_from(ZONES))
    near = st.builds(
        lambda at, by: float(at + by),
        st.sampled_from(changes(name)),
        st.integers(-2 * DAY, 2 * DAY)
        | st.sampled_from([-3601, -3600, -1801, -1800, -60, -1, 0, 1, 59, 1799, 1800, 3599, 3600]),
    )
    return ZoneInfo(name), draw(near | st.floats(FIRST, LAST))


@STEADY
@given(instants(), st.sampled_from(CALENDAR), st.floats(0, 1))
def test_windows_divide_time_without_gap_or_overlap(
    instant: tuple[ZoneInfo, float], window: Window, where: float
) -> None:
    zone, now = instant
    start, reset = windows_at(now, zone).start(window), resets_at(window, now, zone)
    assert start <= now < reset
    inside = min(start + where * (reset - start), reset - 0.001)
    for other in (float(start), inside):
        assert windows_at(other, zone).start(window) == start
        assert resets_at(window, other, zone) == reset
    assert windows_at(reset, zone).start(window) == reset
    assert windows_at(start - 1, zone).start(window) < start


@STEADY
@given(instants())
def test_windows_begin_where_the_calendar_says(instant: tuple[ZoneInfo, float]) -> None:
    zone, now = instant
    windows = windows_at(now, zone)

    def local(at: float) -> datetime:
        return datetime.fromtimestamp(at, zone)

    today = local(now).date()
    assert local(windows.day - 1).date() < local(windows.day).date() == today
    monday = today - timedelta(days=today.weekday())
    assert local(windows.week - 1).date() < monday <= local(windows.week).date()
    assert local(windows.month - 1).date() < today.replace(day=1) <= local(windows.month).date()
    assert (windows.hour - windows.day) % 3600 == 0
    assert (windows.minute - windows.hour) % 60 == 0
    assert resets_at(Window.HOUR, now, zone) - windows.hour <= 3600


@STEADY
@given(instants())
def test_the_total_has_one_window_for_ever(instant: tuple[ZoneInfo, float]) -> None:
    zone, now = instant
    assert windows_at(now, zone).start(Window.TOTAL) == 0
    assert resets_at(Window.TOTAL, now, zone) == NEVER


def test_an_ordinary_day_by_example() -> None:
    zone = ZoneInfo("Asia/Kolkata")
    now = datetime(2026, 7, 16, 10, 20, 30, 900_000, tzinfo=zone).timestamp()  # a Thursday
    windows = windows_at(now, zone)

    def at(month: int, day: int, hour: int = 0, minute: int = 0) -> int:
        return int(datetime(2026, month, day, hour, minute, tzinfo=zone).timestamp())

    assert windows.minute == at(7, 16, 10, 20)
    assert windows.hour == at(7, 16, 10)
    assert windows.day == at(7, 16)
    assert windows.week == at(7, 13)
    assert windows.month == at(7, 1)
    ends = [resets_at(window, now, zone) for window in CALENDAR]
    assert ends == [
        at(7, 16, 10, 21),
        at(7, 16, 11),
        at(7, 17),
        at(7, 20),
        at(8, 1),
    ]


@pytest.mark.parametrize(
    ("zone_name", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),
        ("America/Santiago", (2026, 9, 6), 23),  # begins at 01:00
    ],
)
def test_a_day_is_as_long_as_its_clocks_make_it(
    zone_name: str, day: tuple[int, int, int], hours: float
) -> None:
    zone = ZoneInfo(zone_name)
    noon = datetime(*day, 12, tzinfo=zone).timestamp()
    start = windows_at(noon, zone).day
    assert resets_at(Window.DAY, noon, zone) - start == hours * 3600


def test_an_hour_ends_with_its_day() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    late = datetime(2026, 4, 5, 23, 45, tzinfo=zone).timestamp()  # after 24 whole hours
    midnight = resets_at(Window.DAY, late, zone)
    assert windows_at(late, zone).hour == midnight - 1800
    assert resets_at(Window.HOUR, late, zone) == midnight
    assert resets_at(Window.HOUR, late - 3600, zone) == midnight - 1800


def test_a_december_ends_with_the_year() -> None:
    now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert {resets_at(w, now, UTC) for w in (Window.MINUTE, Window.DAY, Window.MONTH)} == {now + 1}


# --- caps ----------------------------------------------------------------------------------------

NOW = 1_767_312_037.5
RESETS = {window: resets_at(window, NOW, UTC) for window in Window}
SMALL = st.integers(0, 6)
amounts = st.builds(Amounts, SMALL, SMALL, SMALL)
caps = st.builds(Cap, st.sampled_from(Measure), st.sampled_from(Window), st.integers(0, 12))


def accounts_of(spent: Amounts, held: Amounts) -> dict[AccountKey, Account]:
    keys = [AccountKey("alpha", window, 0, 60) for window in Window]
    return {key: Account(key, spent, held) for key in keys}


def used(cap: Cap, spent: Amounts, held: Amounts) -> int:
    return {
        Measure.USD: spent.usd_micros + held.usd_micros,
        Measure.IMAGES: spent.images + held.images,
        Measure.RUNS: spent.runs + held.runs,
        Measure.LIVE: held.runs,
    }[cap.measure]


def needed(cap: Cap, asked: Amounts) -> int:
    return {Measure.USD: asked.usd_micros, Measure.IMAGES: asked.images}.get(
        cap.measure, asked.runs
    )


@STEADY
@given(st.lists(caps, max_size=5), amounts, amounts, amounts)
def test_an_order_passes_exactly_when_every_cap_holds(
    some: list[Cap], spent: Amounts, held: Amounts, asked: Amounts
) -> None:
    excess = first_excess(
        some, accounts_of(spent, held), asked, now=NOW, renews_at=RESETS.__getitem__
    )
    broken = [cap for cap in some if used(cap, spent, held) + needed(cap, asked) > cap.limit]
    assert (excess is None) == (not broken)
    if excess is None:
        return
    assert excess.cap in broken
    assert (excess.used, excess.asked) == (
        used(excess.cap, spent, held),
        needed(excess.cap, asked),
    )
    alone = [
        first_excess([cap], accounts_of(spent, held), asked, now=NOW, renews_at=RESETS.__getitem__)
        for cap in broken
    ]
    assert excess.frees_at == max(one.frees_at for one in alone if one)


def test_when_a_cap_frees() -> None:
    def frees(cap: Cap, asked: Amounts) -> float:
        full = accounts_of(Amounts(10, 10, 10), Amounts(0, 0, 10))
        excess = first_excess([cap], full, asked, now=NOW, renews_at=RESETS.__getitem__)
        assert excess is not None
        return excess.frees_at

    one = Amounts(1, 1, 1)
    assert frees(Cap(Measure.USD, Window.DAY, 10), one) == RESETS[Window.DAY]
    assert frees(Cap(Measure.RUNS, Window.MINUTE, 10), one) == RESETS[Window.MINUTE]
    assert frees(Cap(Measure.USD, Window.TOTAL, 10), one) == NEVER
    assert frees(Cap(Measure.IMAGES, Window.DAY, 10), Amounts(images=11)) == NEVER
    assert NOW < frees(Cap(Measure.LIVE, Window.TOTAL, 10), one) < NOW + 60


@pytest.mark.parametrize(
    ("excess", "sentence"),
    [
        (
            Excess(Cap(Measure.USD, Window.DAY, 50_000_000), 49_990_000, 13_000, NEVER),
            "The team's limit of $50.00 per day would be exceeded: "
            "this request needs $0.013 and $0.01 is left.",
        ),
        (
            Excess(Cap(Measure.IMAGES, Window.TOTAL, 5), 9, 2, NEVER),
            "The team's limit of 5 pictures in total would be exceeded: "
            "this request needs 2 and 0 is left.",
        ),
        (
            Excess(Cap(Measure.LIVE, Window.TOTAL, 3), 3, 1, NEVER),
            "The team's limit of 3 runs at a time for this team would be exceeded: "
            "this request needs 1 and 0 is left.",
        ),
    ],
)
def test_a_refusal_says_what_there_is(excess: Excess, sentence: str) -> None:
    assert excess.sentence == sentence


def test_times_are_told_in_utc() -> None:
    assert rfc3339(1_767_312_037.9) == "2026-01-02T00:00:37Z"
