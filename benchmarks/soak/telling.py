"""What came of a soak: a table for people, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from benchmarks.soak.running import Outcome
from benchmarks.soak.trouble import KILLED, STOPPED

WELL: Final = "ok"
NOT: Final = "NOT"


def as_table(outcome: Outcome) -> str:
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    promises, seen = outcome.promises, outcome.seen
    yield (
        f"{outcome.plan.seconds / 60:g} minutes, {outcome.plan.clients} clients, seed "
        f"{outcome.plan.seed}: {promises.requests:,} answers, {len(promises.tasks):,} orders, "
        f"{len(promises.pictures):,} pictures, {seen[KILLED]} SIGKILL, {seen[STOPPED]} SIGTERM"
    )
    yield f"\n{'':24}{'warm':>12}{'at the end':>12}{'ratio':>8}{'allowed':>9}"
    for one in outcome.trends:
        yield (
            f"{one.name:24}{_amount(one.before, one.unit):>12}{_amount(one.after, one.unit):>12}"
            f"{one.ratio:8.2f}{one.ratio_allowed:9.2f}  {WELL if one.is_flat else NOT}"
        )
    yield f"\n{'':24}{'largest':>12}{'allowed':>12}"
    for bound in outcome.bounds:
        yield (
            f"{bound.name:24}{_amount(bound.largest / 1e6, 'MB'):>12}"
            f"{_amount(bound.allowed / 1e6, 'MB'):>12}  {WELL if bound.holds else NOT}"
        )
    yield ""
    for name, found in outcome.findings.items():
        yield f"{name:48}{NOT if found else WELL}"
        yield from (f"    {sentence}" for sentence in found)


def _amount(value: float, unit: str) -> str:
    return f"{value:,.2f} {unit}" if value < 10 and unit else f"{value:,.0f} {unit}".rstrip()


def as_json(outcome: Outcome) -> dict[str, Any]:
    promises = outcome.promises
    return {
        "minutes": outcome.plan.seconds / 60,
        "clients": outcome.plan.clients,
        "seed": outcome.plan.seed,
        "answers": promises.requests,
        "orders": len(promises.tasks),
        "pictures": len(promises.pictures),
        "acts": dict(promises.acts.most_common()),
        "statuses": {str(status): n for status, n in sorted(promises.statuses.items())},
        "seen": dict(outcome.seen),
        "trends": [
            {
                "name": one.name,
                "unit": one.unit,
                "before": one.before,
                "after": one.after,
                "ratio": one.ratio,
                "allowed": one.ratio_allowed,
                "flat": one.is_flat,
            }
            for one in outcome.trends
        ],
        "bounds": [
            {"name": one.name, "largest": one.largest, "allowed": one.allowed}
            for one in outcome.bounds
        ],
        "findings": {name: list(found) for name, found in outcome.findings.items()},
        "failed": outcome.failed,
    }
