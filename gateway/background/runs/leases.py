"""The leases of the runs that this process drives: renewed while it does, proved before a submit.

How long a lease still holds is measured by a clock that nobody sets and that goes on while the
process stands still, from before the ledger was asked. What is not sure by it is asked of the
ledger; what is another worker's by now is let go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import structlog

from gateway.core.copies import replace
from gateway.core.model import Run
from gateway.core.runs.leases import RUN_LEASE_SECONDS, SURE_SECONDS, Stand, stand
from gateway.errors import Unavailable
from gateway.ports.clock import Clock
from gateway.ports.ledger import RunQueue
from gateway.process.steady_clock import elapsed

log = structlog.get_logger("gateway.runs")


class LeaseLost(Exception):
    """Another worker has the run by now: nothing was sent, and nothing is to be recorded."""


@dataclass(slots=True, eq=False)
class Lease:
    """One run in hand, as it stood when its present step began."""

    run: Run
    until: float
    lost: bool = False

    def take_over(self, run: Run) -> None:
        """The run has gone on in the same hands."""
        self.run = run


class Leases:
    """`owner` is what the ledger knows this worker by."""

    def __init__(
        self,
        ledger: RunQueue,
        owner: str,
        *,
        clock: Clock,
        known: Callable[[], Collection[str]] = tuple,
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        """Where upstreams are `known`, runs of any other are left to others for a while."""
        self.owner = owner
        self._ledger = ledger
        self._clock = clock
        self._known = known
        self._elapsed = elapsed
        self._held: dict[str, Lease] = {}
        self._again: dict[str, Run] = {}

    async def take(self, limit: int) -> Sequence[Run]:
        """Leases due runs; those that are in hand already are not among them."""
        now, since = self._clock(), self._elapsed()
        until = now + RUN_LEASE_SECONDS
        leased = await self._ledger.lease(
            self.owner, now=now, until=until, limit=limit, known=self._known()
        )
        now = self._clock()  # it may have been set back: who was due then is due all the same
        due = (replace(run, due_at=now) if run.due_at > now else run for run in leased)
        return [run for run in due if self._begun(run, since + RUN_LEASE_SECONDS)]

    async def next_due(self) -> float | None:
        """When there is something to take."""
        return await self._ledger.next_due(self._known())

    def begin(self, run: Run) -> None:
        """A run that was leased by the order that started it."""
        left = min(run.lease_until - self._clock(), RUN_LEASE_SECONDS)
        self._held[run.id] = Lease(run, self._elapsed() + left)

    def of(self, run: Run) -> Lease:
        """The lease of a run in hand."""
        return self._held[run.id]

    def in_hand(self, run_id: str) -> Run:
        """A run in hand, as it stood when its present step began."""
        return self._held[run_id].run

    def end(self, run_id: str) -> Run | None:
        """It is not in hand any more; what is left of its lease runs out.

        The run as it was leased again meanwhile, under the eyes of the drive that ends now: then
        it is in hand again, and has to be proved.
        """
        self._held.pop(run_id, None)
        again = self._again.pop(run_id, None)
        if again is not None:
            self._held[run_id] = Lease(again, -math.inf)
        return again

    async def renew(self) -> None:
        """All that are in hand; those that are another's by now are noted as lost."""
        await self._renew([lease for lease in self._held.values() if not lease.lost], proved=False)

    async def prove(self, lease: Lease) -> None:
        """Returns if the run is in our hands for certain, as it stood when the step began.

        Raises `LeaseLost` where it is not, and `Unavailable` where nobody can tell.
        """
        if not lease.lost and lease.until - self._elapsed() < SURE_SECONDS:
            await self._renew([lease], proved=True)
        if lease.lost:
            raise LeaseLost(lease.run.id)

    async def give_back(self) -> None:
        """Whatever is leased still, others may have at once."""
        try:
            await self._ledger.give_back(self.owner)
        except Unavailable as error:
            log.warning("leases run out by themselves", reason=error.message)

    # --- inside --------------------------------------------------------------------------------

    def _begun(self, run: Run, until: float) -> bool:
        """Whether it is in hand from now on only.

        The lease of one that is in hand ran out under its step: if nothing has happened to it
        since, the step goes on under the new lease. Or its step was just recorded, and it is due
        already: whether there is more to do shows when the drive has ended.
        """
        held = self._held.get(run.id)
        if held is None:
            self._held[run.id] = Lease(run, until)
            return True
        _settle(held, stand(run), until, proved=False)
        self._again[run.id] = run
        return False

    async def _renew(self, leases: Iterable[Lease], *, proved: bool) -> None:
        since = self._elapsed()
        asked = {lease.run.id: lease for lease in leases}
        if not asked:
            return
        until = self._clock() + RUN_LEASE_SECONDS
        found = await self._ledger.renew(self.owner, list(asked), until=until)
        stands = {one.run_id: one for one in found}
        for run_id, lease in asked.items():
            if self._held.get(run_id) is lease:
                _settle(lease, stands.get(run_id), since + RUN_LEASE_SECONDS, proved=proved)


def _settle(lease: Lease, now_is: Stand | None, until: float, *, proved: bool) -> None:
    """Where the run stands otherwise, our own step may just have been recorded: then nothing is
    said of it, but to whoever has to know for certain, and is in the middle of a step."""
    if now_is == stand(lease.run):
        lease.until = until
    elif now_is is None or proved:
        lease.lost = True
