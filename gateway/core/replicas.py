"""What gateways that share a ledger know of each other: who lives, and how far each has followed.

An epoch is a number that only rises. Whoever holds what was made under a lower one than the
ledger's holds something that may be wrong by now.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Epoch(StrEnum):
    """Which one."""

    POLICY = "policy"
    CACHE = "cache"


@dataclass(frozen=True, slots=True)
class Epochs:
    """`policy` rises with each change of teams and keys, `cache` with each that makes stored
    answers void."""

    policy: int = 0
    cache: int = 0


@dataclass(frozen=True, slots=True)
class Replica:
    """A gateway among several, as it last said of itself.

    `name` is for people, `settings` the digest of what it was given to run by; `epochs` are those
    that it has followed.
    """

    id: str
    name: str
    started_at: float
    seen_at: float
    epochs: Epochs
    settings: str
