"""The records of money and counts: what is held and spent, by whom, in which window.

All are frozen values. Money is integer micro-dollars (1 USD = 1,000,000), times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

USD_MICROS = 1_000_000

FOREVER: Final = 253_402_300_800
"""The end of the one window of `total` (Unix seconds): the year 10000."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a run holds or has spent: money, pictures and run slots together."""

    usd_micros: int = 0
    images: int = 0
    runs: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.usd_micros + other.usd_micros, self.images + other.images, self.runs + other.runs
        )

    def __sub__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.usd_micros - other.usd_micros, self.images - other.images, self.runs - other.runs
        )

    def __bool__(self) -> bool:
        return bool(self.usd_micros or self.images or self.runs)


NOTHING = Amounts()


class Window(StrEnum):
    """A calendar window of the operator's time zone. `total` has one window, for ever."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Windows:
    """The start (Unix seconds) of each calendar window that one instant lies in."""

    minute: int
    hour: int
    day: int
    week: int
    month: int

    def start(self, window: Window) -> int:
        return 0 if window is Window.TOTAL else int(getattr(self, window.value))


LONGEST_SECONDS: Final[Mapping[Window, int]] = {
    Window.MINUTE: 60,
    Window.HOUR: 3600,
    Window.DAY: 49 * 3600,
    Window.WEEK: 9 * 86_400,
    Window.MONTH: 33 * 86_400,
    Window.TOTAL: FOREVER,
}
"""How long a window is at most: clocks are set back, and a date-line may repeat a whole day."""


class AccountKey(NamedTuple):
    """One team's account of the time from `start` to before `end` (Unix seconds).

    Where a window begins and ends is the zone's business. To the account only the time counts, so
    it stays right whatever zone comes to be in force. A decision looks a dozen times for accounts:
    as a dataclass the key took 5 µs of an answer from the cache to be hashed.
    """

    team: str
    window: Window
    start: int
    end: int

    def covers(self, team: str, at: float) -> bool:
        """Whether what the team ordered then is counted here."""
        return self.team == team and self.start <= at < self.end


@dataclass(frozen=True, slots=True)
class Account:
    """One team's spent and held amounts in one budget window.

    `held` is the sum of the holds of the runs created in that time, `spent` the sum of what
    they really cost; both change only together with those runs.
    """

    key: AccountKey
    spent: Amounts = NOTHING
    held: Amounts = NOTHING


class Measure(StrEnum):
    """What a cap counts. `live` is runs going on at this moment; the others accumulate."""

    USD = "usd"
    IMAGES = "images"
    RUNS = "runs"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit on one measure in one window. `limit` is micro-dollars for `usd`, else a count."""

    measure: Measure
    window: Window
    limit: int

    @property
    def rule(self) -> str:
        """The rule's name in denials, logs and metrics, such as `usd_per_day`."""
        if self.measure is Measure.LIVE:
            return "concurrent_runs"
        if self.window is Window.TOTAL:
            return f"{self.measure}_total"
        return f"{self.measure}_per_{self.window}"
