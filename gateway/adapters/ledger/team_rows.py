"""Teams, keys, changes, steps and refusals ↔ rows: each has a column for each of its fields.

A row is read by the record itself: `Step(*row)`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from gateway.core.runs.history import Refusal, Step
from gateway.core.teams.records import Change, ManagedTeam, TeamKey

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
