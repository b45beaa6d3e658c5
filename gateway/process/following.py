"""Gateways that share a ledger follow what one of them changes, and each says how far it is.

    follow: epochs → teams and keys, response cache → "I live, and have followed up to here"

News make it quick, a look twice a second is the net below. A gateway that has not been able to
say so for a while is taken for dead by the others, and takes its own teams and keys for outdated.
One that has its ledger for itself has nobody to follow: all of this is nothing then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from gateway.core.replicas import Epochs, Replica
from gateway.errors import Unavailable
from gateway.ports.cache import ResponseCache
from gateway.ports.clock import Clock
from gateway.ports.replicas import Announcements, News, Replicas

log = structlog.get_logger("gateway.replicas")

LOOK_SECONDS: Final = 0.5
"""Where news are lost a change is in force within a second all the same."""

RETRY_SECONDS: Final = 0.25
"""How soon a ledger that was away is asked again, and how often at most."""

LOOKING_SECONDS: Final = 2.0
"""Who only looks waits so long for a ledger that has just gone, once, and is answered then."""

DEAD_SECONDS: Final = 3.0
"""Who has not said for so long that he lives is not waited for any more."""

STALE_SECONDS: Final = 2.5
"""After so long one's own teams and keys may be outdated: before others think that one is dead,
by more than their clocks differ."""

FORGET_SECONDS: Final = 86_400.0
"""So long a gateway that died without a word can be seen in the ledger."""

ASK_AGAIN_SECONDS: Final = 0.05


class Followed(Protocol):
    """Of the teams and keys in force, what has to be brought up to date."""

    async def load(self) -> None:
        """Puts in force what the ledger has. Raises `Unavailable`."""


class FollowedRecords(Replicas, Announcements, Protocol):
    """What is asked of the ledger."""


@dataclass(frozen=True, slots=True)
class Own:
    """What a gateway tells of itself: `settings` is the digest of those it runs by."""

    id: str
    name: str
    settings: Callable[[], str]


class Behind(Exception):
    """A decision was made by what is outdated: to be made again, once these are followed."""

    def __init__(self, epochs: Epochs) -> None:
        super().__init__(f"the ledger is at {epochs}")
        self.epochs = epochs


@dataclass(frozen=True, slots=True)
class FollowingDeps:
    """`is_shared`: the ledger is one that others may write too."""

    ledger: FollowedRecords
    policy: Followed
    cache: ResponseCache
    own: Own
    clock: Clock
    is_shared: bool
    monotonic: Callable[[], float] = time.monotonic


class Following:
    def __init__(self, deps: FollowingDeps) -> None:
        self.is_shared = deps.is_shared
        self._ledger = deps.ledger
        self._policy = deps.policy
        self._cache = deps.cache
        self._own = deps.own
        self._clock = deps.clock
        self._monotonic = deps.monotonic
        self._started_at = 0.0
        self._policy_epoch = -1
        self._fresh_until = float("-inf")
        self._ask_after = float("-inf")
        self._is_cut_off = False
        self._one_at_a_time = asyncio.Lock()
        self._news = asyncio.Event()
        self._away = False
        self._task: asyncio.Task[None] | None = None

    # --- its life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Follows for the first time. Raises `Unavailable`.

        Twice: whoever changes something knows of this gateway from the first time on, and what was
        changed just before is found by the second.
        """
        self._started_at = self._clock()
        if self.is_shared:
            await self._follow(None)
            await self._follow(None)
            self._ledger.listen(self._hear)
            self._task = asyncio.create_task(self._repeat())

    async def stop(self) -> None:
        """Nobody waits for it any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with suppress(Unavailable):  # then it is taken for dead in a moment
                await self._ledger.forget_replica(self._own.id)

    def _hear(self, news: News) -> None:
        if news.policy or news.cache or news.missed:
            self._news.set()

    async def _repeat(self) -> None:
        while True:
            try:
                await self._follow(None)
                self._tell(away=False)
                wait = LOOK_SECONDS
            except Unavailable:
                self._tell(away=True)
                wait = RETRY_SECONDS
            except Exception:
                log.exception("following failed")
                wait = LOOK_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), wait)
            self._news.clear()

    def _tell(self, *, away: bool) -> None:
        """One line when it is cut off from the others, and one when it is back."""
        if away and not self._away and not self.is_fresh():
            self._away = True
            log.warning("teams and keys may be outdated: no new order is taken")
        elif not away and self._away:
            self._away = False
            log.info("teams and keys are up to date again")

    # --- what this gateway has followed ----------------------------------------------------------

    def is_fresh(self) -> bool:
        """Whether no change of teams and keys can be in force elsewhere that is not so here."""
        return not self.is_shared or self._monotonic() < self._fresh_until

    async def confirm(self) -> None:
        """Returns when it is fresh. Raises `Unavailable` when that cannot be had."""
        if not self.is_fresh():
            await self._follow(None, unless_just_tried=True)

    def require_fresh(self) -> None:
        """Raises `Unavailable` where no order would be taken by the teams and keys of now."""
        if not self.is_fresh():
            raise _cut_off()

    async def try_to_confirm(self) -> None:
        """As `confirm`, for who may go on without: nobody waits where it was in vain just now."""
        if not self.is_fresh() and not self._is_cut_off:
            with suppress(Unavailable, TimeoutError):
                await asyncio.wait_for(self.confirm(), LOOKING_SECONDS)
            self._is_cut_off = not self.is_fresh()

    def check(self, found: Epochs | None, cache: int | None = None) -> None:
        """Inside a decision: raises `Behind` where it would be made by outdated teams, or by an
        answer that the cache had in an older epoch. None: that was not asked for."""
        if found is None:
            return
        if found.policy > self._policy_epoch or (cache is not None and cache != found.cache):
            raise Behind(found)

    async def catch_up(self, behind: Behind) -> None:
        """Follows up to there. Raises `Unavailable`."""
        await self._follow(behind.epochs)

    async def _follow(self, wanted: Epochs | None, *, unless_just_tried: bool = False) -> None:
        """The epochs come first: what is loaded after is at least as new as they are."""
        async with self._one_at_a_time:
            if wanted is not None and self._has(wanted):
                return
            if unless_just_tried and self.is_fresh():
                return
            if unless_just_tried and self._monotonic() < self._ask_after:
                raise _cut_off()
            self._ask_after = float("inf")
            try:
                await self._take_over()
            finally:
                self._ask_after = self._monotonic() + RETRY_SECONDS

    async def _take_over(self) -> None:
        began, seen_at = self._monotonic(), self._clock()
        found = await self._ledger.epochs()
        if found.policy != self._policy_epoch:
            await self._policy.load()
            self._policy_epoch = found.policy
        if found.cache != self._cache.epoch:
            await self._cache.follow(found.cache)
        own = self._own
        await self._ledger.note_replica(
            Replica(own.id, own.name, self._started_at, seen_at, self._followed(), own.settings())
        )
        self._fresh_until = began + STALE_SECONDS
        self._is_cut_off = False

    def _followed(self) -> Epochs:
        return Epochs(self._policy_epoch, self._cache.epoch)

    def _has(self, wanted: Epochs) -> bool:
        return self._policy_epoch >= wanted.policy and self._cache.epoch >= wanted.cache

    # --- what the others have --------------------------------------------------------------------

    async def everywhere(self) -> Sequence[str]:
        """Returns when every gateway that lives has followed what is committed by now.

        One that does not say so in time is dead, or cut off from the ledger: then it takes no
        order any more. The names of those are returned.
        """
        if not self.is_shared:
            return ()
        until, behind = self._monotonic() + DEAD_SECONDS + STALE_SECONDS, [self._own.name]
        wanted: Epochs | None = None
        while self._monotonic() < until:
            try:
                if wanted is None:
                    await self._follow(None)
                    wanted = self._followed()
                    until = min(until, self._monotonic() + DEAD_SECONDS)
                behind = await self._behind(wanted)
                if not behind:
                    return ()
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        log.warning("a change is not confirmed everywhere", replicas=behind)
        return behind

    async def _behind(self, wanted: Epochs) -> list[str]:
        alive = await self._ledger.replicas(since=self._clock() - DEAD_SECONDS)
        return [one.name for one in alive if _is_below(one.epochs, wanted)]

    async def known(self) -> Sequence[Replica]:
        """Every gateway of this ledger that lives, or was seen to live a while ago."""
        if self.is_shared:
            return await self._ledger.replicas(since=self._clock() - FORGET_SECONDS)
        own, now = self._own, self._clock()
        alone = Epochs(max(self._policy_epoch, 0), self._cache.epoch)
        return [Replica(own.id, own.name, self._started_at, now, alone, own.settings())]

    async def voiding(self) -> None:
        """Something was made void, and will be forgotten here one by one where nobody else writes.

        Nothing that was seen before is stored any more. A ledger that is away meanwhile costs no
        more than a cache that is emptied later.
        """
        with suppress(Unavailable):
            if self.is_shared:
                await self._follow(None)
            else:
                await self._cache.advance((await self._ledger.epochs()).cache)


def _is_below(have: Epochs, wanted: Epochs) -> bool:
    return have.policy < wanted.policy or have.cache < wanted.cache


def _cut_off() -> Unavailable:
    return Unavailable(
        "This gateway cannot reach its ledger, and does not know whether teams and keys are still"
        " the same: try again.",
        retry_after_seconds=1.0,
    )
