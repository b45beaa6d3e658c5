"""What a vendor tells of an account that asks for nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """`takes_key` is None where that was not told, and `why` says what was told instead.

    `models` are those that the key may use, each with the day from which on it is not served, where
    one is known; None: which they are was not told.
    """

    takes_key: bool | None
    why: str = ""
    models: Mapping[str, date | None] | None = None


Look = Callable[[], Awaitable[AccountSeen]]
"""Asks the vendor once, reads only, and never raises."""
