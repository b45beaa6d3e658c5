"""How a setting with a number in it is read: whole numbers, durations, sizes, money.

Every reader takes what stands in the file (text) or a Python value of the right type, returns
the typed value, and raises ValueError with a sentence that says what would be right. The
`show_` functions are their inverses. It must not know any setting's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from gateway.config.words import shown

DURATION_MILLIS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SIZE_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "KiB": 2**10,
    "MB": 10**6,
    "MiB": 2**20,
    "GB": 10**9,
    "GiB": 2**30,
    "TB": 10**12,
    "TiB": 2**40,
}
WHOLE = re.compile(r"0|[1-9][0-9]{0,14}")
NUMBER_UNIT = re.compile(r"((?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,12})?)([A-Za-z]*)")
AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]+)?")


def whole(low: int, high: int) -> Callable[[object], int]:
    """A reader of whole numbers from `low` to `high`, both included."""

    def read(value: object) -> int:
        if isinstance(value, str) and WHOLE.fullmatch(value):
            number = int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            raise ValueError(f"must be a whole number, not {shown(value)}")
        if not low <= number <= high:
            raise ValueError(f"must be between {low} and {high}, not {shown(value)}")
        return number

    return read


def duration(low: str, high: str) -> Callable[[object], float]:
    """A reader of durations, in seconds, from `low` to `high`, both included."""
    limits = seconds(low), seconds(high)

    def read(value: object) -> float:
        number = seconds(value)
        if not limits[0] <= number <= limits[1]:
            raise ValueError(f"must be between {low} and {high}, not {shown(value)}")
        return number

    return read


def seconds(value: object) -> float:
    """`3s`, `250ms`, `15m`, `2h`, `30d`, or plain seconds, to whole milliseconds."""
    millis = _scaled(value, DURATION_MILLIS, plain=1000)
    if millis is None:
        raise ValueError(f"must be a duration such as 250ms, 3s, 15m or 30d, not {shown(value)}")
    return millis / 1000


def show_seconds(value: float) -> str:
    """The duration in the largest unit that gives a whole number."""
    millis = round(value * 1000)
    fits = [unit for unit, scale in DURATION_MILLIS.items() if millis % scale == 0]
    return f"{millis // DURATION_MILLIS[fits[-1]]}{fits[-1]}" if millis else "0s"


def size(low: str, high: str) -> Callable[[object], int]:
    """A reader of sizes, in bytes, from `low` to `high`, both included."""
    limits = size_bytes(low), size_bytes(high)

    def read(value: object) -> int:
        number = size_bytes(value)
        if not limits[0] <= number <= limits[1]:
            raise ValueError(f"must be between {low} and {high}, not {shown(value)}")
        return number

    return read


def size_bytes(value: object) -> int:
    """`500MB`, `1GB` (powers of 1000), `1MiB` (powers of 1024), or plain bytes."""
    number = _scaled(value, SIZE_BYTES, plain=1)
    if number is None:
        raise ValueError(f"must be a size such as 500MB, 1GB or 1MiB, not {shown(value)}")
    return number


def show_size(value: int) -> str:
    """The size in the largest unit that gives a whole number."""
    fits = [unit for unit, scale in SIZE_BYTES.items() if value % scale == 0]
    return f"{value // SIZE_BYTES[fits[-1]]}{fits[-1]}" if value else "0B"


def usd_micros(value: object) -> int:
    """US dollars, at most six decimals, to exact micro-dollars."""
    written = _amount_text(value)
    if written.startswith("-"):
        raise ValueError(f"must not be negative: {shown(value)}")
    if not AMOUNT.fullmatch(written):
        raise ValueError(f"must be an amount in US dollars such as 0.013, not {shown(value)}")
    if len(written.partition(".")[2]) > 6:
        raise ValueError(f"must have at most 6 decimals, not {shown(value)}")
    return int(Decimal(written) * 1_000_000)


def usd_micros_above_zero(value: object) -> int:
    """The same where nothing makes no sense: a cap, the worth of a credit."""
    micros = usd_micros(value)
    if micros == 0:
        raise ValueError("must be more than 0")
    return micros


def percent(value: object) -> int:
    """`80%` or 80: a whole number of percent from 1 to 100."""
    written = value.removesuffix("%") if isinstance(value, str) else value
    try:
        return whole(1, 100)(written)
    except ValueError:
        raise ValueError(f"must be a percentage from 1% to 100%, not {shown(value)}") from None


def show_percent(value: int) -> str:
    return f"{value}%"


def show_usd(micros: int) -> Decimal:
    """Exact US dollars, without useless zeros and without an exponent."""
    dollars, rest = divmod(micros, 1_000_000)
    return Decimal(f"{dollars}.{rest:06d}".rstrip("0").rstrip("."))


def _scaled(value: object, scales: dict[str, int], *, plain: int) -> int | None:
    """The number times its unit's scale, or None when it is not written so or not whole."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = NUMBER_UNIT.fullmatch(str(value))
    if found is None or (found[2] and found[2] not in scales):
        return None
    scaled = Decimal(found[1]) * (scales[found[2]] if found[2] else plain)
    return int(scaled) if scaled == int(scaled) else None


def _amount_text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"must be an amount in US dollars such as 0.013, not {shown(value)}")
    return format(Decimal(str(value)), "f") if isinstance(value, float) else str(value)
