"""What the ledger writes: each write goes by the one lane that writes, in batches.

Only the lane's server knows the store: how a batch is begun, locked, committed and undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, TypeVar

from gateway.adapters.ledger import outbox_store, statements, store
from gateway.adapters.ledger.lane import Lane
from gateway.core.model import Delivery, Run
from gateway.core.transaction import Decide, Keys
from gateway.core.turns import ANY
from gateway.ports.ledger import Old

T = TypeVar("T")

AT_ONCE: Final = 500
"""Rows deleted or changed in one hop, so that orders get in between."""


class LedgerWrites:
    """The writing half of a ledger, which gives the lane."""

    _writer: Lane

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        return await self._writer.call(partial(store.transact, keys=keys, decide=decide))

    async def lease(self, owner: str, *, now: float, until: float, limit: int) -> Sequence[Run]:
        return await self._writer.call(
            lambda db: store.lease(db, owner, now=now, until=until, limit=limit)
        )

    async def lease_deliveries(
        self, owner: str, *, now: float, until: float, limit: int, share: int = ANY
    ) -> Sequence[Delivery]:
        return await self._writer.call(
            lambda db: outbox_store.lease(db, owner, (now, until), limit=limit, share=share)
        )

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
            (statements.PRUNE_JOBS, old.jobs_before),
            (statements.PRUNE_CLAIMS, old.claims_before),
            (statements.PRUNE_ACCOUNTS, old.accounts_before),
            (statements.PRUNE_UPLOADS, old.uploads_before),
            (statements.PRUNE_REFUSALS, old.refusals_before),
            (statements.PRUNE_ALERTS, old.jobs_before),
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
