"""What was measured, as orders a day: the figures that docs/performance.md derives from rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.rows import Row

BUSY_SECONDS: Final = 86_400 / 2
"""Of a day and a core: half of it, so that the hours in which all come have room."""
REPLICAS: Final = 3
HEAD: Final = (
    "| a day of nothing but | one core | four cores | three replicas |\n| --- | --: | --: | --: |"
)
KINDS: Final = (
    ("orders that are paid, 7 polls upstream each", "order-polled", "replicas, paid orders"),
    ("hits", "hit", "replicas, hits"),
    ("polls of a finished task", "poll", ""),
)


def table(rows: Sequence[Row]) -> str:
    """Markdown. What was not measured has no figure.

    One core does all; of four a gateway's own process, which runs on one, is the bound; replicas
    have two cores each, and what one costs them is measured with three.
    """
    lines = [HEAD]
    for told, case, shared in KINDS:
        one = _found(rows, case, ("16 connections", "400 orders"))
        several = _found(rows, shared, (f"{REPLICAS} replicas",))
        cells = (
            _day(one.cpu_us if one else None, 1),
            _day((one.own_us or one.cpu_us) if one else None, 1),
            _day(several.cpu_us if several else None, REPLICAS),
        )
        lines.append(f"| {told} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _found(rows: Sequence[Row], case: str, what: Sequence[str]) -> Row | None:
    found = (row for row in rows if row.case == case and row.what in what)
    return next((row for row in found if row.who == "gateway"), None)


def _day(cost_us: float | None, times: int) -> str:
    """Two digits that count: more would say more than is known."""
    if not cost_us:
        return ""
    number = round(times * BUSY_SECONDS / cost_us * 1e6)
    digits = max(len(str(number)) - 2, 0)
    return f"{round(number, -digits):,}"
