"""Teams, keys, changes, steps and refusals ↔ rows: each has a column for each of its fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from gateway.core.runs.history import Refusal, Step
from gateway.core.teams.records import Change, ManagedTeam, TeamKey

Row = Sequence[Any]
Record = ManagedTeam | TeamKey | Change | Step | Refusal


def _columns(record: type[Record]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(record))


TEAM_COLUMNS: Final = _columns(ManagedTeam)
KEY_COLUMNS: Final = _columns(TeamKey)
CHANGE_COLUMNS: Final = _columns(Change)
STEP_COLUMNS: Final = _columns(Step)
REFUSAL_COLUMNS: Final = _columns(Refusal)


def row_of(record: Record) -> tuple[object, ...]:
    """The record's values in the order of its columns."""
    return tuple(getattr(record, name) for name in _columns(type(record)))


def team_from(row: Row) -> ManagedTeam:
    return ManagedTeam(*row)


def key_from(row: Row) -> TeamKey:
    return TeamKey(*row)


def change_from(row: Row) -> Change:
    return Change(*row)


def step_from(row: Row) -> Step:
    return Step(*row)


def refusal_from(row: Row) -> Refusal:
    return Refusal(*row)
