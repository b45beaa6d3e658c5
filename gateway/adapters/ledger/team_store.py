"""Teams, their keys and the record of changes in SQL: how they are loaded, written and read.

Plain blocking functions on any connection, as in `store`. They begin and end no transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.adapters.ledger.database import Database, every, first
from gateway.adapters.ledger.plain_rows import CHANGE_COLUMNS, KEY_COLUMNS, TEAM_COLUMNS
from gateway.adapters.ledger.statements import insert, upsert
from gateway.core.teams.records import ManagedTeam, TeamKey

_TEAM: Final = ", ".join(TEAM_COLUMNS)
_KEY: Final = ", ".join(KEY_COLUMNS)

TEAM: Final = f"SELECT {_TEAM} FROM teams WHERE name = ?"
TEAMS: Final = f"SELECT {_TEAM} FROM teams ORDER BY name"
KEYS_OF_TEAM: Final = f"SELECT {_KEY} FROM team_keys WHERE team = ? ORDER BY created_at, id"
ALL_KEYS: Final = f"SELECT {_KEY} FROM team_keys ORDER BY created_at, id"

PUT_TEAM: Final = upsert("teams", TEAM_COLUMNS, key=1)
PUT_KEY: Final = (
    f"{upsert('team_keys', KEY_COLUMNS, key=1)}"
    " WHERE team_keys.digest = excluded.digest AND team_keys.team = excluded.team"
)
ADD_CHANGE: Final = insert("changes", CHANGE_COLUMNS)


def managed(db: Database, name: str) -> tuple[ManagedTeam | None, tuple[TeamKey, ...]]:
    """The team, deleted or not, and every key it ever had, oldest first."""
    keys = every(db, (KEYS_OF_TEAM, (name,)), lambda row: TeamKey(*row))
    return first(db, (TEAM, (name,)), lambda row: ManagedTeam(*row)), tuple(keys)


# --- reads -------------------------------------------------------------------------------------


def roster(db: Database) -> tuple[Sequence[ManagedTeam], Sequence[TeamKey]]:
    """Two statements."""
    teams = every(db, (TEAMS, ()), lambda row: ManagedTeam(*row))
    return teams, every(db, (ALL_KEYS, ()), lambda row: TeamKey(*row))
