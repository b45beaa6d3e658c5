"""Settings with a number in them: how each kind is read, its bounds, and how it is shown again.

Every reader takes what stands in the file (text) or a Python value of the right type, returns
the typed value, and raises ValueError with a sentence that says what would be right. The
`show_` functions are their inverses; the types at the end join the two. It must not know any
setting's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer

from gateway.config.words import shown

N = TypeVar("N", int, float)

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


def bounded(read: Callable[[object], N], low: object, high: object) -> Callable[[object], N]:
    """A reader of what `read` reads, from `low` to `high`, both included."""
    least, most = read(low), read(high)

    def read_within(value: object) -> N:
        number = read(value)
        if not least <= number <= most:
            raise ValueError(f"must be between {low} and {high}, not {shown(value)}")
        return number

    return read_within


def whole(value: object) -> int:
    if isinstance(value, str) and WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"must be a whole number, not {shown(value)}")


def seconds(value: object) -> float:
    """`3s`, `250ms`, `15m`, `2h`, `30d`, or plain seconds, to whole milliseconds."""
    millis = _scaled(value, DURATION_MILLIS, plain=1000)
    if millis is None:
        raise ValueError(f"must be a duration such as 250ms, 3s, 15m or 30d, not {shown(value)}")
    return millis / 1000


def show_seconds(value: float) -> str:
    return _in_largest_unit(round(value * 1000), DURATION_MILLIS, nothing="0s")


def size_bytes(value: object) -> int:
    """`500MB`, `1GB` (powers of 1000), `1MiB` (powers of 1024), or plain bytes."""
    number = _scaled(value, SIZE_BYTES, plain=1)
    if number is None:
        raise ValueError(f"must be a size such as 500MB, 1GB or 1MiB, not {shown(value)}")
    return number


def show_size(value: int) -> str:
    return _in_largest_unit(value, SIZE_BYTES, nothing="0B")


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


def usd_rate(value: object) -> float:
    """US dollars for a million of something: as exact as an amount of money."""
    return usd_micros(value) / 1_000_000


def show_rate(value: float) -> Decimal:
    return show_usd(round(value * 1_000_000))


def percent(value: object) -> int:
    """`80%` or 80: a whole number of percent from 1 to 100."""
    written = value.removesuffix("%") if isinstance(value, str) else value
    try:
        return bounded(whole, 1, 100)(written)
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


def _in_largest_unit(number: int, scales: dict[str, int], *, nothing: str) -> str:
    """In the largest unit that gives a whole number."""
    unit = [unit for unit, scale in scales.items() if number % scale == 0][-1]
    return f"{number // scales[unit]}{unit}" if number else nothing


def _amount_text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"must be an amount in US dollars such as 0.013, not {shown(value)}")
    return format(Decimal(str(value)), "f") if isinstance(value, float) else str(value)


# --- the types -----------------------------------------------------------------------------------


def an_int(low: int, high: int) -> Any:
    """The type of a whole number from `low` to `high`, to stand in `Annotated[int, ...]`."""
    said = Annotated[int, Field(ge=low, le=high)]
    return BeforeValidator(bounded(whole, low, high), json_schema_input_type=said)


_SHOW_SECONDS = PlainSerializer(show_seconds)
_SHOW_BYTES = PlainSerializer(show_size)
_SHOW_USD = PlainSerializer(show_usd)
Seconds = Annotated[float, BeforeValidator(bounded(seconds, "1ms", "1d")), _SHOW_SECONDS]
SecondsOrNone = Annotated[float, BeforeValidator(bounded(seconds, "0s", "1d")), _SHOW_SECONDS]
WholeDays = Annotated[float, BeforeValidator(bounded(seconds, "1d", "36500d")), _SHOW_SECONDS]
Days = Annotated[float, BeforeValidator(bounded(seconds, "1s", "36500d")), _SHOW_SECONDS]
Bytes = Annotated[int, BeforeValidator(bounded(size_bytes, "1KB", "1000TB")), _SHOW_BYTES]
BodyBytes = Annotated[int, BeforeValidator(bounded(size_bytes, "1KB", "64MiB")), _SHOW_BYTES]
UploadBytes = Annotated[int, BeforeValidator(bounded(size_bytes, "1KB", "1GB")), _SHOW_BYTES]
TeamBytes = Annotated[int, BeforeValidator(bounded(size_bytes, "50MB", "1000TB")), _SHOW_BYTES]
BytesOrNone = Annotated[int, BeforeValidator(bounded(size_bytes, "0B", "1000TB")), _SHOW_BYTES]
Price = Annotated[int, BeforeValidator(usd_micros), _SHOW_USD]
Rate = Annotated[float, BeforeValidator(usd_rate), PlainSerializer(show_rate)]
MoneyAboveZero = Annotated[
    int,
    BeforeValidator(usd_micros_above_zero, json_schema_input_type=Annotated[float, Field(gt=0)]),
    _SHOW_USD,
]
Percent = Annotated[int, BeforeValidator(percent), PlainSerializer(show_percent)]
Count = Annotated[int, an_int(1, 1_000_000_000)]
