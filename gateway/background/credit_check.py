"""The upstream accounts' own count of credits beside the ledger's: do they agree?

Only moments at which no run is with the upstream can be compared: otherwise a run may be charged
there and not be booked here yet. Between two such moments both counts must have grown by the same
amount; what they differ by is added up as the drift. It says that something is wrong, not what:
a task that upstream charged although its outcome was lost, credits that it never reported, or
somebody else who uses the key. It decides nothing, and what cannot be read leaves it as it was.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import orjson
import structlog

from gateway.ports.clock import Clock
from gateway.ports.ledger import Upkeep
from gateway.ports.replicas import CreditCheck, CreditChecks, Turns
from gateway.ports.upstream import Upstream

log = structlog.get_logger("gateway.credits")

LOOK_SECONDS: Final = 15.0
"""A busy upstream is quiet only now and then; finding out is one short read of the ledger."""

FIRST_SECONDS: Final = 60.0
"""After a start there is more urgent work to do upstream."""

EVERY_SECONDS: Final = 300.0
"""Upstream is asked at most so often."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Both counts when they were last compared, and the drift until then, in credits."""

    account: str
    used: float
    booked: float
    drift: float
    at: float


class CreditRecords(Upkeep, Turns, CreditChecks, Protocol):
    """What is asked of the ledger."""


class CreditWatch:
    """Compares upstream after upstream; where it was is in the ledger, for all gateways on it.

    Whoever takes an upstream's turn asks it; its end is when it may be asked again.
    """

    def __init__(
        self,
        ledger: CreditRecords,
        upstreams: Mapping[str, Upstream],
        path: Path,
        *,
        clock: Clock,
        tell: Callable[[str, float, float], None],
    ) -> None:
        """`path` is the file in which a former version kept it. `tell` gets an upstream's name, its
        drift, and when that was found."""
        self._ledger = ledger
        self._upstreams = upstreams
        self._path = path
        self._clock = clock
        self._tell = tell
        self._adopted = False
        self._next_at: dict[str, float] = {}

    async def look(self) -> None:
        """Tells what any gateway has found, and compares those that are quiet and were not asked
        for a while."""
        await self._remembered()
        for name, upstream in list(self._upstreams.items()):
            now = self._clock()
            if now >= self._next_at.setdefault(name, now + FIRST_SECONDS):
                await self._in_turn(name, upstream, now)

    async def _in_turn(self, name: str, upstream: Upstream, now: float) -> None:
        if (await self._ledger.credits(name))[1]:
            return
        turn, owner = [f"credits/{name}"], f"credits-{secrets.token_hex(6)}"
        if not await self._ledger.take_turns(turn, owner, now=now, until=now + EVERY_SECONDS):
            return
        if not await self.compare(name, upstream):
            await self._ledger.give_back_turns(turn, owner)

    async def compare(self, name: str, upstream: Upstream) -> bool:
        """Asks this upstream, if none of its runs is under way before and after; whether it did."""
        before = booked, live = await self._ledger.credits(name)
        if live:
            return False
        self._next_at[name] = self._clock() + EVERY_SECONDS
        told = await upstream.credits()
        if told is None or await self._ledger.credits(name) != before:
            return True
        last = (await self._remembered()).get(name)
        drift = _drift(last, told.account, told.used, booked)
        compared = Compared(told.account, told.used, booked, drift, self._clock())
        await self._note(name, compared)
        self._tell(name, compared.drift, compared.at)
        return True

    async def _note(self, name: str, compared: Compared) -> None:
        found = orjson.dumps(asdict(compared)).decode()
        await self._ledger.note_credit_check(CreditCheck(name, compared.at, found))

    async def _remembered(self) -> dict[str, Compared]:
        """The last comparisons, which are told: whoever made them."""
        await self._adopt()
        found: dict[str, Compared] = {}
        for one in await self._ledger.credit_checks():
            try:
                found[one.upstream] = Compared(**orjson.loads(one.found))
            except (ValueError, TypeError):
                log.warning("credits are compared from now on", upstream=one.upstream)
        for name, compared in found.items():
            self._tell(name, compared.drift, compared.at)
        return found

    async def _adopt(self) -> None:
        """What a former version has left in its file goes into the ledger, and the file away."""
        if self._adopted:
            return
        left = await asyncio.to_thread(_read, self._path)
        if left is not None:
            known = {one.upstream for one in await self._ledger.credit_checks()}
            for name, compared in left.items():
                if name not in known:
                    await self._note(name, compared)
            await asyncio.to_thread(self._path.unlink, missing_ok=True)
        self._adopted = True


def _drift(last: Compared | None, account: str, used: float, booked: float) -> float:
    """A first look, another account and a count that began anew only set where to go on from."""
    if last is None:
        return 0.0
    if account != last.account or used < last.used:
        return last.drift
    return last.drift + (used - last.used) - (booked - last.booked)


def _read(path: Path) -> dict[str, Compared] | None:
    """What a former version left: None when there is no file, nothing when it makes no sense."""
    try:
        return {name: Compared(**one) for name, one in orjson.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("credits are compared from now on", file=str(path), reason=repr(error))
        return {}
