"""What the figures are to be on a quiet machine of two cores; each row says whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.rows import Row


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure of a case at 16 connections, or of all its rows: no less, or no more."""

    case: str
    figure: str
    least: float | None = None
    most: float | None = None
    what: str = ""

    def holds(self, value: float) -> bool:
        return (self.least or 0) <= value <= (self.most or float("inf"))

    def told(self) -> str:
        bound = f"≥ {self.least:g}" if self.least else f"≤ {self.most:g}"
        return f"{self.figure.removesuffix('_us').removesuffix('_ms').replace('_', ' ')} {bound}"


SIXTEEN: Final = "16 connections"
AIMS: Final = (
    Aim("hit", "rate", least=0.30, what=SIXTEEN),
    Aim("poll", "rate", least=0.65, what=SIXTEEN),
    Aim("304", "rate", least=0.80, what=SIXTEEN),
    Aim("picture-files", "rate", least=0.90, what=SIXTEEN),
    Aim("submit", "rate", least=0.60, what=SIXTEEN),
    Aim("submit", "p99_of_p50", most=5, what=SIXTEEN),
    Aim("order", "cpu_us", most=4_000),
    Aim("order-polled", "cpu_us", most=4_000 + 7 * 1_000),
    Aim("start", "p50_ms", most=900),
    Aim("start", "mib", most=90),
    Aim("ledger", "cost", most=1.2),
)


def compared(rows: Sequence[Row]) -> None:
    """Notes at each row that has an aim what it is, and whether it is missed."""
    for row in rows:
        for aim in AIMS:
            if aim.case != row.case.partition(",")[0] or aim.what not in ("", row.what):
                continue
            value = _value(row, aim.figure)
            if value is not None:
                told = f"aim {aim.told()}{'' if aim.holds(value) else ': missed'}"
                row.note = "; ".join(note for note in (row.note, told) if note)


def _value(row: Row, figure: str) -> float | None:
    if figure == "p99_of_p50":
        return row.p99_ms / row.p50_ms if row.beside and row.p99_ms and row.p50_ms else None
    value: float | None = getattr(row, figure)
    return value
