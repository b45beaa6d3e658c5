"""Leasing what the outbox owes: the parties in turn, at the cost of what is taken.

What waits of one team may be a hundred thousand rows, so nothing here reads all that is due: each
party's first ones are read in its own part of an index.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Taking:
    """Who wants how much, from when until when; `passing` as in `statements.take_runs`."""

    owner: str
    now: float
    until: float
    limit: int
    share: int
    passing: str = ""


def lease(db: Database, asked: Taking) -> Sequence[Delivery]:
    """Takes what is due."""
    now, limit, share = asked.now, asked.limit, asked.share
    if asked.passing:
        db.execute(statements.one_leases("deliveries"))
    in_hand = _in_hand(db, now)
    parties = [OPERATOR, *(team for (team,) in db.execute(TEAMS).fetchall())]
    room = {party: min(limit, share - in_hand.get(party, 0)) for party in parties}
    due = {party: _due(db, party, now, most) for party, most in room.items() if most > 0}
    taken = in_turn(due, in_hand, limit=limit, share=share)
    if not taken:
        return []
    require_settled(db)  # a gateway that was cut off while its ledger was moved away
    ids = [one.id for one in taken]
    lease = (asked.owner, asked.until)
    db.execute(_take(len(ids), asked.passing), (*lease, now, now, *ids))
    return every(db, (_leased(len(ids)), (*lease, *ids)), rows.delivery_from)


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
def _take(count: int, passing: str) -> str:
    """Those that are still as they were seen, whoever else has seen them."""
    return statements.take("deliveries", PENDING, count, passing)


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
