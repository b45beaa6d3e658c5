"""The decision on an order, made and committed.

Admission decides, inside the ledger's transaction; this brings it what it has to know: what the
response cache holds ready, whether pictures can be read or kept, the limits of the moment. It asks
again where the answer shows that something was missing, and only so often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from gateway import ids
from gateway.core.copies import replace
from gateway.core.model import Claim, Run
from gateway.core.money import budgets
from gateway.core.orders import admission
from gateway.core.orders.admission import (
    Claimed,
    Conflicting,
    Decision,
    Judgement,
    Replayed,
    Settled,
    Unvetted,
)
from gateway.core.orders.ask import Ask
from gateway.core.orders.fingerprint import claim_name
from gateway.core.picture_errors import PictureProblem
from gateway.core.policy import Current
from gateway.core.transaction import ConstraintViolation, Keys, Stale, View, Writes
from gateway.errors import IdempotencyConflict, Unauthorized, Unavailable
from gateway.ports.cache import ResponseCache
from gateway.ports.ledger import OrderRecords
from gateway.ports.observer import Observer
from gateway.ports.pictures import Pictures
from gateway.process.following import Behind, Following
from gateway.process.lately import Lately

D = TypeVar("D")

VETTING_ROUNDS: Final = 4
"""A finished run is vetted between two looks; it can be overtaken, but not for ever."""


class Room(Protocol):
    def enough(self) -> bool:
        """Whether the disk has space for more paid pictures."""


@dataclass(frozen=True, slots=True)
class DecisionsDeps:
    """What a decision is brought together from."""

    ledger: OrderRecords
    cache: ResponseCache
    pictures: Pictures
    room: Room
    observer: Observer
    current: Current
    following: Following


class Decisions:
    """Either kind of decision is made by the same steps, so that one foretells the other."""

    def __init__(self, deps: DecisionsDeps) -> None:
        self._deps = deps
        self._readable = Lately[str, bool]()

    async def on(self, ask: Ask, key: str | None) -> Settled | Replayed:
        """The decision on an order, committed. One that comes again under its key gets its first
        task; raises `IdempotencyConflict` for another one under a key that was used.
        """
        if key is not None:
            digest = claim_name(ask.order)
            ask = replace(ask, claim=Claim(ask.team.name, key, digest, ask.job_id, ask.now))
        for _ in range(VETTING_ROUNDS):
            decision: Settled | Claimed = await self._admit(ask, self._decide)
            if not isinstance(decision, Claimed):
                return decision
            found = await self._deps.ledger.job(decision.claim.job_id)
            match admission.replay(ask, decision.claim, found):
                case Replayed() as replayed:
                    return replace(replayed, left=decision.left)
                case Conflicting():
                    raise IdempotencyConflict(
                        "This Idempotency-Key came before with another order: take a new key for "
                        "each order.",
                        param="Idempotency-Key",
                    )
            ask = replace(ask, free=decision.claim)
        raise Unavailable("This Idempotency-Key keeps changing hands.", retry_after_seconds=1)

    async def foreseen(self, ask: Ask) -> Settled:
        """The decision as it would be now; nothing comes of it."""
        decision: Settled = await self._admit(ask, _look)
        return decision

    # --- at the ledger ---------------------------------------------------------------------------

    def _decide(self, ask: Ask, view: View) -> tuple[Decision, Writes]:
        """The decision under the team's limits of this moment: a changed one counts for all orders
        that are not decided yet.

        Raises `Unauthorized` where the team is gone, `ZoneChanged` where it is to be judged in
        other windows by now: their accounts have to be loaded first. `Behind` where another gateway
        has changed what this one goes by, `Stale` where it has waited too long, or the clock was
        set.
        """
        self._deps.following.check(view.epochs, ask.cache_epoch if ask.cached else None)
        Stale.check(ask.now, self._deps.current.clock())
        policy = self._deps.current.policy
        team = policy.teams.get(ask.team.name)
        if team is None:
            raise Unauthorized("This team was just deleted, or taken out of the settings.")
        if policy.zone != ask.zone:
            raise budgets.ZoneChanged
        return admission.admit(ask if team == ask.team else replace(ask, team=team), view)

    async def _admit(
        self, ask: Ask, decide: Callable[[Ask, View], tuple[D | Unvetted, Writes]]
    ) -> D:
        """The decision, committed. Finished runs are vetted between the looks at the ledger."""
        ask = await self._find_cached(ask)
        if ask.cached is None:
            ask = await self._to_be_made(ask)
        for rounds_left in reversed(range(VETTING_ROUNDS)):
            try:
                decision = await self._deps.ledger.transact(self._keys(ask), partial(decide, ask))
            except Behind as behind:
                ask = await self._caught_up(ask, behind)
                continue
            except budgets.ZoneChanged:
                zone = self._deps.current.policy.zone
                ask = replace(ask, zone=zone, windows=budgets.windows_at(ask.now, zone))
                continue
            except Stale:
                ask = self._at_present(ask)
                continue
            except ConstraintViolation:
                if not rounds_left:
                    raise
                ask = await self._asked_anew(ask)
                continue
            if not isinstance(decision, Unvetted):
                return decision
            ask = await self._vet(ask, decision.run)
        raise Unavailable("The cached answer keeps changing; try again.", retry_after_seconds=1)

    def _keys(self, ask: Ask) -> Keys:
        """Where others write too it is found out whether this gateway has followed them."""
        keys = ask.keys()
        return replace(keys, epochs=True) if self._deps.following.is_shared else keys

    async def _caught_up(self, ask: Ask, behind: Behind) -> Ask:
        """Raises `Unauthorized` where the key that the order came with was revoked meanwhile."""
        await self._deps.following.catch_up(behind)
        if not self._deps.current.still_opens(ask.team):
            raise Unauthorized("This API key was just revoked, or has ended.")
        return await self._to_be_made(ask) if ask.cached else ask

    def _at_present(self, ask: Ask) -> Ask:
        now = self._deps.current.clock()
        return replace(
            ask,
            now=now,
            windows=budgets.windows_at(int(now), ask.zone),
            lease_until=ask.lease_until + now - ask.now,
        )

    # --- what has to be known before -------------------------------------------------------------

    async def _find_cached(self, ask: Ask) -> Ask:
        """With the answer that the response cache holds ready, if it may be given."""
        if ask.freshness.no_store or ask.freshness.no_cache:
            return ask
        epoch = self._deps.cache.epoch  # before: what is found is at least as new
        cached = await self._deps.cache.get(ask.fingerprint)
        if cached is None or ask.seconds_left(cached) <= 0:
            self._deps.observer.cache_looked_up("miss" if cached is None else "stale")
            return ask
        self._deps.observer.cache_looked_up("hit")
        readable = await self._is_readable(ask, cached)
        vetted = {**ask.vetted, cached.id: readable}
        found = cached if readable else None
        return replace(ask, vetted=vetted, cached=found, cache_epoch=epoch)

    async def _to_be_made(self, ask: Ask) -> Ask:
        """Without an answer held ready pictures may have to be made, and there must be a place to
        keep them."""
        try:
            await self._deps.pictures.require()
        except PictureProblem:
            raise _store_away() from None
        return replace(ask, cached=None, room=self._deps.room.enough())

    async def _asked_anew(self, ask: Ask) -> Ask:
        """Without what may have broken a constraint.

        That is a cached run of a cache that outlived its ledger, or a task id that is taken. What
        another order did at the same moment is no reason to throw a good answer away.
        """
        if ask.cached is not None and await self._deps.ledger.run(ask.cached.id) is None:
            await self._deps.cache.delete(ask.fingerprint)
            ask = await self._to_be_made(ask)
        return replace(ask, job_id=ids.new_task_id(ask.now))

    async def _vet(self, ask: Ask, run: Run) -> Ask:
        return replace(ask, vetted={**ask.vetted, run.id: await self._is_readable(ask, run)})

    async def _is_readable(self, ask: Ask, run: Run) -> bool:
        """Pictures that were there within the last second are not looked for again."""
        if self._readable.found(run.id):
            return True
        try:
            readable = await self._deps.pictures.readable(run.pictures)
        except PictureProblem:  # nobody knows: to make it anew might be to pay twice
            raise _store_away() from None
        if readable:
            self._readable.note(run.id, True, changes=self._readable.changes)
        else:
            await self._deps.cache.delete(ask.fingerprint)
        return readable


def _look(ask: Ask, view: View) -> tuple[Judgement, Writes]:
    """The same decision, and nothing comes of it."""
    return admission.judge(ask, view)[0], Writes()


def _store_away() -> Unavailable:
    message = "The picture store cannot be used just now; nothing was ordered. Try again."
    return Unavailable(message, retry_after_seconds=5)
