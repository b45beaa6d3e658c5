"""Leasing what the outbox owes: the parties in turn, at the cost of what is taken.

What waits of one team may be a hundred thousand rows, so nothing here reads all that is due: each
party's first ones are read in its own part of an index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from gateway.adapters.ledger import rows
from gateway.adapters.ledger.database import Database, every
from gateway.adapters.ledger.rows import DELIVERY_COLUMNS
from gateway.adapters.ledger.statements import PENDING
from gateway.core.delivery import OPERATOR
from gateway.core.model import Delivery
from gateway.core.turns import in_turn

_DELIVERY: Final = ", ".join(DELIVERY_COLUMNS)
_PARTY: Final = f"CASE WHEN job_id IS NULL THEN '{OPERATOR}' ELSE team END"
_FIRST: Final = f"{PENDING} AND due_at <= ? AND lease_until <= ? ORDER BY due_at, id LIMIT ?"

TEAMS: Final = (
    f"WITH RECURSIVE found (team) AS (SELECT MIN(team) FROM deliveries WHERE {PENDING} UNION ALL"
    f" SELECT (SELECT MIN(team) FROM deliveries WHERE {PENDING} AND team > found.team) FROM found"
    " WHERE found.team IS NOT NULL) SELECT team FROM found WHERE team IS NOT NULL"
)
"""Every team of which something is pending, each found by one step in the index."""

IN_HAND: Final = (
    f"SELECT {_PARTY}, COUNT(*) FROM deliveries"
    f" WHERE {PENDING} AND lease_until > ? AND due_at <= ? GROUP BY {_PARTY}"
)
DUE_OF_TEAM: Final = (
    f"SELECT {_DELIVERY} FROM deliveries WHERE team = ? AND job_id IS NOT NULL AND {_FIRST}"
)
DUE_ALERTS: Final = f"SELECT {_DELIVERY} FROM deliveries WHERE job_id IS NULL AND {_FIRST}"
LEASE: Final = "UPDATE deliveries SET lease_owner = ?, lease_until = ? WHERE id = ?"

NEXT_FREE: Final = f"SELECT MIN(due_at) FROM deliveries WHERE {PENDING} AND lease_until = 0"
NEXT_LEASED: Final = (
    "SELECT MIN(CASE WHEN due_at > lease_until THEN due_at ELSE lease_until END)"
    f" FROM deliveries WHERE {PENDING} AND lease_until > 0"
)


def lease(
    db: Database, owner: str, lasting: tuple[float, float], *, limit: int, share: int
) -> Sequence[Delivery]:
    """Takes what is due for `owner`; the lease lasts from the one time to the other."""
    now, until = lasting
    in_hand = _in_hand(db, now)
    parties = [OPERATOR, *(team for (team,) in db.execute(TEAMS).fetchall())]
    room = {party: min(limit, share - in_hand.get(party, 0)) for party in parties}
    due = {party: _due(db, party, now, most) for party, most in room.items() if most > 0}
    taken = in_turn(due, in_hand, limit=limit, share=share)
    for one in taken:
        db.execute(LEASE, (owner, until, one.id))
    return [replace(one, lease_owner=owner, lease_until=until) for one in taken]


def next_due(db: Database) -> float | None:
    """When the next one can be leased."""
    found = [db.execute(sql).fetchall()[0][0] for sql in (NEXT_FREE, NEXT_LEASED)]
    return min((at for at in found if at is not None), default=None)


def _in_hand(db: Database, now: float) -> Mapping[str, int]:
    return {row[0]: int(row[1]) for row in db.execute(IN_HAND, (now, now)).fetchall()}


def _due(db: Database, party: str, now: float, limit: int) -> Sequence[Delivery]:
    """The first ones of a party."""
    if party == OPERATOR:
        return every(db, (DUE_ALERTS, (now, now, limit)), rows.delivery_from)
    return every(db, (DUE_OF_TEAM, (party, now, now, limit)), rows.delivery_from)
