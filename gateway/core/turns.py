"""Whose turn it is when more is due than is taken at once.

A row's turn is its number among its party's rows that are in hand or due, so a long line of one
delays another by one step, also where there is room for one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeVar

ANY: Final = 1 << 62
"""A share that nobody reaches."""


class Due(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def due_at(self) -> float: ...


D = TypeVar("D", bound=Due)


def in_turn(
    due: Mapping[str, Sequence[D]], in_hand: Mapping[str, int], *, limit: int, share: int = ANY
) -> list[D]:
    """Up to `limit` of what is due, the longest due first.

    `due` has each party's rows in their order, or the first `limit` of them; `in_hand` counts
    what each has already, which with what is chosen comes to no more than `share`.
    """
    turns = [
        (turn, one.due_at, one.id, one)
        for party, rows in due.items()
        for turn, one in enumerate(rows, in_hand.get(party, 0) + 1)
        if turn <= share
    ]
    chosen = sorted(turns, key=lambda entry: entry[:3])[:limit]
    return sorted((one for *_, one in chosen), key=lambda one: (one.due_at, one.id))
