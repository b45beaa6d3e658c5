"""What gateways that share a ledger tell each other by it.

All times are given by the caller, and are those of one clock: the ledger's where it has one. The
errors are those of `gateway.ports.ledger`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.replicas import Epochs, Replica
from gateway.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class CreditCheck:
    """What the last check of an upstream's credits found (JSON, its checker's own), and when."""

    upstream: str
    checked_at: float
    found: str


@dataclass(frozen=True, slots=True)
class News:
    """What changed in the ledger, as far as somebody may be waiting for it.

    `runs` are those whose state changed; with `missed` any may have, and anything else too: then
    one looks for oneself. `policy` and `cache` are the epochs that were raised, `due` says that
    something may have become due before its time was known.
    """

    runs: frozenset[str] = frozenset()
    policy: bool = False
    cache: bool = False
    due: bool = False
    missed: bool = False


class Announcements(Protocol):
    """Who hears at once what other processes write."""

    def listen(self, heard: Callable[[News], None]) -> None:
        """From now on `heard` is called, on the event loop, soon after each commit that is news.

        Also for this process's own. It is only to be quick: news may be lost, and whoever waits
        looks now and then himself. A store of one process alone never calls it.
        """


class Replicas(Protocol):
    """Who lives, and what each has followed."""

    async def epochs(self) -> Epochs:
        """As last committed."""

    async def note_replica(self, replica: Replica) -> None:
        """It lives, and this is how it is; replaces what it said before."""

    async def replicas(self, *, since: float) -> Sequence[Replica]:
        """Those that were seen at that time or later, by id."""

    async def forget_replica(self, replica_id: str) -> None:
        """It has ended; one that is not there is no error."""

    async def forget_replicas(self, *, before: float) -> None:
        """Those that were last seen before that time are gone for good."""


class Turns(Protocol):
    """Names that one owner at a time has, until a time: what it was given stays its own till then,
    whatever becomes of it."""

    async def take_turns(
        self, names: Collection[str], owner: str, *, now: float, until: float
    ) -> bool:
        """All of these names, or none and False: where another one has one of them beyond `now`.

        What the owner has already it goes on to have, until the new time.
        """

    async def renew_turns(self, names: Collection[str], owner: str, *, until: float) -> bool:
        """Has all of them for longer; none and False where one of them is not the owner's."""

    async def give_back_turns(self, names: Collection[str], owner: str) -> None:
        """From now on anybody may have them; those that are not the owner's stay as they are."""


class Secrets(Protocol):
    """What all gateways of a ledger have to know, and nobody else."""

    async def secret(self, name: str) -> str | None:
        """None where there is none of this name."""

    async def settle_secret(self, name: str, value: str) -> str:
        """The secret of this name: `value` from now on where there was none, else the former."""


class CreditChecks(Protocol):
    """What was found when upstreams' credits were last checked."""

    async def credit_checks(self) -> Sequence[CreditCheck]:
        """The last of each upstream, by its name."""

    async def note_credit_check(self, check: CreditCheck) -> None:
        """Replaces that upstream's last."""


class LedgerClock(Protocol):
    """The time that is the same for all."""

    async def clock_offset(self, own: Clock) -> float | None:
        """How far the store's clock is ahead of `own`, in seconds, as right as half of a round
        trip; None where the store has none but the machine's."""

    async def clock_set(self, seconds: float, step: Callable[[], None]) -> None:
        """The one clock of all who write here is so much later from now on: what is live is due, at
        its deadline and leased as long from now as before.

        `step` is called in between, when what was decided by the former time is written and nothing
        by the new one yet. Raises `Unavailable`, also when it was called.
        """


class SharedState(Replicas, Turns, Secrets, CreditChecks, LedgerClock, Protocol):
    """All of it."""
