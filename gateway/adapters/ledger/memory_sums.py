"""Adding up usage, for the ledger in memory."""

from __future__ import annotations

from dataclasses import astuple

from gateway.core.model import Usage


def add(total: Usage, more: Usage) -> Usage:
    """The counters of both, under the names of the first."""
    counters = zip(astuple(total)[3:], astuple(more)[3:], strict=True)
    return Usage(total.team, total.model, total.day, *(a + b for a, b in counters))
