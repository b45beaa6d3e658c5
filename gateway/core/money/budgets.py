"""Calendar windows, caps, and what a denial says.

A cap is kept when spent + held + asked ≤ limit in every window at once. Windows are those of
the operator's time zone: a day starts at local midnight, a week on Monday, a month on the 1st.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from gateway.core.instants import NEVER
from gateway.core.money.accounts import (
    FOREVER,
    Account,
    AccountKey,
    Amounts,
    Cap,
    Measure,
    Window,
    Windows,
)
from gateway.core.money.usd import show_usd

LIVE_RETRY_SECONDS: Final = 5.0
"""When a run slot frees is unknown; this is about the time of one picture."""


@lru_cache(maxsize=64)
def windows_at(now: float, zone: tzinfo) -> Windows:
    """The calendar windows that `now` (Unix seconds) lies in.

    Remembered: whoever asks for a whole second shares it with all orders of that second.
    Minutes and hours are counted from local midnight, since there are zones 30 minutes off.
    So they keep their length when clocks change, and only a day's last one may be cut short.
    """
    today = datetime.fromtimestamp(now, zone).date()
    day = midnight(today, zone)
    passed = int(now) - day
    return Windows(
        minute=int(now) - passed % 60,
        hour=int(now) - passed % 3600,
        day=day,
        week=midnight(today - timedelta(days=today.weekday()), zone),
        month=midnight(today.replace(day=1), zone),
    )


def resets_at(window: Window, now: float, zone: tzinfo) -> float:
    """When the window that `now` lies in ends; infinity for `total`."""
    if window is Window.TOTAL:
        return NEVER
    today = datetime.fromtimestamp(now, zone).date()
    if window is Window.MONTH:
        return midnight((today.replace(day=1) + timedelta(days=32)).replace(day=1), zone)
    if window is Window.WEEK:
        return midnight(today + timedelta(days=7 - today.weekday()), zone)
    tomorrow = midnight(today + timedelta(days=1), zone)
    if window is Window.DAY:
        return tomorrow
    length_seconds = 60 if window is Window.MINUTE else 3600
    return min(windows_at(now, zone).start(window) + length_seconds, tomorrow)


@lru_cache(maxsize=1024)
def account_keys(team: str, at: float, zone: tzinfo) -> tuple[AccountKey, ...]:
    """The team's account of each window that `at` (Unix seconds) lies in.

    Remembered, since an order asks several times, and each event of a run again.
    """
    windows = windows_at(at, zone)
    return tuple(
        AccountKey(team, window, windows.start(window), _end(window, at, zone)) for window in Window
    )


def _end(window: Window, at: float, zone: tzinfo) -> int:
    return FOREVER if window is Window.TOTAL else int(resets_at(window, at, zone))


class ZoneChanged(Exception):
    """The windows that a decision was to look at are no longer those in force: ask anew."""


def midnight(day: date, zone: tzinfo) -> int:
    """When a local day begins: its first midnight, or where that is skipped, when clocks jump."""
    return int(datetime.combine(day, time(), zone).timestamp())


@dataclass(frozen=True, slots=True)
class Standing:
    """How a team stands with one of its caps. Micro-dollars for `usd`, else counts.

    `renews_at` is infinity for a cap that does not renew, and for one on runs at a time.
    """

    cap: Cap
    spent: int
    held: int
    renews_at: float

    @property
    def used(self) -> int:
        return self.spent + self.held

    @property
    def left(self) -> int:
        return max(0, self.cap.limit - self.used)

    def lacks_room_for(self, asked: Amounts) -> bool:
        """Whether an order of so much would break the limit."""
        return self.used + _measured(self.cap, asked) > self.cap.limit


def standings(
    caps: Iterable[Cap],
    accounts: Mapping[AccountKey, Account],
    renews_at: Callable[[Window], float],
) -> Sequence[Standing]:
    """The standing of each cap, in their order; `accounts` are one team's, of these windows."""
    by_window = {key.window: account for key, account in accounts.items()}
    return [_standing(cap, by_window[cap.window], renews_at) for cap in caps]


@dataclass(frozen=True, slots=True)
class Left:
    """What a team has left of its money, and of the paid runs that it may begin in this minute.

    `usd_micros` is what the tightest of its budgets leaves; None: it has no budget. `runs`: its
    limit of runs in a minute, and how it stands with it; None: it has none. `passed_usd_micros` is
    how far that budget is passed already, as in shadow mode.
    """

    usd_micros: int | None = None
    runs: Standing | None = None
    passed_usd_micros: int = field(default=0, compare=False)

    def freed(self, usd_micros: int) -> Left:
        """Once an order that counts in every budget has come to so much less."""
        if self.usd_micros is None:
            return self
        return _left(self.usd_micros - self.passed_usd_micros + usd_micros, self.runs)


TOLD_OF: Final = frozenset({Measure.USD, Measure.RUNS})
"""The measures that `Left` tells of."""


def left(caps: Iterable[Cap], accounts: Mapping[AccountKey, Account]) -> Left:
    """By the accounts that there are, each of its window; a cap without one is not told of."""
    by_window = {key.window: account for key, account in accounts.items()}
    balance, runs = None, None
    for cap in caps:
        account = by_window.get(cap.window) if cap.measure in TOLD_OF else None
        if account is None:
            continue
        one = _accumulated(cap, account, account.key.end)
        if cap.measure is Measure.RUNS:
            runs = runs or one
        elif balance is None or cap.limit - one.used < balance:
            balance = cap.limit - one.used
    return _left(balance, runs)


def _left(balance: int | None, runs: Standing | None) -> Left:
    if balance is None:
        return Left(None, runs)
    return Left(max(0, balance), runs, max(0, -balance))


def _standing(cap: Cap, account: Account, renews_at: Callable[[Window], float]) -> Standing:
    if cap.measure is Measure.LIVE:
        return Standing(cap, 0, account.held.runs, NEVER)
    return _accumulated(cap, account, renews_at(cap.window))


def _accumulated(cap: Cap, account: Account, renews_at: float) -> Standing:
    spent, held = _measured(cap, account.spent), _measured(cap, account.held)
    return Standing(cap, spent, held, renews_at)


def _measured(cap: Cap, amounts: Amounts) -> int:
    if cap.measure is Measure.USD:
        return amounts.usd_micros
    return amounts.images if cap.measure is Measure.IMAGES else amounts.runs


@dataclass(frozen=True, slots=True)
class Excess:
    """A cap that an order would break: what there is, what it asks, and when it frees.

    Amounts are micro-dollars for `usd`, else counts. `frees_at` is infinity when waiting
    cannot help.
    """

    cap: Cap
    used: int
    asked: int
    frees_at: float

    @property
    def sentence(self) -> str:
        left = max(0, self.cap.limit - self.used)
        asked, left_told = amount_told(self.cap, self.asked), amount_told(self.cap, left)
        return (
            f"The team's limit of {limit_told(self.cap)} would be exceeded: "
            f"this request needs {asked} and {left_told} is left."
        )


def amount_told(cap: Cap, amount: int) -> str:
    """An amount of what the cap counts: `$12.50`, or a number."""
    return show_usd(amount) if cap.measure is Measure.USD else str(amount)


def limit_told(cap: Cap) -> str:
    """`$50.00 per day`, `200 pictures in total`, `4 runs at a time for this team`."""
    unit = {
        Measure.USD: "",
        Measure.IMAGES: " pictures",
        Measure.RUNS: " runs",
        Measure.LIVE: " runs at a time",
    }[cap.measure]
    per = "in total" if cap.window is Window.TOTAL else f"per {cap.window}"
    if cap.measure is Measure.LIVE:
        per = "for this team"
    return f"{amount_told(cap, cap.limit)}{unit} {per}"


def first_excess(
    caps: Iterable[Cap],
    accounts: Mapping[AccountKey, Account],
    asked: Amounts,
    *,
    now: float,
    renews_at: Callable[[Window], float],
) -> Excess | None:
    """The broken cap that frees last, since before that the order cannot pass; None: it fits."""
    excesses = [
        Excess(one.cap, one.used, need, _frees_at(one.cap, need, now, renews_at))
        for one in standings(caps, accounts, renews_at)
        if one.lacks_room_for(asked)
        for need in [_measured(one.cap, asked)]
    ]
    return max(excesses, key=lambda excess: excess.frees_at, default=None)


def _frees_at(cap: Cap, need: int, now: float, renews_at: Callable[[Window], float]) -> float:
    if need > cap.limit:
        return NEVER
    if cap.measure is Measure.LIVE:
        return now + LIVE_RETRY_SECONDS
    return renews_at(cap.window)
