"""Work that waited in vain for a lock: it goes last, and one at a time, so that others go on.

A lock may be held for long: by a gateway that stands still, or by somebody at the server. Whoever
wants it is tried again and again, as long as its caller waits. Who is held up is told by what its
decision locks first, which is its team's; whether a single piece is in the way of its whole team
shows when it is tried alone. Used by the writing lane's thread only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from gateway.adapters.ledger.lane import Ticket, WorkOutcome
from gateway.adapters.ledger.postgres.locks import names_of
from gateway.adapters.ledger.writes import Decision

NOTED_SECONDS: Final = 10.0
"""So long a team's new decisions are kept apart from others', unless one gets through before."""

PAUSE_SECONDS: Final = 0.3
"""From one vain try to the next, while others have the lane."""

MOST_IN_VAIN: Final = 2
"""In one turn of the lane: who has not had a try by then has one in another turn."""


class HeldUp:
    def __init__(self) -> None:
        self._noted: dict[str, float] = {}
        self._in_vain = 0
        self._next_at = 0.0
        self._reason: BaseException | None = None

    def begin(self) -> None:
        """A turn of the lane begins."""
        self._in_vain = 0

    @property
    def enough(self) -> bool:
        """Nothing more that may wait is to be tried in this turn."""
        return self._in_vain >= MOST_IN_VAIN

    def has(self, ticket: Ticket) -> bool:
        if ticket.tries:
            return True
        return bool(self._noted) and self._is_noted(whose(ticket))

    def waited(self, tickets: Sequence[Ticket], error: BaseException) -> list[WorkOutcome]:
        """All of one team or kind, in vain."""
        self._in_vain += 1
        self._reason = error
        now = time.monotonic()
        self._next_at = now + PAUSE_SECONDS
        for ticket in tickets:
            if isinstance(ticket.work, Decision) and not ticket.tries:
                self._noted[whose(ticket)] = now + NOTED_SECONDS
            elif not isinstance(ticket.work, Decision):
                ticket.tries += 1
        return [WorkOutcome(error=error, again=True)] * len(tickets)

    def later(self, ticket: Ticket) -> WorkOutcome:
        """Of one that has no try in this turn."""
        return WorkOutcome(error=ticket.held_up or self._reason, again=True)

    def next_of(self, tickets: Sequence[Ticket]) -> Ticket | None:
        """The one that is to be tried in this turn, alone."""
        if self.enough or not tickets or time.monotonic() < self._next_at:
            return None
        return min(tickets, key=lambda ticket: ticket.tries)

    def tried(self, ticket: Ticket, outcome: WorkOutcome) -> None:
        if outcome.again:
            ticket.tries += 1
        else:
            self._noted.pop(whose(ticket), None)

    def _is_noted(self, name: str) -> bool:
        until = self._noted.get(name)
        if until is not None and until < time.monotonic():
            del self._noted[name]
            until = None
        return until is not None


def whose(ticket: Ticket) -> str:
    """The team's name among locks, or the first other; its own where it locks nothing by name."""
    own = f"alone {id(ticket)}"
    if not isinstance(ticket.work, Decision):
        return own
    return next(iter(names_of(ticket.work.keys)), own)
