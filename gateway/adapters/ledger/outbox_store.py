"""Leasing what the outbox owes: the parties in turn, at the cost of what is taken.

What waits of one team may be a hundred thousand rows, so nothing here reads all that is due: each
party's first ones are read in its own part of an index.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Final

from gateway.adapters.ledger import rows, statements
from gateway.adapters.ledger.database import Database, every
from gateway.adapters.ledger.moving.marks import require_settled
from gateway.adapters.ledger.rows import DELIVERY_COLUMNS
from gateway.adapters.ledger.statements import PENDING, marks
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
_NEW: Final = ", ".join(f"{name} = ?" for name in DELIVERY_COLUMNS)
PUT_LEASED: Final = f"UPDATE deliveries SET {_NEW} WHERE id = ? AND lease_owner = ?"

NEXT_FREE: Final = f"SELECT MIN(due_at) FROM deliveries WHERE {PENDING} AND lease_until = 0"
NEXT_LEASED: Final = (
    "SELECT MIN(CASE WHEN due_at > lease_until THEN due_at ELSE lease_until END)"
    f" FROM deliveries WHERE {PENDING} AND lease_until > 0"
)


def lease(
    db: Database, owner: str, lasting: tuple[float, float], *, limit: int, share: int
) -> Sequence[Delivery]:
    """Takes what is due for `owner`; the lease lasts from the one time to the other.

    Where another took all of it, there may be more behind.
    """
    for _ in range(statements.MOST_LOOKS):
        ids = _turn(db, lasting[0], limit=limit, share=share)
        if not ids:
            break
        require_settled(db)  # a gateway that was cut off while its ledger was moved away
        now, until = lasting
        db.execute(_take(len(ids)), (owner, until, now, now, *ids))
        leased = (_leased(len(ids)), (owner, until, *ids))
        if taken := every(db, leased, rows.delivery_from):
            return taken
    return []


def _turn(db: Database, now: float, *, limit: int, share: int) -> Sequence[str]:
    """Of all that is due what may be taken now, the parties in turn."""
    in_hand = _in_hand(db, now)
    parties = [OPERATOR, *(team for (team,) in db.execute(TEAMS).fetchall())]
    room = {party: min(limit, share - in_hand.get(party, 0)) for party in parties}
    due = {party: _due(db, party, now, most) for party, most in room.items() if most > 0}
    return [one.id for one in in_turn(due, in_hand, limit=limit, share=share)]


def renew(db: Database, owner: str, ids: Sequence[str], until: float) -> Collection[str]:
    db.execute(statements.renew("deliveries", len(ids)), (until, owner, *ids))
    found = db.execute(_still(len(ids)), (owner, *ids)).fetchall()
    return {str(row[0]) for row in found}


def put_leased(db: Database, owner: str, deliveries: Sequence[Delivery]) -> Collection[str]:
    """What another one has taken meanwhile stays as he has it."""
    return {
        one.id
        for one in deliveries
        if db.execute(PUT_LEASED, (*rows.delivery_row(one), one.id, owner)).rowcount
    }


@cache
def _take(count: int) -> str:
    """Those that are still as they were seen, whoever else has seen them."""
    return (
        "UPDATE deliveries SET lease_owner = ?, lease_until = ?"
        f" WHERE {PENDING} AND due_at <= ? AND lease_until <= ? AND id IN {marks(count)}"
    )


@cache
def _leased(count: int) -> str:
    return (
        f"SELECT {_DELIVERY} FROM deliveries WHERE lease_owner = ? AND lease_until = ?"
        f" AND id IN {marks(count)} ORDER BY due_at, id"
    )


@cache
def _still(count: int) -> str:
    return f"SELECT id FROM deliveries WHERE lease_owner = ? AND id IN {marks(count)}"


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
