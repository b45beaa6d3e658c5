"""Pieces of PromQL that the boards share.

Money, budgets, runs and pictures are read from the ledger, which replicas share: of them the
largest is taken. What a process counts itself is summed.
"""

from __future__ import annotations

from typing import Final

JOB: Final = 'job="$job"'
RATE: Final = "[$__rate_interval]"


def ledger(series: str, where: str = "") -> str:
    """A number of the ledger, once."""
    return f"max without (instance) ({selected(series, where)})"


def grown(series: str, where: str = "") -> str:
    """By how much a counter of the ledger has grown in the time shown, to the cent.

    `increase` extrapolates; these counters never begin anew, so the difference is exact. From
    before Prometheus's first sample on, it is all there ever was.
    """
    now, then = ledger(series, where), f"max without (instance) ({selected(series, where)}"
    return f"({now} - ({then} offset $__range) or {now} * 0))"


def pace(series: str, by: str, where: str = "") -> str:
    """How fast a counter of the ledger grows, per second."""
    rate = f"rate({selected(series, where)}{RATE})"
    return f"sum by ({by}) (max without (instance) ({rate}))"


def counted(series: str, by: str, where: str = "") -> str:
    """How fast a counter of the processes grows, per second."""
    return f"sum by ({by}) (rate({selected(series, where)}{RATE}))"


def selected(series: str, where: str = "") -> str:
    return f"{series}{{{','.join(filter(None, (JOB, where)))}}}"
