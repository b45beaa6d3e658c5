"""Micro-dollars, which money is everywhere, as the dollars of JSON, of reports and of sentences."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from gateway.core.money.accounts import USD_MICROS


def dollars(micros: int) -> float:
    """As a number of JSON."""
    return micros / USD_MICROS


def exact_usd(micros: int) -> str:
    """`12.500000`: all six decimals, so that nothing is lost and columns line up."""
    return f"{Decimal(micros).scaleb(-6):.6f}"


def show_usd(micros: int, *, thousands: Literal["", ","] = "", step: Literal[1, 2] = 1) -> str:
    """`$12.50`, `$0.013`: the decimals that it needs, at least two.

    `thousands` is put between them. With a `step` of 2 there are two, four or six decimals.
    """
    decimals = next(count for count in range(2, 7, step) if micros % 10 ** (6 - count) == 0)
    sign = "-" if micros < 0 else ""
    return f"{sign}${abs(micros) / USD_MICROS:{thousands}.{decimals}f}"
