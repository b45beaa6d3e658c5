"""What a check of the ledger is: SQL that selects the rows which break an invariant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.core.money.invariants import Invariant

MAX_SENTENCES: Final = 100
"""Read of each check: a broken ledger is known to be broken after the first few."""


@dataclass(frozen=True, slots=True)
class Check:
    """`sql` takes `parameters`; `say` takes the columns of one of its rows."""

    invariant: Invariant
    sql: str
    say: Callable[..., str]
    parameters: tuple[object, ...] = field(default=())
