"""What an operator's act has changed, in few words."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.differences import differences

DAY = {"budgets": [{"usd": 50, "per": "day"}]}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (DAY, {"budgets": [{"usd": 80, "per": "day"}]}, "budget day $50.00 -> $80.00"),
        (DAY, {"budgets": []}, "budget day $50.00 -> none"),
        (
            {"budgets": []},
            {"budgets": [{"usd": 0.5, "per": "hour"}, {"usd": "9", "per": "total"}]},
            "budget hour none -> $0.50; budget total none -> $9.00",
        ),
        (
            {"limits": {"images": [{"count": 5, "per": "day"}], "runs_per_minute": None}},
            {"limits": {"images": [{"count": 9, "per": "day"}], "runs_per_minute": 60}},
            "pictures day 5 -> 9; limits.runs_per_minute none -> 60",
        ),
        ({"allow": {"sizes": ["1:1", "3:2"]}}, {"allow": {}}, "allow.sizes 1:1, 3:2 -> none"),
        ({"mode": "enforce"}, {"mode": "shadow"}, "mode enforce -> shadow"),
        (
            {"teams.blue.budgets": [{"usd": 1, "per": "day"}], "server.shutdown_grace": "5s"},
            {"teams.blue.budgets": [{"usd": 2, "per": "day"}], "server.shutdown_grace": "7s"},
            "teams.blue budget day $1.00 -> $2.00; server.shutdown_grace 5s -> 7s",
        ),
        (None, {**DAY, "mode": "enforce", "description": None}, "budget day $50.00; mode enforce"),
        (DAY, None, "-"),
        (None, {}, "-"),
        (DAY, DAY, "-"),
        ({"budgets": [5]}, {"budgets": [{"per": "day"}]}, 'budgets 5 -> {"per": "day"}'),
        ({"x": {"y": {"z": True}}}, {"x": {"y": {"z": False}}}, "x.y.z true -> false"),
    ],
)
def test_a_change_is_told_by_its_parts(
    before: dict[str, Any] | None, after: dict[str, Any] | None, told: str
) -> None:
    assert differences(before, after) == told
