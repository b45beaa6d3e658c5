"""The lines in which callbacks wait for a slot: one for each host that a party calls.

A party is a team, or the operator for alerts. Slots go to the parties in turn by the rule of
`shares`, and of a party's to its hosts in turn, so that whoever calls a thousand hosts that hang
holds up itself and no other. Of a line the longest due goes first, also when it comes again.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import Final, TypeVar

from gateway.core.delivery import party, receiver
from gateway.core.model import Delivery
from gateway.process.shares import may_take

HOST_SHARE: Final = 4
"""One host gets at most this part of all slots from a party."""

K = TypeVar("K")
_Line = list[tuple[float, str]]
"""A heap: since when each is due, and its id."""


class WebhookQueues:
    """What waits and what is under way; each delivery once."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._per_host = max(1, slots // HOST_SHARE)
        self._waiting: dict[str, dict[str, _Line]] = {}  # by party and host; whose turn it is first
        self._here: dict[str, Delivery] = {}
        self._held: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._calling: Counter[tuple[str, str]] = Counter()

    def add(self, delivery: Delivery) -> None:
        """Lets it wait. One that does already has a new lease, and keeps its place."""
        if delivery.id not in self._here:
            self._held[party(delivery)] += 1
            hosts = self._waiting.setdefault(party(delivery), {})
            line = hosts.setdefault(receiver(delivery.url), [])
            heapq.heappush(line, (delivery.due_at, delivery.id))
        self._here[delivery.id] = delivery

    def ids(self) -> list[str]:
        """What waits and what is under way."""
        return list(self._here)

    def renewed(self, ids: Collection[str], until: float) -> None:
        """Their leases last until then; whoever takes one from its line gets it so."""
        for one in ids:
            if delivery := self._here.get(one):
                self._here[one] = replace(delivery, lease_until=until)

    def next(self) -> Delivery | None:
        """The one whose turn it is, which is under way then; None while no slot is for any."""
        for who, hosts in self._waiting.items():
            if may_take(self._slots, self._under_way, who):
                for host in hosts:
                    if self._calling[who, host] < self._per_host:
                        return self._begun(who, host)
        return None

    def ended(self, delivery: Delivery) -> None:
        """It is not under way any more, and not here."""
        who, host = party(delivery), receiver(delivery.url)
        _take_one(self._under_way, who)
        _take_one(self._calling, (who, host))
        self._forget(delivery)

    def put_off(self, *, more_than: int, longest: int, most: int) -> list[Delivery]:
        """Takes out the last ones of the longest line of each party that has `more_than` here:
        up to `most`, and what is beyond `longest` only."""
        return [
            one
            for who in [who for who, held in self._held.items() if held >= more_than]
            for one in self._last_of_longest(who, longest, most)
        ]

    def __len__(self) -> int:
        return len(self._here)

    def _begun(self, who: str, host: str) -> Delivery:
        """Takes the first of a line; the host, and the party, go to the end of theirs."""
        hosts = self._waiting.pop(who)
        line = hosts.pop(host)
        delivery = self._here[heapq.heappop(line)[1]]
        if line:
            hosts[host] = line
        if hosts:
            self._waiting[who] = hosts
        self._under_way[who] += 1
        self._calling[who, host] += 1
        return delivery

    def _last_of_longest(self, who: str, longest: int, most: int) -> list[Delivery]:
        hosts = self._waiting.get(who, {})
        host = max(hosts, key=lambda one: len(hosts[one]), default="")
        line = sorted(hosts.get(host, []))
        kept = max(longest, len(line) - most)
        if len(line) <= kept:
            return []
        hosts[host] = line[:kept]  # what is sorted is a heap
        taken = [self._here[one] for _, one in line[kept:]]
        for delivery in taken:
            self._forget(delivery)
        return taken

    def _forget(self, delivery: Delivery) -> None:
        del self._here[delivery.id]
        _take_one(self._held, party(delivery))


def _take_one(counts: Counter[K], key: K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
