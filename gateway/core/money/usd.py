"""Micro-dollars, which money is everywhere, as the dollars of JSON, of reports and of sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from gateway.core.money.accounts import USD_MICROS


def dollars(micros: int) -> float:
    """As a number of JSON."""
    return micros / USD_MICROS


def exact_usd(micros: int) -> str:
    """`12.500000`: all six decimals, so that nothing is lost and columns line up."""
    whole, rest = divmod(abs(micros), USD_MICROS)
    return f"{'-' if micros < 0 else ''}{whole}.{rest:06d}"


def decimals_of(amounts: Iterable[int]) -> int:
    """The decimals that these amounts need to be exact under each other: at least two."""
    return max((_decimals(micros) for micros in amounts), default=2)


def show_usd(micros: int, *, thousands: Literal["", ","] = "", decimals: int = 2) -> str:
    """`$12.50`, `$0.013`: the decimals that it needs, and at least these many.

    `thousands` is put between them. What stands in one column has the `decimals_of` all of it.
    """
    shown = max(decimals, _decimals(micros))
    sign = "-" if micros < 0 else ""
    return f"{sign}${abs(micros) / USD_MICROS:{thousands}.{shown}f}"


def _decimals(micros: int) -> int:
    return next(count for count in range(2, 7) if micros % 10 ** (6 - count) == 0)
