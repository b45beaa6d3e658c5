"""Rules and boards read several gateways as docs/metrics.md says: nothing of the ledger adds up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql
import pytest
from deployed import ROOT, Asked, asked_by_panels, rules

PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
KINDS = dict(re.findall(r"^\| `(gateway_\w+)` \|[^|]*\| (\w+) \|", PAGE, re.MULTILINE))
GROWING = {"rate", "increase"}
"""What may be asked of a counter of a process: it begins anew with the process."""

RULES = [Asked(one.get("record") or one["alert"], one["expr"]) for one in rules()]
EXPRESSIONS = [*RULES, *asked_by_panels()]
PLAIN = re.compile(r"\$__(?:rate_interval|range)")


@dataclass(frozen=True)
class Read:
    """A series as an expression reads it, with the calls around it from the inside out."""

    series: str
    around: tuple[Any, ...]

    @property
    def kind(self) -> str:
        return KINDS[re.sub(r"_(bucket|count|sum)$", "", self.series)]

    @property
    def merged_by(self) -> str:
        """The aggregation in which instances become one; empty where they stay apart."""
        for one in self.around:
            if isinstance(one, promql.AggregateExpr) and not _keeps_instance(one):
                return str(one.op)
        return ""

    @property
    def functions(self) -> set[str]:
        return {one.func.name for one in self.around if isinstance(one, promql.Call)}


def _keeps_instance(aggregation: Any) -> bool:
    if aggregation.modifier is None:
        return False
    named = "instance" in aggregation.modifier.labels
    by = aggregation.modifier.type == promql.AggModifierType.By
    return named if by else not named


def read(expr: str) -> list[Read]:
    parsed = promql.parse(PLAIN.sub("5m", expr).replace('"$job"', '"j"'))
    return [one for one in _selectors(parsed, ()) if one.series.startswith("gateway_")]


def _selectors(node: Any, around: tuple[Any, ...]) -> Iterator[Read]:
    """Every series below this node."""
    if isinstance(node, promql.VectorSelector):
        yield Read(str(node.name), around)
    elif isinstance(node, promql.MatrixSelector):
        yield Read(str(node.vector_selector.name), around)
    elif isinstance(node, promql.BinaryExpr):
        yield from _selectors(node.lhs, around)
        yield from _selectors(node.rhs, around)
    elif isinstance(node, promql.Call):
        for one in node.args:
            yield from _selectors(one, (node, *around))
    elif hasattr(node, "expr"):  # an aggregation, parentheses, a subquery
        yield from _selectors(node.expr, (node, *around))


def wrong(expr: str) -> list[str]:
    found = []
    for one in read(expr):
        if one.kind == "one" and one.merged_by != "max":
            found.append(f"{one.series} is the ledger's: max without (instance), before any sum")
        if one.kind == "sum" and not (one.merged_by == "sum" and one.functions & GROWING):
            found.append(f"{one.series} is counted by each: sum of its rate or increase")
    return found


def test_the_page_says_of_every_series_how_several_are_read() -> None:
    assert set(KINDS.values()) == {"one", "sum", "each"}
    assert set(re.findall(r"^\| `(gateway_\w+)`", PAGE, re.MULTILINE)) == set(KINDS)


@pytest.mark.parametrize("asked", EXPRESSIONS, ids=lambda asked: asked.where)
def test_an_expression_reads_several_gateways_as_the_page_says(asked: Asked) -> None:
    assert wrong(asked.expr) == []


def test_a_slip_is_found() -> None:
    assert wrong("sum(gateway_spend_usd_total)")
    assert wrong("sum by (team) (max by (team, instance) (gateway_budget_held_usd))")
    assert wrong("gateway_runs > 3")
    assert wrong("max without (instance) (rate(gateway_orders_total[5m]))")
    assert wrong("sum without (instance) (gateway_orders_total)")
    assert not wrong("sum by (team) (max without (instance) (gateway_budget_held_usd))")
    assert not wrong("sum without (instance) (rate(gateway_orders_total[5m]))")
    assert not wrong("gateway_free_bytes < 2")
