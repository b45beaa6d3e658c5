"""What the ledger writes: each write goes by the one lane that writes, in batches.

Only the lane's server knows the store: how a batch is begun, locked, committed and undone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any, ClassVar, Final, TypeVar

from gateway.adapters.ledger import outbox_store, pruning, replica_store, store
from gateway.adapters.ledger.database import Database
from gateway.adapters.ledger.lane import Lane
from gateway.core.model import Delivery, Run
from gateway.core.replicas import Replica
from gateway.core.runs.leases import Stand
from gateway.core.transaction import Decide, Keys
from gateway.core.turns import ANY
from gateway.ports.ledger import Old
from gateway.ports.replicas import CreditCheck

T = TypeVar("T")

AT_ONCE: Final = 500
"""Rows deleted or changed in one hop, so that orders get in between."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A transaction as the lane's work: a server may make several of them at once."""

    keys: Keys
    decide: Decide[Any]

    def __call__(self, db: Database) -> Any:
        return store.transact(db, self.keys, self.decide)


class LedgerWrites:
    """The writing half of a ledger, which gives the lane."""

    _writer: Lane
    _passing: ClassVar[str] = ""
    """What is said to a store that can pass by rows which others are writing."""

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        answer: T = await self._writer.call(Decision(keys, decide))
        return answer

    async def lease(
        self, owner: str, *, now: float, until: float, limit: int, known: Collection[str] = ()
    ) -> Sequence[Run]:
        asked = store.Leasing(owner, now, until, limit, tuple(sorted(known)), self._passing)
        return await self._writer.call(partial(store.lease, asked=asked))

    async def lease_deliveries(
        self, owner: str, *, now: float, until: float, limit: int, share: int = ANY
    ) -> Sequence[Delivery]:
        asked = outbox_store.Taking(owner, now, until, limit, share, self._passing)
        return await self._writer.call(partial(outbox_store.lease, asked=asked))

    async def renew(self, owner: str, run_ids: Sequence[str], *, until: float) -> Sequence[Stand]:
        found: list[Stand] = []
        for some in _some(run_ids):
            found += await self._writer.call(
                partial(store.renew, owner=owner, run_ids=some, until=until)
            )
        return found

    async def renew_deliveries(
        self, owner: str, delivery_ids: Sequence[str], *, until: float
    ) -> Collection[str]:
        found: set[str] = set()
        for some in _some(delivery_ids):
            found |= {
                *await self._writer.call(
                    partial(outbox_store.renew, owner=owner, ids=some, until=until)
                )
            }
        return found

    async def put_deliveries(self, owner: str, deliveries: Sequence[Delivery]) -> Collection[str]:
        return await self._writer.call(lambda db: outbox_store.put_leased(db, owner, deliveries))

    async def clock_set(self, seconds: float, step: Callable[[], None]) -> None:
        def later(db: Database) -> None:
            store.clock_set(db, seconds)
            step()

        await self._writer.call(later)

    async def give_back(self, owner: str) -> None:
        await self._writer.call(lambda db: store.give_back(db, owner))

    async def forget_upload(self, team: str, upload_id: str) -> None:
        await self._writer.call(lambda db: store.forget_upload(db, team, upload_id))

    async def retire(self, *, team: str | None, limit: int) -> Sequence[str]:
        retired: list[str] = []
        while len(retired) < limit:
            part = min(AT_ONCE, limit - len(retired))
            found = await self._writer.call(partial(store.retire, team=team, limit=part))
            retired += found
            if len(found) < part:
                break
        return retired

    async def note_store(self, store_id: str) -> None:
        await self._writer.call(lambda db: store.note_store(db, store_id))

    async def prune(self, old: Old, *, limit: int) -> int:
        kinds = (
            (pruning.PRUNE_JOBS, old.jobs_before),
            (pruning.PRUNE_CLAIMS, old.claims_before),
            (pruning.PRUNE_ACCOUNTS, ceil(old.accounts_before)),
            (pruning.PRUNE_UPLOADS, old.uploads_before),
            (pruning.PRUNE_REFUSALS, old.refusals_before),
            (pruning.PRUNE_ALERTS, old.jobs_before),
            (replica_store.PRUNE_TURNS, old.turns_before),
        )
        return sum([await self._prune(statement, at, limit) for statement, at in kinds])

    async def _prune(self, statement: str, before: float, limit: int) -> int:
        total = 0
        while total < limit:
            part = min(AT_ONCE, limit - total)
            deleted = await self._writer.call(
                partial(store.prune, statement, before=before, limit=part)
            )
            total += deleted
            if deleted < part:
                break
        return total

    # --- what replicas tell each other -----------------------------------------------------------

    async def note_replica(self, replica: Replica) -> None:
        await self._writer.call(partial(replica_store.put_replica, replica=replica))

    async def forget_replica(self, replica_id: str) -> None:
        statement = replica_store.FORGET_REPLICA
        await self._writer.call(lambda db: db.execute(statement, (replica_id,)).rowcount)

    async def forget_replicas(self, *, before: float) -> None:
        statement = replica_store.FORGET_REPLICAS
        await self._writer.call(lambda db: db.execute(statement, (before,)).rowcount)

    async def take_turns(
        self, names: Collection[str], owner: str, *, now: float, until: float
    ) -> bool:
        taken = replica_store.turns_taken(names, owner, now=now, until=until)
        return await self._unless_taken(taken)

    async def renew_turns(self, names: Collection[str], owner: str, *, until: float) -> bool:
        return await self._unless_taken(replica_store.turns_renewed(names, owner, until=until))

    async def give_back_turns(self, names: Collection[str], owner: str) -> None:
        await self._writer.call(replica_store.turns_given_back(names, owner))

    async def settle_secret(self, name: str, value: str) -> str:
        return await self._writer.call(partial(replica_store.settle_secret, name=name, value=value))

    async def note_credit_check(self, check: CreditCheck) -> None:
        await self._writer.call(partial(replica_store.put_credit_check, check=check))

    async def _unless_taken(self, work: Callable[[Database], None]) -> bool:
        """Whether all of it was done; else nothing was, as whoever raises is undone."""
        try:
            await self._writer.call(work)
        except replica_store.NotFree:
            return False
        return True


def _some(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """In one order, so that two who have many of them in hand never wait for each other."""
    ordered = sorted(ids)
    return (ordered[at : at + AT_ONCE] for at in range(0, len(ordered), AT_ONCE))
