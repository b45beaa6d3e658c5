"""What a bench tells: rows of figures, and a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HEAD: Final = (
    *("case", "at", "who", "a second", "p50 ms", "p99 ms", "CPU µs", "MiB"),
    *("rate", "cost", "of", ""),
)
FIRST_NUMBER, LAST_NUMBER = 3, 9


@dataclass(slots=True)
class Row:
    """One line. What was not measured is None; `void` are the reasons of windows that count not."""

    case: str
    what: str
    who: str = "gateway"
    per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us: float | None = None
    own_us: float | None = None
    """What the server's first process takes of that; None where it takes all of it."""
    mib: float | None = None
    rate: float | None = None
    """Of the rate, to the floor's."""
    cost: float | None = None
    """Of what one takes of the processor, to the floor's: it is true on a busy machine as well."""
    beside: str = ""
    """What the floor is."""
    note: str = ""
    void: tuple[str, ...] = ()

    def cells(self) -> tuple[str, ...]:
        notes = [self.note] if self.note else []
        if self.void:
            notes.append(f"{len(self.void)} void: {' '.join(self.void[0].split())[:120]}")
        return (
            *(self.case, self.what, self.who),
            _shown(self.per_second),
            *(_shown(self.p50_ms), _shown(self.p99_ms), _shown(self.cpu_us), _shown(self.mib)),
            *(_shown(self.rate), _shown(self.cost), self.beside),
            "; ".join(notes).replace("|", "/"),
        )


def _shown(value: float | None) -> str:
    """Three digits that count, and no more than a reader can use."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows: Sequence[Row]) -> str:
    """Markdown, which a terminal shows as well."""
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]

    def line(row: Sequence[str]) -> str:
        texts = [
            f"{text:>{width}}" if FIRST_NUMBER <= column <= LAST_NUMBER else f"{text:<{width}}"
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(texts) + " |"

    marks = [
        "-" * (width - 1) + (":" if FIRST_NUMBER <= column <= LAST_NUMBER else "-")
        for column, width in enumerate(widths)
    ]
    return "\n".join([line(HEAD), line(marks), *(line(row) for row in cells[1:])])
