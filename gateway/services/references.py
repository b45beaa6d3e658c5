"""What is known of an order's reference pictures before the order is named.

A link that the team got by uploading counts by its bytes. Where the team's `references` setting
says `fetch`, every link is fetched, proven to be a picture and counted by its bytes, before any
money moves. Upstream gets the client's own links in either case. Nothing that is fetched is kept.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakValueDictionary

import structlog

from gateway.core.catalog import ReferenceMode, Team
from gateway.core.model import Order
from gateway.core.picture_errors import PictureProblem, StoreFull
from gateway.core.references import MAX_BYTES, too_slow, unusable
from gateway.errors import GatewayError, InvalidRequest, Unavailable
from gateway.ports.clock import Clock
from gateway.ports.ledger import UploadRecords
from gateway.ports.outbound import Links
from gateway.ports.pictures import Proof
from gateway.process.shares import Shares

log = structlog.get_logger("gateway.references")

FETCH_SECONDS: Final = 20.0
"""For all references of an order: clients give a POST 30 s, and the submit needs its share."""

FETCHES: Final = 8
"""At once, in all: each may hold `MAX_BYTES` of the disk."""

MEMO_SECONDS: Final = 60.0
"""A client that tries again, or polls by ordering, does so within about this time."""

MEMO_ENTRIES: Final = 10_000


@dataclass(slots=True)
class _Reference:
    """One link of an order: where it stands, and whether its fetch has begun."""

    place: str
    url: str
    begun: bool = False
    digest: str | None = None


class References:
    """The stage between validation and naming. `links` gives what fetches for a team."""

    def __init__(
        self, ledger: UploadRecords, links: Callable[[str], Links], *, proof: Proof, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._links = links
        self._proof = proof
        self._memo = _Memo(clock)
        self._places = Shares(FETCHES)
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def identify(self, team: Team, order: Order, places: Mapping[str, str]) -> Order:
        """The order with the digest of each reference whose bytes are known.

        `places` are its references: the link of each by its place in the order.

        Raises `InvalidRequest` naming the place of a reference that cannot be used, or
        `Unavailable`.
        """
        if team.references is ReferenceMode.FETCH:
            return replace(order, digests=await self._fetched(team.name, places))
        found = await self._ledger.digests(team.name, list(dict.fromkeys(places.values())))
        return replace(order, digests={url: digest for url, digest in found.items() if digest})

    async def _fetched(self, team: str, places: Mapping[str, str]) -> Mapping[str, str]:
        """URL → digest of every reference; the first problem ends it all."""
        first = {url: place for place, url in reversed(list(places.items()))}
        wanted = [_Reference(place, url) for url, place in first.items()]
        try:
            async with asyncio.timeout(FETCH_SECONDS), asyncio.TaskGroup() as group:
                for reference in wanted:
                    group.create_task(self._learn(team, reference))
        except TimeoutError:
            raise _too_slow(wanted) from None
        except BaseExceptionGroup as problems:
            raise problems.exceptions[0] from None
        return {
            reference.url: reference.digest for reference in wanted if reference.digest is not None
        }

    async def _learn(self, team: str, reference: _Reference) -> None:
        """Finds out one digest. Whoever wants the same link at the same time waits for it."""
        key = (team, reference.url)
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            reference.digest = self._memo.get(key)
            if reference.digest is not None:
                return
            async with self._places.place(team):
                reference.begun = True
                reference.digest = await self._prove(team, reference)
            self._memo.put(key, reference.digest)

    async def _prove(self, team: str, reference: _Reference) -> str:
        try:
            async with self._links(team).stream(
                reference.url, max_bytes=MAX_BYTES, timeout_seconds=FETCH_SECONDS
            ) as body:
                picture = await self._proof.prove(body, max_bytes=MAX_BYTES, team=team)
        except StoreFull as problem:
            raise Unavailable(
                "The gateway has no room to look at reference pictures just now; try again.",
                retry_after_seconds=5,
            ) from problem
        except PictureProblem as problem:
            log.info("reference refused", team=team, place=reference.place, reason=str(problem))
            said = unusable(reference.place, problem)
            raise InvalidRequest(said, param=reference.place) from problem
        return picture.digest


class _Memo:
    """(team, URL) → digest, for a short time and in a bounded number."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def get(self, key: tuple[str, str]) -> str | None:
        digest, until = self._known.get(key, (None, 0.0))
        return digest if until > self._clock() else None

    def put(self, key: tuple[str, str], digest: str) -> None:
        self._known.pop(key, None)
        self._known[key] = (digest, self._clock() + MEMO_SECONDS)
        if len(self._known) > MEMO_ENTRIES:
            self._known.popitem(last=False)


def _too_slow(wanted: list[_Reference]) -> GatewayError:
    for reference in wanted:
        if reference.begun and reference.digest is None:
            said = too_slow(reference.place, FETCH_SECONDS)
            return InvalidRequest(said, param=reference.place)
    message = "Too many reference pictures are being fetched just now; try again."
    return Unavailable(message, retry_after_seconds=5)
