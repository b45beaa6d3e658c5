"""Leases: for a while a run, or a callback, is one worker's to act on.

An owner is a worker of one process, by a name that no other ever has. The errors are those of
`gateway.ports.ledger`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from gateway.core.model import Delivery, Run
from gateway.core.runs.leases import Stand
from gateway.core.turns import ANY


class GivingBack(Protocol):
    async def give_back(self, owner: str) -> None:
        """Whatever is leased to `owner`, run or callback, anybody may lease from now on."""


class RunLeases(GivingBack, Protocol):
    async def lease(
        self, owner: str, *, now: float, until: float, limit: int, known: Collection[str] = ()
    ) -> Sequence[Run]:
        """Takes up to `limit` live runs that are due (`due_at` ≤ now) and not leased beyond `now`.

        Of upstreams that are not `known`, where some are, only those that were due `LEFT_SECONDS`
        ago.

        The longest due first; each comes back with its new lease, which no one else gets
        before `until`.
        """

    async def renew(self, owner: str, run_ids: Sequence[str], *, until: float) -> Sequence[Stand]:
        """Those of the runs that are still leased to `owner` are so until then: where each stands.

        A lease that ran out is renewed too, as long as nobody else has taken the run since.
        """

    async def next_due(self, known: Collection[str] = ()) -> float | None:
        """When the next live run can be leased: the smallest of max(due_at, lease_until).

        Those of upstreams that are not `known` are due later by `LEFT_SECONDS`, as for `lease`.
        """

    async def running(self) -> int:
        """How many runs upstream is asked after, of all gateways."""


class DeliveryLeases(GivingBack, Protocol):
    async def lease_deliveries(
        self, owner: str, *, now: float, until: float, limit: int, share: int = ANY
    ) -> Sequence[Delivery]:
        """As `lease`, for pending callbacks of the outbox: the longest due first.

        Its parties are the teams and, for alerts, the operator: none has more than `share` in
        hand.
        """

    async def renew_deliveries(
        self, owner: str, delivery_ids: Sequence[str], *, until: float
    ) -> Collection[str]:
        """As `renew`, for callbacks: the ids of those that are still the owner's."""

    async def put_deliveries(self, owner: str, deliveries: Sequence[Delivery]) -> Collection[str]:
        """Replaces those that are still leased to `owner`; the ids of these."""

    async def next_delivery_due(self) -> float | None:
        """When the next pending callback can be leased."""
