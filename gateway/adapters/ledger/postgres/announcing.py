"""What is news in what was written, and how it is said to other gateways in one NOTIFY: pure.

A line of flags (p policy, c cache, d due, m everything may have changed) and ids of runs behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import sha256
from typing import Final

from gateway.adapters.ledger.planned import Before
from gateway.core.model import DeliveryState, Run
from gateway.core.replicas import Epoch
from gateway.core.transaction import Writes
from gateway.ports.replicas import News

MOST_BYTES: Final = 7_900
"""PostgreSQL takes no notification of 8,000 bytes."""

NOTIFY: Final = "SELECT pg_notify(%s, %s)"

MISSED: Final = News(missed=True)


def channel(schema: str) -> str:
    """Schemas of one database do not hear each other."""
    return f"image_gateway_{sha256(schema.encode()).hexdigest()[:16]}"


def news_of(writes: Writes, known: Before) -> News:
    changed = [run for run in writes.runs if run != known.runs.get(run.id)]
    return News(
        runs=frozenset(run.id for run in changed if _moved(known.runs.get(run.id), run)),
        policy=Epoch.POLICY in writes.raised,
        cache=Epoch.CACHE in writes.raised,
        due=any(_is_due_earlier(known.runs.get(run.id), run) for run in changed)
        or any(
            one.state is DeliveryState.PENDING and not one.lease_until
            for one in (*writes.deliveries, *writes.alerts)
        ),
    )


def raised_news(raised: Collection[Epoch]) -> News:
    return News(policy=Epoch.POLICY in raised, cache=Epoch.CACHE in raised)


def _moved(before: Run | None, after: Run) -> bool:
    """Nobody waits yet for a run that is new."""
    if before is None:
        return False
    return before.state is not after.state or before.accepted_at != after.accepted_at


def _is_due_earlier(before: Run | None, after: Run) -> bool:
    """Nobody drives it now, and somebody may have to look before he would."""
    if after.is_final or after.lease_until:
        return False
    return before is None or bool(before.lease_until) or after.due_at < before.due_at


def encoded(news: News) -> str | None:
    """None for no news."""
    flags = "".join(_flags(news))
    if not flags and not news.runs:
        return None
    line = " ".join((flags, *sorted(news.runs)))
    if len(line.encode()) > MOST_BYTES or any(" " in run_id for run_id in news.runs):
        return "m"
    return line


def _flags(news: News) -> Iterator[str]:
    said = {"p": news.policy, "c": news.cache, "d": news.due, "m": news.missed}
    return (flag for flag, is_so in said.items() if is_so)


def decoded(line: str) -> News:
    """Also of what some other version said: what is not known may be anything."""
    flags, *run_ids = line.split(" ")
    return News(
        runs=frozenset(run_ids),
        policy="p" in flags,
        cache="c" in flags,
        due="d" in flags,
        missed=not set(flags) <= set("pcd"),
    )
