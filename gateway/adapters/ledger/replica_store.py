"""What gateways tell each other in SQL: replicas, epochs, turns, secrets, checks of credits.

Plain blocking functions on any connection, as in `store`. They begin and end no transaction; each
is right also where others write at the same time. Names are always written in their order, so
that two writers never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.adapters.ledger.database import Database, Row, every, first
from gateway.adapters.ledger.moving import marks
from gateway.adapters.ledger.statements import upsert
from gateway.core.replicas import Epoch, Epochs, Replica
from gateway.ports.replicas import CreditCheck

REPLICA_COLUMNS: Final = ("id", "name", "started_at", "seen_at", "policy", "cache", "settings")

EPOCHS: Final = "SELECT policy, cache FROM epochs WHERE id = 1"
RAISE: Final = {
    Epoch.POLICY: "UPDATE epochs SET policy = policy + 1 WHERE id = 1",
    Epoch.CACHE: "UPDATE epochs SET cache = cache + 1 WHERE id = 1",
}
PUT_REPLICA: Final = upsert("replicas", REPLICA_COLUMNS, key=1)
REPLICAS: Final = (
    f"SELECT {', '.join(REPLICA_COLUMNS)} FROM replicas WHERE seen_at >= ? ORDER BY id"
)
FORGET_REPLICA: Final = "DELETE FROM replicas WHERE id = ?"
FORGET_REPLICAS: Final = "DELETE FROM replicas WHERE seen_at < ?"

TAKE_TURN: Final = (
    f"{upsert('turns', ('name', 'owner', 'until'), key=1)}"
    " WHERE turns.owner = excluded.owner OR turns.until <= ?"
)
RENEW_TURN: Final = "UPDATE turns SET until = ? WHERE name = ? AND owner = ?"
GIVE_BACK_TURN: Final = "DELETE FROM turns WHERE name = ? AND owner = ?"
PRUNE_TURNS: Final = (
    "DELETE FROM turns WHERE name IN (SELECT name FROM turns"
    " WHERE until < ? ORDER BY until, name LIMIT ?)"
)

SHARED: Final = "SELECT value FROM secrets WHERE name = ?"
SETTLE: Final = "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"

CREDIT_CHECKS: Final = "SELECT upstream, checked_at, found FROM credit_checks ORDER BY upstream"
PUT_CREDIT_CHECK: Final = upsert("credit_checks", ("upstream", "checked_at", "found"), key=1)


class NotFree(Exception):
    """One of the names is another's: nothing of what was asked may stay written."""


def epochs(db: Database) -> Epochs:
    return first(db, (EPOCHS, ()), lambda row: Epochs(*row)) or Epochs()


def raise_epochs(db: Database, raised: Iterable[Epoch]) -> None:
    """Last in its transaction: whoever raises one too waits for its end."""
    for epoch in sorted(raised):
        db.execute(RAISE[epoch])


def put_replica(db: Database, replica: Replica) -> None:
    """Raises `Unavailable` where nobody may serve: one that was cut off meanwhile hears it so."""
    marks.require_settled(db)
    followed = replica.epochs
    db.execute(
        PUT_REPLICA,
        (
            *(replica.id, replica.name, replica.started_at, replica.seen_at),
            *(followed.policy, followed.cache, replica.settings),
        ),
    )


def replicas(db: Database, since: float) -> Sequence[Replica]:
    return every(db, (REPLICAS, (since,)), _replica)


def _replica(row: Row) -> Replica:
    replica_id, name, started_at, seen_at, policy, cache, settings = row
    return Replica(replica_id, name, started_at, seen_at, Epochs(policy, cache), settings)


@dataclass(frozen=True, slots=True)
class Turning:
    """Turns to be taken, renewed or given back, as the lane's work: a server may do many at once.

    `rows` are the statement's values, by the name that each is about. `strict`: a name that is
    another's raises `NotFree`, and all of it has to be undone.
    """

    sql: str
    rows: Mapping[str, Row]
    strict: bool = True

    def __call__(self, db: Database) -> None:
        for name, row in self.rows.items():
            if db.execute(self.sql, row).rowcount != 1 and self.strict:
                raise NotFree(name)


def turns_taken(names: Iterable[str], owner: str, *, now: float, until: float) -> Turning:
    return Turning(TAKE_TURN, {name: (name, owner, until, now) for name in sorted({*names})})


def turns_renewed(names: Iterable[str], owner: str, *, until: float) -> Turning:
    return Turning(RENEW_TURN, {name: (until, name, owner) for name in sorted({*names})})


def turns_given_back(names: Iterable[str], owner: str) -> Turning:
    return Turning(GIVE_BACK_TURN, {name: (name, owner) for name in sorted({*names})}, strict=False)


def secret(db: Database, name: str) -> str | None:
    return first(db, (SHARED, (name,)), lambda row: str(row[0]))


def settle_secret(db: Database, name: str, value: str) -> str:
    """The one that comes second waits for the first, and reads what that has written."""
    db.execute(SETTLE, (name, value))
    found = secret(db, name)
    if found is None:  # neither written nor there: the table is not what its migration made
        raise LookupError(f"the secret {name} was not kept")
    return found


def credit_checks(db: Database) -> Sequence[CreditCheck]:
    return every(db, (CREDIT_CHECKS, ()), lambda row: CreditCheck(*row))


def put_credit_check(db: Database, check: CreditCheck) -> None:
    db.execute(PUT_CREDIT_CHECK, (check.upstream, check.checked_at, check.found))
